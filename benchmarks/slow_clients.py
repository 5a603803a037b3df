"""Clients that stop reading next to healthy ones: nobody may notice them but the gateway."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator

from benchmarks.bare_stack import BareStack, Run, judged
from benchmarks.harness import RUNS, SECONDS, Result, median
from benchmarks.metrics import metrics_page
from brokers.types import FeedMode

__all__ = ["slow_clients"]

_HEALTHY, _STOPPED, _SYMBOLS, _RATE = 100, 100, 100, 1000.0
_RECEIVE_BYTES = 4096
_MOST_SECONDS = 6.0  # the gateway closes them after ten
_UNTIL_CLOSED_SECONDS = 30.0
_CLOSED = re.compile(rb'^tickpool_clients_closed_total\{[^}]*reason="slow"[^}]*\} (\S+)', re.M)
_CONFLATED = re.compile(rb"^tickpool_deliveries_conflated_total\{[^}]*\} (\S+)", re.M)


async def slow_clients(stack: BareStack) -> AsyncIterator[Result]:
    """Measure with and without the stopped ones in turn; compare the medians of the p99s."""
    mode = FeedMode.QUOTE
    await stack.connect(_HEALTHY, _SYMBOLS, mode)
    before = await _count(stack, _CLOSED)
    alone: list[Run] = []
    beside: list[Run] = []
    conflated = []
    for _ in range(max(RUNS, 3)):
        alone.append(await _run(stack, mode))
        await stack.connect(
            _STOPPED, _SYMBOLS, mode, is_counted=False, receive_bytes=_RECEIVE_BYTES
        )
        await stack.load.ask(do="stop_reading")
        conflated_before = await _fill(stack)
        beside.append(await _run(stack, mode))
        conflated.append(await _count(stack, _CONFLATED) - conflated_before)
        closed = await _wait_closed(stack, before + _STOPPED * len(beside))
        await stack.load.ask(do="drop_stopped")
    await stack.disconnect()
    p99_alone, p99_beside = (
        median([run.counted["p99_us"] / 1000 for run in runs]) for runs in (alone, beside)
    )
    runs = alone + beside
    yield Result(
        f"gateway: {_HEALTHY} healthy next to {_STOPPED} that stop reading, {_RATE:,.0f} ticks/s",
        {
            "p99_alone_ms": p99_alone,
            "p99_beside_ms": p99_beside,
            "p99_moved": p99_beside / p99_alone - 1,
            "p50_alone_ms": median([run.counted["p50_us"] / 1000 for run in alone]),
            "p50_beside_ms": median([run.counted["p50_us"] / 1000 for run in beside]),
            "us_per_delivery_alone": median([run.cpu_us for run in alone]),
            "us_per_delivery_beside": median([run.cpu_us for run in beside]),
            "conflated_per_stopped": min(conflated) // _STOPPED,
            "closed_as_slow": closed - before,
            "others_busy": median([run.others_busy for run in runs]),
        },
        correct=all(run.is_right for run in runs)
        and min(conflated) > 0
        and closed - before == _STOPPED * len(beside),
        notes=judged(runs, f"{len(beside)} times each in turn; every healthy client complete"),
        runs=len(beside),
    )


async def _run(stack: BareStack, mode: FeedMode) -> Run:
    seconds = min(SECONDS, _MOST_SECONDS)
    return await stack.run(seconds, mode, rate=_RATE, sample_every=4)


async def _fill(stack: BareStack) -> int:
    """Publish until the gateway gives up ticks of the stopped ones; returns how many it has.

    The gateway keeps 1 MiB for a client that does not read, and its own kernel some more.
    """
    before = await _count(stack, _CONFLATED)
    deadline = time.monotonic() + _UNTIL_CLOSED_SECONDS
    conflated = before
    while conflated < before + _STOPPED * _SYMBOLS and time.monotonic() < deadline:
        await stack.run(0.2, FeedMode.QUOTE, warm_up_seconds=0.2)
        conflated = await _count(stack, _CONFLATED)
    return conflated


async def _wait_closed(stack: BareStack, wanted: int) -> int:
    """Publish on until the gateway has closed the stopped ones; returns how many it has."""
    deadline = time.monotonic() + _UNTIL_CLOSED_SECONDS
    while (closed := await _count(stack, _CLOSED)) < wanted and time.monotonic() < deadline:
        await stack.run(1.0, FeedMode.QUOTE, rate=_RATE)
    return closed


async def _count(stack: BareStack, metric: re.Pattern[bytes]) -> int:
    page = await asyncio.to_thread(metrics_page, stack.port)
    return sum(int(float(each)) for each in metric.findall(page))
