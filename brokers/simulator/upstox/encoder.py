"""Quotes to Upstox's feed messages, and the listing to its master. Pure.

Written from the wire specification alone, by hand; it shares nothing with the adapter's decoder, so
that each is a check on the other. Layout: ``FeedResponse`` of Upstox's MarketDataFeedV3.proto
(protobuf 3: what is zero or empty is left out, fields stand in the order of their numbers).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time
from enum import IntEnum, StrEnum
from itertools import zip_longest
from struct import Struct
from typing import Any

import msgspec

from brokers.simulator.listing import ListedInstrument, Segment
from brokers.simulator.market import Quote
from brokers.times.market_clock import INDIA

__all__ = [
    "FrameType",
    "MarketStatus",
    "UpstoxMode",
    "encode_feed",
    "encode_frame",
    "encode_market_info",
    "encode_master",
    "key_of",
]

_DOUBLE = Struct("<d")
_DAY, _MINUTE = "1d", "I1"
_LEVELS_FULL, _LEVELS_D30 = 5, 30
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

_SEGMENTS = {
    Segment.NSE: "NSE_EQ",
    Segment.BSE: "BSE_EQ",
    Segment.NFO: "NSE_FO",
    Segment.BFO: "BSE_FO",
    Segment.CDS: "NCD_FO",
    Segment.BCD: "BCD_FO",
    Segment.MCX: "MCX_FO",
    Segment.NCO: "NSE_COM",
}
# The exchange of a segment as the master has it.
_EXCHANGES = {"NSE_EQ": "NSE", "NSE_FO": "NSE", "NCD_FO": "NSE", "NSE_COM": "NSE", "MCX_FO": "MCX"}


class UpstoxMode(StrEnum):
    """Upstox's modes, as requests name them."""

    LTPC = "ltpc"
    OPTION_GREEKS = "option_greeks"
    FULL = "full"
    FULL_D30 = "full_d30"


class FrameType(IntEnum):
    """The kinds of a frame."""

    INITIAL_FEED = 0
    LIVE_FEED = 1
    MARKET_INFO = 2


class MarketStatus(IntEnum):
    """States of a segment's market."""

    PRE_OPEN_START = 0
    PRE_OPEN_END = 1
    NORMAL_OPEN = 2
    NORMAL_CLOSE = 3
    CLOSING_START = 4
    CLOSING_END = 5


_REQUEST_MODES = {
    UpstoxMode.LTPC: 0,
    UpstoxMode.FULL: 1,
    UpstoxMode.OPTION_GREEKS: 2,
    UpstoxMode.FULL_D30: 3,
}


def key_of(instrument: ListedInstrument) -> str:
    """Return Upstox's instrument key: segment, bar, and ISIN, index name or exchange token."""
    if instrument.is_index:
        name = instrument.tradingsymbol
        # Upstox writes the names of the NSE's indices as people do, those of others in capitals.
        name = name.title() if instrument.exchange == "NSE" else name
        return f"{instrument.exchange}_INDEX|{name}"
    segment = _SEGMENTS[instrument.segment]
    if instrument.segment in (Segment.NSE, Segment.BSE):
        return f"{segment}|{_isin(instrument)}"
    return f"{segment}|{instrument.exchange_token}"


def encode_feed(quote: Quote, mode: UpstoxMode) -> bytes:
    """Encode one quote as the ``Feed`` of a mode."""
    if mode is UpstoxMode.LTPC:
        feed = _nested(1, _ltpc(quote))
    elif mode is UpstoxMode.OPTION_GREEKS:
        feed = _nested(3, _first_level(quote))
    elif quote.instrument.is_index:
        feed = _nested(2, _nested(2, _nested(1, _ltpc(quote)) + _nested(2, _candles(quote))))
    else:
        count = _LEVELS_D30 if mode is UpstoxMode.FULL_D30 else _LEVELS_FULL
        feed = _nested(2, _nested(1, _market_full(quote, count)))
    return feed + _integer(4, _REQUEST_MODES[mode])


def encode_frame(kind: FrameType, feeds: Mapping[str, bytes], now_ms: int) -> bytes:
    """Put feeds by instrument key into one frame."""
    entries = [
        _nested(2, _nested(1, key.encode()) + _nested(2, feed)) for key, feed in feeds.items()
    ]
    return _integer(1, kind) + b"".join(entries) + _integer(3, now_ms)


def encode_market_info(statuses: Mapping[str, MarketStatus], now_ms: int) -> bytes:
    """Encode the frame that says what the markets of segments are doing."""
    entries = [
        _nested(1, _nested(1, segment.encode()) + _integer(2, status))
        for segment, status in statuses.items()
    ]
    kind = _integer(1, FrameType.MARKET_INFO)
    return kind + _integer(3, now_ms) + _nested(4, b"".join(entries))


def encode_master(instruments: Iterable[ListedInstrument]) -> bytes:
    """Return the instruments as Upstox's master has them: a JSON array, here not yet gzipped."""
    return msgspec.json.encode([_row(item) for item in instruments])


def _ltpc(quote: Quote) -> bytes:
    return (
        _price(1, quote, quote.last_price)
        + _integer(2, quote.last_trade_time * 1000)
        + _integer(3, quote.last_quantity)
        + _price(4, quote, quote.close)
    )


def _market_full(quote: Quote, count: int) -> bytes:
    sides = zip_longest(quote.bids(count), quote.asks(count), fillvalue=(0, 0, 0))
    levels = b"".join(_nested(1, _level(quote, bid, ask)) for bid, ask in sides)
    return (
        _nested(1, _ltpc(quote))
        + _nested(2, levels)
        + _nested(3, b"")
        + _nested(4, _candles(quote))
        + _price(5, quote, quote.average_price)
        + _integer(6, quote.volume)
        + _double(7, float(quote.oi))
        + _double(9, float(quote.total_buy_quantity))
        + _double(10, float(quote.total_sell_quantity))
    )


def _first_level(quote: Quote) -> bytes:
    best = zip(quote.bids()[:1], quote.asks()[:1], strict=True)
    levels = () if quote.instrument.is_index else best
    return (
        _nested(1, _ltpc(quote))
        + b"".join(_nested(2, _level(quote, bid, ask)) for bid, ask in levels)
        + _nested(3, _double(1, 0.51) + _double(2, -3.25))
        + _integer(4, quote.volume)
        + _double(5, float(quote.oi))
        + _double(6, 0.14)
    )


def _level(quote: Quote, bid: tuple[int, int, int], ask: tuple[int, int, int]) -> bytes:
    return (
        _integer(1, bid[1])
        + _price(2, quote, bid[0])
        + _integer(3, ask[1])
        + _price(4, quote, ask[0])
    )


def _candles(quote: Quote) -> bytes:
    """The day's candle, and that of the minute, which here has seen one price."""
    day = quote.exchange_time // 86_400 * 86_400
    return _nested(
        1,
        _nested(1, _DAY.encode())
        + _price(2, quote, quote.open)
        + _price(3, quote, quote.high)
        + _price(4, quote, quote.low)
        + _price(5, quote, quote.last_price)
        + _integer(6, quote.volume)
        + _integer(7, day * 1000),
    ) + _nested(
        1,
        _nested(1, _MINUTE.encode())
        + b"".join(_price(field, quote, quote.last_price) for field in (2, 3, 4, 5))
        + _integer(6, quote.last_quantity)
        + _integer(7, quote.exchange_time // 60 * 60_000),
    )


def _price(field: int, quote: Quote, price: int) -> bytes:
    return _double(field, price / quote.instrument.segment.price_scale)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + _DOUBLE.pack(value) if value else b""


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value) if value else b""


def _nested(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    rest = value % 2**64  # a negative number is its two's complement, ten bytes long
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _isin(item: ListedInstrument) -> str:
    return f"INE{item.exchange_token:09d}"


def _row(item: ListedInstrument) -> dict[str, Any]:
    key = key_of(item)
    segment = key.partition("|")[0]
    row: dict[str, Any] = {
        "segment": segment,
        "name": item.name,
        "exchange": item.exchange if item.is_index else _EXCHANGES.get(segment, "BSE"),
        "instrument_key": key,
        "trading_symbol": item.tradingsymbol,
    }
    if item.is_index:
        return row | {"instrument_type": "INDEX", "name": key.partition("|")[2]}
    row |= {
        "exchange_token": str(item.exchange_token),
        "instrument_type": item.instrument_type,
        "lot_size": item.lot_size,
        "tick_size": item.tick * 100 / item.segment.price_scale,  # in paise
        "freeze_quantity": 100_000.0,
    }
    if item.expiry is None:
        return row | {"isin": _isin(item), "short_name": item.name}
    end = datetime.combine(item.expiry, time(23, 59, 59), INDIA).astimezone(UTC)
    row |= {
        "trading_symbol": _trading_symbol(item),
        "expiry": int(end.timestamp()) * 1000,
        "minimum_lot": item.lot_size,
        "asset_symbol": item.name,
        "underlying_symbol": item.name,
        "weekly": False,
    }
    return row | ({} if item.instrument_type == "FUT" else {"strike_price": item.strike})


def _trading_symbol(item: ListedInstrument) -> str:
    assert item.expiry is not None  # noqa: S101 - asked only of derivatives
    day = f"{item.expiry.day:02d} {_MONTHS[item.expiry.month - 1]} {item.expiry.year % 100:02d}"
    if item.instrument_type == "FUT":
        return f"{item.name} FUT {day}"
    return f"{item.name} {item.strike:g} {item.instrument_type} {day}"
