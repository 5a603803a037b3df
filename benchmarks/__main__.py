"""``python -m benchmarks [NAME ...]``: run scenarios, print a table, keep the figures as JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
import traceback
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import scenarios
from benchmarks.bare_relay import bare_relay
from benchmarks.bare_stack import running_bare_stack
from benchmarks.batches import batches
from benchmarks.bus_reader import bus_reader
from benchmarks.codecs import codecs
from benchmarks.fanout import fanout
from benchmarks.harness import ROOT, RUNS, SECONDS, Result, describe_environment
from benchmarks.http_pool import http_pool
from benchmarks.idle import idle, raise_open_files
from benchmarks.neighbour import neighbour
from benchmarks.pages import pages
from benchmarks.pool_scenarios import pool_engine
from benchmarks.references import references
from benchmarks.several import several, unwanted
from benchmarks.slow_clients import slow_clients
from benchmarks.stack import running_stack
from benchmarks.watch import watch

# By name: what a bare publisher feeds, what needs the whole chain, and what needs neither.
_BARE = {
    "fanout": fanout,
    "reader": bus_reader,
    "references": references,
    "slow": slow_clients,
    "unwanted": unwanted,
    "idle": idle,
}
_CHAIN = {"pipeline": scenarios.pipeline, "batches": batches}
_ALONE = {
    "relay": bare_relay,
    "worker": scenarios.publishing,
    "codecs": codecs,
    "pool": pool_engine,
    "http": http_pool,
    "several": several,
    "watch": watch,
    "pages": pages,
    "neighbour": neighbour,
}
_IDLE_LOAD = 0.5


async def _scenario(name: str) -> AsyncIterator[Result]:
    if name in _ALONE:
        async for result in _ALONE[name]():
            yield result
    elif name in _BARE:
        # A gateway of its own for each: what one leaves behind is not the next one's cost.
        async with running_bare_stack() as stack:
            async for result in _BARE[name](stack):
                yield result
    else:
        async with running_stack() as whole:
            async for result in _CHAIN[name](whole):
                yield result


async def _run(names: Sequence[str]) -> AsyncIterator[Result]:
    for name in names:
        try:
            async for result in _scenario(name):
                yield result
        except Exception as error:
            # Supervision point: a scenario that fails must not cost the others' figures.
            traceback.print_exc()
            yield Result(name, {}, correct=False, notes=f"failed: {error!r}")


async def _collect(names: Sequence[str]) -> list[Result]:
    results = []
    async for result in _run(names):
        results.append(result)
        print(result.row(), flush=True)
    return results


def _main() -> int:
    known = [*_ALONE, *_BARE, *_CHAIN]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure, check and compare; exit code 1 when a check failed.",
        epilog="BENCH_SECONDS is the length of a run (4; of neighbour's rows 60), "
        "BENCH_RUNS how many the medians are of.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    names = parser.parse_args().names or known
    if strangers := sorted(set(names) - set(known)):
        parser.error(f"there is no scenario {strangers[0]!r}; there are {', '.join(known)}")
    load = os.getloadavg()[0]
    environment = {
        **describe_environment(),
        "load_before": f"{load:.2f}",
        "open_files": str(raise_open_files()),
        "runs": str(RUNS),
        "seconds": f"{SECONDS:g}",
    }
    print("  ".join(f"{name}={value}" for name, value in environment.items()), flush=True)
    if load > _IDLE_LOAD:
        print(
            f"WARNING: the machine is not idle (load {load:.2f} before the start): rates and "
            "latencies will be worse than they are, CPU per delivery a little; see others_busy",
            flush=True,
        )
    results = asyncio.run(_collect(names))
    folder: Path = ROOT / "benchmarks" / "results"
    folder.mkdir(exist_ok=True)
    file = folder / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    file.write_text(
        json.dumps(
            {"environment": environment, "results": [asdict(each) for each in results]}, indent=2
        )
    )
    print(f"kept as {file.relative_to(ROOT)}")
    wrong = [each.scenario for each in results if not each.correct]
    for name in wrong:
        print(f"INCORRECT: {name}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(_main())
