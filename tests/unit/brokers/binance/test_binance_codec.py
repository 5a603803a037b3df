"""Binance's streams merged into ticks: values, order of trust, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.binance.codec import BinanceCodec, encode_request, stream_names
from brokers.exceptions import BrokerProtocolError
from brokers.types import DepthLevel, FeedMode, Tick

SYMBOL = "btcusdt"
UNIT = 10**8

BOOK = {"u": 10, "s": "BTCUSDT", "b": "25.3519", "B": "31.21", "a": "25.3652", "A": "40.66"}
TRADE = {
    "e": "aggTrade",
    "E": 1700000000200,
    "s": "BTCUSDT",
    "a": 1,
    "p": "25.36000000",
    "q": "0.50000000",
    "f": 1,
    "l": 2,
    "T": 1700000000100,
    "m": True,
    "M": True,
}
TICKER = {
    "e": "24hrTicker",
    "E": 1700000001000,
    "s": "BTCUSDT",
    "p": "-0.5",
    "P": "-2.0",
    "w": "25.4",
    "x": "25.8",
    "c": "25.37",
    "Q": "3",
    "b": "1",
    "B": "1",
    "a": "1",
    "A": "1",
    "o": "25.87",
    "h": "26",
    "l": "25",
    "v": "1000.5",
    "q": "25000",
    "O": 1,
    "C": 2,
    "F": 0,
    "L": 1,
    "n": 2,
}
DEPTH = {
    "lastUpdateId": 20,
    "bids": [["25.35", "10"], ["25.34", "0.00000000"]],
    "asks": [["25.36", "100"]],
}


def raw(payload: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(payload))


def decode(codec: BinanceCodec, kind: str, payload: object) -> Tick:
    tick = codec.decode(f"{SYMBOL}@{kind}", raw(payload))
    assert tick is not None
    return tick


@pytest.fixture
def codec() -> BinanceCodec:
    codec = BinanceCodec()
    codec.track(SYMBOL, FeedMode.DEPTH, 5)
    return codec


def quotes() -> BinanceCodec:
    codec = BinanceCodec()
    codec.track(SYMBOL, FeedMode.QUOTE, 5)
    return codec


def test_a_book_ticker_alone_holds_nothing_else() -> None:
    """Spot sends no time with it, and no price was seen yet."""
    assert decode(quotes(), "bookTicker", BOOK) == Tick(
        broker_token=SYMBOL,
        mode=FeedMode.QUOTE,
        price_scale=UNIT,
        quantity_scale=UNIT,
        bid_price=2535190000,
        bid_size=3121000000,
        ask_price=2536520000,
        ask_size=4066000000,
    )


NONE = "0.00000000"


def test_a_price_of_zero_is_none_and_takes_its_quantity_along() -> None:
    """As of a symbol that is listed and was never traded."""
    codec = quotes()
    tick = decode(codec, "ticker", {**TICKER, **dict.fromkeys("cohlwQv", NONE)})
    assert (tick.ltp, tick.open, tick.high, tick.low, tick.close) == (None,) * 5
    assert (tick.avg_trade_price, tick.volume) == (None, 0)
    tick = decode(codec, "bookTicker", {**BOOK, "a": NONE, "A": NONE})
    assert (tick.bid_price, tick.bid_size) == (2535190000, 3121000000)
    assert (tick.ask_price, tick.ask_size) == (None, None)
    assert decode(codec, "aggTrade", TRADE).ltp == 2536000000
    later = {**TICKER, "E": TRADE["E"] + 10_000, "c": NONE}  # type: ignore[operator]
    assert decode(codec, "ticker", later).ltp == 2536000000, "no price is no news"


def test_a_level_without_a_price_is_none(codec: BinanceCodec) -> None:
    tick = decode(codec, "depth5@100ms", {**DEPTH, "asks": [[NONE, "5"], ["25.36", "100"]]})
    assert tick.asks == (DepthLevel(2536000000, 100 * UNIT, None),)


def test_an_agg_trade_alone() -> None:
    codec = BinanceCodec()
    codec.track(SYMBOL, FeedMode.LTP, 5)
    assert decode(codec, "aggTrade", TRADE) == Tick(
        broker_token=SYMBOL,
        mode=FeedMode.LTP,
        price_scale=UNIT,
        quantity_scale=UNIT,
        ltp=2536000000,
        last_trade_quantity=UNIT // 2,
        ltt_ms=1700000000100,
        ts_event_ms=1700000000200,
    )


def test_the_ticker_gives_the_day_and_its_open_as_close() -> None:
    tick = decode(quotes(), "ticker", TICKER)
    assert (tick.open, tick.high, tick.low) == (2587000000, 26 * UNIT, 25 * UNIT)
    assert tick.close == tick.open
    assert tick.ltp is not None
    assert tick.ltp - (tick.close or 0) == -UNIT // 2, "Binance's own change"
    assert (tick.volume, tick.avg_trade_price) == (100050000000, 2540000000)
    assert tick.ts_event_ms == 1700000001000


def test_later_frames_carry_what_earlier_ones_said() -> None:
    codec = quotes()
    decode(codec, "ticker", TICKER)
    decode(codec, "aggTrade", {**TRADE, "E": 1700000001500, "T": 1700000001400})
    tick = decode(codec, "bookTicker", BOOK)
    assert tick.ltp == 2536000000
    assert tick.ltt_ms == 1700000001400
    assert tick.open == 2587000000
    assert tick.bid_price == 2535190000
    assert tick.ts_event_ms is None, "an older frame's time is not this frame's"


def test_a_futures_book_ticker_has_its_time() -> None:
    tick = decode(quotes(), "bookTicker", {**BOOK, "e": "bookTicker", "T": 5, "E": 7})
    assert tick.ts_event_ms == 7


def test_an_older_ticker_does_not_undo_a_trade() -> None:
    codec = quotes()
    decode(codec, "aggTrade", {**TRADE, "E": 1700000002000})
    assert decode(codec, "ticker", TICKER).ltp == 2536000000


def test_a_newer_ticker_brings_a_price_without_a_trade_time() -> None:
    codec = quotes()
    decode(codec, "aggTrade", TRADE)
    tick = decode(codec, "ticker", TICKER)
    assert (tick.ltp, tick.last_trade_quantity, tick.ltt_ms) == (2537000000, 3 * UNIT, None)


def test_a_ticker_of_the_same_price_keeps_the_trade() -> None:
    codec = quotes()
    decode(codec, "aggTrade", TRADE)
    tick = decode(codec, "ticker", {**TICKER, "c": "25.36"})
    assert (tick.last_trade_quantity, tick.ltt_ms) == (UNIT // 2, 1700000000100)


def test_depth_replaces_the_book_and_leaves_empty_levels_out(codec: BinanceCodec) -> None:
    tick = decode(codec, "depth5@100ms", DEPTH)
    assert tick.mode is FeedMode.DEPTH
    assert tick.bids == (DepthLevel(2535000000, 10 * UNIT, None),)
    assert tick.asks == (DepthLevel(2536000000, 100 * UNIT, None),)
    assert (tick.bid_price, tick.bid_size) == (2535000000, 10 * UNIT)


@pytest.mark.parametrize(("update_id", "bid"), [(9, 2535190000), (11, 2535000000)])
def test_the_newer_of_book_and_depth_is_the_best_bid(
    codec: BinanceCodec, update_id: int, bid: int
) -> None:
    decode(codec, "bookTicker", BOOK)
    assert decode(codec, "depth5@100ms", {**DEPTH, "lastUpdateId": update_id}).bid_price == bid


def test_an_empty_side_has_no_best_price(codec: BinanceCodec) -> None:
    tick = decode(codec, "depth5@100ms", {"lastUpdateId": 1, "bids": [], "asks": []})
    assert (tick.bids, tick.asks) == ((), ())
    assert (tick.bid_price, tick.ask_size) == (None, None)


def test_trades_of_a_depth_subscription_are_depth_ticks(codec: BinanceCodec) -> None:
    decode(codec, "depth5@100ms", DEPTH)
    tick = decode(codec, "aggTrade", TRADE)
    assert tick.mode is FeedMode.DEPTH
    assert tick.bids is not None


@pytest.mark.parametrize(
    "stream",
    [
        "btcusdt@kline_1m",
        "btcusdt@depth@100ms",
        "btcusdt@depth10",
        "btcusdt@trade",
        "btcusdt@bookTicker@x",
        "btcusdt",
        "",
        "@",
        "ethusdt@aggTrade",
        "!miniTicker@arr",
        "BTCUSDT@aggTrade",
    ],
)
def test_other_streams_are_ignored_and_counted(codec: BinanceCodec, stream: str) -> None:
    assert codec.decode(stream, raw({})) is None
    assert codec.frames_ignored == 1


def test_a_lower_mode_ignores_the_streams_above_it() -> None:
    codec = BinanceCodec()
    codec.track(SYMBOL, FeedMode.LTP, 5)
    for kind, payload in (("bookTicker", BOOK), ("ticker", TICKER), ("depth5@100ms", DEPTH)):
        assert codec.decode(f"{SYMBOL}@{kind}", raw(payload)) is None
    assert codec.frames_ignored == 3


def test_lowering_the_mode_forgets_what_goes_stale(codec: BinanceCodec) -> None:
    for kind, payload in (("bookTicker", BOOK), ("ticker", TICKER), ("depth5@100ms", DEPTH)):
        decode(codec, kind, payload)
    codec.track(SYMBOL, FeedMode.QUOTE, 5)
    tick = decode(codec, "aggTrade", {**TRADE, "E": 1700000009000})
    assert (tick.mode, tick.bids, tick.asks) == (FeedMode.QUOTE, None, None)
    assert tick.open is not None
    codec.track(SYMBOL, FeedMode.LTP, 5)
    tick = decode(codec, "aggTrade", TRADE)
    assert (tick.open, tick.close, tick.volume, tick.bid_price) == (None, None, None, None)
    assert tick.ltp == 2536000000


def test_raising_the_mode_keeps_what_is_known() -> None:
    codec = BinanceCodec()
    codec.track(SYMBOL, FeedMode.LTP, 5)
    decode(codec, "aggTrade", TRADE)
    codec.track(SYMBOL, FeedMode.QUOTE, 5)
    assert decode(codec, "bookTicker", BOOK).ltp == 2536000000


def test_a_new_number_of_levels_takes_over_without_a_gap(codec: BinanceCodec) -> None:
    """The old stream is good until the new one has spoken, and not after."""
    codec.track(SYMBOL, FeedMode.DEPTH, 20)
    decode(codec, "depth5@100ms", DEPTH)
    decode(codec, "depth20@100ms", {**DEPTH, "bids": [["1", "1"]] * 20})
    assert codec.decode(f"{SYMBOL}@depth5@100ms", raw(DEPTH)) is None


def test_dropped_symbols_are_forgotten(codec: BinanceCodec) -> None:
    decode(codec, "aggTrade", TRADE)
    codec.drop(SYMBOL)
    assert codec.decode(f"{SYMBOL}@aggTrade", raw(TRADE)) is None
    codec.track(SYMBOL, FeedMode.QUOTE, 5)
    assert decode(codec, "bookTicker", BOOK).ltp is None


def test_reset_forgets_everything(codec: BinanceCodec) -> None:
    codec.reset()
    assert codec.decode(f"{SYMBOL}@aggTrade", raw(TRADE)) is None


BROKEN: list[tuple[str, Any]] = [
    ("aggTrade", {**TRADE, "p": 25.36}),
    ("aggTrade", {**TRADE, "p": "abc"}),
    ("aggTrade", {**TRADE, "q": "-1"}),
    ("aggTrade", {**TRADE, "q": ""}),
    ("aggTrade", {**TRADE, "p": "0.123456789"}),
    ("aggTrade", {**TRADE, "T": "1700000000100"}),
    ("aggTrade", {**TRADE, "T": 1.5}),
    ("aggTrade", {**TRADE, "E": -1}),
    ("aggTrade", {**TRADE, "E": 10**30}),
    ("aggTrade", {**TRADE, "E": None}),
    ("aggTrade", {**TRADE, "s": "ETHUSDT"}),
    ("aggTrade", {"s": "BTCUSDT"}),
    ("aggTrade", []),
    ("aggTrade", None),
    ("bookTicker", {**BOOK, "A": "x"}),
    ("bookTicker", {**BOOK, "u": "x"}),
    ("bookTicker", {**BOOK, "s": "X"}),
    ("ticker", {**TICKER, "w": "NaN"}),
    ("ticker", {**TICKER, "Q": None}),
    ("ticker", {**TICKER, "s": "X"}),
    ("depth5@100ms", {**DEPTH, "asks": [["1"]]}),
    ("depth5@100ms", {**DEPTH, "asks": [["1", "2", "3"]]}),
    ("depth5@100ms", {**DEPTH, "asks": [["1", "x"]]}),
    ("depth5@100ms", {**DEPTH, "bids": {}}),
    ("depth5@100ms", {**DEPTH, "bids": [["1", "1"]] * 21}),
    ("depth5@100ms", {"bids": [], "asks": []}),
]


@pytest.mark.parametrize(("kind", "payload"), BROKEN)
def test_a_broken_payload_changes_nothing(
    codec: BinanceCodec, kind: str, payload: dict[str, Any] | None
) -> None:
    """It raises, and the next tick is as if it had never come."""
    for good, body in (("bookTicker", BOOK), ("ticker", TICKER), ("depth5@100ms", DEPTH)):
        decode(codec, good, body)
    before = decode(codec, "aggTrade", TRADE)
    with pytest.raises(BrokerProtocolError):
        codec.decode(f"{SYMBOL}@{kind}", raw(payload))
    assert decode(codec, "aggTrade", TRADE) == before


@given(st.sampled_from(["aggTrade", "bookTicker", "ticker", "depth5@100ms"]), st.data())
def test_odd_values_raise_our_error_only(kind: str, data: st.DataObject) -> None:
    """Any one field of a good payload replaced by anything; what decodes holds integers."""
    good = {"aggTrade": TRADE, "bookTicker": BOOK, "ticker": TICKER, "depth5@100ms": DEPTH}[kind]
    field = data.draw(st.sampled_from(sorted(good)))
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
        max_leaves=4,
    )
    payload = json.dumps({**good, field: data.draw(anything)}).encode()
    codec = BinanceCodec()
    codec.track(SYMBOL, FeedMode.DEPTH, 5)
    try:
        tick = codec.decode(f"{SYMBOL}@{kind}", msgspec.Raw(payload))
    except BrokerProtocolError:
        return
    assert tick is not None
    assert not any(isinstance(value, float) for value in msgspec.structs.astuple(tick))


@pytest.mark.parametrize(
    ("mode", "levels", "kinds"),
    [
        (FeedMode.LTP, 5, ["aggTrade"]),
        (FeedMode.QUOTE, 5, ["aggTrade", "bookTicker", "ticker"]),
        (FeedMode.DEPTH, 5, ["aggTrade", "bookTicker", "ticker", "depth5@100ms"]),
        (FeedMode.DEPTH, 10, ["aggTrade", "bookTicker", "ticker", "depth10@100ms"]),
        (FeedMode.DEPTH, 20, ["aggTrade", "bookTicker", "ticker", "depth20@100ms"]),
        (FeedMode.DEPTH, 7, ["aggTrade", "bookTicker", "ticker", "depth10@100ms"]),
        (FeedMode.DEPTH, 50, ["aggTrade", "bookTicker", "ticker", "depth20@100ms"]),
    ],
)
def test_streams_of_a_mode(mode: FeedMode, levels: int, kinds: list[str]) -> None:
    assert stream_names(SYMBOL, mode, levels) == [f"{SYMBOL}@{kind}" for kind in kinds]


def test_a_request_looks_like_the_documents() -> None:
    assert encode_request("SUBSCRIBE", ["btcusdt@bookTicker"], 1) == (
        '{"method":"SUBSCRIBE","params":["btcusdt@bookTicker"],"id":1}'
    )
