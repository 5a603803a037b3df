"""Angel One's instruments master in OpenAlgo's names. Pure.

Source of the fields: smartapi.angelone.in/docs (instruments), and the file itself, which is a JSON
array of objects whose values are all text. Strikes and tick sizes are in paise, strikes of
currencies in units of 10^-7 rupee.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Final

import msgspec

from brokers.angel.constants import EXCHANGE_TYPES
from brokers.exceptions import BrokerProtocolError
from brokers.masters.decimal_text import any_decimal, normal_decimal, scaled
from brokers.masters.index_names import index_symbol
from brokers.passed_over import LeftOut, PassedOver, usable_rows
from brokers.types import InstrumentRow

__all__ = ["MAX_MASTER_BYTES", "parse_master"]

# The file of all segments is about 35 MB.
MAX_MASTER_BYTES: Final = 128 * 1024 * 1024

_INDEX_EXCHANGES: Final = {"NSE": "NSE_INDEX", "BSE": "BSE_INDEX", "MCX": "MCX_INDEX"}
_GUESSED: Final = "NCO"
# The series of an NSE share that trades as shares do; others (bonds, funds) keep theirs.
_SHARE_SERIES: Final = ("-EQ", "-BE")
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), 1
    )
}
_EXPIRY: Final = re.compile(r"([0-9]{2})([A-Z]{3})([0-9]{4})", re.ASCII)
_TOKEN: Final = re.compile(r"[0-9]{1,24}", re.ASCII)
_PAISE_DIGITS: Final = 2
_CURRENCY_DIGITS: Final = 7
_FRACTION_DIGITS: Final = 6


class _Row(msgspec.Struct):
    token: str
    symbol: str
    name: str
    expiry: str
    strike: str
    instrumenttype: str
    exch_seg: str
    lotsize: object = ""
    tick_size: object = ""


# One row after the other becomes an object: two hundred thousand at once take 300 MB.
_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_NOT_JSON: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
_ROW: Final = msgspec.json.Decoder(_Row)


def parse_master(data: bytes, passed: PassedOver | None = None) -> Iterator[InstrumentRow]:
    """Yield the instruments of the master, in the file's order, those of NCO behind the others.

    Args:
        data: the file.
        passed: notes rows of segments and kinds that the adapter does not declare, and those that
            cannot be used; None: the first of the latter ends the reading.

    Raises:
        BrokerProtocolError: not the instruments master, larger than ``MAX_MASTER_BYTES``, or a row
            without a usable token, expiry or strike; names the row.
    """
    if len(data) > MAX_MASTER_BYTES:
        raise BrokerProtocolError("instruments master: too large")
    try:
        rows = _ROWS.decode(data)
    except _NOT_JSON as error:
        raise BrokerProtocolError(f"instruments master: {error}") from error
    numbered = ((f"row {number}", row) for number, row in enumerate(rows))
    # Their numbers are a guess: one that an instrument of NCDEX has, too, is that one's.
    guessed: list[InstrumentRow] = []
    try:
        for instrument in usable_rows(numbered, _instrument, passed):
            if instrument.exchange == _GUESSED:
                guessed.append(instrument)
            else:
                yield instrument
    except BrokerProtocolError as error:
        raise BrokerProtocolError(f"instruments master: {error}") from error
    yield from guessed


def _instrument(raw: msgspec.Raw) -> InstrumentRow | LeftOut:
    try:
        row = _ROW.decode(raw)
    except _NOT_JSON as error:
        raise BrokerProtocolError(str(error)) from error
    segment = EXCHANGE_TYPES.get(row.exch_seg)
    if segment is None:
        return LeftOut(f"unknown segment {row.exch_seg[:20]}", row.symbol, is_fault=True)
    kind = _kind(row)
    if kind is None:
        what = f"{row.instrumenttype[:20] or 'no kind'} of {row.exch_seg}"
        return LeftOut(f"{what} is neither traded nor an index", row.symbol)
    if not _TOKEN.fullmatch(row.token):
        raise BrokerProtocolError(f"bad token {row.token[:30]!r}")
    expiry = _expiry(row.expiry) if kind in ("FUT", "CE", "PE") else None
    strike = _strike(row) if kind in ("CE", "PE") else ""
    exchange = _INDEX_EXCHANGES.get(row.exch_seg) if kind == "INDEX" else row.exch_seg
    if exchange is None:
        return LeftOut(f"indices of {row.exch_seg} have no name", row.symbol)
    symbol = _symbol(row, exchange, kind, expiry, strike)
    if not symbol:
        raise BrokerProtocolError("no symbol")
    return InstrumentRow(
        exchange=exchange,
        symbol=symbol,
        broker_token=f"{segment}:{row.token}",
        broker_symbol=row.symbol,
        name=row.name,
        expiry=expiry.isoformat() if expiry else "",
        strike=strike,
        lot_size=any_decimal(str(row.lotsize or "0")),
        tick_size=any_decimal(str(row.tick_size or "0"), shift=_PAISE_DIGITS),
        instrument_type=kind,
    )


def _kind(row: _Row) -> str | None:
    """Return our instrument type; None for what is neither traded nor an index."""
    kind = row.instrumenttype
    if kind == "AMXIDX":
        return "INDEX"
    if kind.startswith("FUT"):
        return "FUT"
    if kind.startswith("OPT"):
        ending = row.symbol[-2:]
        if ending not in ("CE", "PE"):
            raise BrokerProtocolError(f"option {row.symbol[:40]!r} is neither CE nor PE")
        return ending
    return "EQ" if not kind and row.exch_seg in ("NSE", "BSE") else None


def _symbol(row: _Row, exchange: str, kind: str, expiry: date | None, strike: str) -> str:
    if kind == "INDEX":
        return index_symbol(exchange, row.symbol, row.name)
    if expiry is None:
        return row.symbol.removesuffix(
            next((s for s in _SHARE_SERIES if row.symbol.endswith(s)), "")
        )
    if not row.name:
        raise BrokerProtocolError(f"{row.symbol[:40]!r} has no underlying")
    month = row.expiry[2:5].upper()
    return f"{row.name}{expiry.day:02d}{month}{expiry.year % 100:02d}{strike}{kind}"


def _expiry(text: str) -> date:
    match = _EXPIRY.fullmatch(text.upper())
    month = _MONTHS.get(match[2]) if match else None
    if match is None or month is None:
        raise BrokerProtocolError(f"bad expiry {text[:20]!r}")
    try:
        return date(int(match[3]), month, int(match[1]))
    except ValueError as error:
        raise BrokerProtocolError(f"bad expiry {text[:20]!r}") from error


def _strike(row: _Row) -> str:
    return _shifted(row.strike, _CURRENCY_DIGITS if row.exch_seg == "CDS" else _PAISE_DIGITS)


def _shifted(text: str, digits: int) -> str:
    """Return a decimal with its point moved ``digits`` to the left: ("5.000000", 2) is "0.05"."""
    places = digits + _FRACTION_DIGITS
    value = scaled(text, _FRACTION_DIGITS)
    whole, fraction = divmod(value, 10**places)
    return normal_decimal(f"{whole}.{fraction:0{places}d}")
