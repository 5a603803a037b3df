"""Angel One's frames, against the wire spec's vectors and a second encoder."""

from __future__ import annotations

import json
import struct

import msgspec
import pytest

from brokers.angel.codec import SUBSCRIBE, decode_frame, decode_text, encode_request
from brokers.exceptions import BrokerProtocolError
from brokers.types import DepthLevel, FeedMode, Tick
from tests.unit.brokers.angel.angel_vectors import ANGEL_VECTORS

TIME_MS = 1_700_000_000_123
FRAMES = {name: bytes.fromhex(text) for name, text in ANGEL_VECTORS.items()}
BUY_QUANTITY, SELL_QUANTITY = 75, 83
BOOK, ENTRY = 147, 20


with_ = msgspec.structs.replace


def changed(kind: str, offset: int, layout: str, *values: float) -> bytes:
    """Return a vector with other values at an offset."""
    frame = bytearray(FRAMES[kind])
    struct.pack_into(layout, frame, offset, *values)
    return bytes(frame)


def test_ltp_vector() -> None:
    tick = decode_frame(FRAMES["ltp"])
    assert tick == Tick(
        broker_token="1:2885",
        mode=FeedMode.LTP,
        price_scale=100,
        ltp=245055,
        ts_event_ms=TIME_MS,
    )
    assert tick.mode is FeedMode.LTP, "a 1 would be equal"


QUOTE = Tick(
    broker_token="1:2885",
    mode=FeedMode.QUOTE,
    price_scale=100,
    ltp=245055,
    ts_event_ms=TIME_MS,
    open=244000,
    high=246000,
    low=243500,
    close=244100,
    volume=1234567,
    last_trade_quantity=10,
    avg_trade_price=244980,
    total_buy_quantity=11111,
    total_sell_quantity=22222,
)


def test_quote_vector() -> None:
    assert decode_frame(FRAMES["quote"]) == QUOTE


def test_snap_quote_vector() -> None:
    tick = decode_frame(FRAMES["snap"])
    bids = tuple(DepthLevel(245050 - 5 * at, 100 + at, 1 + at) for at in range(5))
    asks = tuple(DepthLevel(245060 + 5 * at, 200 + at, 2 + at) for at in range(5))
    assert tick == Tick(
        broker_token="2:58662",
        mode=FeedMode.DEPTH,
        price_scale=100,
        ltp=245055,
        ltt_ms=1_700_000_000_000,
        ts_event_ms=TIME_MS,
        open=244000,
        high=246000,
        low=243500,
        close=244100,
        volume=1234567,
        last_trade_quantity=10,
        avg_trade_price=244980,
        oi=54321,
        bid_price=245050,
        bid_size=100,
        ask_price=245060,
        ask_size=200,
        total_buy_quantity=11111,
        total_sell_quantity=22222,
        bids=bids,
        asks=asks,
    )


def test_a_best_bid_of_another_size_than_the_scale_is_told() -> None:
    """The vector's best bid is of 100 shares, and its prices are in hundredths."""
    tick = decode_frame(changed("snap", BOOK + 2, "<q", 107))
    assert (tick.price_scale, tick.bid_size) == (100, 107)


def test_depth_20_vector() -> None:
    """Its first time is the exchange's: the Java client and the documents say so."""
    assert decode_frame(FRAMES["depth20"]) == Tick(
        broker_token="1:2885",
        mode=FeedMode.DEPTH,
        price_scale=100,
        ts_event_ms=TIME_MS,
        bid_price=245050,
        ask_price=245055,
        bid_size=100,
        ask_size=200,
        bids=tuple(DepthLevel(245050 - 5 * at, 100 + at, 1 + at) for at in range(20)),
        asks=tuple(DepthLevel(245055 + 5 * at, 200 + at, 1 + at) for at in range(20)),
    )


@pytest.mark.parametrize(
    ("segment", "scale"),
    [(1, 100), (2, 100), (3, 100), (4, 100), (5, 100), (7, 100), (13, 10_000_000)],
)
def test_every_segment_has_its_scale(segment: int, scale: int) -> None:
    tick = decode_frame(changed("ltp", 1, "<B", segment))
    assert (tick.broker_token, tick.price_scale) == (f"{segment}:2885", scale)


@pytest.mark.parametrize("price", [1, -1, -3763, 2**63 - 1, -(2**63)])
def test_prices_are_signed_and_of_64_bits(price: int) -> None:
    assert decode_frame(changed("ltp", 43, "<q", price)).ltp == price


def test_bytes_behind_the_end_of_a_token_are_no_part_of_it() -> None:
    assert decode_frame(changed("ltp", 7, "<2B", 57, 57)).broker_token == "1:2885"


def test_a_token_may_fill_its_field() -> None:
    frame = bytearray(FRAMES["ltp"])
    frame[2:27] = b"1" * 25
    assert decode_frame(bytes(frame)).broker_token == "1:" + "1" * 25


def test_a_time_of_zero_is_none() -> None:
    frame = bytearray(changed("snap", 35, "<q", 0))
    struct.pack_into("<q", frame, 123, 0)
    tick = decode_frame(bytes(frame))
    assert (tick.ts_event_ms, tick.ltt_ms) == (None, None)


@pytest.mark.parametrize("traded", [1_700_000_000, 1_700_000_000_000])
def test_a_last_trade_may_be_told_in_seconds_or_milliseconds(traded: int) -> None:
    assert decode_frame(changed("snap", 123, "<q", traded)).ltt_ms == 1_700_000_000_000


@pytest.mark.parametrize("kind", ["ltp", "quote", "snap"])
def test_a_price_of_zero_is_none(kind: str) -> None:
    """Each of them alone, and all at once as before the first trade."""
    names = {"ltp": 43}
    if kind != "ltp":
        names |= {"avg_trade_price": 59, "open": 91, "high": 99, "low": 107, "close": 115}
    frame = bytearray(FRAMES[kind])
    whole = decode_frame(FRAMES[kind])
    for name, at in names.items():
        assert decode_frame(changed(kind, at, "<q", 0)) == with_(whole, **{name: None})
        struct.pack_into("<q", frame, at, 0)
    assert decode_frame(bytes(frame)) == with_(whole, **dict.fromkeys(names))


def test_a_level_without_a_price_is_none_whatever_its_quantity() -> None:
    frame = changed("snap", BOOK + 10, "<q", 0)
    tick, whole = decode_frame(frame), decode_frame(FRAMES["snap"])
    assert whole.bids is not None
    assert (tick.bids, tick.asks) == (whole.bids[1:], whole.asks)
    assert tick.bid_price == whole.bids[1].price


def test_missing_levels_are_left_out() -> None:
    frame = bytearray(FRAMES["snap"])
    for at in range(5, 10):
        struct.pack_into("<qqH", frame, BOOK + ENTRY * at + 2, 0, 0, 0)
    tick = decode_frame(bytes(frame))
    assert tick.asks == ()
    assert (tick.ask_price, tick.ask_size) == (None, None)
    assert tick.bids is not None
    assert len(tick.bids) == 5


def test_the_flag_says_which_side_a_level_is_of() -> None:
    """Wherever it stands: here the sells come first."""
    frame = bytearray(FRAMES["snap"])
    book = frame[BOOK : BOOK + 10 * ENTRY]
    frame[BOOK : BOOK + 10 * ENTRY] = book[5 * ENTRY :] + book[: 5 * ENTRY]
    before, after = decode_frame(FRAMES["snap"]), decode_frame(bytes(frame))
    assert (after.bids, after.asks) == (before.bids, before.asks)


def test_the_change_of_open_interest_is_not_looked_at() -> None:
    assert decode_frame(changed("snap", 139, "<d", float("nan"))) == decode_frame(FRAMES["snap"])


def test_a_total_is_cut_to_a_whole_number() -> None:
    assert decode_frame(changed("quote", BUY_QUANTITY, "<d", 12.75)).total_buy_quantity == 12


@pytest.mark.parametrize("kind", list(FRAMES))
def test_a_cut_or_stretched_frame_is_refused(kind: str) -> None:
    frame = FRAMES[kind]
    for broken in (*(frame[:size] for size in range(len(frame))), frame + b"\0"):
        with pytest.raises(BrokerProtocolError):
            decode_frame(broken)


@pytest.mark.parametrize(
    "frame",
    [
        changed("ltp", 0, "<B", 0),
        changed("ltp", 0, "<B", 5),
        changed("ltp", 1, "<B", 0),
        changed("ltp", 1, "<B", 6),
        changed("ltp", 2, "<B", 0),
        changed("ltp", 2, "<B", 0x41),
        changed("ltp", 35, "<q", -1),
        changed("ltp", 35, "<q", 2**62),
        changed("quote", 35, "<q", -1),
        changed("quote", 51, "<q", -1),
        changed("quote", 67, "<q", -1),
        *(
            changed("quote", offset, "<d", value)
            for offset in (BUY_QUANTITY, SELL_QUANTITY)
            for value in (-1.0, float("nan"), float("inf"), float("-inf"), 1e300)
        ),
        changed("snap", 35, "<q", -1),
        changed("snap", 51, "<q", -1),
        changed("snap", 67, "<q", -1),
        changed("snap", 123, "<q", -1),
        changed("snap", 123, "<q", 2**62),
        changed("snap", 131, "<q", -1),
        changed("snap", BOOK, "<H", 2),
        changed("snap", BOOK + 2, "<q", -1),
        changed("snap", BOOK + 9 * ENTRY + 2, "<q", -1),
        changed("depth20", 27, "<q", -1),
        changed("depth20", 43, "<i", -1),
        changed("depth20", 43 + 8, "<h", -1),
    ],
)
def test_values_that_cannot_be_are_refused(frame: bytes) -> None:
    with pytest.raises(BrokerProtocolError):
        decode_frame(frame)


def test_pong_says_nothing() -> None:
    assert decode_text("pong") is None


def test_an_error_carries_its_request() -> None:
    text = (
        '{"correlationID":"abcde12345","errorCode":"E1002",'
        '"errorMessage":"Invalid Request. Subscription Limit Exceeded"}'
    )
    assert decode_text(text) == (
        "abcde12345",
        "E1002",
        "Invalid Request. Subscription Limit Exceeded",
    )
    assert decode_text('{"errorCode":"E1001"}') == ("", "E1001", "")
    assert decode_text('{"errorCode":"E1","correlationID":null,"more":1}') == ("", "E1", "")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"errorCode":1}', "Pong", "[" * 100_000])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(BrokerProtocolError):
        decode_text(text)


def test_a_request_is_what_the_official_client_sends() -> None:
    request = encode_request(SUBSCRIBE, 1, {1: ["2885"]}, "abc1234567")
    assert json.loads(request) == {
        "correlationID": "abc1234567",
        "action": 1,
        "params": {"mode": 1, "tokenList": [{"exchangeType": 1, "tokens": ["2885"]}]},
    }
