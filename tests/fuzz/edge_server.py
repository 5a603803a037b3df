"""``python -m tests.fuzz.edge_server``: the client edge in a process, with a fake worker.

Prints its two ports as JSON, serves until its input ends, then prints how much memory it had.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import django
import uvloop

from brokers.types import FeedMode, InstrumentKey
from streaming.testing.edge import FakeFeedLink, make_principal
from tests.fuzz.edge import KEYS, NEIGHBOURS_KEY, SESSION, SYMBOLS, EdgePorts

if __name__ == "__main__":
    django.setup()

from openalgo_site.web.bodies import with_bounded_bodies
from streaming.edge_limits import EdgeLimits
from tests.integration.streaming.edge.test_bounded_requests import measuring_site
from tests.integration.streaming.edge_kit import EdgeServer

__all__ = ["market", "open_server"]

_TICK_SECONDS = 0.05


@contextlib.asynccontextmanager
async def open_server() -> AsyncIterator[EdgePorts]:
    """Serve the client edge with all that ``fuzz_edge`` needs while the block runs."""
    edge = EdgeServer(http=with_bounded_bodies(measuring_site, limits=EdgeLimits()))
    edge.directory.add_key(NEIGHBOURS_KEY, make_principal(1))
    edge.directory.add_session(SESSION, make_principal(2))
    for user_id, key in enumerate(KEYS, start=3):
        edge.directory.add_key(key, make_principal(user_id))
    async with edge:
        ticking = asyncio.create_task(market(edge.link), name="market")
        try:
            yield EdgePorts(site=edge.port, openalgo=edge.openalgo_port)
        finally:
            ticking.cancel()
            await asyncio.wait({ticking})


async def market(link: FakeFeedLink) -> None:
    """Tick twenty times a second, each time a hundredth higher."""
    price = 0
    while True:
        price += 1
        for symbol in SYMBOLS:
            link.tick("p1", InstrumentKey("NSE", symbol), FeedMode.LTP, ltp=price)
        link.calls.clear()
        await asyncio.sleep(_TICK_SECONDS)


def _memory() -> Iterator[str]:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(("VmHWM", "VmRSS")):
            yield " ".join(line.split())


async def _serve() -> None:
    async with open_server() as ports:
        loop = asyncio.get_running_loop()
        _say(json.dumps({"site": ports.site, "openalgo": ports.openalgo}))
        _say(", ".join(_memory()))
        await loop.run_in_executor(None, sys.stdin.read)
        _say(", ".join(_memory()))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    uvloop.run(_serve())
