"""Fyers' symbol masters in OpenAlgo's names. Pure.

Source of the columns: myapi.fyers.in/docsv3 (symbol master); the files have no header, so that
several of them one behind the other are a master, too. What the socket calls an index stands in
``index_hsm_mapping.json`` and is otherwise its own name, as the official client does it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import BinaryIO, Final

import msgspec

from brokers.exceptions import BrokerProtocolError
from brokers.fyers.constants import FEED_TOPIC, FYTOKEN_SEGMENTS, INDEX_TOPIC, SEGMENT_EXCHANGES
from brokers.masters.decimal_text import any_decimal, normal_decimal
from brokers.masters.index_names import index_symbol
from brokers.masters.text import master_lines
from brokers.passed_over import LeftOut, PassedOver, usable_rows
from brokers.times.market_clock import INDIA
from brokers.types import InstrumentRow

__all__ = ["parse_masters"]

MAX_MAPPING_BYTES: Final = 1024 * 1024
MAX_TOPIC_CHARACTERS: Final = 64
# Where they are in a row; behind the last of them are columns that nobody needs.
_FYTOKEN, _NAME, _LOT, _TICK, _EXPIRY, _TICKER, _UNDERLYING, _STRIKE, _OPTION = (
    *(0, 1, 3, 4, 8, 9, 13, 15, 16),
)
_LEAST_COLUMNS: Final = _OPTION + 1
_TOKEN_AT: Final = 10  # behind four digits of the segment and six of the expiry
_MAX_FYTOKEN: Final = 30

_INDEX_SUFFIX: Final = "-INDEX"
_INDEX_EXCHANGES: Final = {"NSE": "NSE_INDEX", "BSE": "BSE_INDEX"}
# Used where the mapping has not come with the masters.
_INDEX_NAMES: Final = {
    "NSE:NIFTY50-INDEX": "Nifty 50",
    "NSE:NIFTYBANK-INDEX": "Nifty Bank",
    "NSE:FINNIFTY-INDEX": "Nifty Fin Service",
    "NSE:MIDCPNIFTY-INDEX": "NIFTY MID SELECT",
    "NSE:NIFTYNXT50-INDEX": "Nifty Next 50",
    "NSE:INDIAVIX-INDEX": "India VIX",
}
# The series of an NSE share that trades as shares do; others (bonds, funds) keep theirs.
_SHARE_SERIES: Final = ("-EQ", "-BE")
# Not strftime: its month names follow the locale.
_MONTHS: Final = (
    *("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
)
_SHARE_SEGMENTS: Final = ("nse_cm", "bse_cm")
_LATEST: Final = 253_402_214_399  # a day before datetime ends, for the day in India

_MAPPING: Final = msgspec.json.Decoder(dict[str, str])


def parse_masters(
    masters: Sequence[BinaryIO], passed: PassedOver | None = None
) -> Iterator[InstrumentRow]:
    """Yield the instruments of all symbol masters, in order, as they are read.

    Args:
        masters: one of them may be the mapping of index names, wherever it stands.
        passed: notes rows of segments that the adapter does not declare, underlyings that are not
            traded, and rows that cannot be used; None: the first of the latter ends the reading.

    Raises:
        BrokerProtocolError: a file is neither, or has a row without a usable token, expiry or
            strike; names the line.
    """
    names: dict[str, str] = dict(_INDEX_NAMES)
    tables: list[BinaryIO] = []
    for master in masters:
        head = master.read(1)
        master.seek(-len(head), 1)
        if head == b"{":
            names |= _mapping(master)
        else:
            tables.append(master)
    for table in tables:
        yield from _rows(table, names, passed)


def _mapping(master: BinaryIO) -> Mapping[str, str]:
    data = master.read(MAX_MAPPING_BYTES + 1)
    try:
        if len(data) > MAX_MAPPING_BYTES:
            raise BrokerProtocolError("index names: too large")
        return _MAPPING.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BrokerProtocolError(f"index names: {error}") from error


def _rows(
    master: BinaryIO, names: Mapping[str, str], passed: PassedOver | None
) -> Iterator[InstrumentRow]:
    def read(row: Sequence[str]) -> InstrumentRow | LeftOut:
        return _instrument(row, names)

    try:
        yield from usable_rows(_lines(master), read, passed)
    except BrokerProtocolError as error:
        raise BrokerProtocolError(f"symbol master: {error}") from error


def _lines(master: BinaryIO) -> Iterator[tuple[str, list[str]]]:
    reader = csv.reader(master_lines(master))
    try:
        for row in reader:
            yield f"line {reader.line_num}", row
    except csv.Error as error:
        raise BrokerProtocolError(f"line {reader.line_num}: {error}") from error


def _instrument(row: Sequence[str], names: Mapping[str, str]) -> InstrumentRow | LeftOut:
    if len(row) < _LEAST_COLUMNS:
        raise BrokerProtocolError(f"{len(row)} columns")
    fytoken, ticker = row[_FYTOKEN].strip(), row[_TICKER].strip()
    if not (fytoken.isascii() and fytoken.isdigit() and _TOKEN_AT < len(fytoken) <= _MAX_FYTOKEN):
        raise BrokerProtocolError(f"bad fytoken {fytoken[:40]!r}")
    segment = FYTOKEN_SEGMENTS.get(fytoken[:4])
    if segment is None:
        return LeftOut(f"unknown segment {fytoken[:4]}", ticker, is_fault=True)
    exchange, _, name = ticker.partition(":")
    if not name:
        raise BrokerProtocolError(f"bad symbol {ticker[:40]!r}")
    if name.endswith(_INDEX_SUFFIX):
        return _index(row, segment, exchange, names)
    kind, expiry = _kind(row, name)
    if kind == "EQ" and segment not in _SHARE_SEGMENTS:
        return LeftOut("the underlying of derivatives is not traded", ticker)
    return InstrumentRow(
        exchange=SEGMENT_EXCHANGES[segment],
        symbol=_symbol(row, name, exchange, kind, expiry),
        broker_token=f"{FEED_TOPIC}|{segment}|{fytoken[_TOKEN_AT:]}",
        broker_symbol=ticker,
        name=row[_NAME].strip(),
        expiry=expiry.isoformat() if expiry else "",
        strike=normal_decimal(row[_STRIKE].strip()) if kind in ("CE", "PE") else "",
        lot_size=any_decimal(row[_LOT].strip() or "0"),
        tick_size=any_decimal(row[_TICK].strip() or "0"),
        instrument_type=kind,
    )


def _index(
    row: Sequence[str], segment: str, exchange: str, names: Mapping[str, str]
) -> InstrumentRow | LeftOut:
    ticker = row[_TICKER].strip()
    own = ticker.partition(":")[2].removesuffix(_INDEX_SUFFIX)
    name = names.get(ticker) or own
    # More is no name of a topic: it has one byte for its length, and bars between its parts.
    fits = name.isascii() and name.isprintable() and len(name) <= MAX_TOPIC_CHARACTERS
    if not (own.strip() and fits) or "|" in name:
        raise BrokerProtocolError(f"bad index {ticker[:40]!r}")
    market = _INDEX_EXCHANGES.get(exchange)
    if market is None:
        return LeftOut(f"indices of {exchange[:20]} have no name", ticker)
    return InstrumentRow(
        exchange=market,
        symbol=index_symbol(market, own, name),
        broker_token=f"{INDEX_TOPIC}|{segment}|{name}",
        broker_symbol=ticker,
        name=row[_NAME].strip(),
        expiry="",
        strike="",
        lot_size=any_decimal(row[_LOT].strip() or "0"),
        tick_size=any_decimal(row[_TICK].strip() or "0"),
        instrument_type="INDEX",
    )


def _kind(row: Sequence[str], name: str) -> tuple[str, date | None]:
    """Return our instrument type, and the expiry of a derivative."""
    option, expiry = row[_OPTION].strip(), row[_EXPIRY].strip()
    if option in ("CE", "PE"):
        return option, _date(expiry)
    if name.endswith("FUT") and expiry:
        return "FUT", _date(expiry)
    return "EQ", None


def _symbol(row: Sequence[str], name: str, exchange: str, kind: str, expiry: date | None) -> str:
    if expiry is None:
        # A share of the BSE ends in its group, as in RELIANCE-A, which is no part of its name.
        if exchange == "BSE":
            return name.rpartition("-")[0] or name
        return name.removesuffix(next((s for s in _SHARE_SERIES if name.endswith(s)), ""))
    underlying = row[_UNDERLYING].strip()
    if not underlying:
        raise BrokerProtocolError(f"{name[:40]!r} has no underlying")
    strike = normal_decimal(row[_STRIKE].strip()) if kind != "FUT" else ""
    day = f"{expiry.day:02d}{_MONTHS[expiry.month - 1]}{expiry.year % 100:02d}"
    return f"{underlying}{day}{strike}{kind}"


def _date(text: str) -> date:
    """Return the day in India of a moment in epoch seconds."""
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and 0 < int(text) <= _LATEST):
        raise BrokerProtocolError(f"bad expiry {text[:20]!r}")
    return datetime.fromtimestamp(int(text), UTC).astimezone(INDIA).date()
