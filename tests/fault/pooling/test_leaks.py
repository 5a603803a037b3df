"""A thousand connects and drops leave nothing behind: no task, socket, thread, nor memory."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import tracemalloc
from functools import partial
from pathlib import Path

import pytest

from tests.integration.pooling.conftest import kite_kit
from tests.support import eventually
from tests.unit.pooling.kit import open_kit, virtual

CYCLES = 1000
WARM_UP = 100
DESCRIPTORS = Path("/proc/self/fd")
MAX_GROWTH_BYTES = 200_000  # over all cycles; one leaked transport a cycle would be megabytes
MAX_OBJECTS = 500

pytestmark = pytest.mark.timeout(600)


class AtOnce:
    """Randomness that never waits."""

    def uniform(self, a: float, b: float) -> float:
        return a


@pytest.fixture(autouse=True)
def unlogged():
    """Keep pytest from keeping every record: a thousand of them would look like a leak."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@virtual
async def test_a_thousand_drops_leave_no_task_and_no_memory():
    async with open_kit(rng=AtOnce()) as kit:
        kit.want(1, 2, 3, 4)
        await cycle(kit, WARM_UP)
        tasks = len(asyncio.all_tasks())
        objects = count_objects(kit)
        tracemalloc.start()
        before = memory(kit)
        try:
            await cycle(kit, CYCLES)
            grown = memory(kit) - before
        finally:
            tracemalloc.stop()
        assert len(asyncio.all_tasks()) == tasks
        assert count_objects(kit) - objects < MAX_OBJECTS
        assert grown < MAX_GROWTH_BYTES
        assert kit.pool.get_stats().reconnects >= CYCLES
        assert kit.broker.subscribed.keys() == {"1", "2", "3", "4"}


@virtual
async def test_connections_that_come_and_go_for_good_leave_nothing():
    """Opened as symbols come, closed as the limits fall: the pool forgets each one."""
    async with open_kit(options={"linger_seconds": 0.01}) as kit:
        for _ in range(WARM_UP):
            kit.want(*range(9))
            await asyncio.sleep(1)
            kit.release()
            await asyncio.sleep(1)
        tasks, objects = len(asyncio.all_tasks()), count_objects(kit)
        for _ in range(WARM_UP):
            kit.want(*range(9))
            await asyncio.sleep(1)
            kit.release()
            await asyncio.sleep(1)
        assert len(asyncio.all_tasks()) == tasks
        assert count_objects(kit) - objects < MAX_OBJECTS


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="descriptors are counted in /proc")
async def test_real_sockets_are_closed_after_every_drop(kite_server, monkeypatch):
    kit = kite_kit(kite_server, symbols_per_connection=3, linger_seconds=0.1)
    monkeypatch.setattr(kit.pool._table, "_rng", AtOnce())
    await kit.open()
    try:
        kit.want(*kit.keys[:2])
        await drop_for_real(kit, kite_server, 10)
        descriptors, threads = len(os.listdir(DESCRIPTORS)), threading.active_count()
        tasks = len(asyncio.all_tasks())
        await drop_for_real(kit, kite_server, CYCLES)
        await eventually(lambda: len(os.listdir(DESCRIPTORS)) <= descriptors)
        await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
        assert threading.active_count() <= threads
    finally:
        await kit.pool.close()


async def drop_for_real(kit, exchange, times: int) -> None:
    for _ in range(times):
        await eventually(lambda: kit.confirmed == 2, interval=0.002)
        wanted = kit.pool.get_stats().reconnects + 1
        exchange.drop()
        await eventually(partial(has_reconnected, kit, wanted), interval=0.002)
    await eventually(lambda: kit.confirmed == 2)


def has_reconnected(kit, times: int) -> bool:
    return bool(kit.pool.get_stats().reconnects >= times)


async def cycle(kit, times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0.3)
        kit.broker.drop(kit.broker.open[0])
    await asyncio.sleep(0.3)


def forget_the_tests_own(kit) -> None:
    """Empty the records of the fakes: only what the pool keeps shall count."""
    broker = kit.broker
    broker.transports[:] = broker.open
    for record in (broker.attempts, broker.messages, kit.events, kit.notes):
        record.clear()
    kit.sink.published.clear()
    kit.sink.forgotten.clear()
    gc.collect()


def memory(kit) -> int:
    forget_the_tests_own(kit)
    return tracemalloc.get_traced_memory()[0]


def count_objects(kit) -> int:
    forget_the_tests_own(kit)
    return len(gc.get_objects())
