"""A network that fails between a pool and its exchange: how soon it is noticed and over.

``pytest --log-cli-level=INFO`` shows the times that were measured.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from brokers.pool_service import FeedStatus
from brokers.zerodha.config import CAPABILITIES
from brokers.zerodha.connection import ZerodhaAdapter
from tests.fix_proxy import make_proxy
from tests.fix_running_time import RunningTime
from tests.integration.pooling.conftest import PoolKit, kite_kit
from tests.support import eventually

__all__ = ["make_proxy"]

logger = logging.getLogger("tests.proxy")

HEARTBEAT_SECONDS = 1.0
LIVENESS_SECONDS = 7.0
STALE_WITHIN_SECONDS = 6.0
NOTICED_WITHIN_SECONDS = 0.5
BACKOFF_SECONDS = 1.0


class ProxiedAdapter(ZerodhaAdapter):
    capabilities = replace(
        CAPABILITIES,
        message_interval_seconds=0.0,
        connect_interval_seconds=0.0,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        liveness_timeout_seconds=LIVENESS_SECONDS,
    )


class Stopwatch:
    """Notes when a pool told what, from now on."""

    def __init__(self, kit: PoolKit, running_time: RunningTime) -> None:
        self.kit = kit
        self.seen = len(kit.feed)
        self.running_time = running_time
        self.started = running_time.seconds

    @property
    def seconds(self) -> float:
        """How many it has run, those left out in which the machine held us up."""
        return self.running_time.seconds - self.started

    async def until(self, status: FeedStatus) -> float:
        """Return how many seconds it took the pool to tell a status."""
        await eventually(
            lambda: any(change.status is status for change in self.kit.feed[self.seen :]),
            timeout=30,
            message=f"{status} was never told",
        )
        return self.seconds


class LenientAdapter(ProxiedAdapter):
    """Finds no silence of a test too long."""

    capabilities = replace(ProxiedAdapter.capabilities, liveness_timeout_seconds=60.0)


@pytest.fixture
def adapter() -> type[ZerodhaAdapter]:
    return ProxiedAdapter


@pytest.fixture
async def proxied(make_kite_server, make_proxy, adapter):
    exchange = await make_kite_server(size=400)
    proxy = await make_proxy(exchange.port)
    kit = kite_kit(exchange, adapter, symbols_per_connection=3, linger_seconds=0.1)
    kit.pool.update_endpoint(proxy.url)
    await kit.open()
    kit.want(*kit.keys[:3])
    await eventually(lambda: kit.confirmed == 3)
    yield kit, proxy
    await kit.pool.close()


async def test_a_reset_is_noticed_at_once_and_over_with_the_first_backoff(proxied, running_time):
    kit, proxy = proxied
    watch = Stopwatch(kit, running_time)
    proxy.reset()
    detected = await watch.until(FeedStatus.STALE)
    recovered = await watch.until(FeedStatus.LIVE)
    note("reset", detected, recovered)
    assert detected < NOTICED_WITHIN_SECONDS
    assert recovered < BACKOFF_SECONDS + 1.0
    assert kit.pool.get_stats().reconnects == 1


async def test_a_network_that_is_down_is_noticed_at_once_and_tried_until_it_is_up(
    proxied, running_time
):
    kit, proxy = proxied
    watch = Stopwatch(kit, running_time)
    await proxy.down()
    detected = await watch.until(FeedStatus.STALE)
    await asyncio.sleep(1.0)
    assert kit.confirmed == 0
    await proxy.up()
    watch = Stopwatch(kit, running_time)
    recovered = await watch.until(FeedStatus.LIVE)
    note("down, up", detected, recovered)
    assert detected < NOTICED_WITHIN_SECONDS
    # Attempts failed meanwhile, so the ceiling has doubled a few times.
    assert recovered < 8.0
    await eventually(lambda: kit.confirmed == 3)


async def test_silence_is_stale_then_dead_then_over(proxied, running_time):
    kit, proxy = proxied
    watch = Stopwatch(kit, running_time)
    proxy.silence()
    detected = await watch.until(FeedStatus.STALE)
    assert kit.pool.get_stats().status is FeedStatus.STALE
    await eventually(
        lambda: "nothing was heard" in kit.pool.get_stats().connections[0].last_close, timeout=60
    )
    dead = watch.seconds
    proxy.speak()
    watch = Stopwatch(kit, running_time)
    recovered = await watch.until(FeedStatus.LIVE)
    note("silence", detected, recovered, dead)
    assert detected <= STALE_WITHIN_SECONDS
    assert detected < dead <= LIVENESS_SECONDS + HEARTBEAT_SECONDS + 0.5
    assert recovered < 3.0


@pytest.mark.parametrize("adapter", [LenientAdapter])
async def test_a_short_silence_is_live_again_without_a_reconnect(proxied, running_time):
    kit, proxy = proxied
    watch = Stopwatch(kit, running_time)
    proxy.silence()
    detected = await watch.until(FeedStatus.STALE)
    proxy.speak()
    watch = Stopwatch(kit, running_time)
    recovered = await watch.until(FeedStatus.LIVE)
    note("short silence", detected, recovered)
    assert recovered < 1.0
    assert kit.pool.get_stats().reconnects == 0


async def test_latency_alone_is_no_fault(proxied):
    kit, proxy = proxied
    proxy.latency(400)
    await asyncio.sleep(1.5)
    kit.want(kit.keys[3])
    await eventually(lambda: kit.confirmed == 4)
    assert not kit.feed
    assert kit.pool.get_stats().reconnects == 0


async def test_frames_in_slices_of_a_few_bytes_are_whole_again(proxied):
    kit, proxy = proxied
    proxy.slice(3)
    ticks = len(kit.sink.published)
    await eventually(lambda: len(kit.sink.published) > ticks + 50)
    kit.want(kit.keys[3])
    await eventually(lambda: kit.confirmed == 4)
    assert kit.pool.get_stats().frames_malformed == 0
    assert not kit.feed


def note(verb: str, detected: float, recovered: float, dead: float | None = None) -> None:
    logger.info("%s: detected %.3f s, recovered %.3f s, dead %s", verb, detected, recovered, dead)
