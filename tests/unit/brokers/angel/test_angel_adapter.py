"""The Angel One adapter: what it sends, publishes, confirms and reports as refused."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from brokers.angel.connection import AngelAdapter
from brokers.contract import Confirmed, Credentials, Notice, SubscriptionRejected
from brokers.exceptions import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerLimitError,
    BrokerProtocolError,
)
from brokers.testing import RecordingSink
from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription
from tests.unit.brokers.angel.angel_vectors import ANGEL_VECTORS

RELIANCE = Instrument(InstrumentKey("NSE", "RELIANCE"), "1:2885")
OPTION = Instrument(InstrumentKey("NFO", "NIFTY28MAR2420800CE"), "2:58662")
VALUES = {
    "api_key": "key",
    "client_code": "C123",
    "access_token": " Bearer a.b.c ",
    "feed_token": "feed",
}
FRAMES = {name: bytes.fromhex(text) for name, text in ANGEL_VECTORS.items()}


def subscription(instrument: Instrument, mode: FeedMode = FeedMode.QUOTE) -> Subscription:
    return Subscription(instrument, mode)


def numbered(count: int, mode: FeedMode) -> list[Subscription]:
    return [
        Subscription(Instrument(InstrumentKey("NFO", f"S{at}"), f"2:{at}"), mode)
        for at in range(count)
    ]


def sent(messages: Iterable[str | bytes]) -> list[dict[str, Any]]:
    """Return the requests without their ids, which never come twice."""
    requests = [json.loads(message) for message in messages]
    ids = [request.pop("correlationID") for request in requests]
    assert len(set(ids)) == len(ids)
    assert all(len(text) == 10 and text.isalnum() for text in ids)
    return requests


def request(action: int, mode: int, tokens: dict[int, list[str]]) -> dict[str, Any]:
    groups = [{"exchangeType": kind, "tokens": names} for kind, names in tokens.items()]
    return {"action": action, "params": {"mode": mode, "tokenList": groups}}


def pairs_held(messages: Iterable[str | bytes]) -> tuple[int, set[tuple[str, int]]]:
    """Play requests to a broker that counts pairs; the most it held, and what it holds."""
    held: set[tuple[str, int]] = set()
    most = 0
    for message in sent(messages):
        params = message["params"]
        named = {
            (f"{group['exchangeType']}:{token}", params["mode"])
            for group in params["tokenList"]
            for token in group["tokens"]
        }
        held = held | named if message["action"] else held - named
        most = max(most, len(held))
    return most, held


@pytest.fixture
def sink() -> RecordingSink:
    return RecordingSink()


@pytest.fixture
def adapter(sink: RecordingSink) -> AngelAdapter:
    return AngelAdapter(sink=sink)


def test_the_credential_travels_in_headers(adapter: AngelAdapter) -> None:
    handshake = adapter.handshake(Credentials(VALUES))
    assert handshake.url == "wss://smartapisocket.angelone.in/smart-stream"
    assert handshake.headers == {
        "Authorization": "Bearer a.b.c",
        "x-api-key": "key",
        "x-client-code": "C123",
        "x-feed-token": "feed",
    }
    assert "a.b.c" not in repr(handshake)


@pytest.mark.parametrize("value", ["a\r\nHost: x", "ключ", "a\x00"])
def test_a_credential_cannot_add_headers(adapter: AngelAdapter, value: str) -> None:
    with pytest.raises(BrokerConfigError, match="feed_token") as refusal:
        adapter.handshake(Credentials(VALUES | {"feed_token": value}))
    assert value not in str(refusal.value)


def test_a_refusal_says_which_part_is_wrong(adapter: AngelAdapter) -> None:
    headers = {"X-Error-Message": "Invalid Header - Invalid Feed Token"}
    error = adapter.refused(401, headers, b"")
    assert type(error) is BrokerAuthError
    assert "Invalid Feed Token" in str(error)


def test_a_request_names_tokens_by_segment(adapter: AngelAdapter) -> None:
    items = [subscription(RELIANCE), subscription(OPTION), subscription(RELIANCE, FeedMode.QUOTE)]
    assert sent(adapter.subscribe(items)) == [request(1, 2, {1: ["2885"], 2: ["58662"]})]


@pytest.mark.parametrize(
    ("mode", "number"), [(FeedMode.LTP, 1), (FeedMode.QUOTE, 2), (FeedMode.DEPTH, 3)]
)
def test_modes_have_their_numbers(adapter: AngelAdapter, mode: FeedMode, number: int) -> None:
    item = subscription(RELIANCE, mode)
    assert sent(adapter.subscribe([item])) == [request(1, number, {1: ["2885"]})]
    assert sent(adapter.unsubscribe([item])) == [request(0, number, {1: ["2885"]})]


def test_an_unsubscribe_names_the_mode_that_is_held(adapter: AngelAdapter) -> None:
    adapter.subscribe([subscription(RELIANCE, FeedMode.DEPTH)])
    messages = adapter.unsubscribe([subscription(RELIANCE, FeedMode.LTP)])
    assert sent(messages) == [request(0, 3, {1: ["2885"]})]


def test_a_mode_change_subscribes_before_it_ends_the_old_one(adapter: AngelAdapter) -> None:
    low, high = subscription(RELIANCE, FeedMode.LTP), subscription(RELIANCE, FeedMode.DEPTH)
    adapter.subscribe([low])
    assert sent(adapter.change_mode([(low, high)])) == [
        request(1, 3, {1: ["2885"]}),
        request(0, 1, {1: ["2885"]}),
    ]
    assert sent(adapter.change_mode([(high, low)])) == [
        request(1, 1, {1: ["2885"]}),
        request(0, 3, {1: ["2885"]}),
    ]


def test_subscribing_a_held_token_in_another_mode_changes_it(adapter: AngelAdapter) -> None:
    adapter.subscribe([subscription(RELIANCE, FeedMode.LTP)])
    assert sent(adapter.subscribe([subscription(RELIANCE, FeedMode.QUOTE)])) == [
        request(1, 2, {1: ["2885"]}),
        request(0, 1, {1: ["2885"]}),
    ]


@pytest.mark.parametrize("count", [1, 400, 950])
def test_a_mode_change_never_exceeds_the_pairs_of_a_connection(
    adapter: AngelAdapter, count: int
) -> None:
    """Also not on a connection that carries all that it may; and every token ends up changed."""
    assert adapter.capabilities.symbols_per_connection == 950
    low, high = numbered(count, FeedMode.LTP), numbered(count, FeedMode.DEPTH)
    messages = adapter.subscribe(low)
    messages += adapter.change_mode(list(zip(low, high, strict=True)))
    messages += adapter.change_mode(list(zip(high, low, strict=True)))
    most, held = pairs_held(messages)
    assert most <= 1000
    assert held == {(item.instrument.broker_token, 1) for item in low}


def test_an_emptier_connection_changes_more_at_a_time(adapter: AngelAdapter) -> None:
    low, high = numbered(400, FeedMode.LTP), numbered(400, FeedMode.QUOTE)
    adapter.subscribe(low)
    assert len(adapter.change_mode(list(zip(low, high, strict=True)))) == 2


def test_requests_stay_within_the_batch_size(adapter: AngelAdapter) -> None:
    size = adapter.capabilities.batch_size
    items = numbered(2 * size + 1, FeedMode.LTP)
    for messages in (adapter.subscribe(items), adapter.unsubscribe(items)):
        lists = [message["params"]["tokenList"] for message in sent(messages)]
        assert [len(groups[0]["tokens"]) for groups in lists] == [size, size, 1]


def test_a_tick_reaches_the_sink_with_its_instrument(
    adapter: AngelAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([subscription(RELIANCE), subscription(OPTION)])
    adapter.receive(FRAMES["quote"], 77)
    adapter.receive(FRAMES["snap"], 78)
    assert [(p.instrument, p.tick.ltp, p.ts_received_us) for p in sink.published] == [
        (RELIANCE, 245055, 77),
        (OPTION, 245055, 78),
    ]
    assert (adapter.ticks_published, adapter.ticks_unknown) == (2, 0)


def test_the_same_token_of_another_segment_is_another_instrument(
    adapter: AngelAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([subscription(Instrument(InstrumentKey("BSE", "X"), "3:2885"))])
    adapter.receive(FRAMES["ltp"], 0)
    assert sink.published == []
    assert adapter.ticks_unknown == 1


def test_the_first_covering_tick_confirms_once(adapter: AngelAdapter) -> None:
    adapter.subscribe([subscription(RELIANCE)])
    assert adapter.receive(FRAMES["ltp"], 0) == ()
    assert adapter.receive(FRAMES["quote"], 0) == (Confirmed((RELIANCE.key,)),)
    assert adapter.receive(FRAMES["quote"], 0) == ()


def test_late_ticks_of_an_ended_subscription_are_dropped_quietly(
    adapter: AngelAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([subscription(RELIANCE)])
    adapter.unsubscribe([subscription(RELIANCE)])
    assert adapter.receive(FRAMES["quote"], 0) == ()
    assert (sink.published, adapter.ticks_unknown) == ([], 0)
    adapter.subscribe([subscription(RELIANCE)])
    assert adapter.receive(FRAMES["quote"], 0) == (Confirmed((RELIANCE.key,)),)


def refusal(message: str | bytes, code: str) -> str:
    correlation_id = json.loads(message)["correlationID"]
    return json.dumps({"correlationID": correlation_id, "errorCode": code, "errorMessage": "no"})


def test_a_refusal_concerns_the_tokens_of_its_request(
    adapter: AngelAdapter, sink: RecordingSink
) -> None:
    (first,) = adapter.subscribe([subscription(RELIANCE)])
    adapter.subscribe([subscription(OPTION, FeedMode.DEPTH)])
    (event,) = adapter.receive(refusal(first, "E1002"), 0)
    assert isinstance(event, SubscriptionRejected)
    assert isinstance(event.error, BrokerLimitError)
    assert event.keys == (RELIANCE.key,)
    adapter.receive(FRAMES["quote"], 0)
    adapter.receive(FRAMES["snap"], 0)
    assert [published.instrument for published in sink.published] == [OPTION]
    (again,) = adapter.receive(refusal(first, "E1002"), 0)
    assert isinstance(again, SubscriptionRejected)
    assert again.keys == ()


def test_a_bad_payload_is_no_limit(adapter: AngelAdapter) -> None:
    (message,) = adapter.subscribe([subscription(RELIANCE)])
    (event,) = adapter.receive(refusal(message, "E1001"), 0)
    assert isinstance(event, SubscriptionRejected)
    assert not isinstance(event.error, BrokerLimitError)
    assert event.keys == (RELIANCE.key,)


def test_a_refusal_of_an_older_request_does_not_end_a_newer_one(adapter: AngelAdapter) -> None:
    (first,) = adapter.subscribe([subscription(RELIANCE)])
    adapter.unsubscribe([subscription(RELIANCE)])
    adapter.subscribe([subscription(RELIANCE)])
    (event,) = adapter.receive(refusal(first, "E1002"), 0)
    assert isinstance(event, Notice), "a rejection that names nobody would end what waits"
    assert adapter.receive(FRAMES["quote"], 0) == (Confirmed((RELIANCE.key,)),)


def test_a_refused_end_concerns_nobody(adapter: AngelAdapter) -> None:
    adapter.subscribe([subscription(RELIANCE), subscription(OPTION)])
    (message,) = adapter.unsubscribe([subscription(RELIANCE)])
    (event,) = adapter.receive(refusal(message, "E1001"), 0)
    assert isinstance(event, Notice)
    assert adapter.receive(FRAMES["snap"], 0) == (Confirmed((OPTION.key,)),)


def test_a_refused_change_leaves_nothing_subscribed(adapter: AngelAdapter) -> None:
    low, high = subscription(RELIANCE, FeedMode.LTP), subscription(RELIANCE, FeedMode.DEPTH)
    adapter.subscribe([low])
    raised, _ = adapter.change_mode([(low, high)])
    (event,) = adapter.receive(refusal(raised, "E1002"), 0)
    assert isinstance(event, SubscriptionRejected)
    assert event.keys == (RELIANCE.key,)
    assert sent(adapter.subscribe([low])) == [request(1, 1, {1: ["2885"]})]


def test_a_new_socket_starts_from_nothing(adapter: AngelAdapter, sink: RecordingSink) -> None:
    (message,) = adapter.subscribe([subscription(RELIANCE)])
    adapter.reset()
    assert adapter.receive(FRAMES["quote"], 0) == ()
    assert sink.published == []
    adapter.subscribe([subscription(RELIANCE)])
    (event,) = adapter.receive(refusal(message, "E1002"), 0)
    assert isinstance(event, SubscriptionRejected)
    assert event.keys == ()


def test_it_pings_in_text_and_takes_the_pong(adapter: AngelAdapter) -> None:
    assert adapter.keepalive() == "ping"
    assert adapter.receive("pong", 0) == ()


def test_a_broken_frame_publishes_nothing(adapter: AngelAdapter, sink: RecordingSink) -> None:
    adapter.subscribe([subscription(RELIANCE)])
    with pytest.raises(BrokerProtocolError):
        adapter.receive(FRAMES["quote"][:-1], 0)
    assert sink.published == []


@pytest.mark.parametrize("token", ["2885", "1:", ":2885", "6:2885", "01:2885", "1:A", "1:²", "x:1"])
def test_a_token_without_its_segment_is_a_configuration_error(
    adapter: AngelAdapter, token: str
) -> None:
    with pytest.raises(BrokerConfigError, match="NSE:X"):
        adapter.subscribe([subscription(Instrument(InstrumentKey("NSE", "X"), token))])
