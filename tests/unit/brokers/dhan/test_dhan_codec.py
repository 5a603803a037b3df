"""Dhan's live feed, against the wire specification's vectors."""

from __future__ import annotations

import json
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.dhan.codec import FeedDecoder, encode_request, encode_single_request
from brokers.dhan.values import Disconnection, to_price, to_prices
from brokers.exceptions import BrokerProtocolError
from brokers.types import DepthLevel, FeedMode, Tick
from tests.unit.brokers.dhan.dhan_vectors import DHAN_VECTORS

TRADED_S = 1_700_000_000  # on the wire
NOW_S = 1_700_000_005
INDIA_S = 19_800
TOKEN = "NSE_EQ:1333"
FRAMES = {name: bytes.fromhex(text) for name, text in DHAN_VECTORS.items()}

BIDS = tuple(DepthLevel(157340 - 5 * at, 100 + at, 1 + at) for at in range(5))
ASKS = tuple(DepthLevel(157370 + 5 * at, 200 + at, 2 + at) for at in range(5))
QUOTE = Tick(
    broker_token=TOKEN,
    mode=FeedMode.QUOTE,
    price_scale=100,
    ltp=157370,
    ltt_ms=(TRADED_S - INDIA_S) * 1000,
    open=156915,
    high=157500,
    low=156105,
    volume=1192471,
    last_trade_quantity=7,
    avg_trade_price=157037,
    total_buy_quantity=256443,
    total_sell_quantity=363009,
)


def changed(kind: str, offset: int, layout: str, *values: float) -> bytes:
    """Return a vector with other values at an offset."""
    frame = bytearray(FRAMES[kind])
    struct.pack_into(layout, frame, offset, *values)
    return bytes(frame)


def packet(code: int, body: bytes, length: int | None = None) -> bytes:
    return struct.pack("<BHBI", code, length or 8 + len(body), 1, 1333) + body


@pytest.fixture
def decoder() -> FeedDecoder:
    return FeedDecoder()


def test_ticker_vector(decoder: FeedDecoder) -> None:
    (tick,) = decoder.decode(FRAMES["ticker"], NOW_S)
    assert tick == Tick(TOKEN, FeedMode.LTP, 100, ltp=157370, ltt_ms=(TRADED_S - INDIA_S) * 1000)
    assert isinstance(tick, Tick)
    assert tick.mode is FeedMode.LTP, "a 1 would be equal"


def test_quote_vector(decoder: FeedDecoder) -> None:
    assert decoder.decode(FRAMES["quote"], NOW_S) == [QUOTE]


FULL = msgspec.structs.replace(
    QUOTE,
    mode=FeedMode.DEPTH,
    oi=54321,
    bid_price=157340,
    ask_price=157370,
    bid_size=100,
    ask_size=200,
    bids=BIDS,
    asks=ASKS,
)


def test_full_vector(decoder: FeedDecoder) -> None:
    assert decoder.decode(FRAMES["full"], NOW_S) == [FULL]


def test_a_best_bid_of_another_size_than_the_scale_is_told(decoder: FeedDecoder) -> None:
    """The vector's best bid is of 100 shares, and its prices are in hundredths."""
    bids = (BIDS[0]._replace(quantity=107), *BIDS[1:])
    assert decoder.decode(changed("full", 62, "<I", 107), NOW_S) == [
        msgspec.structs.replace(FULL, bid_size=107, bids=bids)
    ]


def test_the_book_packet_of_version_1_vector(decoder: FeedDecoder) -> None:
    assert decoder.decode(FRAMES["market_depth_v1"], NOW_S) == [
        Tick(
            broker_token=TOKEN,
            mode=FeedMode.DEPTH,
            price_scale=100,
            ltp=157370,
            bid_price=157340,
            ask_price=157370,
            bid_size=100,
            ask_size=200,
            bids=BIDS,
            asks=ASKS,
        )
    ]


def test_the_disconnection_vector(decoder: FeedDecoder) -> None:
    assert decoder.decode(FRAMES["disconnect"], NOW_S) == [Disconnection(805)]


@pytest.mark.parametrize("kind", ["status", "prev_close", "oi"])
def test_what_is_no_tick_alone_gives_none(decoder: FeedDecoder, kind: str) -> None:
    assert decoder.decode(FRAMES[kind], NOW_S) == []


@pytest.mark.parametrize("code", [0, 1, 7, 99])
def test_codes_without_a_layout_are_passed_over_by_their_length(
    decoder: FeedDecoder, code: int
) -> None:
    frame = packet(code, b"\xff" * 24) + FRAMES["quote"]
    assert decoder.decode(frame, NOW_S) == [QUOTE]


def test_packets_that_are_stacked_in_one_message_are_all_read(decoder: FeedDecoder) -> None:
    """The official client reads the first one only."""
    frame = FRAMES["ticker"] + FRAMES["status"] + FRAMES["full"] + FRAMES["disconnect"]
    first, second, third = decoder.decode(frame, NOW_S)
    assert isinstance(first, Tick)
    assert isinstance(second, Tick)
    assert (first.mode, second.mode, third) == (FeedMode.LTP, FeedMode.DEPTH, Disconnection(805))


def test_the_previous_close_is_that_of_its_own_packet(decoder: FeedDecoder) -> None:
    decoder.watch([TOKEN])
    assert decoder.decode(FRAMES["prev_close"] + FRAMES["quote"], NOW_S) == [with_(QUOTE, 156780)]
    (full,) = decoder.decode(FRAMES["full"], NOW_S)
    assert isinstance(full, Tick)
    assert full.close == 156780


def with_(tick: Tick, close: int | None, oi: int | None = None) -> Tick:
    fields = {name: getattr(tick, name) for name in tick.__struct_fields__}
    return Tick(**(fields | {"close": close, "oi": oi}))


def test_a_close_that_comes_behind_a_quote_gives_it_once_more(decoder: FeedDecoder) -> None:
    decoder.watch([TOKEN])
    decoder.decode(FRAMES["quote"], NOW_S)
    assert decoder.decode(FRAMES["prev_close"], NOW_S) == [with_(QUOTE, 156780)]
    assert decoder.decode(FRAMES["prev_close"], NOW_S) == [], "it is no news"


def test_open_interest_joins_the_quotes_of_its_instrument(decoder: FeedDecoder) -> None:
    oi = changed("oi", 3, "<BI", 1, 1333)
    decoder.watch([TOKEN])
    decoder.decode(FRAMES["quote"], NOW_S)
    assert decoder.decode(oi, NOW_S) == [with_(QUOTE, None, 54321)]
    assert decoder.decode(oi, NOW_S) == []
    assert decoder.decode(FRAMES["quote"], NOW_S) == [with_(QUOTE, None, 54321)]
    decoder.forget([TOKEN])
    assert decoder.decode(FRAMES["quote"], NOW_S) == [QUOTE]


def test_nothing_is_kept_of_what_is_not_watched_nor_of_another_socket(
    decoder: FeedDecoder,
) -> None:
    decoder.decode(FRAMES["prev_close"], NOW_S)
    decoder.watch([TOKEN])
    assert decoder.decode(FRAMES["quote"], NOW_S) == [QUOTE]
    decoder.decode(FRAMES["prev_close"], NOW_S)
    decoder.clear()
    decoder.watch([TOKEN])
    assert decoder.decode(FRAMES["quote"], NOW_S) == [QUOTE]


def test_the_close_of_quotes_can_be_believed() -> None:
    decoder = FeedDecoder(takes_close_from_quotes=True)
    decoder.watch([TOKEN])
    assert decoder.decode(FRAMES["quote"], NOW_S) == [with_(QUOTE, 156780)]
    assert decoder.decode(changed("quote", 38, "<f", 0.0), NOW_S) == [QUOTE]


@pytest.mark.parametrize(
    ("offset", "traded", "expected"),
    [
        (INDIA_S, TRADED_S + INDIA_S, TRADED_S),
        (0, TRADED_S, TRADED_S),
        (0, TRADED_S + INDIA_S, None),  # the other epoch: five and a half hours from now
        (INDIA_S, TRADED_S + INDIA_S + 120, None),
        (INDIA_S, 0, None),
        (INDIA_S, INDIA_S, None),
        (INDIA_S, 1, None),
        (-60, 2**32 - 1, None),
    ],
)
def test_a_time_of_a_trade_follows_its_epoch_and_is_never_in_the_future(
    offset: int, traded: int, expected: int | None
) -> None:
    decoder = FeedDecoder(trade_time_offset_seconds=offset)
    (tick,) = decoder.decode(changed("ticker", 12, "<I", traded), NOW_S)
    assert isinstance(tick, Tick)
    assert tick.ltt_ms == (None if expected is None else expected * 1000)


def test_an_offset_of_more_than_a_day_is_refused() -> None:
    with pytest.raises(ValueError, match="trade_time_offset_seconds"):
        FeedDecoder(trade_time_offset_seconds=86_401)


@pytest.mark.parametrize(
    ("segment", "name", "scale"),
    [
        (0, "IDX_I", 100),
        (1, "NSE_EQ", 100),
        (2, "NSE_FNO", 100),
        (3, "NSE_CURRENCY", 10_000),
        (4, "BSE_EQ", 100),
        (5, "MCX_COMM", 100),
        (6, "NSE_COMM", 100),
        (7, "BSE_CURRENCY", 10_000),
        (8, "BSE_FNO", 100),
    ],
)
def test_every_segment_has_its_scale(
    decoder: FeedDecoder, segment: int, name: str, scale: int
) -> None:
    (tick,) = decoder.decode(changed("ticker", 3, "<BIf", segment, 1333, 84.4875), NOW_S)
    assert isinstance(tick, Tick)
    assert (tick.broker_token, tick.price_scale) == (f"{name}:1333", scale)
    assert tick.ltp == {100: 8449, 10_000: 844875}[scale]


def single(rupees: float) -> float:
    """Return a price as 32 bits have it."""
    value: float = struct.unpack("<f", struct.pack("<f", rupees))[0]
    return value


@given(st.integers(-(131_072 * 100 - 1), 131_072 * 100 - 1))
def test_every_paisa_survives_32_bits_up_to_131072_rupees(paise: int) -> None:
    assert to_prices((single(paise / 100),), 100) == [paise]


@given(st.integers(131_072 * 20 + 1, 524_288 * 20 - 1), st.sampled_from((-1, 1)))
def test_every_tick_of_five_paise_survives_up_to_524288(ticks: int, sign: int) -> None:
    assert to_prices((single(sign * ticks / 20), 1.0), 100) == [sign * ticks * 5, 100]


@given(st.integers(0, 1_024 * 10_000 - 1))
def test_every_hundredth_of_a_paisa_of_a_currency_survives_up_to_1024(price: int) -> None:
    assert to_prices((single(price / 10_000),), 10_000) == [price]


@given(st.integers(1_024 * 400 + 1, 32_768 * 400 - 1))
def test_every_tick_of_a_currency_survives_up_to_32768(ticks: int) -> None:
    assert to_prices((single(ticks / 400),), 10_000) == [ticks * 25]


def test_beyond_it_is_the_nearest_decimal() -> None:
    assert to_prices((single(1_234_567.0), -0.0), 100) == [123_456_700, 0]
    assert to_price(157_340.07, 100) == 15_734_007


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -float("inf"), 3e38, -3e38])
@pytest.mark.parametrize(
    ("kind", "offset"),
    [("ticker", 8), ("prev_close", 8), ("quote", 18), ("quote", 38), ("full", 46), ("full", 78)],
)
def test_what_is_no_price_is_refused(
    decoder: FeedDecoder, kind: str, offset: int, price: float
) -> None:
    with pytest.raises(BrokerProtocolError):
        decoder.decode(changed(kind, offset, "<f", price), NOW_S)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("ticker", {"ltp": 8}),
        ("quote", {"ltp": 8, "avg_trade_price": 18, "open": 34, "high": 42, "low": 46}),
        ("full", {"ltp": 8, "avg_trade_price": 18, "open": 46, "high": 54, "low": 58}),
    ],
)
@pytest.mark.parametrize("zero", [0.0, -0.0, 1e-6])
def test_a_price_of_zero_is_none(
    decoder: FeedDecoder, kind: str, names: dict[str, int], zero: float
) -> None:
    """Each of them alone, and all at once as before the first trade."""
    frame = bytearray(FRAMES[kind])
    (whole,) = decoder.decode(FRAMES[kind], NOW_S)
    assert isinstance(whole, Tick)
    for name, at in names.items():
        (tick,) = decoder.decode(changed(kind, at, "<f", zero), NOW_S)
        assert tick == msgspec.structs.replace(whole, **{name: None})
        struct.pack_into("<f", frame, at, zero)
    (tick,) = decoder.decode(bytes(frame), NOW_S)
    assert tick == msgspec.structs.replace(whole, **dict.fromkeys(names))


def test_a_previous_close_of_zero_is_none(decoder: FeedDecoder) -> None:
    decoder.watch([TOKEN])
    decoder.decode(changed("prev_close", 8, "<f", 0.0), NOW_S)
    assert decoder.decode(FRAMES["quote"], NOW_S) == [QUOTE]
    (tick,) = decoder.decode(FRAMES["prev_close"], NOW_S)
    assert tick == with_(QUOTE, 156780)
    assert decoder.decode(changed("prev_close", 8, "<f", 0.0), NOW_S) == [QUOTE]


def test_a_level_without_a_price_is_none_whatever_its_quantity(decoder: FeedDecoder) -> None:
    (tick,) = decoder.decode(changed("full", 62 + 12, "<f", 0.0), NOW_S)
    assert isinstance(tick, Tick)
    assert (tick.bids, tick.bid_price) == (BIDS[1:], BIDS[1].price)


def test_missing_levels_are_left_out(decoder: FeedDecoder) -> None:
    frame = bytearray(FRAMES["full"])
    for at in range(5):
        struct.pack_into("<I", frame, 62 + 20 * at + 4, 0)
        struct.pack_into("<f", frame, 62 + 20 * at + 16, 0.0)
    (tick,) = decoder.decode(bytes(frame), NOW_S)
    assert isinstance(tick, Tick)
    assert (tick.bids, tick.asks, tick.ask_price, tick.ask_size) == (BIDS, (), None, None)


@pytest.mark.parametrize("kind", list(FRAMES))
def test_a_cut_or_stretched_frame_is_refused(decoder: FeedDecoder, kind: str) -> None:
    frame = FRAMES[kind]
    for broken in (*(frame[:size] for size in range(len(frame))), frame + b"\0"):
        with pytest.raises(BrokerProtocolError):
            decoder.decode(broken, NOW_S)


@pytest.mark.parametrize(
    "frame",
    [
        changed("ticker", 0, "<B", 4),
        changed("ticker", 1, "<H", 8),
        changed("ticker", 1, "<H", 0),
        changed("status", 1, "<H", 0),
        changed("status", 1, "<H", 7),
        changed("ticker", 3, "<B", 10),
        changed("quote", 3, "<B", 9),
        changed("oi", 3, "<B", 255),
        changed("prev_close", 3, "<B", 10),
    ],
)
def test_a_packet_that_contradicts_itself_is_refused(decoder: FeedDecoder, frame: bytes) -> None:
    with pytest.raises(BrokerProtocolError):
        decoder.decode(frame, NOW_S)


def test_a_request_is_what_the_official_client_sends() -> None:
    assert json.loads(encode_request(15, ["NSE_EQ:1333", "BSE_EQ:532540"])) == {
        "RequestCode": 15,
        "InstrumentCount": 2,
        "InstrumentList": [
            {"ExchangeSegment": "NSE_EQ", "SecurityId": "1333"},
            {"ExchangeSegment": "BSE_EQ", "SecurityId": "532540"},
        ],
    }
    assert json.loads(encode_single_request(23, "NSE_EQ:1333")) == {
        "RequestCode": 23,
        "ExchangeSegment": "NSE_EQ",
        "SecurityId": "1333",
    }
