"""The Dhan adapters: what they send, publish, confirm, and make of a disconnection."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from typing import Any, ClassVar

import pytest

from brokers.contract import Confirmed, Credentials, SubscriptionRejected
from brokers.dhan.config import DhanSettings
from brokers.dhan.connection import DhanAdapter, DhanDepth20Adapter, DhanDepth200Adapter
from brokers.exceptions import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerLimitError,
    BrokerProtocolError,
    BrokerRateLimitError,
    BrokerUnavailableError,
)
from brokers.settings import fields_of
from brokers.testing import RecordingSink
from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription
from tests.unit.brokers.dhan.dhan_vectors import DHAN_DEEP_VECTORS, DHAN_VECTORS

SHARE = Instrument(InstrumentKey("NSE", "HDFCBANK"), "NSE_EQ:1333")
OPTION = Instrument(InstrumentKey("NFO", "NIFTY28MAR2420800CE"), "NSE_FNO:58662")
VALUES = {"client_id": "1000000001", "access_token": " a.b+c "}
FRAMES = {name: bytes.fromhex(text) for name, text in DHAN_VECTORS.items()}
NOW_US = 1_700_000_005_000_000
SECOND_US = 1_000_000


class BoldAdapter(DhanAdapter):
    settings: ClassVar[DhanSettings] = DhanSettings(subscribes_before_ending=True)


def subscription(instrument: Instrument, mode: FeedMode = FeedMode.QUOTE) -> Subscription:
    return Subscription(instrument, mode)


def numbered(count: int, mode: FeedMode = FeedMode.LTP) -> list[Subscription]:
    return [
        Subscription(Instrument(InstrumentKey("NFO", f"S{at}"), f"NSE_FNO:{at}"), mode)
        for at in range(count)
    ]


def sent(messages: Iterable[str | bytes]) -> list[dict[str, Any]]:
    return [json.loads(message) for message in messages]


def codes(messages: Iterable[str | bytes]) -> list[tuple[int, int]]:
    return [(each["RequestCode"], each["InstrumentCount"]) for each in sent(messages)]


def request(code: int, *tokens: str) -> dict[str, Any]:
    parts = [token.split(":") for token in tokens]
    named = [{"ExchangeSegment": part[0], "SecurityId": part[1]} for part in parts]
    return {"RequestCode": code, "InstrumentCount": len(named), "InstrumentList": named}


def disconnection(reason: int) -> bytes:
    return struct.pack("<BHBIH", 50, 10, 0, 0, reason)


@pytest.fixture
def sink() -> RecordingSink:
    return RecordingSink()


@pytest.fixture
def adapter(sink: RecordingSink) -> DhanAdapter:
    return DhanAdapter(sink=sink)


@pytest.mark.parametrize(
    ("kind", "endpoint", "url"),
    [
        (DhanAdapter, None, "wss://api-feed.dhan.co/?version=2&"),
        (DhanAdapter, "ws://127.0.0.1:9", "ws://127.0.0.1:9/?version=2&"),
        (DhanAdapter, "ws://127.0.0.1:9/x?y=1", "ws://127.0.0.1:9/x?y=1&version=2&"),
        (DhanDepth20Adapter, None, "wss://depth-api-feed.dhan.co/twentydepth?"),
        (DhanDepth20Adapter, "ws://127.0.0.1:9", "ws://127.0.0.1:9/twentydepth?"),
        (DhanDepth200Adapter, None, "wss://full-depth-api.dhan.co/twohundreddepth?"),
        (DhanDepth200Adapter, "ws://127.0.0.1:9/", "ws://127.0.0.1:9/twohundreddepth?"),
        (DhanDepth200Adapter, "ws://127.0.0.1:9/own", "ws://127.0.0.1:9/own?"),
    ],
)
def test_the_credential_travels_in_the_query(
    kind: type[DhanAdapter], endpoint: str | None, url: str
) -> None:
    handshake = kind(endpoint=endpoint).handshake(Credentials(VALUES))
    assert handshake.url == f"{url}token=a.b%2Bc&clientId=1000000001&authType=2"
    assert (handshake.headers, handshake.first_messages) == ({}, ())
    assert "a.b" not in repr(handshake)


@pytest.mark.parametrize(
    ("mode", "code"), [(FeedMode.LTP, 15), (FeedMode.QUOTE, 17), (FeedMode.DEPTH, 21)]
)
def test_modes_have_their_codes_and_the_next_one_ends_them(
    adapter: DhanAdapter, mode: FeedMode, code: int
) -> None:
    items = [subscription(SHARE, mode), subscription(OPTION, mode)]
    tokens = ("NSE_EQ:1333", "NSE_FNO:58662")
    assert sent(adapter.subscribe([*items, items[0]])) == [request(code, *tokens)]
    assert sent(adapter.unsubscribe(items)) == [request(code + 1, *tokens)]


def test_a_message_names_a_hundred_instruments(adapter: DhanAdapter) -> None:
    items = numbered(250)
    assert codes(adapter.subscribe(items)) == [(15, 100), (15, 100), (15, 50)]
    assert codes(adapter.unsubscribe(items)) == [(16, 100), (16, 100), (16, 50)]


def test_an_unsubscribe_names_the_mode_that_is_held(adapter: DhanAdapter) -> None:
    adapter.subscribe([subscription(SHARE, FeedMode.DEPTH)])
    messages = adapter.unsubscribe([subscription(SHARE, FeedMode.LTP)])
    assert sent(messages) == [request(22, "NSE_EQ:1333")]


def test_a_mode_change_ends_the_old_mode_first(adapter: DhanAdapter) -> None:
    low, high = subscription(SHARE, FeedMode.LTP), subscription(SHARE, FeedMode.DEPTH)
    adapter.subscribe([low])
    up = [request(16, "NSE_EQ:1333"), request(21, "NSE_EQ:1333")]
    assert sent(adapter.change_mode([(low, high)])) == up
    assert sent(adapter.change_mode([(low, high)])) == [], "it is in force"
    assert sent(adapter.subscribe([low])) == [
        request(22, "NSE_EQ:1333"),
        request(15, "NSE_EQ:1333"),
    ]


def test_a_mode_change_may_ask_for_the_new_mode_first(sink: RecordingSink) -> None:
    low, high = subscription(SHARE, FeedMode.LTP), subscription(SHARE, FeedMode.DEPTH)
    adapter = BoldAdapter(sink=sink)
    adapter.subscribe([low])
    assert codes(adapter.change_mode([(low, high)])) == [(21, 1), (16, 1)]


def test_ticks_reach_the_sink_with_their_instruments_and_confirm_once(
    adapter: DhanAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([subscription(SHARE)])
    assert adapter.receive(FRAMES["ticker"], NOW_US) == []
    assert adapter.receive(FRAMES["prev_close"] + FRAMES["quote"], NOW_US) == [
        Confirmed((SHARE.key,))
    ]
    assert adapter.receive(FRAMES["quote"], NOW_US) == []
    assert [(p.instrument, p.tick.close, p.ts_received_us) for p in sink.published] == [
        (SHARE, None, NOW_US),
        (SHARE, 156780, NOW_US),
        (SHARE, 156780, NOW_US),
    ]
    assert (adapter.ticks_published, adapter.ticks_unknown) == (3, 0)


def test_a_security_id_means_another_instrument_in_another_segment(
    adapter: DhanAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([subscription(Instrument(InstrumentKey("BSE", "X"), "BSE_EQ:1333"))])
    adapter.receive(FRAMES["quote"], NOW_US)
    assert (sink.published, adapter.ticks_unknown) == ([], 1)


def test_late_ticks_of_an_ended_subscription_are_dropped_quietly(
    adapter: DhanAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([subscription(SHARE)])
    adapter.unsubscribe([subscription(SHARE)])
    adapter.receive(FRAMES["quote"], NOW_US)
    assert (sink.published, adapter.ticks_unknown) == ([], 0)
    adapter.subscribe([subscription(SHARE)])
    assert adapter.receive(FRAMES["quote"], NOW_US) == [Confirmed((SHARE.key,))]


def test_a_new_socket_starts_from_nothing(adapter: DhanAdapter, sink: RecordingSink) -> None:
    adapter.subscribe([subscription(SHARE)])
    adapter.receive(FRAMES["prev_close"], NOW_US)
    adapter.reset()
    adapter.receive(FRAMES["quote"], NOW_US)
    assert sink.published == []
    assert codes(adapter.subscribe([subscription(SHARE)])) == [(17, 1)]
    adapter.receive(FRAMES["quote"], NOW_US)
    assert sink.ticks[-1].close is None


@pytest.mark.parametrize("reason", [806, 807, 808, 809, 810])
def test_a_refused_credential_is_raised(adapter: DhanAdapter, reason: int) -> None:
    with pytest.raises(BrokerAuthError, match=str(reason)):
        adapter.receive(disconnection(reason), NOW_US)


@pytest.mark.parametrize("reason", [800, 0, 801, 65535])
def test_other_reasons_are_tried_again(adapter: DhanAdapter, reason: int) -> None:
    with pytest.raises(BrokerUnavailableError, match=str(reason)):
        adapter.receive(disconnection(reason), NOW_US)


def wait_after(adapter: DhanAdapter, now_us: int) -> float | None:
    with pytest.raises(BrokerRateLimitError, match="805") as raised:
        adapter.receive(disconnection(805), now_us)
    return raised.value.retry_after_seconds


def test_a_replaced_connection_stays_away_longer_each_time(adapter: DhanAdapter) -> None:
    """At first for longer than the broker counts a dead link, and never for ever."""
    waits = [wait_after(adapter, NOW_US + at * 60 * SECOND_US) for at in range(7)]
    assert waits == [45, 90, 180, 360, 720, 900, 900]
    assert wait_after(adapter, NOW_US + 3600 * SECOND_US) == 45


def test_ticks_before_a_disconnection_in_one_frame_are_published(
    adapter: DhanAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([subscription(SHARE)])
    with pytest.raises(BrokerRateLimitError):
        adapter.receive(FRAMES["quote"] + FRAMES["disconnect"], NOW_US)
    assert len(sink.published) == 1


@pytest.mark.parametrize(
    ("reason", "error"), [(804, BrokerLimitError), (813, BrokerError), (814, BrokerError)]
)
def test_a_refused_request_concerns_what_nothing_has_confirmed(
    adapter: DhanAdapter, sink: RecordingSink, reason: int, error: type[BrokerError]
) -> None:
    adapter.subscribe([subscription(SHARE)])
    adapter.receive(FRAMES["quote"], NOW_US)
    adapter.subscribe([subscription(OPTION)])
    (event,) = adapter.receive(disconnection(reason), NOW_US)
    assert isinstance(event, SubscriptionRejected)
    assert (type(event.error), event.keys) == (error, (OPTION.key,))
    adapter.receive(FRAMES["quote"], NOW_US)
    assert len(sink.published) == 2, "what was confirmed goes on"
    assert codes(adapter.subscribe([subscription(OPTION)])) == [(17, 1)]


def test_a_429_without_a_time_is_waited_for_as_a_replacement_is(adapter: DhanAdapter) -> None:
    error = adapter.refused(429, {}, b"")
    assert isinstance(error, BrokerRateLimitError)
    assert error.retry_after_seconds == 45


def test_text_and_broken_frames_publish_nothing(adapter: DhanAdapter, sink: RecordingSink) -> None:
    adapter.subscribe([subscription(SHARE)])
    for frame in ("hello", FRAMES["quote"][:-1], b""):
        with pytest.raises(BrokerProtocolError):
            adapter.receive(frame, NOW_US)
    assert sink.published == []


@pytest.mark.parametrize(
    "token", ["1333", "NSE_EQ:", ":1333", "NSE:1333", "NSE_EQ:A", "NSE_EQ:²", "1:1333"]
)
def test_a_token_without_its_segment_is_a_configuration_error(
    adapter: DhanAdapter, token: str
) -> None:
    with pytest.raises(BrokerConfigError, match="NSE:X"):
        adapter.subscribe([subscription(Instrument(InstrumentKey("NSE", "X"), token))])


@pytest.mark.parametrize(
    "change",
    [
        {"replaced_wait_seconds": 0.0},
        {"replaced_wait_seconds": 60.0, "replaced_wait_limit_seconds": 59.0},
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="replaced_wait_seconds"):
        DhanSettings(**change)  # type: ignore[arg-type]


def test_deep_books_are_asked_for_fifty_at_a_time_or_alone(sink: RecordingSink) -> None:
    items = numbered(60, FeedMode.DEPTH)
    twenty = DhanDepth20Adapter(sink=sink)
    assert codes(twenty.subscribe(items)) == [(23, 50), (23, 10)]
    assert codes(twenty.unsubscribe(items)) == [(24, 50), (24, 10)]
    single = {"RequestCode": 23, "ExchangeSegment": "NSE_FNO", "SecurityId": "0"}
    assert sent(DhanDepth200Adapter(sink=sink).subscribe(items[:1])) == [single]


@pytest.mark.parametrize(
    ("kind", "frame"),
    [(DhanDepth20Adapter, "bids_20"), (DhanDepth200Adapter, "bids_200")],
)
def test_deep_books_reach_the_sink_and_confirm(
    kind: type[DhanAdapter], frame: str, sink: RecordingSink
) -> None:
    adapter = kind(sink=sink)
    adapter.subscribe([subscription(SHARE, FeedMode.DEPTH)])
    data = bytes.fromhex(DHAN_DEEP_VECTORS[frame])
    assert adapter.receive(data, NOW_US) == [Confirmed((SHARE.key,))]
    assert (sink.ticks[0].bid_price, sink.ticks[0].asks) == (157340, None)
    with pytest.raises(BrokerAuthError, match="807"):
        adapter.receive(struct.pack("<hBBiIH", 14, 50, 0, 0, 0, 807), NOW_US)


def test_the_feeds_of_deep_books_have_the_waits_only() -> None:
    waits = ["replaced_wait_seconds", "replaced_wait_limit_seconds"]
    for deep in (DhanDepth20Adapter, DhanDepth200Adapter):
        assert [field.name for field in fields_of(type(deep.settings))] == waits
        assert deep.with_settings({"replaced_wait_seconds": 60}).capabilities is deep.capabilities
    assert {field.name for field in fields_of(type(DhanAdapter.settings))} > set(waits)
