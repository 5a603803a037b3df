"""The scenarios: what is offered, what is measured, and what must be right."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from benchmarks.harness import RUNS, SECONDS, Child, Result, cores, median
from benchmarks.stack import Stack

__all__ = ["pipeline", "publishing"]


async def publishing() -> AsyncIterator[Result]:
    """Decode Kite quote frames and publish them, in one process on one core, without a network."""
    child = Child("benchmarks.publishing", cores()[0])
    await child.start()
    try:
        runs = [await child.ask(seconds=SECONDS / 2) for _ in range(RUNS)]
    finally:
        await child.stop()
    yield Result(
        "worker: Kite quote frames, decoded, published",
        {
            "ticks_per_s": median([run["ticks_per_s"] for run in runs]),
            "decode_us": median([run["decode_us"] for run in runs]),
            "encode_us": median([run["encode_us"] for run in runs]),
        },
        correct=all(run["correct"] for run in runs),
        runs=RUNS,
    )


async def pipeline(stack: Stack) -> AsyncIterator[Result]:
    """Exchange → worker → gateway → client, through every real part."""
    yield await _steady(stack, "1 client, 2,000 ticks/s", clients=1, symbols=1000, rate=2000)
    yield await _steady(stack, "1 client, 10,000 ticks/s", clients=1, symbols=1000, rate=10_000)
    yield await _saturated(stack, "1 client x 1,000 symbols, as fast as it goes", 1, 1000)
    yield await _steady(stack, "100 clients x 100 symbols, 500 ticks/s", 100, 100, rate=500)
    yield await _steady(stack, "100 clients x 100 symbols, 3,000 ticks/s", 100, 100, rate=3000)
    yield await _saturated(stack, "100 clients x 100 symbols, as fast as it goes", 100, 100)
    yield await _all_symbols(stack)


async def _steady(stack: Stack, name: str, clients: int, symbols: int, rate: float) -> Result:
    """Offer a fixed rate; every tick must arrive at every client, once and in order."""
    await stack.connect(clients, symbols)
    await stack.rate(rate)
    await stack.measure(1.0)
    runs = []
    for _ in range(RUNS):
        gateway, worker = stack.gateway.cpu_seconds(), stack.worker.cpu_seconds()
        run = await stack.measure(SECONDS, sample_all=True)
        run["gateway"] = stack.gateway.cpu_seconds() - gateway
        run["worker"] = stack.worker.cpu_seconds() - worker
        runs.append(run)
    await stack.disconnect()
    return Result(
        name,
        {
            "delivered_per_s": median([run["ticks"] / run["seconds"] for run in runs]),
            "p50_ms": median([run["p50_us"] / 1000 for run in runs]),
            "p99_ms": median([run["p99_us"] / 1000 for run in runs]),
            "gateway_us_per_delivery": median(
                [run["gateway"] * 1e6 / max(run["ticks"], 1) for run in runs]
            ),
            "worker_us_per_tick": median(
                [run["worker"] * 1e6 * clients / max(run["ticks"], 1) for run in runs]
            ),
        },
        correct=all(
            not run["missed"]
            and not run["backwards"]
            and not run["lost"]
            and run["ticks"] > 0.9 * rate * clients * run["seconds"]
            for run in runs
        ),
        runs=RUNS,
    )


async def _saturated(stack: Stack, name: str, clients: int, symbols: int, port: int | None = None):
    """Offer more and more until more no longer arrives; quote the most that did, in order."""
    if port is None:
        await stack.connect(clients, symbols)
    server = stack.gateway
    best: dict[str, float] = {"per_s": 0.0}
    rate = 20_000.0 / clients
    in_order = True
    while True:
        rate *= 1.6
        await stack.rate(rate)
        await stack.measure(0.7, check=False)
        cpu, started = server.cpu_seconds(), time.monotonic()
        run = await stack.measure(SECONDS / 2)
        # The load's own clock stands still while it is starved, and what waited for it would then
        # count as arrived in no time: rates are taken over the whole time that was waited here.
        cpu, seconds = server.cpu_seconds() - cpu, time.monotonic() - started
        per_s = run["ticks"] / seconds
        in_order = in_order and not run["backwards"] and not run["lost"]
        if per_s > best["per_s"]:
            best = {
                "per_s": per_s,
                "cpu_us": cpu * 1e6 / max(run["ticks"], 1),
                "busy": cpu / seconds,
                "missed": run["missed"],
            }
        if per_s < 0.75 * rate * clients or rate * clients > 4_000_000:
            break
    await stack.disconnect()
    return Result(
        name,
        {
            "delivered_per_s": best["per_s"],
            "gateway_us_per_delivery": best.get("cpu_us", 0.0),
            "gateway_core_busy": best.get("busy", 0.0),
        },
        correct=in_order,
        notes="the most that arrived while the offer was raised",
    )


async def _all_symbols(stack: Stack) -> Result:
    """9,000 instruments over three connections to one client: acknowledged, and all ticking."""
    connected = await stack.connect(1, 9000)
    await stack.rate(20_000)
    await asyncio.sleep(1.0)
    run = await stack.measure(max(SECONDS, 2.0), sample_all=True)
    refused = await stack.load.ask(
        do="connect",
        port=stack.openalgo_port,
        path="/",
        api_key=stack.api_key,
        clients=1,
        symbols=["S09000"],
        mode=3,
    )
    figures: dict[str, float | int | str] = {
        "subscribe_s": connected["seconds"],
        "symbols_ticking": run["symbols"],
        "delivered_per_s": run["ticks"] / run["seconds"],
        "p99_ms": run["p99_us"] / 1000,
        "worker_MiB": stack.worker.memory_bytes() / 2**20,
        "gateway_MiB": stack.gateway.memory_bytes() / 2**20,
    }
    await stack.disconnect()
    return Result(
        "9,000 symbols over 3 connections, 20,000 ticks/s",
        figures,
        correct=run["symbols"] == 9000 and refused["refused"] == 1 and not run["missed"],
        notes="the 9,001st is refused",
    )
