"""Upstox's instruments master in OpenAlgo's names. Pure.

Source of the fields: upstox.com/developer/api-documentation/instruments, and the file itself, a
gzipped JSON array of objects. Strikes are in rupees, tick sizes in paise; an expiry is the last
millisecond or so of its day in India.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import BinaryIO, Final, cast

import msgspec

from brokers.exceptions import BrokerProtocolError
from brokers.masters.decimal_text import any_decimal, normal_decimal
from brokers.masters.index_names import index_symbol
from brokers.masters.text import MAX_MASTER_BYTES
from brokers.passed_over import LeftOut, PassedOver, usable_rows
from brokers.times.market_clock import INDIA
from brokers.types import InstrumentRow
from brokers.upstox.constants import EXCHANGES

__all__ = ["parse_master"]

_GZIP: Final = b"\x1f\x8b"
# The series of an NSE share that trades as shares do; others (bonds, funds) show theirs.
_SHARE_SERIES: Final = frozenset({"EQ", "BE"})
_DERIVATIVES: Final = frozenset({"FUT", "CE", "PE"})
_CASH_SEGMENTS: Final = frozenset({"NSE_EQ", "BSE_EQ"})
_MONTHS: Final = (
    *("JAN", "FEB", "MAR", "APR", "MAY", "JUN"),
    *("JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
)
_LATEST_MS: Final = 253_402_214_399_000  # a day before datetime ends, for the day in India
_MOST_DIGITS: Final = 15
_PAISE_DIGITS: Final = 2


class _Row(msgspec.Struct):
    segment: str
    instrument_key: str
    instrument_type: str
    trading_symbol: str
    name: str | None = ""
    expiry: int | None = None
    strike_price: Decimal | None = None
    lot_size: object = None
    tick_size: object = None
    underlying_symbol: str | None = None
    asset_symbol: str | None = None


_NOT_JSON: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
# One row after the other becomes an object: one that is not as the others ends none of them.
_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ROW: Final = msgspec.json.Decoder(_Row)


def parse_master(master: BinaryIO, passed: PassedOver | None = None) -> Iterator[InstrumentRow]:
    """Yield the instruments of the master, gzipped or not, in the file's order.

    Args:
        master: the file.
        passed: notes rows of segments and kinds that the adapter does not declare, and those that
            cannot be used; None: the first of the latter ends the reading.

    Raises:
        BrokerProtocolError: not the instruments master, larger than any, or a row without a usable
            key, expiry or strike; names the row.
    """
    try:
        rows = _ROWS.decode(_content(master))
    except _NOT_JSON as error:
        raise BrokerProtocolError(f"instruments master: {error}") from error
    numbered = ((f"row {number}", row) for number, row in enumerate(rows))
    try:
        yield from usable_rows(numbered, _instrument, passed)
    except BrokerProtocolError as error:
        raise BrokerProtocolError(f"instruments master: {error}") from error


def _content(master: BinaryIO) -> bytes:
    head = master.read(len(_GZIP))
    master.seek(-len(head), 1)
    file = cast(BinaryIO, gzip.GzipFile(fileobj=master)) if head == _GZIP else master
    try:
        content = file.read(MAX_MASTER_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BrokerProtocolError(f"instruments master: broken compression: {error}") from error
    if len(content) > MAX_MASTER_BYTES:
        raise BrokerProtocolError(
            f"instruments master: larger than {MAX_MASTER_BYTES:,} bytes unpacked"
        )
    return content


def _instrument(raw: msgspec.Raw) -> InstrumentRow | LeftOut:
    try:
        row = _ROW.decode(raw)
    except _NOT_JSON as error:
        raise BrokerProtocolError(str(error)) from error
    exchange = EXCHANGES.get(row.segment)
    if exchange is None:
        return LeftOut(f"unknown segment {row.segment[:20]}", row.trading_symbol, is_fault=True)
    kind = _kind(row)
    if kind is None:
        what = f"{row.instrument_type[:20]} of {row.segment}"
        return LeftOut(f"{what} is neither traded nor an index", row.trading_symbol)
    key = row.instrument_key
    if not key.startswith(f"{row.segment}|") or not (key.isascii() and key.isprintable()):
        raise BrokerProtocolError(f"bad instrument key {key[:40]!r}")
    expiry = _expiry(row.expiry) if kind in _DERIVATIVES else None
    strike = _decimal(row.strike_price) if kind in ("CE", "PE") else ""
    symbol = _symbol(row, exchange, kind, expiry, strike)
    if not symbol:
        raise BrokerProtocolError("no symbol")
    return InstrumentRow(
        exchange=exchange,
        symbol=symbol,
        broker_token=key,
        broker_symbol=row.trading_symbol,
        name=row.name or "",
        expiry=expiry.isoformat() if expiry else "",
        strike=strike,
        lot_size=any_decimal(str(row.lot_size or "0")),
        tick_size=any_decimal(str(row.tick_size or "0"), shift=_PAISE_DIGITS),
        instrument_type=kind,
    )


def _kind(row: _Row) -> str | None:
    """Return our instrument type; None for what is neither traded nor an index."""
    if row.segment.endswith("_INDEX"):
        return "INDEX"
    if row.instrument_type in _DERIVATIVES:
        return row.instrument_type
    return "EQ" if row.segment in _CASH_SEGMENTS else None


def _symbol(row: _Row, exchange: str, kind: str, expiry: date | None, strike: str) -> str:
    if kind == "INDEX":
        return index_symbol(exchange, row.instrument_key.partition("|")[2], row.trading_symbol)
    if expiry is None:
        series = row.instrument_type
        is_share = row.segment != "NSE_EQ" or series in _SHARE_SERIES
        if is_share or row.trading_symbol.endswith(f"-{series}"):
            return row.trading_symbol
        return f"{row.trading_symbol}-{series}" if row.trading_symbol else ""
    underlying = row.underlying_symbol or row.asset_symbol
    if not underlying:
        raise BrokerProtocolError(f"{row.trading_symbol[:40]!r} has no underlying")
    day = f"{expiry.day:02d}{_MONTHS[expiry.month - 1]}{expiry.year % 100:02d}"
    return f"{underlying}{day}{strike}{kind}"


def _expiry(ms: int | None) -> date:
    if ms is None or not 0 < ms <= _LATEST_MS:
        raise BrokerProtocolError(f"bad expiry {ms}")
    return datetime.fromtimestamp(ms // 1000, UTC).astimezone(INDIA).date()


def _decimal(value: Decimal | None) -> str:
    if value is None or not value:
        return "0"
    # Looked at before it is written out: 1e999999999 would fill the memory.
    if not value.is_finite() or abs(value.adjusted()) > _MOST_DIGITS:
        raise BrokerProtocolError("a number is larger than any")
    return normal_decimal(f"{value:f}")
