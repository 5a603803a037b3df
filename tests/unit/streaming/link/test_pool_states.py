"""Pool states: beats and events that cross each other."""

from __future__ import annotations

from brokers.pool_service import FeedChange, FeedStatus
from brokers.types import InstrumentKey
from streaming.link.feed_status import PoolStates
from streaming.wire.control import PoolBeat

LIVE = PoolBeat("1", FeedStatus.LIVE, 100, "")


def states() -> PoolStates:
    return PoolStates(now_ms=lambda: 999)


def test_an_unknown_pool_is_stale():
    """Nobody vouches for its prices."""
    assert states().status("1") is FeedStatus.STALE


def test_a_beat_is_news_once():
    """Beats come each second; only a change is told."""
    known = states()
    assert known.on_beat(LIVE, 200) == FeedChange("1", FeedStatus.LIVE, 100, "")
    assert known.on_beat(LIVE, 300) is None
    assert known.status("1") is FeedStatus.LIVE


def test_a_beat_sent_before_an_event_does_not_undo_it():
    """They travel on different sockets, so the older may come later."""
    known = states()
    known.on_beat(LIVE, 200)
    assert known.on_event(FeedChange("1", FeedStatus.STALE, 500, "silent"))
    assert known.on_beat(LIVE, 499) is None
    assert known.status("1") is FeedStatus.STALE
    assert known.on_beat(LIVE, 501) is not None
    assert known.status("1") is FeedStatus.LIVE


def test_an_event_that_a_beat_told_already_is_no_news():
    """Clients hear of a change once."""
    known = states()
    known.on_beat(LIVE, 200)
    assert not known.on_event(FeedChange("1", FeedStatus.LIVE, 100, ""))


def test_changes_of_some_instruments_always_pass():
    """They say nothing of the pool as a whole."""
    known = states()
    known.on_beat(LIVE, 200)
    some = FeedChange("1", FeedStatus.STALE, 300, "halted", [InstrumentKey("NSE", "A")])
    assert known.on_event(some)
    assert known.status("1") is FeedStatus.LIVE


def test_a_lost_worker_makes_its_pools_stale_until_its_next_word():
    """Even the same status as before is news then, whatever its time says."""
    known = states()
    known.on_beat(LIVE, 200)
    assert known.lose("1", "gone") == FeedChange("1", FeedStatus.STALE, 999, "gone")
    assert known.status("1") is FeedStatus.STALE
    assert known.on_beat(LIVE, 300) is not None
    known.lose("1", "gone")
    assert known.on_event(FeedChange("1", FeedStatus.LIVE, 100, ""))
    assert known.status("1") is FeedStatus.LIVE
