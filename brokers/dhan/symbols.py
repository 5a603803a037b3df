"""Dhan's compact instruments master in OpenAlgo's names. Pure.

Source of the columns: dhanhq.co/docs/v2/instruments, and the file itself. Security ids are unique
within a segment only. Strikes are in rupees; tick sizes are in paise, but in points for indices.
One company's shares, warrants and bonds have the same trading symbol, and differ by their series.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from datetime import date
from typing import BinaryIO, Final

from brokers.exceptions import BrokerProtocolError
from brokers.masters.decimal_text import any_decimal, normal_decimal
from brokers.masters.index_names import index_symbol
from brokers.masters.text import fields_of, master_table
from brokers.passed_over import LeftOut, PassedOver, usable_rows
from brokers.types import InstrumentRow

__all__ = ["parse_master"]

_COLUMNS: Final = (
    "SEM_EXM_EXCH_ID",
    "SEM_SEGMENT",
    "SEM_SMST_SECURITY_ID",
    "SEM_INSTRUMENT_NAME",
    "SEM_TRADING_SYMBOL",
    "SEM_LOT_UNITS",
    "SEM_CUSTOM_SYMBOL",
    "SEM_EXPIRY_DATE",
    "SEM_STRIKE_PRICE",
    "SEM_OPTION_TYPE",
    "SEM_TICK_SIZE",
    "SEM_SERIES",
    "SM_SYMBOL_NAME",
)
# Exchange and segment, as the master has them: our exchange, and the feed's segment.
_SEGMENTS: Final = {
    ("NSE", "E"): ("NSE", "NSE_EQ"),
    ("NSE", "D"): ("NFO", "NSE_FNO"),
    ("NSE", "M"): ("NCO", "NSE_COMM"),
    ("NSE", "C"): ("CDS", "NSE_CURRENCY"),
    ("NSE", "I"): ("NSE_INDEX", "IDX_I"),
    ("BSE", "E"): ("BSE", "BSE_EQ"),
    ("BSE", "D"): ("BFO", "BSE_FNO"),
    ("BSE", "C"): ("BCD", "BSE_CURRENCY"),
    ("BSE", "I"): ("BSE_INDEX", "IDX_I"),
    ("MCX", "M"): ("MCX", "MCX_COMM"),
    ("MCX", "I"): ("MCX_INDEX", "IDX_I"),
}
EXCHANGES: Final = frozenset(exchange for exchange, _ in _SEGMENTS.values())
# The series of an NSE share that trades as shares do; others (warrants, bonds) keep theirs.
_SHARE_SERIES: Final = frozenset({"", "EQ", "BE", "NA"})
_MONTHS: Final = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"
# "BAJAJ-AUTO-Mar2024-9000-CE": what stands before the month is the underlying.
_DERIVATIVE: Final = re.compile(r"(.+?)-(?:[0-9]{1,2})?[A-Za-z]{3}[0-9]{4}-.+", re.ASCII)
_SECURITY_ID: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_ISO_DATE_CHARACTERS: Final = 10
_PAISE_DIGITS: Final = 2
_MAX_SECURITY_ID: Final = 2**32


def parse_master(
    master: BinaryIO,
    passed: PassedOver | None = None,
    exchanges: Container[str] = EXCHANGES,
) -> Iterator[InstrumentRow]:
    """Yield the instruments of the compact CSV, in the file's order, as it is read.

    Args:
        master: the file.
        passed: notes rows that are left out; None: the first one that cannot be used ends the
            reading.
        exchanges: those that the adapter declares; rows of others are left out.

    Raises:
        BrokerProtocolError: not the compact master, larger than any, or a row without a usable id,
            expiry or strike; names the line.
    """

    def read(values: dict[str, str | None]) -> InstrumentRow | LeftOut:
        row = _row(values)
        if isinstance(row, InstrumentRow) and row.exchange not in exchanges:
            return LeftOut(f"{row.exchange} is not on this feed", row.symbol)
        return row

    try:
        yield from usable_rows(master_table(master, _COLUMNS), read, passed)
    except BrokerProtocolError as error:
        raise BrokerProtocolError(f"instruments master: {error}") from error


def _row(values: dict[str, str | None]) -> InstrumentRow | LeftOut:
    market = (values["SEM_EXM_EXCH_ID"] or "", values["SEM_SEGMENT"] or "")
    segment = _SEGMENTS.get(market)
    if segment is None:
        example = values["SEM_TRADING_SYMBOL"] or ""
        return LeftOut(f"unknown segment {market[0][:12]} {market[1][:4]}", example, is_fault=True)
    fields = fields_of(values, _COLUMNS)
    kind = _kind(fields)
    if kind is None:
        what = fields["SEM_INSTRUMENT_NAME"][:20]
        return LeftOut(f"{what} is neither traded nor an index", fields["SEM_TRADING_SYMBOL"])
    exchange, feed_segment = segment
    security_id = fields["SEM_SMST_SECURITY_ID"]
    if not (_SECURITY_ID.fullmatch(security_id) and int(security_id) < _MAX_SECURITY_ID):
        raise BrokerProtocolError(f"bad security id {security_id[:30]!r}")
    expiry = _expiry(fields) if kind in ("FUT", "CE", "PE") else None
    strike = normal_decimal(fields["SEM_STRIKE_PRICE"]) if kind in ("CE", "PE") else ""
    symbol = _symbol(fields, exchange, kind, expiry, strike)
    if not symbol:
        raise BrokerProtocolError("no trading symbol")
    # Of indices in points, else in paise.
    shift = 0 if kind == "INDEX" else _PAISE_DIGITS
    return InstrumentRow(
        exchange=exchange,
        symbol=symbol,
        broker_token=f"{feed_segment}:{int(security_id)}",
        broker_symbol=fields["SEM_TRADING_SYMBOL"],
        name=fields["SM_SYMBOL_NAME"] or fields["SEM_CUSTOM_SYMBOL"],
        expiry=expiry.isoformat() if expiry else "",
        strike=strike,
        lot_size=any_decimal(fields["SEM_LOT_UNITS"] or "0"),
        tick_size=any_decimal(fields["SEM_TICK_SIZE"] or "0", shift=shift),
        instrument_type=kind,
    )


def _kind(fields: dict[str, str]) -> str | None:
    """Return our instrument type; None for what is neither traded nor an index."""
    kind = fields["SEM_INSTRUMENT_NAME"]
    if kind == "EQUITY":
        return "EQ"
    if kind == "INDEX":
        return "INDEX"
    if kind.startswith("FUT"):
        return "FUT"
    if kind.startswith("OPT"):
        side = fields["SEM_OPTION_TYPE"]
        if side not in ("CE", "PE"):
            symbol = fields["SEM_TRADING_SYMBOL"][:40]
            raise BrokerProtocolError(f"option {symbol!r} is neither CE nor PE")
        return side
    return None


def _symbol(
    fields: dict[str, str], exchange: str, kind: str, expiry: date | None, strike: str
) -> str:
    """Return OpenAlgo's name: of a derivative from the columns, never from a name for people."""
    trading_symbol = fields["SEM_TRADING_SYMBOL"]
    if kind == "INDEX":
        return index_symbol(exchange, trading_symbol, fields["SEM_CUSTOM_SYMBOL"])
    if expiry is None:
        series = fields["SEM_SERIES"]
        is_share = fields["SEM_EXM_EXCH_ID"] != "NSE" or series in _SHARE_SERIES
        return trading_symbol if is_share or not trading_symbol else f"{trading_symbol}-{series}"
    match = _DERIVATIVE.fullmatch(trading_symbol)
    underlying = match[1] if match else trading_symbol.partition("-")[0]
    if not underlying:
        raise BrokerProtocolError(f"{trading_symbol[:40]!r} has no underlying")
    month = _MONTHS[3 * expiry.month - 3 : 3 * expiry.month]
    return f"{underlying}{expiry.day:02d}{month}{expiry.year % 100:02d}{strike}{kind}"


def _expiry(fields: dict[str, str]) -> date:
    """Return the day of ``2024-03-28 14:30:00``, or of the day alone."""
    text = fields["SEM_EXPIRY_DATE"]
    try:
        return date.fromisoformat(text[:_ISO_DATE_CHARACTERS])
    except ValueError as error:
        raise BrokerProtocolError(f"bad expiry {text[:20]!r}") from error
