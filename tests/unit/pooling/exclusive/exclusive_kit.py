"""An exclusive pool on virtual time, and a broker that says back what it hears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pooling.exceptions import ConnectionLostError
from pooling.exclusive.options import ExclusiveOptions, LinkState
from pooling.exclusive.pool import ExclusivePool
from pooling.testing import FakeBroker, FakeTransport, MiddleOfRange, VirtualClock

BASE = "wss://b.invalid/root"


class EchoBroker(FakeBroker):
    """Answers every message with itself. ``slow(seconds)`` delays connects and closes."""

    def __init__(self) -> None:
        super().__init__()
        self.heard_texts: list[tuple[float, str | bytes]] = []
        self.uris: list[str] = []
        self.pings = 0
        self.most_open = 0
        self._delay = 0.0

    def slow(self, seconds: float) -> None:
        self._delay = seconds

    async def __call__(self, handshake, **options: Any) -> FakeTransport:
        self.uris.append(handshake.url)
        if self._delay:
            await asyncio.sleep(self._delay)
        opened = await super().__call__(handshake, **options)
        opened.__class__ = EchoTransport
        self.most_open = max(self.most_open, len(self.open))
        return opened

    def heard(self, transport, message) -> None:
        self.heard_texts.append((self.now(), message))
        transport.say(message)


class EchoTransport(FakeTransport):
    broker: EchoBroker
    is_deaf = False  # hears nothing, as a peer that is gone without a word
    code: int | None = None

    async def ping(self) -> None:
        self.broker.pings += 1
        if not self.is_deaf:
            await super().ping()

    async def recv(self) -> str | bytes:
        try:
            return await super().recv()
        except ConnectionLostError:
            raise ConnectionLostError("the echo broker hung up", code=self.code) from None

    async def close(self) -> None:
        if self.is_open and self.broker._delay:
            await asyncio.sleep(self.broker._delay)
        await super().close()


@asynccontextmanager
async def open_exclusive(
    broker: EchoBroker | None = None, *, seats=None, connector=None, **options: Any
) -> AsyncIterator[tuple[ExclusivePool, EchoBroker]]:
    broker = broker or EchoBroker()
    pool = ExclusivePool(
        base_uri=BASE,
        connector=connector or broker,
        clock=VirtualClock(),
        rng=MiddleOfRange(),
        options=ExclusiveOptions(**({"max_connections": 2} | options)),
        seats=seats,
    )
    try:
        yield pool, broker
    finally:
        await pool.close()
        assert not broker.open, "a socket was left open"
        stats = pool.get_stats()
        counts = (stats.active_connections, stats.idle_connections, stats.opening_connections)
        assert counts == (0, 0, 0)
        assert stats.waiting == stats.closing_connections == 0


async def have_idle(pool: ExclusivePool, path: str, count: int) -> None:
    """Have so many connections open and idle: one released early would be reused."""
    held = [await pool.acquire(path) for _ in range(count)]
    for connection in held:
        await connection.release()


def states(pool: ExclusivePool) -> list[LinkState]:
    return [connection.state for connection in pool.get_stats().connections]
