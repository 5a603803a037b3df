"""Pools that came back: when their clients may take them for live."""

from __future__ import annotations

import pytest

from brokers.pool_service import FeedChange, FeedStatus, Outcome, OutcomeState, RefusalCode
from brokers.types import FeedMode, InstrumentKey
from streaming.link.returning import Returns
from streaming.ports.link import TickMessage
from streaming.wire.topics import tick_topic

A, B, C = (InstrumentKey("NSE", name) for name in "ABC")
LIVE = FeedChange("1", FeedStatus.LIVE, 5, "connected again")
STALE = FeedChange("1", FeedStatus.STALE, 5, "connecting")


def waiting_for(*keys: InstrumentKey) -> Returns:
    returns = Returns(now_ms=lambda: 99)
    returns.begin("1", {tick_topic("1", key): key for key in keys})
    return returns


def tick(key: InstrumentKey, pool_id: str = "1") -> TickMessage:
    return TickMessage(
        topic=tick_topic(pool_id, key),
        mode=FeedMode.LTP,
        epoch=1,
        sequence=1,
        ts_received_us=1,
        body=b"{}",
    )


def outcome(key: InstrumentKey, state: OutcomeState, code: RefusalCode | None = None) -> Outcome:
    return Outcome(key, state, FeedMode.LTP, code=code)


def told(returns: Returns, now: float) -> list[tuple[FeedStatus, tuple[InstrumentKey, ...] | None]]:
    return [
        (change.status, None if change.keys is None else tuple(change.keys))
        for change in returns.due(now)
    ]


def test_a_pool_of_which_nothing_is_wanted_is_not_held_back() -> None:
    returns = waiting_for()
    assert not returns
    assert returns.passes(LIVE, 0)
    assert not returns.holds("1")


def test_live_is_told_with_the_last_price_that_was_waited_for() -> None:
    returns = waiting_for(A, B)
    assert returns.passes(STALE, 0)
    assert not returns.passes(LIVE, 1)
    assert returns.holds("1")
    returns.ticked([tick(A), tick(A), tick(C), tick(B, "2")])
    assert told(returns, 1) == []
    returns.ticked([tick(B)])
    (change,) = returns.due(1)
    assert change == FeedChange("1", FeedStatus.LIVE, 99, "prices arrive again")
    assert not returns
    assert not returns.holds("1")
    assert returns.passes(LIVE, 2)


def test_prices_that_come_before_the_worker_s_word_count_too() -> None:
    returns = waiting_for(A)
    returns.priced([tick_topic("1", A)])
    assert told(returns, 1) == []
    assert returns.passes(LIVE, 2)


def test_what_is_refused_left_or_waits_for_a_reason_is_not_waited_for() -> None:
    returns = waiting_for(A, B, C)
    returns.settle(
        "1",
        [
            outcome(A, OutcomeState.REFUSED, RefusalCode.SYMBOL_NOT_FOUND),
            outcome(B, OutcomeState.PENDING, RefusalCode.MAX_CAPACITY_REACHED),
        ],
    )
    returns.settle("2", [outcome(C, OutcomeState.REFUSED)])
    assert not returns.passes(LIVE, 0)
    assert told(returns, 0) == []
    returns.release([tick_topic("1", C)])
    assert told(returns, 0) == [(FeedStatus.LIVE, None)]


def test_what_is_confirmed_and_quiet_is_taken_for_live_after_a_while() -> None:
    returns = waiting_for(A, B)
    returns.settle("1", [outcome(A, OutcomeState.ACTIVE), outcome(B, OutcomeState.PENDING)])
    returns.ticked([tick(B)])
    assert not returns.passes(LIVE, 10)
    assert told(returns, 12.9) == []
    assert told(returns, 13) == [(FeedStatus.LIVE, None)]
    assert not returns


def test_what_is_not_even_confirmed_is_told_by_name_and_again_when_it_comes() -> None:
    returns = waiting_for(A, B, C)
    returns.ticked([tick(A)])
    assert not returns.passes(LIVE, 0)
    assert told(returns, 9.9) == []
    assert told(returns, 10) == [(FeedStatus.LIVE, None), (FeedStatus.STALE, (B, C))]
    assert not returns.holds("1")
    returns.ticked([tick(B)])
    assert told(returns, 11) == [(FeedStatus.LIVE, (B,))]
    returns.settle("1", [outcome(C, OutcomeState.ACTIVE)])
    assert told(returns, 12) == [(FeedStatus.LIVE, (C,))]
    assert not returns


def test_a_word_that_is_taken_back_is_not_passed_on() -> None:
    returns = waiting_for(A)
    assert not returns.passes(LIVE, 0)
    assert returns.passes(STALE, 5)
    assert told(returns, 50) == []
    assert not returns.passes(LIVE, 60)
    assert told(returns, 69) == []
    assert told(returns, 70) == [(FeedStatus.LIVE, None), (FeedStatus.STALE, (A,))]
    assert returns.passes(STALE, 71)


def test_what_fell_silent_meanwhile_does_not_become_live_with_its_pool() -> None:
    returns = waiting_for(A, B)
    returns.ticked([tick(A)])
    named = FeedChange("1", FeedStatus.STALE, 5, "silent", [A, C])
    assert returns.passes(named, 0)
    assert not returns.passes(LIVE, 1)
    returns.ticked([tick(B), tick(C)])
    assert told(returns, 1) == []
    assert returns.passes(FeedChange("1", FeedStatus.LIVE, 6, "again", [A]), 2)
    assert told(returns, 2) == [(FeedStatus.LIVE, None)]


def test_a_straggler_of_which_the_worker_speaks_is_told_once() -> None:
    returns = waiting_for(A)
    returns.passes(LIVE, 0)
    assert told(returns, 10) == [(FeedStatus.LIVE, None), (FeedStatus.STALE, (A,))]
    assert returns.passes(FeedChange("1", FeedStatus.LIVE, 6, "again", [A]), 11)
    assert told(returns, 11) == []
    assert not returns


def test_what_nobody_answers_for_is_not_waited_for_and_begins_anew() -> None:
    returns = waiting_for(A)
    returns.passes(LIVE, 0)
    returns.end("1")
    returns.end("1")
    assert not returns
    returns.ticked([tick(A)])
    returns.begin("1", {tick_topic("1", A): A})
    returns.begin("1", {tick_topic("1", B): B})
    assert not returns.passes(LIVE, 0)
    returns.ticked([tick(A)])
    assert told(returns, 0) == []
    returns.ticked([tick(B)])
    assert told(returns, 0) == [(FeedStatus.LIVE, None)]


def test_nonsense_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="settle_seconds"):
        Returns(now_ms=lambda: 0, settle_seconds=11)
