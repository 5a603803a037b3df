"""Kite frames, against Zerodha's own packets, the wire spec's vectors and a second encoder."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.exceptions import BrokerProtocolError
from brokers.testing import (
    kite_frame,
    kite_full,
    kite_index_full,
    kite_index_quote,
    kite_ltp,
    kite_quote,
)
from brokers.types import DepthLevel, FeedMode, InstrumentKey, Tick
from brokers.zerodha.codec import decode_frame, decode_text, encode_mode, encode_subscribe
from streaming.wire.tick_json import encode_tick
from tests.support import SHARED_DATA

QUOTE_HEX = (
    "0001002c00063a01000266ba000000070002656d001232170003e9bb00058a01"
    "000264f30002673c000261c90002646c"
)
FULL_HEX = (
    "000100b800063a01000266ba000000070002656d001232170003e9bb00058a01000264f30002673c000261c9"
    "0002646c60e2947f00000000000000000000000060e2947f000000050002669c000100000000008c00026674"
    "00020000000000020002666f00010000000000db0002666a0007000000000032000266650001000000"
    "0000ac000266ba000300000000002c000266bf000300000000012e000266c9000300000000008d000266ce"
    "00020000000002d4000266d300050000"
)
INDEX_QUOTE_HEX = "0001001c0003e9090023cacb0023dbb000238d9a0023b4a00023acd000001dfb"
INDEX_FULL_HEX = "000100200003e9090023cacb0023dbb000238d9a0023b4a00023acd000001dfb60e2947f"

INFY = 408065
NIFTY = 256265
TIME_MS = 1_625_461_887_000


def only_tick(frame: bytes) -> Tick:
    ticks, skipped = decode_frame(frame)
    assert skipped == 0
    (tick,) = ticks
    return tick


def test_ltp_vector() -> None:
    tick = only_tick(bytes.fromhex("0001000800063a01000266ba"))
    assert tick == Tick(broker_token=INFY, mode=FeedMode.LTP, price_scale=100, ltp=157370)
    assert tick.mode is FeedMode.LTP, "a 1 would be equal"


def test_quote_vector() -> None:
    assert only_tick(bytes.fromhex(QUOTE_HEX)) == Tick(
        broker_token=INFY,
        mode=FeedMode.QUOTE,
        price_scale=100,
        ltp=157370,
        last_trade_quantity=7,
        avg_trade_price=157037,
        volume=1192471,
        total_buy_quantity=256443,
        total_sell_quantity=363009,
        open=156915,
        high=157500,
        low=156105,
        close=156780,
    )


def test_full_vector() -> None:
    assert only_tick(bytes.fromhex(FULL_HEX)) == Tick(
        broker_token=INFY,
        mode=FeedMode.DEPTH,
        price_scale=100,
        ltp=157370,
        ltt_ms=TIME_MS,
        ts_event_ms=TIME_MS,
        last_trade_quantity=7,
        avg_trade_price=157037,
        volume=1192471,
        total_buy_quantity=256443,
        total_sell_quantity=363009,
        open=156915,
        high=157500,
        low=156105,
        close=156780,
        oi=0,
        bid_price=157340,
        bid_size=5,
        ask_price=157370,
        ask_size=172,
        bids=(
            DepthLevel(157340, 5, 1),
            DepthLevel(157300, 140, 2),
            DepthLevel(157295, 2, 1),
            DepthLevel(157290, 219, 7),
            DepthLevel(157285, 50, 1),
        ),
        asks=(
            DepthLevel(157370, 172, 3),
            DepthLevel(157375, 44, 3),
            DepthLevel(157385, 302, 3),
            DepthLevel(157390, 141, 2),
            DepthLevel(157395, 724, 5),
        ),
    )


def test_every_field_of_a_full_packet_is_where_it_belongs() -> None:
    """The vector's two times are the same."""
    quote = kite_quote(
        INFY, 1, last_quantity=2, average=3, volume=4, buy=5, sell=6, ohlc=(7, 8, 9, 10)
    )
    body = kite_full(
        quote,
        traded=11,
        oi=12,
        oi_high=13,
        oi_low=14,
        timestamp=15,
        bids=[(16, 17, 18)],
        asks=[(19, 20, 21)],
    )
    assert only_tick(kite_frame(body)) == Tick(
        broker_token=INFY,
        mode=FeedMode.DEPTH,
        price_scale=100,
        ltp=1,
        ltt_ms=11_000,
        ts_event_ms=15_000,
        open=7,
        high=8,
        low=9,
        close=10,
        volume=4,
        last_trade_quantity=2,
        avg_trade_price=3,
        oi=12,
        bid_price=16,
        ask_price=19,
        bid_size=17,
        ask_size=20,
        total_buy_quantity=5,
        total_sell_quantity=6,
        bids=(DepthLevel(16, 17, 18),),
        asks=(DepthLevel(19, 20, 21),),
    )


@pytest.mark.parametrize(
    ("frame", "mode", "ts_event_ms"),
    [(INDEX_QUOTE_HEX, FeedMode.QUOTE, None), (INDEX_FULL_HEX, FeedMode.DEPTH, TIME_MS)],
)
def test_index_vectors(frame: str, mode: FeedMode, ts_event_ms: int | None) -> None:
    """An index has high, low, open, close in this order, and neither volume nor depth."""
    assert only_tick(bytes.fromhex(frame)) == Tick(
        broker_token=NIFTY,
        mode=mode,
        price_scale=100,
        ltp=2345675,
        ts_event_ms=ts_event_ms,
        open=2340000,
        high=2350000,
        low=2330010,
        close=2338000,
    )


@pytest.mark.parametrize(
    ("frame", "price", "scale"),
    [
        ("0001000800270f0331a01618", 832575000, 10_000_000),  # CDS
        ("0001000800270f06000cb43f", 832575, 10_000),  # BCD
        ("0001000800270f0c0012d644", 1234500, 10_000),  # NCO
    ],
)
def test_divisor_vectors(frame: str, price: int, scale: int) -> None:
    tick = only_tick(bytes.fromhex(frame))
    assert (tick.ltp, tick.price_scale) == (price, scale)


@pytest.mark.parametrize("segment", range(256))
def test_every_segment_has_its_divisor(segment: int) -> None:
    expected = {3: 10_000_000, 6: 10_000, 12: 10_000}.get(segment, 100)
    token = 7 << 8 | segment
    bodies = [
        kite_ltp(token, 5),
        kite_quote(token, 5),
        kite_full(kite_quote(token, 5)),
        kite_index_quote(token, 5, ohlc=(1, 2, 3, 4)),
    ]
    ticks, _ = decode_frame(kite_frame(*bodies))
    assert [tick.price_scale for tick in ticks] == [expected] * 4


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="recorded data is not at hand")
@pytest.mark.parametrize("kind", ["full", "quote"])
def test_zerodhas_own_packets(kind: str) -> None:
    """The values that Zerodha publishes for its packets are ours."""
    body = base64.b64decode((SHARED_DATA / f"kite_ticker_{kind}.packet").read_text())
    told = json.loads((SHARED_DATA / f"kite_ticker_{kind}.json").read_text())
    tick = only_tick(kite_frame(body))
    assert tick.broker_token == told["instrument_token"]
    prices = {
        "ltp": told["last_price"],
        "avg_trade_price": told["average_price"],
        **told["ohlc"],
    }
    for field, price in prices.items():
        assert getattr(tick, field) == round(price * 100), field
    assert tick.volume == told["volume"]
    assert tick.last_trade_quantity == told["last_quantity"]
    assert tick.total_buy_quantity == told["buy_quantity"]
    assert tick.total_sell_quantity == told["sell_quantity"]
    if kind == "full":
        assert tick.ts_event_ms == tick.ltt_ms == TIME_MS
        assert tick.oi == told["oi"]
        for side, levels in (("buy", tick.bids), ("sell", tick.asks)):
            assert levels == tuple(
                (round(level["price"] * 100), level["quantity"], level["orders"])
                for level in told["depth"][side]
            )


def test_several_packets_in_one_frame_keep_their_order() -> None:
    ticks, _ = decode_frame(
        kite_frame(
            kite_ltp(INFY, 1),
            kite_index_quote(NIFTY, 2, ohlc=(1, 2, 3, 4)),
            kite_full(kite_quote(INFY, 3)),
        )
    )
    assert [(tick.broker_token, tick.mode, tick.ltp) for tick in ticks] == [
        (INFY, FeedMode.LTP, 1),
        (NIFTY, FeedMode.QUOTE, 2),
        (INFY, FeedMode.DEPTH, 3),
    ]


def test_unknown_lengths_are_skipped_and_counted() -> None:
    """A packet kind of the future costs nothing but itself."""
    ticks, skipped = decode_frame(kite_frame(b"x" * 64, kite_ltp(INFY, 1), b""))
    assert skipped == 2
    assert [tick.ltp for tick in ticks] == [1]


@pytest.mark.parametrize("frame", [b"", b"\0", b"\x01"])
def test_a_frame_below_two_bytes_is_a_heartbeat(frame: bytes) -> None:
    assert decode_frame(frame) == ([], 0)


def test_a_negative_price_stays_unsigned() -> None:
    """As the official client reads it; the protocol has no negative prices."""
    tick = only_tick(kite_frame(kite_ltp(INFY, 2**32 - 3763)))
    assert tick.ltp == 4294963533


def test_absent_times_and_levels_are_left_out() -> None:
    body = kite_full(kite_quote(INFY, 0), bids=[(100, 5, 1)])
    tick = only_tick(kite_frame(body))
    assert tick.ltt_ms is None
    assert tick.ts_event_ms is None
    assert tick.bids == (DepthLevel(100, 5, 1),)
    assert tick.asks == ()
    assert (tick.bid_price, tick.bid_size) == (100, 5)
    assert (tick.ask_price, tick.ask_size) == (None, None)


def test_a_level_without_a_price_is_none_whatever_its_quantity() -> None:
    """So are the market orders of the hour before the market: no price is not a price of 0."""
    tick = only_tick(kite_frame(kite_full(kite_quote(INFY, 1), asks=[(0, 5, 1), (101, 2, 1)])))
    assert tick.asks == (DepthLevel(101, 2, 1),)
    assert (tick.ask_price, tick.ask_size) == (101, 2)


def test_before_the_first_trade_there_is_a_close_and_nothing_is_made_of_it() -> None:
    body = kite_quote(INFY, 0, volume=0, ohlc=(0, 0, 0, 1_500_000))
    for packet, mode in ((body, FeedMode.QUOTE), (kite_full(body), FeedMode.DEPTH)):
        tick = only_tick(kite_frame(packet))
        assert (tick.ltp, tick.avg_trade_price) == (None, None)
        assert (tick.open, tick.high, tick.low, tick.close) == (None, None, None, 1_500_000)
        said = json.loads(encode_tick("zerodha", InstrumentKey("NSE", "INFY"), tick))
        assert said["mode"] == mode
        assert said["data"].pop("close") == 15000.0
        prices = {"ltp", "open", "high", "low", "change", "change_percent", "avg_trade_price"}
        assert prices.isdisjoint(said["data"])
        assert said["data"]["volume"] == 0


@pytest.mark.parametrize("at", range(6))
def test_each_price_of_zero_is_none_alone(at: int) -> None:
    values = [11, 12, 13, 14, 15, 16]
    values[at] = 0
    ltp, average, *ohlc = values
    quote = kite_quote(INFY, ltp, average=average, ohlc=tuple(ohlc))  # type: ignore[arg-type]
    for packet in (quote, kite_full(quote)):
        tick = only_tick(kite_frame(packet))
        seen = (tick.ltp, tick.avg_trade_price, tick.open, tick.high, tick.low, tick.close)
        assert [price or 0 for price in seen] == values
        assert seen[at] is None


def test_an_index_without_a_price_has_none() -> None:
    quote = kite_index_quote(NIFTY, 0, ohlc=(0, 0, 0, 4))
    for packet in (quote, kite_index_full(quote, timestamp=9)):
        tick = only_tick(kite_frame(packet))
        assert (tick.ltp, tick.open, tick.high, tick.low, tick.close) == (None, None, None, None, 4)
    assert only_tick(kite_frame(kite_ltp(NIFTY, 0))).ltp is None


ALL_KINDS = kite_frame(
    kite_ltp(INFY, 1),
    kite_quote(INFY, 1),
    kite_full(kite_quote(INFY, 1), bids=[(1, 2, 3)]),
    kite_index_quote(NIFTY, 1, ohlc=(1, 2, 3, 4)),
    kite_index_full(kite_index_quote(NIFTY, 1, ohlc=(1, 2, 3, 4)), timestamp=9),
)


@pytest.mark.parametrize("size", range(2, len(ALL_KINDS)))
def test_a_frame_cut_anywhere_is_refused(size: int) -> None:
    with pytest.raises(BrokerProtocolError, match=f"frame of {size} bytes ends"):
        decode_frame(ALL_KINDS[:size])


@pytest.mark.parametrize("missing", range(1, 9))
@pytest.mark.parametrize("known", [kite_ltp(INFY, 1), b"\0" * 9])
def test_a_cut_packet_is_refused_whether_its_kind_is_known_or_not(
    known: bytes, missing: int
) -> None:
    """Also where more packets should follow: nothing is read beyond the frame's end."""
    for bodies in ([known], [known, known]):
        frame = kite_frame(*bodies)
        cut = frame[: -(missing + (len(known) + 2) * (len(bodies) - 1))]
        with pytest.raises(BrokerProtocolError, match=f"ends inside a packet of {len(known)}"):
            decode_frame(cut)


def test_bytes_behind_the_last_packet_are_refused() -> None:
    with pytest.raises(BrokerProtocolError, match="has 1 after its packets"):
        decode_frame(ALL_KINDS + b"\0")


@given(st.binary(max_size=600))
def test_random_bytes_decode_or_raise_our_error(frame: bytes) -> None:
    with contextlib.suppress(BrokerProtocolError):
        decode_frame(frame)


@given(st.binary(max_size=300).map(lambda body: kite_frame(body[:184], body[184:228])))
def test_random_bodies_hold_only_integers(frame: bytes) -> None:
    """No float stands anywhere in a decoded tick: prices are exact until they are encoded."""
    for tick in decode_frame(frame).ticks:
        for value in msgspec.structs.astuple(tick):
            assert not isinstance(value, float)


u32 = st.integers(0, 2**32 - 1)
some = st.integers(1, 2**32 - 1)
level = st.tuples(some, u32, st.integers(0, 2**16 - 1))
sides = st.lists(level, max_size=5)


@settings(max_examples=200)
@given(st.data())
def test_what_is_encoded_comes_back(data: st.DataObject) -> None:
    """decode(encode(x)) is x, for the richest packet."""
    values = {name: data.draw(u32, name) for name in ("last_quantity", "average", "volume")}
    ohlc = data.draw(st.tuples(u32, u32, u32, u32))
    token, ltp, buy, sell, oi = (data.draw(u32) for _ in range(5))
    traded, timestamp = data.draw(u32), data.draw(u32)
    bids, asks = data.draw(sides), data.draw(sides)
    quote = kite_quote(token, ltp, buy=buy, sell=sell, ohlc=ohlc, **values)
    body = kite_full(quote, traded=traded, oi=oi, timestamp=timestamp, bids=bids, asks=asks)
    tick = only_tick(kite_frame(body))
    assert (tick.broker_token, tick.ltp or 0, tick.oi) == (token, ltp, oi)
    assert (tick.open or 0, tick.high or 0, tick.low or 0, tick.close or 0) == ohlc
    counted = (tick.last_trade_quantity, tick.avg_trade_price or 0, tick.volume)
    assert counted == tuple(values.values())
    assert (tick.total_buy_quantity, tick.total_sell_quantity) == (buy, sell)
    assert (tick.ltt_ms or 0, tick.ts_event_ms or 0) == (traded * 1000, timestamp * 1000)
    assert tick.bids == tuple(bids)
    assert tick.asks == tuple(asks)


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "x",
        "[]",
        "1",
        "null",
        "{}",
        '{"type":1}',
        '{"type":"error","data":{}}',
        '{"type":"error"}',
        '{"type":"message","data":7}',
        '{"type":"order","data":"no"}',
        '{"type":"order"',
        "[" * 100_000,
        "\ud800",
    ],
)
def test_a_broken_text_frame_is_refused(frame: str) -> None:
    with pytest.raises(BrokerProtocolError):
        decode_text(frame)


@given(st.text(max_size=200))
def test_random_text_decodes_or_raises_our_error(frame: str) -> None:
    with contextlib.suppress(BrokerProtocolError):
        decode_text(frame)


def test_requests_look_like_the_documents() -> None:
    assert encode_subscribe([INFY, NIFTY]) == '{"a":"subscribe","v":[408065,256265]}'
    expected: dict[str, Any] = {"a": "mode", "v": ["full", [INFY]]}
    assert json.loads(encode_mode(FeedMode.DEPTH, [INFY])) == expected
