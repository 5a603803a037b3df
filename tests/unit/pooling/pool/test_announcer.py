"""The order and number of what listeners hear."""

from __future__ import annotations

import asyncio
from typing import Any

from brokers.pool_service import FeedStatus, Outcome, OutcomeState
from brokers.types import FeedMode
from pooling.pool.announcer import FeedAnnouncer
from pooling.testing import VirtualClock
from tests.unit.pooling.kit import keys, virtual

LIVE, STALE = FeedStatus.LIVE, FeedStatus.STALE


def make():
    events: list[Any] = []
    announcer = FeedAnnouncer(pool_id="7", clock=VirtualClock(), emit=events.append)
    return announcer, events


@virtual
async def test_good_news_is_gathered():
    announcer, events = make()
    announcer.live(keys(1))
    await asyncio.sleep(0.05)
    announcer.live(keys(1, 2))
    assert not events
    await asyncio.sleep(0.06)
    assert [(e.status, list(e.keys)) for e in events] == [(LIVE, keys(1, 2))]


@virtual
async def test_bad_news_is_told_at_once_and_takes_back_good_news_not_yet_told():
    announcer, events = make()
    announcer.live(keys(1, 2))
    announcer.stale(keys(1), "gone")
    await asyncio.sleep(1)
    assert [(e.status, list(e.keys)) for e in events] == [(STALE, keys(1)), (LIVE, keys(2))]


@virtual
async def test_good_news_that_came_too_early_is_withdrawn():
    announcer, events = make()
    announcer.live(keys(1, 2))
    assert announcer.withdraw(keys(3, 1, 1)) == keys(1)  # what is gone may be named twice
    await asyncio.sleep(1)
    assert [(e.status, list(e.keys)) for e in events] == [(LIVE, keys(2))]


@virtual
async def test_nothing_is_told_of_nothing():
    announcer, events = make()
    announcer.live([])
    announcer.stale([], "gone")
    announcer.outcomes([])
    await asyncio.sleep(1)
    assert not events


@virtual
async def test_outcomes_of_one_turn_travel_together_and_closing_tells_the_rest():
    announcer, events = make()
    outcomes = [Outcome(k, OutcomeState.ACTIVE, FeedMode.LTP) for k in keys(1, 2)]
    announcer.outcomes(outcomes[:1])
    announcer.outcomes(outcomes[1:])
    await asyncio.sleep(0)
    assert [list(e.outcomes) for e in events] == [outcomes]
    announcer.live(keys(3))
    announcer.close()
    assert events[-1].status is LIVE
    await asyncio.sleep(1)
    assert len(events) == 2
