"""Callers that go away at every possible moment: nothing is lost, leaked or stuck."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.pooling.exclusive.exclusive_kit import (
    EchoBroker,
    EchoTransport,
    have_idle,
    open_exclusive,
)
from tests.unit.pooling.kit import virtual

STEPS = 14


async def cancel_after(task: asyncio.Task, steps: int) -> None:
    """Cancel a task after so many turns of the loop, wherever it then is."""
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


async def use(pool, path="/a") -> None:
    async with pool.acquire(path, timeout=50) as connection:
        await connection.send("x")
        assert await connection.recv() == "x"


@pytest.mark.parametrize("steps", range(STEPS))
@pytest.mark.parametrize("delay", [0.0, 1.0])
@virtual
async def test_a_cancelled_opening_leaves_its_place_free(steps, delay):
    broker = EchoBroker()
    broker.slow(delay)
    async with open_exclusive(broker, max_connections=1) as (pool, _):
        await cancel_after(asyncio.create_task(use(pool)), steps)
        async with asyncio.timeout(20):
            await use(pool)
        assert broker.most_open == 1


@pytest.mark.parametrize("steps", range(STEPS))
@virtual
async def test_a_cancelled_reuse_leaves_the_connection_to_others(steps):
    async with open_exclusive(max_connections=1) as (pool, broker):
        await use(pool)
        await cancel_after(asyncio.create_task(use(pool)), steps)
        async with asyncio.timeout(20):
            await use(pool)
        assert len(broker.uris) == 1


@pytest.mark.parametrize("steps", range(STEPS))
@virtual
async def test_a_cancelled_check_of_a_broken_connection_leaves_its_place_free(steps):
    async with open_exclusive(max_connections=1) as (pool, broker):
        await use(pool)
        (transport,) = broker.open
        assert isinstance(transport, EchoTransport)
        transport.is_deaf = True
        task = asyncio.create_task(use(pool))
        await asyncio.sleep(0.2 * steps)
        await cancel_after(task, steps)
        async with asyncio.timeout(20):
            await use(pool)


@pytest.mark.parametrize("path", ["/a", "/b"])
@pytest.mark.parametrize("steps", range(STEPS))
@virtual
async def test_a_caller_cancelled_as_its_turn_comes_gives_the_connection_on(steps, path):
    """The holder releases, the first in the queue is cancelled, the second must get it."""
    async with open_exclusive(max_connections=1) as (pool, _):
        held = await pool.acquire("/a")
        first = asyncio.create_task(use(pool, path))
        second = asyncio.create_task(use(pool, path))
        await asyncio.sleep(1)
        await held.release()
        await cancel_after(first, steps)
        async with asyncio.timeout(20):
            await second


@virtual
async def test_a_turn_that_comes_together_with_the_cancellation_is_given_on():
    """Both happen before the caller runs again: it holds a connection that it cannot use."""
    async with open_exclusive(max_connections=1) as (pool, _):
        held = await pool.acquire("/a")
        first = asyncio.create_task(use(pool))
        second = asyncio.create_task(use(pool))
        await asyncio.sleep(1)
        await held.release()
        first.cancel()
        async with asyncio.timeout(20):
            await second
        assert first.cancelled()


@virtual
async def test_a_cancellation_that_comes_before_the_turn_is_skipped():
    async with open_exclusive(max_connections=1) as (pool, _):
        held = await pool.acquire("/a")
        first = asyncio.create_task(use(pool))
        second = asyncio.create_task(use(pool))
        await asyncio.sleep(1)
        first.cancel()
        await held.release()
        async with asyncio.timeout(20):
            await second


@pytest.mark.parametrize("steps", range(STEPS))
@virtual
async def test_a_turn_that_comes_as_the_time_is_over_is_not_lost(steps):
    async with open_exclusive(max_connections=1) as (pool, _):
        held = await pool.acquire("/a")

        async def hurried():
            async with pool.acquire("/a", timeout=1):
                pass

        late = asyncio.create_task(hurried())
        await asyncio.sleep(1 - 1e-9 if steps % 2 else 1)
        for _ in range(steps // 2):
            await asyncio.sleep(0)
        await held.release()
        await asyncio.wait([late])
        late.exception()
        async with asyncio.timeout(20):
            await use(pool)


@pytest.mark.parametrize("steps", range(STEPS))
@virtual
async def test_a_cancelled_receive_loses_no_message(steps):
    async with open_exclusive() as (pool, broker), pool.acquire("/a") as connection:
        receiving = asyncio.create_task(connection.recv())
        await asyncio.sleep(1)
        broker.say("1")
        await cancel_after(receiving, steps)
        broker.say("2")
        seen = [] if receiving.cancelled() else [receiving.result()]
        while len(seen) < 2:
            seen.append(await connection.recv())
        assert seen == ["1", "2"]


@pytest.mark.parametrize("steps", range(STEPS))
@virtual
async def test_a_cancelled_close_leaves_no_task_behind(steps):
    async with open_exclusive() as (pool, _):
        await have_idle(pool, "/a", 2)
        held = await pool.acquire("/a")
        await cancel_after(asyncio.create_task(pool.close()), steps)
        await held.release()
        await pool.close()
