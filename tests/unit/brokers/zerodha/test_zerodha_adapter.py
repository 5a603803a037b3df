"""The Zerodha adapter: what it sends, publishes and confirms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from brokers.contract import (
    Confirmed,
    Credentials,
    Notice,
    OrderUpdate,
    SubscriptionRejected,
)
from brokers.exceptions import BrokerConfigError, BrokerLimitError, BrokerProtocolError
from brokers.testing import (
    RecordingSink,
    kite_frame,
    kite_full,
    kite_index_full,
    kite_index_quote,
    kite_ltp,
    kite_quote,
)
from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription
from brokers.zerodha.connection import ZerodhaAdapter

INFY = Instrument(InstrumentKey("NSE", "INFY"), "408065")
NIFTY = Instrument(InstrumentKey("NSE_INDEX", "NIFTY"), "256265")
CREDENTIALS = Credentials({"api_key": "k&y", "access_token": "t=1"})


def subscription(instrument: Instrument, mode: FeedMode = FeedMode.QUOTE) -> Subscription:
    return Subscription(instrument, mode)


def numbered(count: int, mode: FeedMode) -> list[Subscription]:
    return [
        Subscription(Instrument(InstrumentKey("NFO", f"S{at}"), str(at << 8 | 2)), mode)
        for at in range(count)
    ]


def sent(messages: list[str | bytes]) -> list[Any]:
    assert all(isinstance(message, str) for message in messages), "Kite wants text frames"
    return [json.loads(message) for message in messages]


@pytest.fixture
def sink() -> RecordingSink:
    return RecordingSink()


@pytest.fixture
def adapter(sink: RecordingSink) -> ZerodhaAdapter:
    return ZerodhaAdapter(sink=sink)


def test_the_credential_travels_in_the_query(adapter: ZerodhaAdapter) -> None:
    handshake = adapter.handshake(CREDENTIALS)
    assert handshake.url == "wss://ws.kite.trade/?api_key=k%26y&access_token=t%3D1"
    assert handshake.headers == {"X-Kite-Version": "3"}
    assert "t%3D1" not in repr(handshake)


def test_an_endpoint_of_ones_own_keeps_its_path_and_query() -> None:
    adapter = ZerodhaAdapter(endpoint="ws://127.0.0.1:9010/kite?x=1", sink=RecordingSink())
    url = adapter.handshake(CREDENTIALS).url
    assert url == "ws://127.0.0.1:9010/kite?x=1&api_key=k%26y&access_token=t%3D1"


@pytest.mark.parametrize("missing", ["api_key", "access_token"])
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_credential_is_named(
    adapter: ZerodhaAdapter, missing: str, value: str | None
) -> None:
    values = {"api_key": "k", "access_token": "t"}
    if value is None:
        del values[missing]
    else:
        values[missing] = value
    with pytest.raises(BrokerConfigError, match=missing):
        adapter.handshake(Credentials(values))


def test_quotes_need_no_mode_message(adapter: ZerodhaAdapter) -> None:
    messages = adapter.subscribe([subscription(INFY), subscription(NIFTY)])
    assert sent(messages) == [{"a": "subscribe", "v": [408065, 256265]}]


@pytest.mark.parametrize(("mode", "name"), [(FeedMode.LTP, "ltp"), (FeedMode.DEPTH, "full")])
def test_other_modes_follow_their_subscribe(
    adapter: ZerodhaAdapter, mode: FeedMode, name: str
) -> None:
    messages = adapter.subscribe([subscription(INFY, mode)])
    assert sent(messages) == [
        {"a": "subscribe", "v": [408065]},
        {"a": "mode", "v": [name, [408065]]},
    ]


def test_a_token_named_twice_is_sent_once(adapter: ZerodhaAdapter) -> None:
    messages = adapter.subscribe([subscription(INFY), subscription(INFY, FeedMode.DEPTH)])
    assert sent(messages) == [
        {"a": "subscribe", "v": [408065]},
        {"a": "mode", "v": ["full", [408065]]},
    ]


def test_requests_stay_within_the_batch_size(adapter: ZerodhaAdapter) -> None:
    """Every token is sent once, in batches, whatever the number."""
    size = adapter.capabilities.batch_size
    items = numbered(2 * size + 1, FeedMode.QUOTE)
    for messages in (adapter.subscribe(items), adapter.unsubscribe(items)):
        batches = [message["v"] for message in sent(messages)]
        assert [len(batch) for batch in batches] == [size, size, 1]
        tokens = [token for batch in batches for token in batch]
        assert tokens == [int(item.instrument.broker_token) for item in items]


def test_a_mode_change_never_unsubscribes(adapter: ZerodhaAdapter) -> None:
    adapter.subscribe([subscription(INFY, FeedMode.LTP)])
    change = (subscription(INFY, FeedMode.LTP), subscription(INFY, FeedMode.DEPTH))
    assert sent(adapter.change_mode([change])) == [{"a": "mode", "v": ["full", [408065]]}]


def test_ticks_reach_the_sink_with_their_instrument(
    adapter: ZerodhaAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([subscription(INFY), subscription(NIFTY)])
    adapter.receive(
        kite_frame(kite_quote(408065, 5), kite_index_quote(256265, 6, ohlc=(1, 2, 3, 4))), 77
    )
    assert [(p.instrument, p.tick.ltp, p.ts_received_us) for p in sink.published] == [
        (INFY, 5, 77),
        (NIFTY, 6, 77),
    ]
    assert adapter.ticks_published == 2
    assert adapter.ticks_unknown == 0


@pytest.mark.parametrize(
    ("mode", "too_little", "enough"),
    [
        (FeedMode.LTP, None, kite_ltp(408065, 1)),
        (FeedMode.LTP, None, kite_quote(408065, 1)),
        (FeedMode.QUOTE, kite_ltp(408065, 1), kite_quote(408065, 1)),
        (FeedMode.DEPTH, kite_quote(408065, 1), kite_full(kite_quote(408065, 1))),
        (
            FeedMode.DEPTH,
            kite_index_quote(408065, 1, ohlc=(1, 2, 3, 4)),
            kite_index_full(kite_index_quote(408065, 1, ohlc=(1, 2, 3, 4))),
        ),
    ],
)
def test_the_first_covering_tick_confirms_once(
    adapter: ZerodhaAdapter, mode: FeedMode, too_little: bytes | None, enough: bytes
) -> None:
    adapter.subscribe([subscription(INFY, mode)])
    if too_little is not None:
        assert adapter.receive(kite_frame(too_little), 0) == ()
    assert adapter.receive(kite_frame(enough), 0) == (Confirmed((INFY.key,)),)
    assert adapter.receive(kite_frame(enough), 0) == ()


def test_lower_ticks_after_a_raise_are_published_as_what_they_are(
    adapter: ZerodhaAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([subscription(INFY, FeedMode.LTP)])
    adapter.receive(kite_frame(kite_ltp(408065, 1)), 0)
    adapter.change_mode([(subscription(INFY, FeedMode.LTP), subscription(INFY, FeedMode.DEPTH))])
    assert adapter.receive(kite_frame(kite_ltp(408065, 2)), 0) == ()
    full = kite_frame(kite_full(kite_quote(408065, 3)))
    assert adapter.receive(full, 0) == (Confirmed((INFY.key,)),)
    assert [tick.mode for tick in sink.ticks] == [FeedMode.LTP, FeedMode.LTP, FeedMode.DEPTH]


def test_late_ticks_of_an_ended_subscription_are_dropped_quietly(
    adapter: ZerodhaAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([subscription(INFY)])
    assert sent(adapter.unsubscribe([subscription(INFY)])) == [{"a": "unsubscribe", "v": [408065]}]
    assert adapter.receive(kite_frame(kite_quote(408065, 1)), 0) == ()
    assert sink.published == []
    assert adapter.ticks_unknown == 0


def test_ticks_that_nobody_asked_for_are_counted(
    adapter: ZerodhaAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([subscription(INFY)])
    adapter.receive(kite_frame(kite_quote(1, 1), kite_quote(408065, 2), kite_quote(3, 3)), 0)
    assert [tick.ltp for tick in sink.ticks] == [2]
    assert adapter.ticks_unknown == 2


def test_a_subscription_can_come_back(adapter: ZerodhaAdapter, sink: RecordingSink) -> None:
    adapter.subscribe([subscription(INFY)])
    adapter.unsubscribe([subscription(INFY)])
    adapter.subscribe([subscription(INFY)])
    assert adapter.receive(kite_frame(kite_quote(408065, 1)), 0) == (Confirmed((INFY.key,)),)
    assert len(sink.published) == 1


def test_a_broken_frame_publishes_nothing(adapter: ZerodhaAdapter, sink: RecordingSink) -> None:
    """Not even the packets in front of the break."""
    adapter.subscribe([subscription(INFY)])
    frame = kite_frame(kite_quote(408065, 1), kite_quote(408065, 2))
    with pytest.raises(BrokerProtocolError):
        adapter.receive(frame[:-1], 0)
    assert sink.published == []
    assert adapter.ticks_published == 0


def test_unknown_packets_are_counted(adapter: ZerodhaAdapter) -> None:
    adapter.receive(kite_frame(b"12345"), 0)
    assert adapter.packets_skipped == 1


def test_a_new_socket_starts_from_nothing(adapter: ZerodhaAdapter, sink: RecordingSink) -> None:
    adapter.subscribe([subscription(INFY)])
    adapter.reset()
    assert adapter.receive(kite_frame(kite_quote(408065, 1)), 0) == ()
    assert sink.published == []


def test_an_order_is_passed_on_as_it_is(adapter: ZerodhaAdapter) -> None:
    order = {"order_id": "1", "status": "COMPLETE", "average_price": 10.5}
    frame = json.dumps({"type": "order", "data": order})
    assert adapter.receive(frame, 0) == (OrderUpdate(order),)


@pytest.mark.parametrize("number", [500, 3000, 4000])
def test_an_error_is_a_limit_whatever_its_number(adapter: ZerodhaAdapter, number: int) -> None:
    text = f"Can't subscribe to more than {number} instruments."
    (event,) = adapter.receive(json.dumps({"type": "error", "data": text}), 0)
    assert isinstance(event, SubscriptionRejected)
    assert isinstance(event.error, BrokerLimitError)
    assert str(event.error) == text
    assert event.keys == ()


@pytest.mark.parametrize("text", ["Internal server maintenance", "Unlimited joy", ""])
def test_an_error_that_speaks_of_no_limit_claims_none(adapter: ZerodhaAdapter, text: str) -> None:
    (event,) = adapter.receive(json.dumps({"type": "error", "data": text}), 0)
    assert isinstance(event, SubscriptionRejected)
    assert not isinstance(event.error, BrokerLimitError)
    assert (str(event.error), event.keys) == (text, ())


@pytest.mark.parametrize(
    "text", ["Subscription limit reached", "Max. 3000: limits exceeded", "Too many instruments"]
)
def test_an_error_may_say_in_other_words_that_a_limit_is_reached(
    adapter: ZerodhaAdapter, text: str
) -> None:
    (event,) = adapter.receive(json.dumps({"type": "error", "data": text}), 0)
    assert isinstance(event, SubscriptionRejected)
    assert isinstance(event.error, BrokerLimitError)


def test_a_message_is_a_notice(adapter: ZerodhaAdapter) -> None:
    assert adapter.receive('{"type":"message","data":"hello"}', 0) == (Notice("hello"),)


def test_a_new_kind_of_text_is_ignored(adapter: ZerodhaAdapter) -> None:
    assert adapter.receive('{"type":"instruments_meta","data":{"count":1}}', 0) == ()


def test_a_token_that_is_no_number_is_a_configuration_error(adapter: ZerodhaAdapter) -> None:
    with pytest.raises(BrokerConfigError, match="NSE:X"):
        adapter.subscribe([subscription(Instrument(InstrumentKey("NSE", "X"), "abc"))])
