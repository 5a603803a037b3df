"""Milliseconds from ``acquire`` to the first answer: on a released socket, and on a new one."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from pooling.clock import SystemClock
from pooling.connectors.websocket import WebSocketConnector
from pooling.exclusive.options import ExclusiveOptions
from pooling.exclusive.pool import ExclusivePool


class Server:
    """Says back what it hears, with the number of the connection in front."""

    def __init__(self) -> None:
        self.accepted = 0

    async def handle(self, link: ServerConnection) -> None:
        self.accepted += 1
        number = self.accepted
        try:
            async for message in link:
                await link.send(f"{number} {message}")
        except ConnectionClosed:
            pass


async def _ask(pool: ExclusivePool, text: str) -> tuple[float, str]:
    started = time.perf_counter()
    async with pool.acquire("/stream") as connection:
        await connection.send(text)
        answer = str(await connection.recv())
        elapsed = time.perf_counter() - started
    return elapsed * 1e3, answer


async def _run(rounds: int) -> dict[str, Any]:
    server, clock = Server(), SystemClock()
    async with (
        serve(server.handle, "127.0.0.1", 0, compression=None) as running,
        ExclusivePool(
            base_uri=f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}",
            connector=WebSocketConnector(clock=clock),
            clock=clock,
            rng=random.Random(1),
            options=ExclusiveOptions(max_connections=4),
        ) as pool,
    ):
        async with pool.acquire("/stream"):
            pass  # open and idle from now on
        reuse = [await _ask(pool, f"r{n}") for n in range(rounds)]
        fresh = []
        for number in range(rounds):
            pool.evict_idle(1)
            fresh.append(await _ask(pool, f"f{number}"))
        reuses = pool.get_stats().reuses
    return {
        "reuse_ms": statistics.median(elapsed for elapsed, _ in reuse),
        "fresh_ms": statistics.median(elapsed for elapsed, _ in fresh),
        "correct": [answer for _, answer in reuse] == [f"1 r{n}" for n in range(rounds)]
        and [answer for _, answer in fresh] == [f"{n + 2} f{n}" for n in range(rounds)]
        and reuses == rounds
        and server.accepted == rounds + 1,
    }


def _main() -> None:
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(asyncio.run(_run(json.loads(line)["rounds"]))), flush=True)


if __name__ == "__main__":
    _main()
