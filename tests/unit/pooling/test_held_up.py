"""What a worker does with what its sockets kept while it was held up. Virtual time, no sockets."""

from __future__ import annotations

import asyncio
import logging

from brokers.pool_service import FeedChange, FeedStatus
from pooling.testing import VirtualTimeLoop
from tests.unit.pooling.kit import ACTIVE, ANN, PENDING, key, virtual
from tests.unit.pooling.worker.test_worker import open_worker

STALE, LIVE = FeedStatus.STALE, FeedStatus.LIVE


def hold_up(kit, seconds: float, *, ticks: int = 3) -> None:
    """Let time pass in which nothing runs and the broker goes on."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    for _ in range(ticks):
        loop.stall(seconds / ticks)
        kit.broker.tick()


def prices(kit) -> list[int | None]:
    return [tick.ltp for _, tick, _ in kit.sinks["7", "fake"].published]


def changes(kit) -> list[tuple[FeedStatus, str]]:
    return [(e.status, e.reason) for e in kit.events if isinstance(e, FeedChange) and e.keys]


@virtual
async def test_what_a_socket_kept_meanwhile_is_dropped_with_it():
    """The next price is that of a new socket; until then what clients have is stale."""
    async with open_worker() as kit:
        await kit.want(1)
        await asyncio.sleep(10)
        before = len(kit.events)
        hold_up(kit, 24.0)
        kit.broker.price = 900
        await asyncio.sleep(5)
        assert prices(kit) == [100, 900]
        assert kit.broker.open == kit.broker.transports[1:2]
        del kit.events[:before]
        assert list(dict.fromkeys(changes(kit))) == [
            (STALE, "the worker was held up for 24 s"),
            (LIVE, "prices arrive again"),
        ]
        (connection,) = kit.worker.stats("7").connections
        assert connection.last_close == "the worker was held up for 24 s"
        assert kit.worker.stats("7").losses == {"held_up": 1}


@virtual
async def test_whoever_asks_first_gets_no_price_of_before():
    """The question may have waited, too, and be read ahead of everything else."""
    async with open_worker() as kit:
        await kit.want(1)
        await asyncio.sleep(10)
        hold_up(kit, 24.0)
        (outcome,) = await kit.want(1)
        assert outcome.state is PENDING
        assert kit.sinks["7", "fake"].forgotten == [key(1)]
        await asyncio.sleep(5)
        assert (await kit.want(1))[0].state is ACTIVE


@virtual
async def test_a_short_hold_up_costs_nothing():
    async with open_worker() as kit:
        await kit.want(1)
        await asyncio.sleep(10)
        hold_up(kit, 2.9)
        await asyncio.sleep(5)
        assert prices(kit) == [100, 101, 102, 103]
        assert len(kit.broker.transports) == 1


@virtual
async def test_a_connection_that_carries_nothing_stays_open():
    async with open_worker() as kit:
        await kit.want(1)
        await asyncio.sleep(1)
        await kit.worker.release("7", ANN, None)
        await asyncio.sleep(60)
        assert len(kit.broker.open) == 1
        hold_up(kit, 24.0)
        await asyncio.sleep(5)
        assert len(kit.broker.transports) == 1


@virtual
async def test_a_hold_up_is_one_line_of_the_log_and_one_event_of_the_pool(caplog):
    async with open_worker() as kit:
        await kit.want(1)
        await asyncio.sleep(10)
        with caplog.at_level(logging.WARNING, logger="pooling"):
            hold_up(kit, 24.0)
            await asyncio.sleep(5)
        lines = [line for line in caplog.messages if line.startswith("this worker was held up")]
        assert lines == [
            "this worker was held up for 24.0 s; what its broker sockets kept is dropped"
        ]
        await asyncio.sleep(5)
        assert [note for note in kit.store.events if "lost" in note] == [
            ("7", "lost", "connection 1: the worker was held up for 24 s")
        ]
