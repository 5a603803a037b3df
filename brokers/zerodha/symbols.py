"""Zerodha's instruments master in OpenAlgo's names.

Source of the columns: kite.trade/docs/connect/v3/market-quotes (instruments).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from typing import BinaryIO, Final

from brokers.decimal_text import normal_decimal
from brokers.exceptions import BrokerProtocolError
from brokers.master_text import master_lines
from brokers.types import InstrumentRow

__all__ = ["openalgo_symbol", "parse_master"]

_COLUMNS: Final = (
    "instrument_token",
    "tradingsymbol",
    "name",
    "expiry",
    "strike",
    "tick_size",
    "lot_size",
    "instrument_type",
    "segment",
    "exchange",
)
_EXCHANGES: Final = frozenset({"NSE", "BSE", "NFO", "BFO", "CDS", "BCD", "MCX", "NCO"})
_INDEX_EXCHANGES: Final = {"NSE": "NSE_INDEX", "BSE": "BSE_INDEX", "MCX": "MCX_INDEX"}
_INDEX_NAMES: Final = {
    "NIFTY 50": "NIFTY",
    "NIFTY BANK": "BANKNIFTY",
    "NIFTY FIN SERVICE": "FINNIFTY",
    "NIFTY MID SELECT": "MIDCPNIFTY",
    "NIFTY NEXT 50": "NIFTYNXT50",
    "INDIA VIX": "INDIAVIX",
    "SNSX50": "SENSEX50",
}
# Not strftime: its month names follow the locale.
_MONTHS: Final = (
    "JAN",
    "FEB",
    "MAR",
    "APR",
    "MAY",
    "JUN",
    "JUL",
    "AUG",
    "SEP",
    "OCT",
    "NOV",
    "DEC",
)
# A derivative's tradingsymbol holds two digits of the year and either a month name (monthly) or
# a month and a day (weekly): five characters both ways, as in NIFTY24MAR20800CE, NIFTY2432820800CE.
_EXPIRY_CHARACTERS: Final = 5


def parse_master(master: BinaryIO) -> Iterator[InstrumentRow]:
    """Yield the instruments of the CSV dump, gzipped or not, in the file's order, as it is read.

    Rows of exchanges that the adapter does not declare are left out. Only options have a strike.

    Raises:
        BrokerProtocolError: not the instruments dump, larger than any, or a row without a usable
            token, expiry or number; names the line.
    """
    reader = csv.DictReader(_lines(master))
    try:
        missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise BrokerProtocolError(f"instruments dump: no column {missing[0]!r}")
        for values in reader:
            row = _row(values, reader.line_num)
            if row is not None:
                yield row
    except csv.Error as error:
        raise BrokerProtocolError(f"instruments dump: line {reader.line_num}: {error}") from error


def _lines(master: BinaryIO) -> Iterator[str]:
    try:
        yield from master_lines(master)
    except BrokerProtocolError as error:
        raise BrokerProtocolError(f"instruments dump: {error}") from error


def openalgo_symbol(
    *, tradingsymbol: str, name: str, expiry: str, strike: str, instrument_type: str
) -> str:
    """Return OpenAlgo's name of an instrument that is not an index.

    Cash instruments keep Kite's name; a future is underlying, DDMMMYY, FUT; an option is
    underlying, DDMMMYY, strike, CE or PE. ``expiry`` is an ISO date, ``strike`` a normal decimal.

    Raises:
        BrokerProtocolError: a derivative without a valid expiry or an underlying.
    """
    if instrument_type not in {"FUT", "CE", "PE"}:
        return tradingsymbol
    try:
        day = date.fromisoformat(expiry)
    except ValueError as error:
        raise BrokerProtocolError(f"{tradingsymbol!r} has no expiry: {expiry[:20]!r}") from error
    ending = instrument_type if instrument_type == "FUT" else f"{strike}{instrument_type}"
    # Old dumps leave the name of a derivative empty.
    underlying = name or tradingsymbol.removesuffix(ending)[:-_EXPIRY_CHARACTERS]
    if not underlying:
        raise BrokerProtocolError(f"{tradingsymbol!r} has no underlying")
    return f"{underlying}{day.day:02d}{_MONTHS[day.month - 1]}{day.year % 100:02d}{ending}"


def _row(values: dict[str, str | None], line: int) -> InstrumentRow | None:
    if any(values[column] is None for column in _COLUMNS):
        raise BrokerProtocolError(f"instruments dump: line {line}: too few columns")
    fields = {column: (values[column] or "").strip() for column in _COLUMNS}
    is_index = fields["segment"] == "INDICES"
    exchange = _INDEX_EXCHANGES.get(fields["exchange"]) if is_index else fields["exchange"]
    if exchange is None or (not is_index and exchange not in _EXCHANGES):
        return None
    token = fields["instrument_token"]
    if not (token.isascii() and token.isdigit() and len(token) <= 10 and int(token) < 2**32):
        raise BrokerProtocolError(f"instruments dump: line {line}: bad token {token[:20]!r}")
    try:
        return _instrument(fields, exchange, is_index=is_index)
    except BrokerProtocolError as error:
        raise BrokerProtocolError(f"instruments dump: line {line}: {error}") from error


def _instrument(fields: dict[str, str], exchange: str, *, is_index: bool) -> InstrumentRow:
    tradingsymbol = fields["tradingsymbol"]
    instrument_type = "INDEX" if is_index else fields["instrument_type"]
    is_option = instrument_type in {"CE", "PE"}
    strike = normal_decimal(fields["strike"] or "0") if is_option else ""
    if is_index:
        symbol = _INDEX_NAMES.get(tradingsymbol, tradingsymbol.replace(" ", ""))
    else:
        symbol = openalgo_symbol(
            tradingsymbol=tradingsymbol,
            name=fields["name"],
            expiry=fields["expiry"],
            strike=strike,
            instrument_type=instrument_type,
        )
    if not symbol:
        raise BrokerProtocolError("no tradingsymbol")
    return InstrumentRow(
        exchange=exchange,
        symbol=symbol,
        broker_token=str(int(fields["instrument_token"])),
        broker_symbol=tradingsymbol,
        name=fields["name"],
        expiry=fields["expiry"],
        strike=strike,
        lot_size=normal_decimal(fields["lot_size"] or "0"),
        tick_size=normal_decimal(fields["tick_size"] or "0"),
        instrument_type=instrument_type,
    )
