"""``python -m benchmarks``: run every scenario, print a table, keep the figures as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks import scenarios
from benchmarks.bare_stack import running_bare_stack
from benchmarks.batches import batches
from benchmarks.fanout import fanout
from benchmarks.harness import ROOT, Result, describe_environment
from benchmarks.pool_scenarios import pool_engine
from benchmarks.stack import running_stack


async def _run() -> list[Result]:
    results = [await scenarios.publishing()]
    print(results[0].row(), flush=True)
    async for result in pool_engine():
        results.append(result)
        print(result.row(), flush=True)
    async with running_bare_stack() as bare:
        async for result in fanout(bare):
            results.append(result)
            print(result.row(), flush=True)
    async with running_stack() as stack:
        for measure in (scenarios.pipeline, batches):
            async for result in measure(stack):
                results.append(result)
                print(result.row(), flush=True)
    return results


def _main() -> int:
    environment = describe_environment()
    print("  ".join(f"{name}={value}" for name, value in environment.items()), flush=True)
    results = asyncio.run(_run())
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
