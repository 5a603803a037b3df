"""Feed statuses: beats and events that cross each other."""

from __future__ import annotations

from brokers.pool_service import FeedChange, FeedStatus
from brokers.types import InstrumentKey
from streaming.link.feed_status import FeedStatuses
from streaming.wire.control import PoolBeat

LIVE = PoolBeat("1", FeedStatus.LIVE, 100, "")


def states() -> FeedStatuses:
    return FeedStatuses(now_ms=lambda: 999)


def test_an_unknown_pool_is_stale():
    """Nobody vouches for its prices."""
    assert states().feed("1").status is FeedStatus.STALE


def test_a_beat_is_news_once():
    """Beats come each second; only a change is told."""
    known = states()
    assert known.on_beat(LIVE, 200) == FeedChange("1", FeedStatus.LIVE, 100, "")
    assert known.on_beat(LIVE, 300) is None
    assert known.feed("1").status is FeedStatus.LIVE


def test_a_beat_sent_before_an_event_does_not_undo_it():
    """They travel on different sockets, so the older may come later."""
    known = states()
    known.on_beat(LIVE, 200)
    assert known.on_event(FeedChange("1", FeedStatus.STALE, 500, "silent"))
    assert known.on_beat(LIVE, 499) is None
    assert known.feed("1").status is FeedStatus.STALE
    assert known.on_beat(LIVE, 501) is not None
    assert known.feed("1").status is FeedStatus.LIVE


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
    assert known.feed("1").status is FeedStatus.LIVE


def test_a_lost_worker_makes_its_pools_stale_until_its_next_word():
    """Even the same status as before is news then, whatever its time says."""
    known = states()
    known.on_beat(LIVE, 200)
    assert known.lose("1", "gone") == FeedChange("1", FeedStatus.STALE, 999, "gone")
    assert known.feed("1").status is FeedStatus.STALE
    assert known.on_beat(LIVE, 300) is not None
    known.lose("1", "gone")
    assert known.on_event(FeedChange("1", FeedStatus.LIVE, 100, ""))
    assert known.feed("1").status is FeedStatus.LIVE


def test_a_feed_that_nobody_was_told_of_is_so_since_now():
    """It has no reason either: nobody gave one."""
    assert states().feed("1") == FeedChange("1", FeedStatus.STALE, 999, "")


def test_a_feed_is_as_clients_were_told_it():
    """Who asks hears the time and the reason that the others heard."""
    known = states()
    lost = known.lose("1", "the worker does not answer")
    known.note_told(lost)
    assert known.on_beat(LIVE, 200) is not None
    assert known.feed("1", is_held=True) == lost
    told = FeedChange("1", FeedStatus.LIVE, 500, "prices arrive again")
    known.note_told(told)
    assert known.feed("1") == told


def test_a_workers_word_is_no_news_after_clients_were_told_it_in_other_words():
    """Nobody hears twice that prices arrive again, nor never that they stop."""
    known = states()
    known.note_told(known.lose("1", "the worker does not answer"))
    known.on_beat(LIVE, 200)
    known.note_told(FeedChange("1", FeedStatus.LIVE, 500, "prices arrive again"))
    assert known.on_beat(LIVE, 600) is None
    assert not known.on_event(FeedChange("1", FeedStatus.LIVE, 100, ""))
    assert known.on_event(FeedChange("1", FeedStatus.STALE, 700, "silent"))


def test_a_pool_is_not_what_was_told_last_while_its_prices_are_awaited():
    """A credential that was replaced is no reason any more; that prices come is not true yet."""
    known = states()
    refused = FeedChange("1", FeedStatus.AUTH_REQUIRED, 300, "login again")
    assert known.on_event(refused)
    known.note_told(refused)
    known.on_event(FeedChange("1", FeedStatus.LIVE, 400, ""))
    assert known.feed("1", is_held=True) == FeedChange("1", FeedStatus.STALE, 999, "")


def test_what_is_told_of_some_instruments_is_not_told_of_the_pool():
    """Their pool goes on as it was."""
    known = states()
    known.note_told(change := FeedChange("1", FeedStatus.LIVE, 100, ""))
    known.on_beat(LIVE, 200)
    known.note_told(FeedChange("1", FeedStatus.STALE, 300, "halted", [InstrumentKey("NSE", "A")]))
    assert known.feed("1") == change
