"""What a silence means: stale prices, a resting instrument, or a closed market."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from brokers.binance.config import CAPABILITIES as BINANCE
from brokers.feed import FeedStatus
from brokers.zerodha.config import CAPABILITIES as ZERODHA
from pooling.freshness import Freshness
from tests.unit.pooling.kit import LTP, key, open_kit, virtual

STALE, LIVE = FeedStatus.STALE, FeedStatus.LIVE
HOUR = 3600.0
QUIET: dict[str, Any] = {
    "heartbeat_seconds": BINANCE.heartbeat_seconds,
    "liveness_timeout_seconds": BINANCE.liveness_timeout_seconds,
}
BEATING: dict[str, Any] = {
    "heartbeat_seconds": ZERODHA.heartbeat_seconds,
    "liveness_timeout_seconds": ZERODHA.liveness_timeout_seconds,
}


@pytest.mark.parametrize(
    ("heartbeat", "limit"), [(None, 25), (20.0, 25), (1.0, 5), (2.0, 5), (2.4, 6)]
)
def test_brokers_that_beat_are_judged_by_their_beat(heartbeat, limit):
    assert Freshness(heartbeat).limit_seconds == limit


def test_a_steady_link_is_stale_without_frames_whatever_else_is_heard():
    freshness = Freshness(2.0)
    assert freshness.judge(4.9, last_frame=0, last_byte=4.9, frames=1) == ""
    assert "no data for 5 s" in freshness.judge(5, last_frame=0, last_byte=5, frames=1)


def test_a_quiet_link_that_answers_is_fresh_and_one_that_does_not_is_stale():
    freshness = Freshness(None)
    assert freshness.judge(1000, last_frame=0, last_byte=990, frames=1) == ""
    assert "heard" in freshness.judge(1015, last_frame=0, last_byte=990, frames=1)


def test_a_busy_link_that_dries_up_is_stale_until_the_next_frame():
    freshness = Freshness(None)
    for second in range(0, 61, 10):
        freshness.sample(second, second)
    assert freshness.judge(84, last_frame=60, last_byte=84, frames=60) == ""
    for now in (85, 200, 5000):
        freshness.sample(now, 60)
        assert "plenty" in freshness.judge(now, last_frame=60, last_byte=now, frames=60)
    assert freshness.judge(5001, last_frame=5001, last_byte=5001, frames=61) == ""
    assert freshness.judge(6000, last_frame=5001, last_byte=6000, frames=61) == "", "it rests"


def test_a_new_socket_is_judged_anew():
    freshness = Freshness(None)
    for second in range(0, 61, 10):
        freshness.sample(second, second)
    assert freshness.judge(85, last_frame=60, last_byte=85, frames=60)
    freshness.reset()
    freshness.sample(90, 60)
    assert freshness.judge(120, last_frame=90, last_byte=120, frames=60) == ""


@virtual
async def test_a_market_closed_for_a_night_and_a_weekend_costs_no_reconnect():
    """A broker that beats keeps its feed live; nothing is opened again in 80 hours."""
    async with open_kit(**BEATING) as kit:
        kit.want(1, 2, 3)
        await asyncio.sleep(1)
        loop = asyncio.get_running_loop()
        end = loop.time() + 16 * HOUR + 64 * HOUR
        while loop.time() < end:
            kit.broker.say("{}")
            await asyncio.sleep(4)
        assert len(kit.broker.attempts) == 1
        assert not kit.feed
        assert kit.pool.get_stats().status is LIVE
        kit.broker.tick()
        await asyncio.sleep(1)
        assert len(kit.sink.published) == 6


@virtual
async def test_a_quiet_symbol_of_a_broker_without_beats_does_not_flap():
    """Binance's LTP alone: nothing is said for hours, and pings are answered."""
    async with open_kit(**QUIET) as kit:
        kit.want(1, mode=LTP)
        await asyncio.sleep(16 * HOUR)
        assert kit.states() == ["live"]
        assert not kit.feed
        assert len(kit.broker.attempts) == 1


@virtual
async def test_a_busy_feed_whose_market_closes_is_stale_once_and_never_reconnects():
    async with open_kit(**QUIET) as kit:
        kit.want(1)
        for _ in range(120):
            await asyncio.sleep(1)
            kit.broker.tick()
        await asyncio.sleep(16 * HOUR)
        assert [c.status for c in kit.feed] == [STALE]
        assert "no data for 25 s" in kit.feed[0].reason
        assert kit.sink.forgotten == [key(1)], "an old price is not shown as live"
        kit.broker.tick()
        await asyncio.sleep(1)
        assert [c.status for c in kit.feed] == [STALE, LIVE]
        assert len(kit.broker.attempts) == 1


@virtual
async def test_answers_to_keepalives_do_not_pass_for_prices():
    """Angel One answers our text every 10 s, whatever became of the feed."""
    async with open_kit(**QUIET, keepalive_answer="pong") as kit:
        kit.want(1)
        for _ in range(120):
            await asyncio.sleep(1)
            kit.broker.tick()
        for _ in range(60):
            await asyncio.sleep(10)
            kit.broker.say("pong")
        assert [c.status for c in kit.feed] == [STALE]
        assert "no data for 25 s" in kit.feed[0].reason
        assert kit.pool.get_stats().frames_malformed == 0
        kit.broker.tick()
        await asyncio.sleep(1)
        assert [c.status for c in kit.feed] == [STALE, LIVE]
        assert len(kit.broker.attempts) == 1


@virtual
async def test_a_link_that_stops_answering_is_stale_after_25_s_then_reconnects():
    async with open_kit(**QUIET) as kit:
        kit.want(1)
        await asyncio.sleep(100)
        kit.broker.go_silent()
        silent_since = asyncio.get_running_loop().time()
        await asyncio.sleep(26)
        assert [c.status for c in kit.feed] == [STALE]
        assert kit.feed[0].reason
        await asyncio.sleep(40)
        kit.broker.speak()
        await asyncio.sleep(5)
        assert kit.broker.attempts[1][0] - silent_since < 65
        assert kit.feed[-1].status is LIVE


async def stand_still(kit, seconds: float) -> None:
    """Hold the process up: the broker goes on, what it says is read after the timers that are due.

    A loop may run those first (libuv's does).
    """
    await asyncio.sleep(0.1)
    kit.broker.go_silent()
    kit.broker.tick()
    loop: Any = asyncio.get_running_loop()
    loop.call_later(seconds + 0.01, kit.broker.speak)
    loop.stall(seconds)
    await asyncio.sleep(5)


@virtual
async def test_a_process_that_stood_still_does_not_take_that_for_a_silence():
    async with open_kit(heartbeat_seconds=1.0, liveness_timeout_seconds=10.0) as kit:
        kit.want(1)
        for _ in range(5):
            await asyncio.sleep(1)
            kit.broker.tick()
        await stand_still(kit, 60)
        assert not kit.feed
        assert len(kit.broker.attempts) == 1


@virtual
async def test_nor_for_a_health_check_that_was_not_answered():
    options = {"warm_connections": 1, "health_check_seconds": 20}
    async with open_kit(options=options, liveness_timeout_seconds=3600.0) as kit:
        await asyncio.sleep(15)
        asked_before = kit.broker.open[0].pong_at
        kit.broker.go_silent()  # the answer comes while nothing runs
        await asyncio.sleep(8)
        assert kit.broker.open[0].pong_at == asked_before
        await stand_still(kit, 60)
        assert kit.states() == ["live"]
        assert len(kit.broker.attempts) == 1
