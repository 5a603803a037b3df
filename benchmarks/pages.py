"""Every page for people with a thousand pools: its time and what it asks of the database."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from benchmarks.harness import ROOT, Result, cores, pin
from benchmarks.stack import installation

__all__ = ["pages"]

MOST_MS = 300.0
MOST_QUERIES = 12
_OK = 200


async def pages() -> AsyncIterator[Result]:
    """Yield a row per kind of page, with the slowest page of the kind."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for page in await _measured():
        kinds.setdefault(page["kind"], []).append(page)
    for kind, measured in kinds.items():
        slowest = max(measured, key=lambda page: page["ms"])
        yield Result(
            f"1,000 pools, {kind}",
            {
                "pages": len(measured),
                "slowest_ms": slowest["ms"],
                "most_queries": max(page["queries"] for page in measured),
                "slowest": slowest["path"],
            },
            correct=all(_is_good(page) for page in measured),
            notes=f"judged: each page's median {MOST_MS:.0f} ms, {MOST_QUERIES} queries",
        )


def _is_good(page: dict[str, Any]) -> bool:
    is_fast = bool(page["ms"] <= MOST_MS and page["queries"] <= MOST_QUERIES)
    return is_fast and page["status"] == _OK


async def _measured() -> list[dict[str, Any]]:
    with installation("ERROR") as made:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.page_times",
            cwd=ROOT,
            env=made.environment,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=lambda: pin(cores()[0]),
        )
        output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("the pages could not be measured")
    return [json.loads(line) for line in output.splitlines()]
