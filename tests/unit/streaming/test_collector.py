"""When the collector of cycles runs in a process that hands out ticks."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref
from collections.abc import Callable, Iterator

import pytest

from streaming.collector import THRESHOLDS, calm_collector, collect_when_quiet
from tests.support import eventually


class Node:
    """Something that refers to itself."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Let nothing be collected but by us, and leave the collector as it was."""
    before = gc.get_threshold()
    gc.disable()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()
    gc.enable()


def cycle() -> weakref.ref[Node]:
    return weakref.ref(Node())


def test_what_was_there_is_walked_no_more() -> None:
    gone = cycle()
    calm_collector()
    assert gone() is None
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == THRESHOLDS


async def looks(count: Callable[[], int], until: Callable[[], object]) -> None:
    task = asyncio.create_task(collect_when_quiet(count, seconds=0.001))
    try:
        await eventually(until)
    finally:
        task.cancel()


async def test_cycles_are_freed_while_nothing_ticks() -> None:
    gone = cycle()
    await looks(lambda: 7, lambda: gone() is None)


async def test_and_not_while_something_does() -> None:
    kept, counted = cycle(), itertools.count()
    await looks(lambda: next(counted), lambda: next(counted) > 20)
    assert kept() is not None
    gc.collect()


async def test_once_in_each_quiet_time(monkeypatch: pytest.MonkeyPatch) -> None:
    collected: list[int] = []
    ticks = [0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 3]
    at = 0
    monkeypatch.setattr(gc, "collect", lambda: collected.append(at))

    def count() -> int:
        nonlocal at
        at += 1
        return ticks[min(at, len(ticks)) - 1]

    await looks(count, lambda: at > 15)
    assert collected == [2, 7, 11]


def test_no_look_but_the_rarest_walks_more_than_a_few_thousand_objects() -> None:
    """What a turn of the loop has time for: a look at the second kind walks both younger ones."""
    youngest, middle, _ = THRESHOLDS
    assert youngest * (middle + 1) <= 20_000
