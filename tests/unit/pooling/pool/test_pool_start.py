"""A pool that has just started: stale until what gateways want has come."""

from __future__ import annotations

import asyncio

from brokers.pool_service import FeedStatus
from tests.unit.pooling.kit import key, open_kit, virtual

LIVE, STALE = FeedStatus.LIVE, FeedStatus.STALE


def told(kit):
    return [
        (change.status, None if change.keys is None else set(change.keys)) for change in kit.feed
    ]


@virtual
async def test_nothing_is_live_before_gateways_could_say_what_they_want():
    async with open_kit(is_starting=True) as kit:
        stats = kit.pool.get_stats()
        assert (stats.status, stats.reason) == (
            STALE,
            "just started; setting the subscriptions up again",
        )
        await asyncio.sleep(3.9)
        assert kit.pool.get_stats().status is STALE
        assert not kit.feed
        await asyncio.sleep(0.2)
        stats = kit.pool.get_stats()
        assert (stats.status, stats.reason) == (LIVE, "nothing is subscribed")
        assert told(kit) == [(LIVE, None)]


@virtual
async def test_it_is_live_once_everything_that_is_wanted_has_come():
    async with open_kit(is_starting=True) as kit:
        kit.broker.confirms = False
        kit.want(1, 2)
        await asyncio.sleep(1)
        kit.broker.say('{"ok":["1"],"ticks":["1"]}')
        await asyncio.sleep(0.1)
        stats = kit.pool.get_stats()
        assert (stats.status, stats.reason) == (STALE, "just started; waiting for the first prices")
        assert not kit.feed
        kit.broker.say('{"ok":["2"],"ticks":["2"]}')
        await asyncio.sleep(0.1)
        assert kit.pool.get_stats().status is LIVE
        assert told(kit) == [(LIVE, None)]
        await asyncio.sleep(60)
        assert told(kit)[:1] == [(LIVE, None)]
        kit.want(3)
        await asyncio.sleep(1)
        assert kit.pool.get_stats().status is LIVE, "a start is over once"


@virtual
async def test_what_does_not_come_within_seconds_is_named():
    async with open_kit(is_starting=True) as kit:
        kit.broker.confirms = False
        kit.want(1, 2)
        await asyncio.sleep(1)
        kit.broker.say('{"ok":["1"],"ticks":["1"]}')
        await asyncio.sleep(6.9)
        assert kit.pool.get_stats().status is STALE
        await asyncio.sleep(0.3)
        assert kit.pool.get_stats().status is LIVE
        assert told(kit) == [(LIVE, None), (STALE, {key(2)})]
        kit.broker.say('{"ok":["2"],"ticks":["2"]}')
        await asyncio.sleep(1)
        assert told(kit)[2:] == [(LIVE, {key(2)})]


@virtual
async def test_what_waits_for_room_holds_nobody_up():
    async with open_kit(
        options={"symbols_per_connection": 2, "max_connections": 1}, is_starting=True
    ) as kit:
        kit.want(1, 2, 3)
        await asyncio.sleep(1)
        assert kit.pool.get_stats().status is LIVE


@virtual
async def test_a_start_without_a_broker_stays_stale_and_says_why():
    async with open_kit(is_starting=True) as kit:
        kit.broker.refuse(500)
        kit.want(1)
        await asyncio.sleep(20)
        stats = kit.pool.get_stats()
        assert stats.status is STALE
        assert "just started" not in stats.reason
        assert not kit.feed
        kit.broker.accept()
        await asyncio.sleep(90)
        assert kit.pool.get_stats().status is LIVE


@virtual
async def test_a_pool_that_is_paused_as_it_starts_is_closed_and_comes_back_as_ever():
    async with open_kit(is_starting=True) as kit:
        kit.pool.set_paused(True)
        await asyncio.sleep(10)
        assert kit.pool.get_stats().status is FeedStatus.CLOSED
        kit.pool.set_paused(False)
        await asyncio.sleep(1)
        assert kit.pool.get_stats().status is LIVE
        assert told(kit) == [(FeedStatus.CLOSED, None), (LIVE, None)]


@virtual
async def test_the_end_of_a_start_is_told_in_the_words_of_the_statistics():
    """Else gateways would hear of it twice: by the event, and by the next beat."""
    async with open_kit(is_starting=True) as kit:
        kit.want(1)
        await asyncio.sleep(1)
        (live,) = kit.feed
        assert live.reason == kit.pool.get_stats().reason


@virtual
async def test_an_open_socket_alone_makes_no_pool_live():
    """After a reconnect to a broker that says nothing, no price is there to be trusted."""
    async with open_kit() as kit:
        kit.want(1, 2)
        await asyncio.sleep(1)
        assert kit.pool.get_stats().status is LIVE
        kit.broker.confirms = False
        kit.broker.drop()
        await asyncio.sleep(5)
        stats = kit.pool.get_stats()
        assert [each.state for each in stats.connections] == ["live"]
        assert (stats.status, stats.reason) == (STALE, "connected; waiting for the first price")
        kit.broker.say('{"ok":["1"],"ticks":["1"]}')
        await asyncio.sleep(0.1)
        assert kit.pool.get_stats().status is LIVE
