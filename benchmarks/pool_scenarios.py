"""The pool as an engine: what a subscription costs, how soon all tick, what a warm socket saves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from benchmarks.harness import RUNS, Child, Result, cores, median

__all__ = ["pool_engine"]

SIZES = (900, 3_000, 9_000, 90_000)
FLAT = 2.0  # one more symbol may cost so many times what it costs at the cheapest size


async def pool_engine() -> AsyncIterator[Result]:
    """Every scenario of the pool; each process has a core of its own."""
    child = Child("benchmarks.pool_subscribing", cores()[0])
    await child.start()
    try:
        async for result in _subscribing(child):
            yield result
    finally:
        await child.stop()
    yield await _nine_thousand()
    yield await _reuse()


async def _subscribing(child: Child) -> AsyncIterator[Result]:
    at_full: list[float] = []
    for size in SIZES:
        runs = [await child.ask(symbols=size) for _ in range(RUNS)]
        figures = {
            name: median([run[name] for run in runs])
            for name in (
                "subscribe_us",
                "unsubscribe_us",
                "subscribe_at_full_us",
                "unsubscribe_at_full_us",
                "to_confirmed_us",
            )
        }
        at_full.append(min(run["subscribe_at_full_us"] for run in runs))
        yield Result(
            f"pool: {size:,} symbols subscribed, unsubscribed",
            {**figures, "at_full_over_cheapest": at_full[-1] / min(at_full)},
            correct=all(run["correct"] for run in runs) and at_full[-1] <= FLAT * min(at_full),
            notes="no sockets; all confirmed, then none left; at_full: one more among all others",
            runs=RUNS,
        )


async def _nine_thousand() -> Result:
    """A request for 9,000 symbols at a local exchange, whose market moves at 20,000 ticks/s."""
    runs = [await _ask_for_nine_thousand() for _ in range(RUNS)]
    return Result(
        "pool: 9,000 symbols over 3 connections",
        {
            name: median([run[name] for run in runs])
            for name in ("request_ms", "acked_s", "ticking_s", "pacing_s")
        },
        correct=all(run["correct"] for run in runs),
        notes="pacing_s of it is waiting as Zerodha's limits ask; all ticked twice or more",
        runs=RUNS,
    )


async def _ask_for_nine_thousand() -> dict[str, Any]:
    server_core, load_core = cores()
    exchange = Child("benchmarks.stamped_exchange", load_core)
    port = (await exchange.start())["port"]
    pool = Child("benchmarks.pool_nine_thousand", server_core, [str(port)])
    try:
        await pool.start()
        await exchange.ask(rate=20_000)
        return await pool.ask(symbols=9_000)
    finally:
        await pool.stop()
        await exchange.stop()


async def _reuse() -> Result:
    """A released socket lent again, checked by a ping, against a handshake, on loopback."""
    child = Child("benchmarks.pool_reuse", cores()[0])
    await child.start()
    try:
        runs = [await child.ask(rounds=300) for _ in range(RUNS)]
    finally:
        await child.stop()
    reuse, fresh = (median([run[name] for run in runs]) for name in ("reuse_ms", "fresh_ms"))
    return Result(
        "pool: a reused socket against a fresh handshake",
        {"reuse_ms": reuse, "fresh_ms": fresh, "fresh_over_reuse": fresh / reuse},
        correct=all(run["correct"] for run in runs),
        notes="no TLS and no distance: both only make a handshake dearer",
        runs=RUNS,
    )
