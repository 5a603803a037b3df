"""Thousands of clients that get next to nothing: what one costs in memory, and how fast they come.

They are not forgotten while idle: afterwards every one of them has to get each of its ticks.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator

from benchmarks.bare_stack import BareStack, judged
from benchmarks.harness import Result
from brokers.types import FeedMode

__all__ = ["idle", "raise_open_files"]

_CLIENTS, _SYMBOLS, _LISTS = 5000, 10, 100
_SPARE_FILES = 500
_IDLE_SECONDS = 3.0
_KIB = 1024


def raise_open_files(wanted: int = _CLIENTS + _SPARE_FILES) -> int:
    """Raise the limit of open files for all processes of the benchmark; returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        unlimited = hard == resource.RLIM_INFINITY
        soft = wanted if unlimited else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else soft


async def idle(stack: BareStack) -> AsyncIterator[Result]:
    """Connect, wait, measure the gateway's memory, then let everybody tick."""
    files = raise_open_files()
    clients = min(_CLIENTS, files - _SPARE_FILES)
    notes = f"{_LISTS} different lists; every client complete afterwards"
    if clients < _CLIENTS:
        notes += (
            f"; ONLY {clients:,} CLIENTS: this shell may open {files:,} files and not more. "
            f"`ulimit -n {_CLIENTS + _SPARE_FILES}` as root, or `nofile` in "
            "/etc/security/limits.conf and a new login, lifts that"
        )
    if clients < 100:
        yield Result("gateway: idle clients", {}, correct=False, notes=notes)
        return
    mode, total = FeedMode.QUOTE, _SYMBOLS * _LISTS
    # What the first clients cause once (imports, caches, threads) is none of the others' cost.
    await stack.connect(200, _SYMBOLS, mode, total=total, step=_SYMBOLS)
    await stack.disconnect()
    await asyncio.sleep(1.0)
    own, resident = stack.gateway.proportional_bytes(), stack.gateway.memory_bytes()
    connect_cpu = stack.gateway.cpu_seconds()
    connected = await stack.connect(clients, _SYMBOLS, mode, total=total, step=_SYMBOLS)
    await asyncio.sleep(1.0)
    cpu = stack.gateway.cpu_seconds()
    connect_cpu = cpu - connect_cpu
    await asyncio.sleep(_IDLE_SECONDS)
    cpu = stack.gateway.cpu_seconds() - cpu
    own = stack.gateway.proportional_bytes() - own
    resident = stack.gateway.memory_bytes() - resident
    # Ten ticks of each symbol, so that all are seen to be served.
    run = await stack.run(2.0, mode, rate=total * 5, sample_every=4)
    await stack.disconnect()
    yield Result(
        f"gateway: {clients:,} clients idle, {_SYMBOLS} symbols each",
        {
            "KiB_per_client": own / clients / _KIB,
            "resident_KiB_per_client": resident / clients / _KIB,
            "connect_and_subscribe_s": connected["seconds"],
            "clients_per_s": clients / connected["seconds"],
            "connect_cpu_ms_per_client": connect_cpu / clients * 1000,
            "idle_core_busy": cpu / _IDLE_SECONDS,
            "then_delivered_per_s": run.per_s,
            "then_p99_ms": run.counted["p99_us"] / 1000,
        },
        correct=run.is_right,
        notes=judged([run], notes),
    )
