"""Control messages: what is said is heard, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.pool_service import (
    FeedChange,
    FeedStatus,
    OrderUpdated,
    Outcome,
    OutcomeState,
    RefusalCode,
    SubscriptionChange,
    Want,
)
from brokers.types import FeedMode, InstrumentKey
from streaming.exceptions import MalformedMessageError
from streaming.wire import control as cm

KEY = InstrumentKey("NSE", "M&M")
REFUSED = Outcome(
    KEY,
    OutcomeState.REFUSED,
    FeedMode.DEPTH,
    20,
    RefusalCode.MAX_CAPACITY_REACHED,
    "no",
    {"used": 1},
)


@pytest.mark.parametrize(
    "message",
    [
        cm.Hello(),
        cm.Heartbeat(3),
        cm.Bye(),
        cm.WantRequest(1, "1", "c", [Want(KEY, FeedMode.DEPTH, 20)], "b.1"),
        cm.ReleaseRequest(2, "1", "c", [KEY]),
        cm.ReleaseRequest(2, "1", "c", None),
        cm.StatsRequest(3, "1"),
        cm.SnapshotRequest(4, "1", [KEY]),
    ],
)
def test_requests_come_through(message):
    """With their types, keys included."""
    assert cm.decode_from_gateway(cm.encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        cm.Done(1),
        cm.WantReplyMessage(1, [REFUSED], [b"\0x"]),
        cm.SnapshotReply(1, 5, [b"x"]),
        cm.ErrorReply(1, cm.ErrorCode.BUSY, "busy"),
        cm.ResyncNotice(),
        cm.EventNotice(FeedChange("1", FeedStatus.STALE, 5, "silent", [KEY])),
        cm.EventNotice(FeedChange("1", FeedStatus.LIVE, 5, "", None)),
        cm.EventNotice(SubscriptionChange("1", [REFUSED])),
        cm.EventNotice(OrderUpdated("1", {"order_id": "x", "legs": [1, None, 2.5]})),
    ],
)
def test_replies_and_notices_come_through(message):
    """A refusal keeps its code and numbers, an order its own shape."""
    assert cm.decode_from_worker(cm.encode(message)) == message


def test_a_beat_comes_through():
    """With the status of each pool."""
    beat = cm.Beat("w", 7, 3, 5556, [cm.PoolBeat("1", FeedStatus.LIVE, 5, "")], 9)
    assert cm.decode_beat(cm.encode(beat)) == beat


@given(st.binary(max_size=60))
def test_noise_is_malformed_and_nothing_else(data):
    """Whatever a local process sends, only one exception comes out."""
    for decode in (cm.decode_from_gateway, cm.decode_from_worker, cm.decode_beat):
        try:
            decode(data)
        except MalformedMessageError:
            continue


@pytest.mark.parametrize(
    "message",
    [
        cm.StatsRequest(1, ""),
        cm.StatsRequest(1, "x" * 129),
        cm.StatsRequest(-1, "1"),
        cm.SnapshotRequest(1, "1", [KEY] * (cm.MAX_ITEMS + 1)),
        cm.WantRequest(1, "1", "c", [], "with space"),
    ],
)
def test_bounds_hold(message):
    """A sender that ignores them is not understood."""
    with pytest.raises(MalformedMessageError):
        cm.decode_from_gateway(cm.encode(message))


def test_deep_nesting_is_malformed():
    """No recursion error escapes."""
    with pytest.raises(MalformedMessageError):
        cm.decode_from_worker(b"\x82\xa4type\xa5event\xa5event" + b"\x91" * 100_000)


def test_an_order_that_cannot_be_carried_is_refused():
    """At the sender, where it can be counted."""
    with pytest.raises(MalformedMessageError):
        cm.encode(cm.EventNotice(OrderUpdated("1", {"x": object()})))
    with pytest.raises(MalformedMessageError):
        cm.encode(cm.EventNotice(OrderUpdated("1", {"x": 2**70})))


@pytest.mark.parametrize("key", [InstrumentKey("NSE", "A\0B"), InstrumentKey("", "A")])
def test_a_worker_that_names_what_has_no_topic_is_not_believed(key: InstrumentKey) -> None:
    """In a reply and in both kinds of news; what nothing subscribes can neither be wanted."""
    outcome = Outcome(key, OutcomeState.ACTIVE, FeedMode.QUOTE)
    for message in (
        cm.WantReplyMessage(1, [outcome], []),
        cm.EventNotice(SubscriptionChange("1", [outcome])),
        cm.EventNotice(FeedChange("1", FeedStatus.STALE, 1, "why", [key])),
    ):
        with pytest.raises(MalformedMessageError, match="no topic"):
            cm.decode_from_worker(cm.encode(message))
    whole = cm.EventNotice(FeedChange("1", FeedStatus.STALE, 1, "why", None))
    assert cm.decode_from_worker(cm.encode(whole)) == whole
