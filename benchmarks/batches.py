"""The batch subprotocol: what a tick costs when many of them share a frame."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

from benchmarks.harness import RUNS, SECONDS, Child, Result, cores, median
from benchmarks.stack import Stack

__all__ = ["batches"]

_CLIENTS, _SYMBOLS, _RATE, _INTERVAL_MS = 100, 100, 2000, 50


async def batches(stack: Stack) -> AsyncIterator[Result]:
    """Measure batch clients; the gateway's CPU time holds everything from the bus to the kernel."""
    load = Child("benchmarks.batch_client", cores()[1])
    await load.start()
    batched = dataclasses.replace(stack, load=load)
    try:
        for mode, name in ((2, "Quote"), (3, "Depth")):
            yield await _steady(batched, mode, name)
    finally:
        await load.stop()


async def _steady(stack: Stack, mode: int, name: str) -> Result:
    """Offer a fixed rate; prices may be skipped and may never go back."""
    await stack.load.ask(
        do="connect",
        port=stack.openalgo_port,
        path=f"/?interval={_INTERVAL_MS}",
        api_key=stack.api_key,
        clients=_CLIENTS,
        symbols=[f"S{n:05d}" for n in range(_SYMBOLS)],
        mode=mode,
    )
    await stack.rate(_RATE)
    await stack.measure(1.0, check=False)
    runs = []
    for _ in range(RUNS):
        cpu = stack.gateway.cpu_seconds()
        run = await stack.measure(SECONDS, check=False)
        run["cpu"] = stack.gateway.cpu_seconds() - cpu
        runs.append(run)
    checked = await stack.measure(1.0)
    await stack.disconnect()
    most = SECONDS * 1000 / _INTERVAL_MS + 1
    return Result(
        f"{_CLIENTS} clients, batches of {_INTERVAL_MS} ms, {name}, {_RATE:,} ticks/s",
        {
            "delivered_per_s": median([run["ticks"] / run["seconds"] for run in runs]),
            "batches_per_s": median([run["batches"] / run["seconds"] for run in runs]),
            "gateway_us_per_delivery": median(
                [run["cpu"] * 1e6 / max(run["ticks"], 1) for run in runs]
            ),
            "gateway_core_busy": median([run["cpu"] / run["seconds"] for run in runs]),
            "p99_ms": checked["p99_us"] / 1000,
        },
        correct=not checked["backwards"]
        and not checked["lost"]
        and checked["symbols"] == _SYMBOLS
        and all(run["least"] > 0 and run["batches"] <= most for run in runs),
        runs=RUNS,
    )
