"""The Fyers adapter: what it sends, publishes, confirms, acknowledges and gives up."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable

import pytest

from brokers.contract import (
    BrokerEvent,
    Confirmed,
    Credentials,
    Notice,
    SendNow,
    SubscriptionRejected,
)
from brokers.exceptions import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerLimitError,
    BrokerProtocolError,
)
from brokers.fyers.connection import FyersAdapter
from brokers.fyers.requests import encode_ack, encode_auth, encode_mode
from brokers.testing import RecordingSink
from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription
from pooling.subscriptions.capacity import effective_limits
from tests.unit.brokers.fyers.fyers_frames import NONE, data, lite, reply, snapshot, update
from tests.unit.brokers.fyers.fyers_vectors import FYERS_VECTORS

SBIN = Instrument(InstrumentKey("NSE", "SBIN"), "sf|nse_cm|3045")
NIFTY = Instrument(InstrumentKey("NSE_INDEX", "NIFTY"), "if|nse_cm|Nifty 50")
BOOK = "dp|nse_cm|3045"
FEED = (*range(100, 112), 700, *range(113, 121))
LEVELS = (*range(95, 85, -1), *range(201, 221))
FRAMES = {name: bytes.fromhex(text) for name, text in FYERS_VECTORS.items()}
LTP, QUOTE, DEPTH = FeedMode.LTP, FeedMode.QUOTE, FeedMode.DEPTH
ON, OFF = 4, 5
Request = tuple[int, int, list[str]]


def item(instrument: Instrument = SBIN, mode: FeedMode = QUOTE) -> Subscription:
    return Subscription(instrument, mode)


def numbered(count: int, mode: FeedMode) -> list[Subscription]:
    return [
        Subscription(Instrument(InstrumentKey("NFO", f"S{at}"), f"sf|nse_fo|{at}"), mode)
        for at in range(count)
    ]


def sent(messages: Iterable[str | bytes]) -> list[Request]:
    """Return the type, channel and topics of requests, read from the byte table."""
    found = []
    for message in messages:
        assert isinstance(message, bytes)
        assert (message[3], message[4]) == (2, 1)
        end = 7 + int.from_bytes(message[5:7], "big")
        count, at, topics = int.from_bytes(message[7:9], "big"), 9, []
        while at < end:
            size = message[at]
            topics.append(message[at + 1 : at + 1 + size].decode())
            at += 1 + size
        assert len(topics) == count
        assert message[end : end + 3] == b"\2\0\1"
        found.append((message[2], message[end + 3], topics))
    return found


def of_kind(events: Iterable[BrokerEvent], kind: type[BrokerEvent]) -> list[BrokerEvent]:
    return [event for event in events if isinstance(event, kind)]


def access_token(**claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"ABCD-100:e30.{payload}.sig"


@pytest.fixture
def sink() -> RecordingSink:
    return RecordingSink()


@pytest.fixture
def adapter(sink: RecordingSink) -> FyersAdapter:
    return FyersAdapter(sink=sink)


def test_the_credential_is_the_first_message_and_no_header(adapter: FyersAdapter) -> None:
    """A server that sees ``Authorization`` would not answer it."""
    token = access_token(hsm_key="HSMKEY123", exp=1)
    handshake = adapter.handshake(Credentials({"access_token": f" {token} "}))
    assert handshake.url == "wss://socket.fyers.in/hsm/v1-5/prod"
    assert handshake.headers == {}
    assert handshake.first_messages == (
        encode_auth("HSMKEY123", "PythonSDK-3.2.0"),
        encode_mode(11, is_lite=False),
    )
    assert "HSMKEY123" not in repr(handshake)


def test_a_text_that_is_no_token_is_the_key_itself(adapter: FyersAdapter) -> None:
    handshake = adapter.handshake(Credentials({"access_token": "HSMKEY123"}))
    assert handshake.first_messages[0] == encode_auth("HSMKEY123", "PythonSDK-3.2.0")


@pytest.mark.parametrize(
    "token",
    [
        access_token(exp=1),
        access_token(hsm_key=""),
        access_token(hsm_key=7),
        access_token(hsm_key="x" * 5000),
        access_token(hsm_key="ключ"),
        "APP:a.!!.b",
        "a." + base64.urlsafe_b64encode(b'{"hsm_key":"k","x":' + b"[" * 6000).decode() + ".c",
        "a..b",
        "x" * 20_000,
        "ключ",
        "APP:",
    ],
)
def test_a_token_that_cannot_be_used_is_a_configuration_error(
    adapter: FyersAdapter, token: str
) -> None:
    with pytest.raises(BrokerConfigError, match="access_token") as refusal:
        adapter.handshake(Credentials({"access_token": token}))
    assert token[5:] not in str(refusal.value) or not token[5:]


def test_settings_of_the_account_are_what_is_sent(sink: RecordingSink) -> None:
    settings = {"channel": 3, "lite_channel": 12, "acks": False, "source": "mine"}
    adapter = FyersAdapter.with_settings(settings)(endpoint="ws://127.0.0.1:9", sink=sink)
    handshake = adapter.handshake(Credentials({"access_token": "key"}))
    assert handshake.url == "ws://127.0.0.1:9/hsm/v1-5/prod"
    assert handshake.first_messages == (
        encode_auth("key", "mine"),
        encode_mode(3, is_lite=False),
        encode_mode(12, is_lite=True),
    )
    assert sent(adapter.subscribe([item(mode=LTP), item(NIFTY)])) == [
        (ON, 3, [NIFTY.broker_token]),
        (ON, 12, [SBIN.broker_token]),
    ]
    adapter.receive(FRAMES["auth_ok"], 0)
    for _ in range(4):
        assert of_kind(adapter.receive(data(), 0), SendNow) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("channel", text) for text in ("0", "64", "x", "²", "")),
        *(("lite_channel", text) for text in ("11", "-1")),
        *(("source", text) for text in ("", "a\nb", "ключ", "x" * 65)),
        *(("acks", "maybe"), ("symbols", "199"), ("connections", "11"), ("speed", "1")),
    ],
)
def test_a_setting_that_is_none_is_a_configuration_error(name: str, value: str) -> None:
    with pytest.raises(BrokerConfigError, match=f"Fyers: .*{name}"):
        FyersAdapter.with_settings({name: value})


def test_what_a_plan_allows_is_shared_by_all_connections() -> None:
    own = FyersAdapter.capabilities
    assert own.max_connections == 1
    capabilities = FyersAdapter.with_settings({"symbols": 300, "connections": 3}).capabilities
    limits = effective_limits(
        symbols_per_connection=1000, max_connections=9, capabilities=capabilities
    )
    assert (limits.max_connections, limits.units, limits.capacity) == (3, 300, 300)
    usual = effective_limits(symbols_per_connection=1000, max_connections=9, capabilities=own)
    assert (usual.max_connections, usual.units, usual.capacity) == (1, 5000, 5000)
    assert FyersAdapter.category(item()) == capabilities.category_limits[0].category


def test_a_refused_credential_is_told_on_the_open_socket(adapter: FyersAdapter) -> None:
    assert adapter.receive(FRAMES["auth_ok"], 0) == ()
    with pytest.raises(BrokerAuthError):
        adapter.receive(FRAMES["auth_bad"], 0)
    about_auth = bytearray(FRAMES["custom_51"])
    about_auth[-1] = 1
    with pytest.raises(BrokerAuthError, match="Symbol limit"):
        adapter.receive(bytes(about_auth), 0)


@pytest.mark.parametrize(
    ("mode", "topics"),
    [
        (LTP, [SBIN.broker_token, NIFTY.broker_token]),
        (QUOTE, [SBIN.broker_token, NIFTY.broker_token]),
        (DEPTH, [SBIN.broker_token, BOOK, NIFTY.broker_token]),
    ],
)
def test_modes_are_topics(adapter: FyersAdapter, mode: FeedMode, topics: list[str]) -> None:
    items = [item(SBIN, mode), item(NIFTY, mode)]
    assert sum(adapter.cost(each.instrument, mode) for each in items) == len(topics)
    assert sent(adapter.subscribe(items)) == [(ON, 11, topics)]
    assert sent(adapter.unsubscribe(items)) == [(OFF, 11, topics)]


def test_a_mode_changes_by_the_book_alone(adapter: FyersAdapter) -> None:
    low, middle, high = (item(mode=mode) for mode in FeedMode)
    adapter.subscribe([low])
    assert adapter.change_mode([(low, middle)]) == []
    assert sent(adapter.change_mode([(middle, high)])) == [(ON, 11, [BOOK])]
    assert sent(adapter.change_mode([(high, low)])) == [(OFF, 11, [BOOK])]


def test_a_mode_change_off_the_lite_channel_subscribes_before_it_ends(
    sink: RecordingSink,
) -> None:
    adapter = FyersAdapter.with_settings({"lite_channel": 12})(sink=sink)
    adapter.handshake(Credentials({"access_token": "key"}))
    low, high = item(mode=LTP), item(mode=DEPTH)
    adapter.subscribe([low])
    adapter.receive(data(snapshot(SBIN.broker_token, FEED), lite(7)), 0)
    assert sent(adapter.change_mode([(low, high)])) == [
        (ON, 11, [SBIN.broker_token, BOOK]),
        (OFF, 12, [SBIN.broker_token]),
    ]
    assert sent(adapter.change_mode([(high, low)])) == [
        (ON, 12, [SBIN.broker_token]),
        (OFF, 11, [BOOK, SBIN.broker_token]),
    ]


def test_what_needs_no_message_is_published_from_what_is_known(
    adapter: FyersAdapter, sink: RecordingSink
) -> None:
    low, middle, high = (item(mode=mode) for mode in FeedMode)
    adapter.subscribe([low])
    assert adapter.settle() == ()
    adapter.receive(data(snapshot(SBIN.broker_token, FEED)), 77)
    adapter.change_mode([(low, middle)])
    assert adapter.settle() == (Confirmed((SBIN.key,)),)
    assert adapter.settle() == ()
    adapter.change_mode([(middle, high)])
    assert adapter.settle() == ()
    adapter.receive(data(snapshot(BOOK, LEVELS, number=2)), 78)
    adapter.change_mode([(high, low)])
    assert adapter.settle() == (Confirmed((SBIN.key,)),)
    assert [(each.tick.mode, each.ts_received_us) for each in sink.published] == [
        *((LTP, 77), (QUOTE, 77), (DEPTH, 78), (LTP, 78)),
    ]
    assert adapter.ticks_published == 4


def test_what_is_not_known_yet_settles_with_its_first_tick(
    adapter: FyersAdapter, sink: RecordingSink
) -> None:
    low, middle = item(mode=LTP), item(mode=QUOTE)
    adapter.subscribe([low])
    adapter.change_mode([(low, middle)])
    assert adapter.settle() == ()
    assert sink.published == []
    events = adapter.receive(data(snapshot(SBIN.broker_token, FEED)), 0)
    assert events == [Confirmed((SBIN.key,))]


def test_what_was_ended_meanwhile_settles_nothing(adapter: FyersAdapter) -> None:
    low, middle = item(mode=LTP), item(mode=QUOTE)
    adapter.subscribe([low])
    adapter.receive(data(snapshot(SBIN.broker_token, FEED)), 0)
    adapter.change_mode([(low, middle)])
    adapter.unsubscribe([middle])
    assert adapter.settle() == ()


def test_depth_is_confirmed_by_feed_and_book_together(
    adapter: FyersAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([item(mode=DEPTH)])
    assert adapter.receive(data(snapshot(BOOK, LEVELS, number=2)), 0) == []
    events = adapter.receive(data(snapshot(SBIN.broker_token, FEED)), 0)
    assert events == [Confirmed((SBIN.key,))]
    assert adapter.receive(data(update(FEED)), 0) == []
    assert [tick.mode for tick in sink.ticks] == [DEPTH, DEPTH]


def test_a_frame_of_many_confirms_and_publishes_each(
    adapter: FyersAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([item(SBIN), item(NIFTY)])
    assert adapter.receive(FRAMES["feed_snapshot"], 9) == [Confirmed((SBIN.key, NIFTY.key))]
    assert [(each.instrument, each.ts_received_us) for each in sink.published] == [
        *((SBIN, 9), (NIFTY, 9)),
    ]
    assert (adapter.ticks_published, adapter.ticks_unknown) == (2, 0)


def test_what_was_not_subscribed_is_unknown(adapter: FyersAdapter, sink: RecordingSink) -> None:
    adapter.subscribe([item(NIFTY)])
    adapter.receive(FRAMES["feed_snapshot"], 0)
    assert [each.instrument for each in sink.published] == [NIFTY]
    assert adapter.ticks_unknown == 1


@pytest.mark.parametrize("every", [1, 2, 3])
def test_every_nth_data_frame_is_acknowledged_with_its_number(
    adapter: FyersAdapter, every: int
) -> None:
    adapter.receive(reply(1, "K", every), 0)
    adapter.subscribe([item()])
    acks = []
    for number in range(10, 22):
        frame = data(*([snapshot(SBIN.broker_token, FEED)] if number == 10 else []), number=number)
        acks += of_kind(adapter.receive(frame, 0), SendNow)
        adapter.receive(reply(4, "K"), 0)
    assert acks == [SendNow(encode_ack(9 + every * at)) for at in range(1, 12 // every + 1)]


def test_no_frame_is_acknowledged_where_none_shall_be(adapter: FyersAdapter) -> None:
    adapter.receive(reply(1, "K", 0), 0)
    assert [adapter.receive(data(), 0) for _ in range(3)] == [[], [], []]


def test_the_count_of_frames_starts_anew_with_a_socket(adapter: FyersAdapter) -> None:
    adapter.receive(reply(1, "K", 2), 0)
    adapter.receive(data(), 0)
    adapter.reset()
    adapter.receive(reply(1, "K", 2), 0)
    assert adapter.receive(data(), 0) == []
    assert adapter.receive(data(number=5), 0) == [SendNow(encode_ack(5))]


def test_a_refusal_gives_up_what_has_not_ticked_and_ends_it_there(
    adapter: FyersAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([item(SBIN, DEPTH), item(NIFTY)])
    adapter.receive(data(snapshot(NIFTY.broker_token, (1, 2, 3, 4, 5, 6), number=7)), 0)
    rejected, *sends = adapter.receive(FRAMES["custom_51"], 0)
    assert isinstance(rejected, SubscriptionRejected)
    assert isinstance(rejected.error, BrokerLimitError)
    assert rejected.keys == (SBIN.key,)
    messages = [send.message for send in sends if isinstance(send, SendNow)]
    assert sent(messages) == [(OFF, 11, [SBIN.broker_token, BOOK])]
    # The answer to the same request is about nothing any more.
    (again,) = adapter.receive(reply(4, "N"), 0)
    assert isinstance(again, SubscriptionRejected)
    assert again.keys == ()
    adapter.receive(data(snapshot(SBIN.broker_token, FEED)), 0)
    assert [each.instrument for each in sink.published] == [NIFTY]
    assert adapter.ticks_unknown == 0


def test_answers_are_about_requests_in_their_order(adapter: FyersAdapter) -> None:
    adapter.subscribe([item(SBIN)])
    adapter.subscribe([item(NIFTY)])
    assert adapter.receive(FRAMES["sub_ok"], 0) == ()
    rejected, _ = adapter.receive(reply(4, "N"), 0)
    assert isinstance(rejected, SubscriptionRejected)
    assert not isinstance(rejected.error, BrokerLimitError)
    assert rejected.keys == (NIFTY.key,)


def test_a_refusal_behind_an_answer_is_about_the_same_request(adapter: FyersAdapter) -> None:
    adapter.subscribe([item(SBIN)])
    adapter.receive(FRAMES["sub_ok"], 0)
    rejected, _ = adapter.receive(FRAMES["custom_51"], 0)
    assert isinstance(rejected, SubscriptionRejected)
    assert rejected.keys == (SBIN.key,)
    (again,) = adapter.receive(FRAMES["custom_51"], 0)
    assert isinstance(again, SubscriptionRejected)
    assert again.keys == ()


def test_other_refusals_are_for_people(adapter: FyersAdapter) -> None:
    for frame in (FRAMES["mode_ok"], FRAMES["unsub_ok"]):
        assert adapter.receive(frame, 0) == ()
    (notice,) = adapter.receive(reply(12, "N"), 0)
    assert isinstance(notice, Notice)
    custom = bytearray(FRAMES["custom_51"])
    custom[-1] = 5
    (notice,) = adapter.receive(bytes(custom), 0)
    assert isinstance(notice, Notice)
    assert "51001" in notice.text


def test_requests_stay_within_what_the_official_client_sends(adapter: FyersAdapter) -> None:
    for mode, lengths in ((QUOTE, [1500, 1500, 1]), (DEPTH, [1500, 1500, 1500, 1500, 2])):
        items = numbered(3001, mode)
        for messages in (adapter.subscribe(items), adapter.unsubscribe(items)):
            assert [len(topics) for _, _, topics in sent(messages)] == lengths


def test_a_new_socket_starts_from_nothing(adapter: FyersAdapter, sink: RecordingSink) -> None:
    adapter.subscribe([item()])
    adapter.receive(data(snapshot(SBIN.broker_token, FEED)), 0)
    adapter.reset()
    assert sent(adapter.subscribe([item()])) == [(ON, 11, [SBIN.broker_token])]
    assert adapter.settle() == ()
    adapter.receive(data(update(FEED)), 0)
    assert len(sink.published) == 1
    (rejected, *_) = adapter.receive(reply(4, "N"), 0)
    assert isinstance(rejected, SubscriptionRejected)
    assert rejected.keys == (SBIN.key,)


def test_a_broken_frame_publishes_nothing(adapter: FyersAdapter, sink: RecordingSink) -> None:
    adapter.subscribe([item()])
    with pytest.raises(BrokerProtocolError):
        adapter.receive(FRAMES["feed_snapshot"][:-1], 0)
    with pytest.raises(BrokerProtocolError):
        adapter.receive("text", 0)
    assert sink.published == []
    adapter.receive(data(snapshot(SBIN.broker_token, FEED), update((NONE,) * 21)), 0)
    assert len(sink.published) == 2


def test_it_pings_in_three_bytes(adapter: FyersAdapter) -> None:
    assert adapter.keepalive() == bytes.fromhex("00010b")


@pytest.mark.parametrize(
    "token",
    [
        *("3045", "sf|nse_cm|", "sf|nse|3045", "dp|nse_cm|3045", "sf|nse_cm|A", "if|nse_cm|"),
        *("if|nse_cm|a|b", "if|nse_cm|Индекс", "sf|nse_cm|²", f"if|nse_cm|{'x' * 65}", "if|nse_cm"),
    ],
)
def test_a_token_that_is_no_topic_is_a_configuration_error(
    adapter: FyersAdapter, token: str
) -> None:
    with pytest.raises(BrokerConfigError, match="NSE:X"):
        adapter.subscribe([item(Instrument(InstrumentKey("NSE", "X"), token))])


def test_a_late_answer_to_a_refused_request_does_not_end_a_newer_one(
    adapter: FyersAdapter,
) -> None:
    adapter.subscribe([item()])
    adapter.receive(FRAMES["custom_51"], 0)
    adapter.subscribe([item()])
    (late,) = adapter.receive(reply(4, "N"), 0)
    assert isinstance(late, SubscriptionRejected)
    assert late.keys == ()
    assert adapter.receive(data(snapshot(SBIN.broker_token, FEED)), 0) == [Confirmed((SBIN.key,))]
