"""The Binance adapter: requests, answers, and the recorded captures."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.binance.connection import BinanceAdapter
from brokers.contract import (
    BrokerEvent,
    Confirmed,
    Credentials,
    ReconnectSoon,
    SubscriptionRejected,
)
from brokers.exceptions import BrokerConfigError, BrokerError, BrokerLimitError, BrokerProtocolError
from brokers.testing import RecordingSink
from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription
from tests.support import SHARED_DATA

LTP, QUOTE, DEPTH = FeedMode.LTP, FeedMode.QUOTE, FeedMode.DEPTH


def item(name: str = "BTCUSDT", mode: FeedMode = QUOTE, levels: int = 5) -> Subscription:
    return Subscription(Instrument(InstrumentKey("BINANCE", name), name.lower()), mode, levels)


def key(name: str = "BTCUSDT") -> InstrumentKey:
    return InstrumentKey("BINANCE", name)


def sent(messages: list[str | bytes]) -> list[tuple[str, list[str]]]:
    requests = [json.loads(message) for message in messages]
    return [(request["method"], request["params"]) for request in requests]


def ids(messages: list[str | bytes]) -> list[int]:
    return [json.loads(message)["id"] for message in messages]


def answer(adapter: BinanceAdapter, request_id: object) -> list[BrokerEvent]:
    return list(adapter.receive(json.dumps({"result": None, "id": request_id}), 0))


def trade(name: str = "BTCUSDT") -> str:
    data = {"e": "aggTrade", "E": 2, "s": name, "p": "1", "q": "1", "T": 1}
    return json.dumps({"stream": f"{name.lower()}@aggTrade", "data": data})


@pytest.fixture
def sink() -> RecordingSink:
    return RecordingSink()


@pytest.fixture
def adapter(sink: RecordingSink) -> BinanceAdapter:
    return BinanceAdapter(sink=sink)


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (None, "wss://data-stream.binance.vision/stream"),
        ("wss://stream.binance.com:9443", "wss://stream.binance.com:9443/stream"),
        ("ws://127.0.0.1:9/", "ws://127.0.0.1:9/stream"),
        ("ws://127.0.0.1:9/stream", "ws://127.0.0.1:9/stream"),
        ("ws://127.0.0.1:9/relay/", "ws://127.0.0.1:9/relay/stream"),
        # The base URL that the page of Binance's testnet names, of bare streams.
        ("wss://stream.testnet.binance.vision/ws", "wss://stream.testnet.binance.vision/stream"),
        ("ws://127.0.0.1:9/ws/", "ws://127.0.0.1:9/stream"),
        ("ws://127.0.0.1:9?timeUnit=millisecond", "ws://127.0.0.1:9/stream?timeUnit=millisecond"),
    ],
)
def test_it_connects_to_the_combined_streams(endpoint: str | None, url: str) -> None:
    adapter = BinanceAdapter(endpoint=endpoint, sink=RecordingSink())
    handshake = adapter.handshake(Credentials())
    assert handshake.url == url
    assert handshake.headers == {}


@pytest.mark.parametrize(
    ("endpoint", "mends"),
    [
        ("wss://x.test/ws/btcusdt@trade", "leave streams out of the endpoint"),
        ("wss://x.test/ws/stream", "wss://x.test is enough"),
        ("wss://x.test/stream/ws", "leave streams out"),
        ("wss://x.test/stream?streams=btcusdt@trade/ethusdt@trade", "leave streams out"),
        ("wss://x.test:9443?timeUnit=MICROSECOND", "times are read as milliseconds"),
    ],
)
def test_an_endpoint_that_cannot_work_is_refused_with_what_mends_it(
    endpoint: str, mends: str
) -> None:
    with pytest.raises(BrokerConfigError, match=mends):
        BinanceAdapter.check_endpoint(endpoint)
    with pytest.raises(BrokerConfigError, match=mends):
        BinanceAdapter(endpoint=endpoint, sink=RecordingSink()).handshake(Credentials())


@pytest.mark.parametrize("event", ["aggTrade", "24hrTicker", "kline"])
def test_a_market_event_without_its_stream_breaks_the_protocol_and_says_why(
    adapter: BinanceAdapter, sink: RecordingSink, event: str
) -> None:
    """As the feed of bare streams sends it, which acknowledges requests like the other."""
    (request,) = ids(adapter.subscribe([item()]))
    assert answer(adapter, request) == [Confirmed((key(),))]
    with pytest.raises(BrokerProtocolError, match="combined streams"):
        adapter.receive(f'{{"e":"{event}","E":2,"s":"S1","p":"1","q":"1","T":1}}', 0)
    assert sink.published == []


@pytest.mark.parametrize(("mode", "cost"), [(LTP, 1), (QUOTE, 3), (DEPTH, 4)])
def test_the_cost_is_the_number_of_streams(
    adapter: BinanceAdapter, mode: FeedMode, cost: int
) -> None:
    assert adapter.cost(item().instrument, mode) == cost
    (_, names), *_ = sent(adapter.subscribe([item(mode=mode)]))
    assert len(names) == cost


@pytest.mark.parametrize("mode", [LTP, QUOTE, DEPTH])
def test_requests_never_name_more_than_200_streams(adapter: BinanceAdapter, mode: FeedMode) -> None:
    items = [item(f"S{at}USDT", mode) for at in range(173)]
    for messages in (adapter.subscribe(items), adapter.unsubscribe(items)):
        requests = [names for _, names in sent(messages)]
        assert max(map(len, requests)) <= 200
        assert sum(map(len, requests)) == len({n for names in requests for n in names})
        assert sum(map(len, requests)) == 173 * adapter.cost(items[0].instrument, mode)


def test_an_answer_confirms_the_instruments_of_its_request(adapter: BinanceAdapter) -> None:
    items = [item(f"S{at}USDT") for at in range(70)]
    first, second = ids(adapter.subscribe(items))
    assert answer(adapter, second) == [Confirmed(tuple(i.instrument.key for i in items[66:]))]
    assert answer(adapter, first) == [Confirmed(tuple(i.instrument.key for i in items[:66]))]
    assert answer(adapter, first) == [], "an answer counts once"


@pytest.mark.parametrize("request_id", [99, "x", None])
def test_answers_to_nothing_say_nothing(adapter: BinanceAdapter, request_id: object) -> None:
    adapter.subscribe([item()])
    assert answer(adapter, request_id) == []


@pytest.mark.parametrize("shape", ["flat", "nested"])
def test_too_many_streams_are_refused_by_name(adapter: BinanceAdapter, shape: str) -> None:
    (request_id,) = ids(adapter.subscribe([item("AUSDT"), item("BUSDT")]))
    error = {"code": 4, "msg": "Too many subscriptions"}
    frame = error if shape == "flat" else {"error": error}
    (event,) = adapter.receive(json.dumps({**frame, "id": request_id}), 0)
    assert isinstance(event, SubscriptionRejected)
    assert isinstance(event.error, BrokerLimitError)
    assert event.keys == (key("AUSDT"), key("BUSDT"))


def test_other_refusals_are_no_limit(adapter: BinanceAdapter) -> None:
    (request_id,) = ids(adapter.subscribe([item()]))
    (event,) = adapter.receive(
        json.dumps({"code": 2, "msg": "Invalid request", "id": request_id}), 0
    )
    assert isinstance(event, SubscriptionRejected)
    assert type(event.error) is BrokerError
    assert "Invalid request" in str(event.error)


def test_a_refusal_without_an_id_names_nobody(adapter: BinanceAdapter) -> None:
    adapter.subscribe([item()])
    (event,) = adapter.receive('{"code":3,"msg":"Invalid JSON","id":null}', 0)
    assert isinstance(event, SubscriptionRejected)
    assert event.keys == ()


def test_a_refused_raise_leaves_the_old_mode(adapter: BinanceAdapter, sink: RecordingSink) -> None:
    answer(adapter, *ids(adapter.subscribe([item(mode=QUOTE)])))
    (request_id,) = ids(adapter.change_mode([(item(mode=QUOTE), item(mode=DEPTH))]))
    adapter.receive(json.dumps({"error": {"code": 4, "msg": "no"}, "id": request_id}), 0)
    adapter.receive(trade(), 0)
    assert sink.ticks[-1].mode is QUOTE


def test_a_refused_subscription_is_gone(adapter: BinanceAdapter, sink: RecordingSink) -> None:
    (request_id,) = ids(adapter.subscribe([item()]))
    adapter.receive(json.dumps({"error": {"code": 4, "msg": "no"}, "id": request_id}), 0)
    adapter.receive(trade(), 0)
    assert sink.published == []


CHANGES = [
    (LTP, 5, QUOTE, 5, [("SUBSCRIBE", ["bookTicker", "ticker"])]),
    (QUOTE, 5, DEPTH, 20, [("SUBSCRIBE", ["depth20@100ms"])]),
    (DEPTH, 5, QUOTE, 5, [("UNSUBSCRIBE", ["depth5@100ms"])]),
    (DEPTH, 5, LTP, 5, [("UNSUBSCRIBE", ["bookTicker", "ticker", "depth5@100ms"])]),
    (
        DEPTH,
        5,
        DEPTH,
        20,
        [("SUBSCRIBE", ["depth20@100ms"]), ("UNSUBSCRIBE", ["depth5@100ms"])],
    ),
]


@pytest.mark.parametrize(("old", "old_levels", "new", "new_levels", "requests"), CHANGES)
def test_a_mode_change_adds_before_it_ends_and_is_confirmed(
    adapter: BinanceAdapter,
    old: FeedMode,
    old_levels: int,
    new: FeedMode,
    new_levels: int,
    requests: list[tuple[str, list[str]]],
) -> None:
    answer(adapter, *ids(adapter.subscribe([item(mode=old, levels=old_levels)])))
    before, after = item(mode=old, levels=old_levels), item(mode=new, levels=new_levels)
    messages = adapter.change_mode([(before, after)])
    assert sent(messages) == [
        (method, [f"btcusdt@{kind}" for kind in kinds]) for method, kinds in requests
    ]
    events = [event for request_id in ids(messages) for event in answer(adapter, request_id)]
    assert events == [Confirmed((key(),))]


def test_a_change_of_nothing_is_confirmed_with_the_next_frame(adapter: BinanceAdapter) -> None:
    """Other depth levels of a quote are the same streams; nobody may wait for ever."""
    answer(adapter, *ids(adapter.subscribe([item()])))
    assert adapter.change_mode([(item(), item(levels=20))]) == []
    assert list(adapter.receive(trade(), 0)) == [Confirmed((key(),))]
    assert list(adapter.receive(trade(), 0)) == []


def test_only_the_latest_request_confirms(adapter: BinanceAdapter) -> None:
    """The answer to the quote's request is not one to the depth's."""
    (first,) = ids(adapter.subscribe([item(mode=QUOTE)]))
    (second,) = ids(adapter.change_mode([(item(mode=QUOTE), item(mode=DEPTH))]))
    assert answer(adapter, first) == []
    assert answer(adapter, second) == [Confirmed((key(),))]


def test_what_was_ended_is_not_confirmed_and_its_late_frames_are_dropped(
    adapter: BinanceAdapter, sink: RecordingSink
) -> None:
    (subscribed,) = ids(adapter.subscribe([item(mode=DEPTH)]))
    messages = adapter.unsubscribe([item(mode=QUOTE)])
    ((method, names),) = sent(messages)
    assert method == "UNSUBSCRIBE"
    assert len(names) == 4, "the streams that are held, whatever the caller believes"
    assert answer(adapter, subscribed) == []
    assert answer(adapter, *ids(messages)) == []
    adapter.receive(trade(), 0)
    assert sink.published == []
    assert adapter.frames_ignored == 1


def test_ids_never_repeat_across_sockets(adapter: BinanceAdapter) -> None:
    """A late answer of the old socket cannot confirm anything on the new one."""
    (old,) = ids(adapter.subscribe([item()]))
    adapter.reset()
    (new,) = ids(adapter.subscribe([item()]))
    assert answer(adapter, old) == []
    assert answer(adapter, new) == [Confirmed((key(),))]


@pytest.mark.parametrize(
    "frame",
    ['{"e":"serverShutdown","E":1}', '{"stream":"!serverShutdown","data":{"E":1}}'],
)
def test_a_shutdown_asks_for_a_new_connection(adapter: BinanceAdapter, frame: str) -> None:
    (event,) = adapter.receive(frame, 0)
    assert isinstance(event, ReconnectSoon)


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "x",
        b"\xff",
        "[]",
        "1",
        "null",
        "{}",
        '{"stream":"btcusdt@aggTrade"}',
        '{"stream":7,"data":{}}',
        '{"stream":"btcusdt@aggTrade","data":{"p":1}}',
        '{"id":1.5,"result":null}',
        '{"error":"no","id":1}',
        '{"error":{"msg":"no"},"id":1}',
        '{"stream":"btcusdt@aggTrade","data":' + "[" * 100_000,
        "\ud800",
    ],
)
def test_a_broken_frame_is_refused(
    adapter: BinanceAdapter, sink: RecordingSink, frame: str | bytes
) -> None:
    adapter.subscribe([item()])
    with pytest.raises(BrokerProtocolError):
        adapter.receive(frame, 0)
    assert sink.published == []


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_random_frames_raise_our_error_only(frame: bytes | str) -> None:
    adapter = BinanceAdapter(sink=RecordingSink())
    try:
        adapter.receive(frame, 0)
    except BrokerProtocolError:
        return


def recorded(name: str) -> list[dict[str, Any]]:
    lines = (SHARED_DATA / name).read_text().splitlines()[1:]
    return [json.loads(line.partition(": ")[2]) for line in lines if line]


def scaled(text: str) -> int:
    return int(Decimal(text).scaleb(8))


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="recorded data is not at hand")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("capture_BINANCE.ws.1.0", {"bookTicker": 84, "aggTrade": 2}),
        ("capture_BINANCE_FUTURES.ws.1.0", {"bookTicker": 613, "aggTrade": 91}),
    ],
)
def test_every_quote_and_trade_of_a_capture_is_accounted_for(
    name: str, expected: dict[str, int]
) -> None:
    """One tick for each bookTicker and aggTrade, in order, with the file's values."""
    frames = recorded(name)
    kept = [frame for frame in frames if frame["stream"].split("@", 1)[1] in expected]
    sink = RecordingSink()
    adapter = BinanceAdapter(sink=sink)
    adapter.subscribe(
        [item(symbol.upper()) for symbol in {f["stream"].split("@")[0] for f in frames}]
    )
    for number, frame in enumerate(frames):
        adapter.receive(json.dumps(frame), number)
    assert adapter.frames_ignored == len(frames) - len(kept)
    assert adapter.ticks_published == len(kept) == sum(expected.values())
    for frame, published in zip(kept, sink.published, strict=True):
        data, tick = frame["data"], published.tick
        assert published.instrument.key == key(data["s"])
        assert tick.price_scale == tick.quantity_scale == 10**8
        assert tick.ts_event_ms == data.get("E")
        if frame["stream"].endswith("@aggTrade"):
            assert (tick.ltp, tick.last_trade_quantity) == (scaled(data["p"]), scaled(data["q"]))
            assert tick.ltt_ms == data["T"]
        else:
            assert (tick.bid_price, tick.bid_size) == (scaled(data["b"]), scaled(data["B"]))
            assert (tick.ask_price, tick.ask_size) == (scaled(data["a"]), scaled(data["A"]))


@given(
    names=st.lists(
        st.text(st.characters(categories=("Ll", "Lo", "Nd")), min_size=1, max_size=60).map(
            str.lower
        ),
        min_size=1,
        max_size=300,
        unique=True,
    ),
    mode=st.sampled_from(FeedMode),
)
@settings(max_examples=40)
def test_requests_are_cut_before_they_are_too_long_to_be_read(
    names: list[str], mode: FeedMode
) -> None:
    """Every stream is asked for once, in any script, and its answer confirms its instrument."""
    adapter = BinanceAdapter(sink=RecordingSink())
    wanted = [item(name, mode) for name in names]
    messages = adapter.subscribe(wanted)
    assert max(len(str(message).encode()) for message in messages) <= 4088
    params = [name for _, batch in sent(messages) for name in batch]
    assert len(params) == len(set(params))
    assert {name.partition("@")[0] for name in params} == {
        one.instrument.broker_token.lower() for one in wanted
    }
    confirmed = [
        confirmed_key
        for number in ids(messages)
        for event in answer(adapter, number)
        if isinstance(event, Confirmed)
        for confirmed_key in event.keys
    ]
    assert sorted(confirmed) == sorted(one.instrument.key for one in wanted)


def test_full_requests_of_long_names_are_cut_by_their_bytes() -> None:
    """200 of these names are 5 KB, which Binance would never answer."""
    adapter = BinanceAdapter(sink=RecordingSink())
    messages = adapter.subscribe([item(f"1000CHEEMS{at}USDT", LTP) for at in range(200)])
    assert len(messages) == 2
    assert len(messages[0]) > 4000


def test_a_name_too_long_for_any_request_is_refused_and_nothing_noted() -> None:
    adapter = BinanceAdapter(sink=RecordingSink())
    with pytest.raises(BrokerConfigError, match="bytes of a message"):
        adapter.subscribe([item(), item("X" * 4088)])
    (request_id,) = ids(adapter.subscribe([item()]))
    assert request_id == 1
