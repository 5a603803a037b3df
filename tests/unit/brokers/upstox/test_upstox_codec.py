"""Upstox's frames, against the wire spec's vectors and a second encoder written by hand."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from brokers.exceptions import BrokerProtocolError
from brokers.simulator.listing import Segment
from brokers.simulator.market import Level, Quote
from brokers.simulator.upstox.encoder import (
    FrameType,
    MarketStatus,
    UpstoxMode,
    encode_feed,
    encode_frame,
    encode_market_info,
    key_of,
)
from brokers.types import DepthLevel, FeedMode, Tick
from brokers.upstox.codec import CHANGE_MODE, UNSUBSCRIBE, decode_frame, encode_request
from tests.fix_simulator import make_market
from tests.unit.brokers.upstox.upstox_vectors import UPSTOX_VECTORS

RELIANCE, NIFTY, OPTION = "NSE_EQ|INE002A01018", "NSE_INDEX|Nifty 50", "NSE_FO|45450"
FRAMES = {name: bytes.fromhex(text) for name, text in UPSTOX_VECTORS.items()}
ALL = dict.fromkeys((RELIANCE, NIFTY, OPTION), FeedMode.DEPTH)
NOW_MS = 1_767_600_000_123
LTP, QUOTE, DEPTH = FeedMode


def message(*fields: tuple[int, bytes | int | float]) -> bytes:
    """Write a protobuf message: bytes are a nested message or a text, floats doubles."""
    written = b""
    for number, value in fields:
        if isinstance(value, bytes):
            written += varint(number << 3 | 2) + varint(len(value)) + value
        elif isinstance(value, float):
            written += varint(number << 3 | 1) + struct.pack("<d", value)
        else:
            written += varint(number << 3) + varint(value)
    return written


def varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + varint(value >> 7)


LTPC = message((1, 2450.55), (2, 1_740_729_552_723), (3, 10), (4, 2441.0))
BOOK = message((1, message((1, 100), (2, 2450.5), (3, 200), (4, 2450.6))))
CANDLES = message((1, message((1, b"1d"), (2, 2440.0), (3, 2460.0), (4, 2435.0))))


def market_feed(*fields: tuple[int, bytes | int | float]) -> bytes:
    return message((2, message((1, message((1, LTPC), *fields)))), (4, 1))


def decode_one(frame: bytes, wanted: Mapping[str, FeedMode] = ALL) -> Tick:
    (tick,) = decode_frame(frame, wanted).ticks
    return tick


def frame_of(key: str, feed: bytes) -> bytes:
    return encode_frame(FrameType.LIVE_FEED, {key: feed}, NOW_MS)


def read(quote: Quote, mode: FeedMode, asked: UpstoxMode = UpstoxMode.FULL) -> Tick:
    key = key_of(quote.instrument)
    return decode_one(frame_of(key, encode_feed(quote, asked)), {key: mode})


def exact(price: int, quote: Quote) -> int:
    return round(Fraction(price, quote.instrument.segment.price_scale) * 10_000)


def a_quote(segment: Segment = Segment.NSE) -> Quote:
    return next(
        quote
        for quote in make_market().quotes.values()
        if quote.instrument.segment is segment and quote.volume
    )


def test_the_vector_of_ltpc() -> None:
    tick = decode_one(FRAMES["ltpc"])
    assert tick == Tick(
        OPTION,
        LTP,
        10_000,
        ltp=2193000,
        ltt_ms=1740729552723,
        ts_event_ms=1740729566039,
        close=4940500,
        last_trade_quantity=75,
    )
    assert tick.mode is LTP, "a 1 would be equal"


def test_the_vector_of_full() -> None:
    prices = range(24505000, 24500000, -500), range(24506000, 24511000, 500)
    sizes = range(100, 105), range(200, 205)
    bids, asks = (
        tuple(DepthLevel(price, size) for price, size in zip(*side, strict=False))
        for side in zip(prices, sizes, strict=True)
    )
    assert asks[4].price == 24508000, "which came as 2450.7999999999997"
    assert decode_one(FRAMES["full"]) == Tick(
        RELIANCE,
        DEPTH,
        10_000,
        ltp=24505500,
        ltt_ms=1740729552723,
        ts_event_ms=1740729566040,
        open=24400000,
        high=24600000,
        low=24350000,
        close=24410000,
        volume=1234567,
        last_trade_quantity=10,
        avg_trade_price=24498000,
        oi=0,
        bid_price=24505000,
        ask_price=24506000,
        bid_size=100,
        ask_size=200,
        total_buy_quantity=11111,
        total_sell_quantity=22222,
        bids=bids,
        asks=asks,
    )


def test_the_vector_of_an_index_holds_no_candle() -> None:
    tick = decode_one(FRAMES["index_full"])
    assert (tick.mode, tick.ltp, tick.close) == (LTP, 234567500, 233800000)
    assert tick.ltt_ms is None


def test_the_vector_of_greeks_is_read_as_far_as_it_goes() -> None:
    tick = decode_one(FRAMES["option_greeks"])
    assert tick == Tick(
        OPTION,
        LTP,
        10_000,
        ltp=2193000,
        ts_event_ms=1740729566042,
        volume=0,
        last_trade_quantity=0,
        oi=100_000,
        bid_price=2192000,
        ask_price=2194000,
        bid_size=75,
        ask_size=150,
    )
    assert tick.mode is LTP, "a 1 would be equal"


def test_the_vector_of_the_markets() -> None:
    decoded = decode_frame(FRAMES["market_info"], ALL)
    assert decoded.statuses == {"MCX_FO": "NORMAL_CLOSE", "NSE_EQ": "NORMAL_OPEN"}
    assert decoded.ticks == []


def test_a_status_that_nobody_knows_keeps_its_number() -> None:
    frame = encode_market_info({"NSE_EQ": MarketStatus.CLOSING_END}, NOW_MS)
    assert decode_frame(frame, ALL).statuses == {"NSE_EQ": "CLOSING_END"}
    unknown = frame.replace(b"\x10\x05", b"\x10\x63")
    assert decode_frame(unknown, ALL).statuses == {"NSE_EQ": "status 99"}


@pytest.mark.parametrize("segment", [each for each in Segment if each is not Segment.INDICES])
def test_every_segments_prices_are_exact(segment: Segment) -> None:
    quote = a_quote(segment)
    tick = read(quote, DEPTH)
    names = ("last_price", "open", "high", "low", "close", "average_price")
    assert [tick.ltp, tick.open, tick.high, tick.low, tick.close, tick.avg_trade_price] == [
        exact(getattr(quote, name), quote) for name in names
    ]
    for side, levels in ((tick.bids, quote.bids()), (tick.asks, quote.asks())):
        assert side == tuple(DepthLevel(exact(price, quote), size) for price, size, _ in levels)
    assert (tick.volume, tick.oi) == (quote.volume, quote.oi)
    assert (tick.total_buy_quantity, tick.total_sell_quantity) == (
        quote.total_buy_quantity,
        quote.total_sell_quantity,
    )


def test_a_tick_holds_what_is_wanted_of_a_frame() -> None:
    quote = a_quote()
    depth, some, last = (read(quote, mode) for mode in (DEPTH, QUOTE, LTP))
    assert (depth.mode, some.mode, last.mode) == (DEPTH, QUOTE, LTP)
    assert some.bids is None
    assert (some.bid_price, some.ask_size) == (depth.bid_price, depth.ask_size)
    assert (some.open, some.volume) == (depth.open, depth.volume)
    assert (last.ltp, last.ltt_ms, last.open) == (depth.ltp, depth.ltt_ms, None)


def test_an_index_has_no_book_and_is_depth_all_the_same() -> None:
    market = make_market()
    quote = next(each for each in market.quotes.values() if each.instrument.is_index)
    tick = read(quote, DEPTH)
    assert (tick.mode, tick.open, tick.bids) == (DEPTH, exact(quote.open, quote), None)
    assert (tick.volume, tick.oi) == (None, None)


def test_every_field_of_an_index_is_where_it_belongs() -> None:
    feed = message((2, message((2, message((1, LTPC), (2, CANDLES))))))
    assert decode_one(frame_of(NIFTY, feed)) == Tick(
        NIFTY,
        DEPTH,
        10_000,
        ltp=24505500,
        ltt_ms=1_740_729_552_723,
        ts_event_ms=NOW_MS,
        open=24400000,
        high=24600000,
        low=24350000,
        close=24410000,
    )


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        (((2, BOOK), (4, CANDLES)), DEPTH),
        (((2, BOOK),), DEPTH),  # the book is what depth is about
        (((2, b""), (4, CANDLES)), DEPTH),  # a book, and empty
        (((4, CANDLES),), QUOTE),
        (((4, message((1, message((1, b"I1"))))),), LTP),
        ((), LTP),
    ],
)
def test_a_frame_that_holds_less_is_a_tick_of_less(fields: Any, mode: FeedMode) -> None:
    tick = decode_one(frame_of(RELIANCE, market_feed(*fields)))
    assert tick.mode is mode
    assert (tick.bids is None) == (mode is not DEPTH)
    assert (tick.open is None) == (CANDLES not in [value for _, value in fields])
    assert tick.ltp == 24505500


def test_what_proto3_leaves_out_is_no_price_and_no_quantity() -> None:
    quote = replace(
        a_quote(),
        last_price=0,
        average_price=0,
        volume=0,
        last_trade_time=0,
        levels=(Level(0, 0, 0),) * 10,
        oi=0,
    )
    tick = read(quote, DEPTH)
    assert (tick.ltp, tick.avg_trade_price, tick.ltt_ms) == (None, None, None)
    assert (tick.volume, tick.oi) == (0, 0)
    assert (tick.bids, tick.asks, tick.bid_price) == ((), (), None)


def test_a_negative_price_is_a_price() -> None:
    quote = replace(a_quote(Segment.MCX), last_price=-3763, low=-3763)
    tick = read(quote, DEPTH)
    assert (tick.ltp, tick.low) == (-376300, -376300)
    assert tick.bids
    assert tick.bids[0].price < 0


def test_many_instruments_share_a_frame_and_strangers_are_told() -> None:
    quotes = list(make_market().quotes.values())[:50]
    feeds = {key_of(each.instrument): encode_feed(each, UpstoxMode.FULL) for each in quotes}
    frame = encode_frame(FrameType.INITIAL_FEED, feeds, NOW_MS)
    keys = list(feeds)
    decoded = decode_frame(frame, dict.fromkeys(keys[1:], QUOTE))
    assert [tick.broker_token for tick in decoded.ticks] == keys[1:]
    assert decoded.strangers == keys[:1]
    assert decoded.levels == [5] * 49
    assert {tick.ts_event_ms for tick in decoded.ticks} == {NOW_MS}


def test_what_a_feed_was_asked_for_as_tells_its_levels() -> None:
    quote = a_quote()
    key = key_of(quote.instrument)
    for asked, levels in zip(UpstoxMode, (0, 0, 5, 30), strict=True):
        decoded = decode_frame(frame_of(key, encode_feed(quote, asked)), {key: DEPTH})
        assert decoded.levels == [levels], asked
    assert decoded.ticks[0].asks == tuple(
        DepthLevel(exact(price, quote), size) for price, size, _ in quote.asks(30)
    )


def test_fields_of_a_newer_schema_are_skipped() -> None:
    """MarketFullFeed 11 to 16 of version 2.30, and a field that nobody has yet."""
    newer = ((11, 1.5), (12, 2.5), (13, 1), (14, 2), (15, 3), (16, 1), (2047, b"ab"))
    feed = market_feed((2, BOOK), (4, CANDLES), *newer)
    older = market_feed((2, BOOK), (4, CANDLES))
    assert decode_one(frame_of(RELIANCE, feed)) == decode_one(frame_of(RELIANCE, older))


@pytest.mark.parametrize(
    "change",
    [
        {"last_quantity": -1},
        {"volume": -5},
        {"last_trade_time": -1},
        {"last_trade_time": 10**13},
        {"levels": (Level(0, -1, 1),) * 10},
        {"oi": -1},
        {"total_buy_quantity": -1},
        {"total_sell_quantity": 2**63},
        {"average_price": 2**70},
    ],
)
def test_impossible_values_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(BrokerProtocolError):
        read(replace(a_quote(), **change), DEPTH)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["000000000000f87f", "000000000000f07f", "000000000000f0ff"])
@pytest.mark.parametrize("tag", [b"\x09", b"I"])
def test_what_is_no_number_is_refused(tag: bytes, value: str) -> None:
    frame = FRAMES["full"]
    at = frame.rindex(tag) if tag == b"I" else frame.index(tag, 30)
    spoiled = frame[: at + 1] + bytes.fromhex(value) + frame[at + 9 :]
    with pytest.raises(BrokerProtocolError):
        decode_frame(spoiled, ALL)


@pytest.mark.parametrize("name", list(FRAMES))
def test_a_truncated_frame_is_refused(name: str) -> None:
    frame = FRAMES[name]
    with pytest.raises(BrokerProtocolError):
        decode_frame(frame[:-1], ALL)


@pytest.mark.parametrize(
    "frame",
    [
        b"\x12\x00" * 10_001,
        message((4, message((1, b"")) * 65)),
        b"\xff" * 40,
        b"\x12\x04\x0a\x02\xff\xfe",  # a key that is no UTF-8
        b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # the time before 1970
    ],
)
def test_what_is_larger_than_any_or_nothing_at_all_is_refused(frame: bytes) -> None:
    with pytest.raises(BrokerProtocolError):
        decode_frame(frame, ALL)


@pytest.mark.parametrize(
    ("field", "most", "words"),
    [(2, 30, "31 levels"), (4, 32, "33 candles")],
)
def test_lists_of_an_instrument_are_bounded(field: int, most: int, words: str) -> None:
    for count in (most, most + 1):
        frame = frame_of(RELIANCE, market_feed((field, message((1, b"")) * count)))
        if count == most:
            assert decode_one(frame).ltp == 24505500
        else:
            with pytest.raises(BrokerProtocolError, match=words):
                decode_frame(frame, ALL)


def test_requests_are_json_in_bytes() -> None:
    request = encode_request(CHANGE_MODE, [RELIANCE], "full", "guid")
    assert json.loads(request) == {
        "guid": "guid",
        "method": "change_mode",
        "data": {"mode": "full", "instrumentKeys": [RELIANCE]},
    }
    ending = json.loads(encode_request(UNSUBSCRIBE, [RELIANCE], "", "guid"))
    assert ending["data"] == {"instrumentKeys": [RELIANCE]}
