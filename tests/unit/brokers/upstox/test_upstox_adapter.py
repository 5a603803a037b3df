"""The Upstox adapter: what it sends, publishes, confirms and tells."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from brokers.contract import Confirmed, Credentials, Notice
from brokers.exceptions import BrokerAuthError, BrokerConfigError, BrokerProtocolError
from brokers.simulator.upstox.encoder import MarketStatus, encode_market_info
from brokers.testing import RecordingSink
from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription
from brokers.upstox.connection import UpstoxAdapter
from tests.unit.brokers.upstox.upstox_vectors import UPSTOX_VECTORS

LTP, QUOTE, DEPTH = FeedMode
RELIANCE = Instrument(InstrumentKey("NSE", "RELIANCE"), "NSE_EQ|INE002A01018")
NIFTY = Instrument(InstrumentKey("NSE_INDEX", "NIFTY"), "NSE_INDEX|Nifty 50")
OPTION = Instrument(InstrumentKey("NFO", "NIFTY28MAR2420800CE"), "NSE_FO|45450")
FRAMES = {name: bytes.fromhex(text) for name, text in UPSTOX_VECTORS.items()}


def subscription(instrument: Instrument, mode: FeedMode = QUOTE) -> Subscription:
    return Subscription(instrument, mode)


def sent(messages: Iterable[str | bytes]) -> list[tuple[str, str, list[str]]]:
    """Return method, mode and keys of requests, whose ids never come twice."""
    requests: list[dict[str, Any]] = [json.loads(message) for message in messages]
    assert len({request["guid"] for request in requests}) == len(requests)
    return [
        (each["method"], each["data"].get("mode", ""), each["data"]["instrumentKeys"])
        for each in requests
    ]


@pytest.fixture
def sink() -> RecordingSink:
    return RecordingSink()


@pytest.fixture
def adapter(sink: RecordingSink) -> UpstoxAdapter:
    return UpstoxAdapter(sink=sink)


@pytest.mark.parametrize("stored", ["a.b.c", " Bearer a.b.c "])
def test_the_credential_travels_in_a_header(adapter: UpstoxAdapter, stored: str) -> None:
    handshake = adapter.handshake(Credentials({"access_token": stored}))
    assert handshake.url == "wss://api.upstox.com/v3/feed/market-data-feed"
    assert handshake.headers == {"Authorization": "Bearer a.b.c", "Accept": "*/*"}
    assert "a.b.c" not in repr(handshake)


@pytest.mark.parametrize("value", ["a\r\nHost: x", "ключ", "a\x00"])
def test_a_credential_cannot_add_headers(adapter: UpstoxAdapter, value: str) -> None:
    with pytest.raises(BrokerConfigError, match="access_token") as refusal:
        adapter.handshake(Credentials({"access_token": value}))
    assert value not in str(refusal.value)


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("ws://127.0.0.1:1", "ws://127.0.0.1:1/v3/feed/market-data-feed"),
        ("ws://127.0.0.1:1/x?y=z", "ws://127.0.0.1:1/x?y=z"),
    ],
)
def test_an_endpoint_may_be_without_a_path(endpoint: str, url: str) -> None:
    adapter = UpstoxAdapter(endpoint=endpoint, sink=RecordingSink())
    assert adapter.handshake(Credentials({"access_token": "a"})).url == url


def test_a_token_ends_at_half_past_three_in_india() -> None:
    credentials = Credentials({"access_token": "a"})
    for made, ends in (
        (datetime(2026, 1, 5, 14, 30, tzinfo=UTC), datetime(2026, 1, 5, 22, tzinfo=UTC)),
        (datetime(2026, 1, 5, 21, 0, tzinfo=UTC), datetime(2026, 1, 5, 22, tzinfo=UTC)),
        (datetime(2026, 1, 5, 22, 0, tzinfo=UTC), datetime(2026, 1, 6, 22, tzinfo=UTC)),
    ):
        assert UpstoxAdapter.credential_expiry(credentials, made) == ends


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"status":"error","errors":[{"errorCode":"UDAPI100050","message":"x"}]}', True),
        (b'{"errors":[{"errorCode":"<b>"}]}', False),
        (b'{"errors":[]}', False),
        (b"Unauthorized", False),
        (b"[" * 9_000, False),
        (b"", False),
    ],
)
def test_a_refusal_tells_upstoxs_code(adapter: UpstoxAdapter, body: bytes, told: bool) -> None:
    error = adapter.refused(401, {}, body)
    assert type(error) is BrokerAuthError
    assert ("UDAPI100050" in str(error)) is told


@pytest.mark.parametrize(("mode", "name"), [(LTP, "ltpc"), (QUOTE, "full"), (DEPTH, "full")])
def test_modes_have_their_names_and_categories(
    adapter: UpstoxAdapter, mode: FeedMode, name: str
) -> None:
    item = subscription(RELIANCE, mode)
    assert sent(adapter.subscribe([item, item])) == [("sub", name, [RELIANCE.broker_token])]
    assert sent(adapter.unsubscribe([item])) == [("unsub", "", [RELIANCE.broker_token])]
    assert UpstoxAdapter.category(item) == name


def test_requests_go_as_bytes_one_mode_each(adapter: UpstoxAdapter) -> None:
    messages = adapter.subscribe([subscription(RELIANCE, LTP), subscription(NIFTY, DEPTH)])
    assert all(isinstance(message, bytes) for message in messages)
    assert sent(messages) == [
        ("sub", "full", [NIFTY.broker_token]),
        ("sub", "ltpc", [RELIANCE.broker_token]),
    ]


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        (LTP, QUOTE, "full"),
        (LTP, DEPTH, "full"),
        (QUOTE, DEPTH, "full"),  # asked again, for its values
        (DEPTH, QUOTE, None),
        (DEPTH, LTP, "ltpc"),
        (QUOTE, LTP, "ltpc"),
    ],
)
@pytest.mark.parametrize("by_subscribing", [False, True])
def test_a_mode_changes_in_place(
    adapter: UpstoxAdapter, old: FeedMode, new: FeedMode, name: str | None, by_subscribing: bool
) -> None:
    before, after = subscription(RELIANCE, old), subscription(RELIANCE, new)
    adapter.subscribe([before])
    messages = (
        adapter.subscribe([after]) if by_subscribing else adapter.change_mode([(before, after)])
    )
    expected = [] if name is None else [("change_mode", name, [RELIANCE.broker_token])]
    assert sent(messages) == expected


def test_requests_stay_within_the_batch_size(adapter: UpstoxAdapter) -> None:
    size = adapter.capabilities.batch_size
    items = [
        subscription(Instrument(InstrumentKey("NFO", f"S{at}"), f"NSE_FO|{at}"), LTP)
        for at in range(2 * size + 1)
    ]
    for messages in (adapter.subscribe(items), adapter.unsubscribe(items)):
        assert [len(keys) for _, _, keys in sent(messages)] == [size, size, 1]


def test_a_tick_reaches_the_sink_with_its_instrument(
    adapter: UpstoxAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([subscription(RELIANCE), subscription(OPTION)])
    adapter.receive(FRAMES["full"], 77)
    adapter.receive(FRAMES["ltpc"], 78)
    adapter.receive(FRAMES["index_full"], 79)
    assert [(p.instrument, p.tick.ltp, p.tick.mode, p.ts_received_us) for p in sink.published] == [
        (RELIANCE, 24505500, QUOTE, 77),
        (OPTION, 2193000, LTP, 78),
    ]
    assert (adapter.ticks_published, adapter.ticks_unknown) == (2, 1)


def test_the_first_frame_of_the_kind_asked_for_confirms_once(adapter: UpstoxAdapter) -> None:
    adapter.subscribe([subscription(OPTION, QUOTE), subscription(NIFTY, DEPTH)])
    assert adapter.receive(FRAMES["ltpc"], 0) == []
    assert adapter.receive(FRAMES["option_greeks"], 0) == []
    # All that there is of this index, although it holds no more than a last price.
    assert adapter.receive(FRAMES["index_full"], 0) == [Confirmed((NIFTY.key,))]
    assert adapter.receive(FRAMES["index_full"], 0) == []


def test_a_last_price_is_confirmed_by_anything(adapter: UpstoxAdapter) -> None:
    adapter.subscribe([subscription(OPTION, LTP), subscription(RELIANCE, LTP)])
    assert adapter.receive(FRAMES["ltpc"], 0) == [Confirmed((OPTION.key,))]
    assert adapter.receive(FRAMES["full"], 0) == [Confirmed((RELIANCE.key,))]


def test_late_ticks_of_an_ended_subscription_are_dropped_quietly(
    adapter: UpstoxAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([subscription(RELIANCE)])
    adapter.unsubscribe([subscription(RELIANCE)])
    assert adapter.receive(FRAMES["full"], 0) == []
    assert (sink.published, adapter.ticks_unknown) == ([], 0)
    adapter.subscribe([subscription(RELIANCE)])
    assert adapter.receive(FRAMES["full"], 0) == [Confirmed((RELIANCE.key,))]


def test_markets_are_told_when_they_change_and_not_before(adapter: UpstoxAdapter) -> None:
    assert adapter.receive(FRAMES["market_info"], 0) == []
    assert adapter.receive(FRAMES["market_info"], 0) == []
    changed = encode_market_info({"NSE_EQ": MarketStatus.NORMAL_CLOSE}, 1)
    adapter.reset()
    assert adapter.receive(changed, 0) == [Notice("Markets: NSE_EQ NORMAL_CLOSE")]
    assert adapter.receive(changed, 0) == []


def test_a_new_socket_starts_from_nothing(adapter: UpstoxAdapter, sink: RecordingSink) -> None:
    adapter.subscribe([subscription(RELIANCE, LTP)])
    adapter.reset()
    assert adapter.receive(FRAMES["full"], 0) == []
    assert sink.published == []
    messages = adapter.subscribe([subscription(RELIANCE, DEPTH)])
    assert sent(messages) == [("sub", "full", [RELIANCE.broker_token])]


def test_a_broken_frame_publishes_nothing(adapter: UpstoxAdapter, sink: RecordingSink) -> None:
    adapter.subscribe([subscription(RELIANCE)])
    with pytest.raises(BrokerProtocolError):
        adapter.receive(FRAMES["full"][:-1], 0)
    with pytest.raises(BrokerProtocolError, match="text"):
        adapter.receive("sorry", 0)
    assert sink.published == []


@pytest.mark.parametrize(
    "token", ["2885", "NSE_EQ|", "|1", "XXX|1", "NSE_FO|1\n", 'NSE_FO|"', "NSE_FO|\\", "NSE_FO|é"]
)
def test_a_token_that_is_no_key_is_a_configuration_error(
    adapter: UpstoxAdapter, token: str
) -> None:
    with pytest.raises(BrokerConfigError, match="NSE:X"):
        adapter.subscribe([subscription(Instrument(InstrumentKey("NSE", "X"), token))])
