"""The gateway alone, fed by a bare publisher: what one gateway core can do."""

from __future__ import annotations

from collections.abc import AsyncIterator

from benchmarks.bare_stack import BareStack, accounts, judged, limited_by
from benchmarks.harness import RUNS, SECONDS, Result, median
from brokers.types import FeedMode

__all__ = ["fanout"]


async def fanout(stack: BareStack) -> AsyncIterator[Result]:
    """One frame per tick to many clients, and to one."""
    for mode in (FeedMode.QUOTE, FeedMode.DEPTH):
        yield await saturated(stack, 100, 100, mode)
    yield await steady(stack, 100, 100, FeedMode.QUOTE, rate=3000, sample_every=16)
    for mode in (FeedMode.QUOTE, FeedMode.DEPTH):
        yield await saturated(stack, 1, 1000, mode)
    yield await steady(stack, 1, 1000, FeedMode.QUOTE, rate=2000, sample_every=1)
    yield await saturated(stack, 100, 100, FeedMode.QUOTE, total=1000, step=10)


async def saturated(
    stack: BareStack, clients: int, symbols: int, mode: FeedMode, *, total: int = 0, step: int = 0
) -> Result:
    """As fast as every client gets everything."""
    connected = await stack.connect(clients, symbols, mode, total=total, step=step)
    runs = await stack.runs(RUNS, SECONDS, mode)
    await stack.disconnect()
    of = f" of {total:,}, lists differ" if total else ""
    return Result(
        f"gateway: {_many(clients)} x {symbols:,} symbols{of}, {mode.name.title()}, saturated",
        {**accounts(runs), "frame_bytes": connected["frame_bytes"]},
        correct=all(run.is_right for run in runs),
        notes=judged(runs, f"{limited_by(runs)}; every client complete"),
        runs=RUNS,
    )


async def steady(
    stack: BareStack, clients: int, symbols: int, mode: FeedMode, *, rate: float, sample_every: int
) -> Result:
    """At a fixed rate; ages are from the moment of publishing to the client's read."""
    connected = await stack.connect(clients, symbols, mode)
    runs = await stack.runs(RUNS, SECONDS, mode, rate=rate, sample_every=sample_every)
    await stack.disconnect()
    notes = "from publishing to the client's read; every client complete"
    if any(run.per_s < 0.97 * rate * clients for run in runs):
        notes += "; THE RATE WAS NOT REACHED: the machine is too busy or too slow for it"
    return Result(
        f"gateway: {_many(clients)}, {rate:,.0f} ticks/s = {rate * clients:,.0f} deliveries/s",
        {
            **accounts(runs),
            "p50_ms": median([run.counted["p50_us"] / 1000 for run in runs]),
            "p99_ms": median([run.counted["p99_us"] / 1000 for run in runs]),
            "frame_bytes": connected["frame_bytes"],
        },
        correct=all(run.is_right for run in runs),
        notes=judged(runs, notes),
        runs=RUNS,
    )


def _many(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients:,} clients"
