"""Zerodha's instruments master in OpenAlgo's names.

Source of the columns: kite.trade/docs/connect/v3/market-quotes (instruments).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import BinaryIO, Final

from brokers.exceptions import BrokerProtocolError
from brokers.masters.decimal_text import any_decimal, normal_decimal
from brokers.masters.index_names import index_symbol
from brokers.masters.text import fields_of, master_table
from brokers.passed_over import LeftOut, PassedOver, usable_rows
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
_INDEX_EXCHANGES: Final = {
    "NSE": "NSE_INDEX",
    "BSE": "BSE_INDEX",
    "MCX": "MCX_INDEX",
    "GLOBAL": "GLOBAL_INDEX",
    "NSEIX": "GLOBAL_INDEX",
}
# Of these nothing but indices is listed: of the world's exchanges, and of NSE's at GIFT City.
_INDEX_MARKETS: Final = frozenset({"GLOBAL", "NSEIX"})
_DERIVATIVES: Final = frozenset({"FUT", "CE", "PE"})
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


def parse_master(master: BinaryIO, passed: PassedOver | None = None) -> Iterator[InstrumentRow]:
    """Yield the instruments of the CSV dump, gzipped or not, in the file's order, as it is read.

    Rows of exchanges that the adapter does not declare are left out. Only options have a strike.

    Args:
        master: the dump.
        passed: notes rows that cannot be used; None: the first one ends the reading.

    Raises:
        BrokerProtocolError: not the instruments dump, larger than any, or a row without a usable
            token, expiry or strike; names the line.
    """
    try:
        yield from usable_rows(master_table(master, _COLUMNS), _row, passed)
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
    if instrument_type not in _DERIVATIVES:
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


def _row(values: dict[str, str | None]) -> InstrumentRow | LeftOut:
    fields = fields_of(values, _COLUMNS)
    market = fields["exchange"]
    is_index = market in _INDEX_MARKETS or fields["segment"] == "INDICES"
    exchange = _INDEX_EXCHANGES.get(market) if is_index else market
    if market in _INDEX_MARKETS and fields["instrument_type"] in _DERIVATIVES:
        return LeftOut(f"derivatives of {market} have no name", fields["tradingsymbol"])
    if exchange is None or not (is_index or exchange in _EXCHANGES):
        return LeftOut(f"unknown exchange {market[:20]}", fields["tradingsymbol"], is_fault=True)
    token = fields["instrument_token"]
    if not (token.isascii() and token.isdigit() and len(token) <= 10 and int(token) < 2**32):
        raise BrokerProtocolError(f"bad token {token[:20]!r}")
    return _instrument(fields, exchange, is_index=is_index)


def _instrument(fields: dict[str, str], exchange: str, *, is_index: bool) -> InstrumentRow:
    tradingsymbol = fields["tradingsymbol"]
    instrument_type = "INDEX" if is_index else fields["instrument_type"]
    is_option = instrument_type in {"CE", "PE"}
    strike = normal_decimal(fields["strike"] or "0") if is_option else ""
    if is_index:
        symbol = index_symbol(exchange, tradingsymbol, fields["name"])
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
        lot_size=any_decimal(fields["lot_size"] or "0"),
        tick_size=any_decimal(fields["tick_size"] or "0"),
        instrument_type=instrument_type,
    )
