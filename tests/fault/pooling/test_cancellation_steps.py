"""Every coroutine of a pool, cancelled at every one of its await points. Virtual time.

A driver counts the steps of a coroutine. At step k it cancels in one of two ways: while the
coroutine waits, or at the very moment at which what it waited for has come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any

import pytest

from brokers.pool_service import Want
from tests.unit.pooling.kit import ANN, BOB, QUOTE, TOKEN_FIELD, key, open_kit, virtual
from tests.unit.pooling.worker.test_worker import WorkerKit, open_worker

MOST_STEPS = 200


class Way(Enum):
    """When the cancellation comes."""

    WAITING = "while it waits"
    WAKING = "as it wakes"


class Cancelled(Coroutine[Any, Any, Any]):
    """A coroutine that is cancelled at its ``step``-th await; ``was_reached`` tells whether."""

    def __init__(self, inner: Coroutine[Any, Any, Any], step: int, way: Way) -> None:
        self.inner = inner
        self.step = step
        self.way = way
        self.steps = 0
        self.was_reached = False
        self.__name__ = getattr(inner, "__name__", "cancelled")
        self.__qualname__ = getattr(inner, "__qualname__", "cancelled")

    def send(self, value: Any) -> Any:
        if self.way is Way.WAKING and self.steps == self.step and not self.was_reached:
            self.was_reached = True
            return self.inner.throw(asyncio.CancelledError())
        awaited = self.inner.send(value)
        self.steps += 1
        if self.way is Way.WAITING and self.steps == self.step:
            self.was_reached = True
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel)
        return awaited

    def throw(self, *error: Any) -> Any:
        return self.inner.throw(*error)

    def close(self) -> None:
        self.inner.close()

    def __await__(self) -> Any:
        return self


async def cancel_at(work: Coroutine[Any, Any, Any], step: int, way: Way) -> bool:
    """Run ``work`` and cancel it at a step; returns whether it got so far."""
    driven = Cancelled(work, step, way)
    task = asyncio.create_task(driven)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return driven.was_reached


def at_every_step(play: Callable[[int, Way], bool], way: Way, *, least: int = 1) -> None:
    """Play with the cancellation at step 1, 2, 3, ... until the coroutine ends before it."""
    for step in range(1, MOST_STEPS):
        if not play(step, way):
            assert step > least, f"only {step - 1} steps: nothing was tried"
            return
    raise AssertionError("it never ended")


both_ways = pytest.mark.parametrize("way", Way, ids=lambda way: way.value)


@both_ways
def test_opening_a_worker(way):
    def play(step: int, way: Way) -> bool:
        reached: list[bool] = []

        @virtual
        async def run() -> None:
            kit = WorkerKit()
            slow_down(kit.store)
            reached.append(await cancel_at(kit.worker.open(), step, way))
            await kit.worker.close()
            assert not kit.broker.open

        run()
        return reached[0]

    at_every_step(play, way)


@both_ways
def test_closing_a_pool(way):
    def play(step: int, way: Way) -> bool:
        reached: list[bool] = []

        @virtual
        async def run() -> None:
            async with open_kit() as kit:
                kit.want(*range(9))
                await asyncio.sleep(1)
                reached.append(await cancel_at(kit.pool.close(), step, way))
                await kit.pool.close()
                assert not kit.broker.open
                assert set(kit.states()) <= {"closed"}

        run()
        return reached[0]

    at_every_step(play, way)


@both_ways
def test_closing_a_worker(way):
    def play(step: int, way: Way) -> bool:
        reached: list[bool] = []

        @virtual
        async def run() -> None:
            async with open_worker() as kit:
                await kit.want(*range(9))
                await asyncio.sleep(1)
                pools = list(kit.worker._pools.values())
                reached.append(await cancel_at(kit.worker.close(), step, way))
                await kit.worker.close()
                for pool in pools:
                    await pool.close()
                assert not kit.broker.open

        run()
        return reached[0]

    at_every_step(play, way)


@both_ways
def test_wanting_and_releasing(way):
    def play(step: int, way: Way) -> bool:
        reached: list[bool] = []

        @virtual
        async def run() -> None:
            async with open_worker() as kit:
                slow_down(kit.store)
                wants = [Want(key(number), QUOTE) for number in range(5)]
                reached.append(await cancel_at(kit.worker.want("7", ANN, wants), step, way))
                await cancel_at(kit.worker.release("7", ANN, None), step, way)
                await kit.worker.release("7", ANN, None)
                await is_consistent(kit)

        run()
        return reached[0]

    at_every_step(play, way)


async def is_consistent(kit) -> None:
    """Nothing is left of the cancelled; a newcomer gets what it wants."""
    await asyncio.sleep(10)
    assert kit.worker.stats("7").wanted == 0
    assert not kit.broker.subscribed
    await kit.want(1, holder=BOB)
    await asyncio.sleep(1)
    stats = kit.worker.stats("7")
    assert (stats.wanted, stats.confirmed) == (1, 1)
    assert not kit.broker.complaints


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *(
            (name, way)
            for name in ("Connection._read", "Connection._send_changes", "ConnectionWatch.watch")
            for way in Way
        ),
        ("RestartSwitch.until_asked", Way.WAITING),  # nothing wakes it here
    ],
    ids=str,
)
def test_a_task_of_a_connection_that_dies_costs_a_reconnect_and_no_symbol(name, way):
    def play(step: int, way: Way) -> bool:
        driven: list[Cancelled] = []

        @virtual
        async def run() -> None:
            drive_first(name, step, way, driven)
            async with open_kit(heartbeat_seconds=1.0, message_interval_seconds=0.1) as kit:
                kit.want(1, 2)
                for _ in range(6):
                    await asyncio.sleep(1)
                    kit.broker.tick()
                kit.release(2)
                await asyncio.sleep(6)
                driven[0].step = 0  # from here on, all shall be well
                await asyncio.sleep(3)
                kit.broker.tick()
                await asyncio.sleep(0.5)
                assert kit.broker.subscribed.keys() == {"1"}
                assert kit.states() == ["live"]
                assert not kit.broker.complaints
                assert kit.pool.get_stats().reconnects == driven[0].was_reached
            assert not kit.broker.open

        run()
        return driven[0].was_reached

    at_every_step(play, way, least=1)


@both_ways
def test_a_pool_closed_at_any_step_of_a_connection(way):
    """Closing cancels the connection wherever it is: connecting, serving, or waiting to retry."""

    def play(step: int, way: Way) -> bool:
        driven: list[Cancelled] = []

        @virtual
        async def run() -> None:
            drive_first("Connection._run", step, way, driven)
            async with open_kit(credential_fields=TOKEN_FIELD) as kit:
                slow_down(kit.store)
                kit.want(1, 2)
                for _ in range(4):
                    await asyncio.sleep(1)
                    kit.broker.drop()
                await kit.pool.close()
                assert not kit.broker.open
                assert set(kit.states()) <= {"closed"}

        run()
        return driven[0].was_reached

    at_every_step(play, way, least=3)


def drive_first(qualname: str, step: int, way: Way, driven: list[Cancelled]) -> None:
    """Drive the first task of the running loop that is made of a coroutine of this name."""

    def make(loop, work, **options):
        if not driven and work.__qualname__ == qualname:
            work = Cancelled(work, step, way)
            driven.append(work)
        return asyncio.Task(work, loop=loop, **options)

    asyncio.get_running_loop().set_task_factory(make)


def slow_down(store) -> None:
    """Have every answer of a store take a while, so that there is something to cancel."""
    for name in ("accounts", "credentials", "resolve"):
        setattr(store, name, _slowly(getattr(store, name)))


def _slowly(answer):
    async def slow(*args):
        await asyncio.sleep(0.01)
        return await answer(*args)

    return slow
