"""What subscribing and unsubscribing cost a pool, whose broker is in memory and says yes at once.

Each line on the standard input asks for one run with so many symbols.

``subscribe_us`` is what the caller waits per symbol, ``to_confirmed_us`` what the process does per
symbol until all are confirmed, the broker in memory included. ``..._at_full_us`` is one symbol by
itself while all the others are subscribed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from typing import Any

from brokers.contract import BrokerEvent, Confirmed
from brokers.pool_service import Holder, OutcomeState, Want
from brokers.testing import RecordingSink
from brokers.types import FeedMode
from pooling.clock import SystemClock
from pooling.contracts import AccountSpec, PoolOptions
from pooling.exceptions import ConnectionLostError
from pooling.pool.pool import ConnectionPool
from pooling.testing import FakeAdapter, InMemoryAccountStore, make_adapter_class, make_instrument

CHUNK = 500  # as the worker takes large requests
SINGLES = 300
HOLDER = Holder("bench", "client")


class QuickTransport:
    """A socket whose other end confirms whatever it is sent."""

    heard_at = pong_at = 0.0

    def __init__(self) -> None:
        self.said: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self.subscribed: set[str] = set()

    async def send(self, message: str | bytes) -> None:
        kind, _, tokens = str(message).partition(" ")
        if kind == "+":
            self.subscribed.update(tokens.split(","))
            self.said.put_nowait(tokens)
        else:
            self.subscribed.difference_update(tokens.split(","))

    async def recv(self) -> str | bytes:
        frame = await self.said.get()
        if frame is None:
            raise ConnectionLostError("closed")
        return frame

    async def ping(self) -> None:
        """Be alive."""

    async def close(self) -> None:
        self.said.put_nowait(None)

    def abort(self) -> None:
        self.said.put_nowait(None)


class QuickBroker:
    """Opens ``QuickTransport``s."""

    def __init__(self) -> None:
        self.transports: list[QuickTransport] = []

    async def __call__(self, handshake: Any, **_: Any) -> QuickTransport:
        self.transports.append(QuickTransport())
        return self.transports[-1]

    @property
    def subscribed(self) -> int:
        return sum(len(transport.subscribed) for transport in self.transports)


class QuickAdapter(FakeAdapter):
    """Says no more than it must, so that the pool is what is measured."""

    def subscribe(self, items):
        self._instruments.update((item.instrument.broker_token, item.instrument) for item in items)
        return ["+ " + ",".join(item.instrument.broker_token for item in items)]

    def unsubscribe(self, items):
        for item in items:
            self._instruments.pop(item.instrument.broker_token, None)
        return ["- " + ",".join(item.instrument.broker_token for item in items)]

    def receive(self, frame, ts_received_us) -> list[BrokerEvent]:
        known = self._instruments
        return [Confirmed(tuple(known[t].key for t in str(frame).split(",") if t in known))]


async def _run(symbols: int) -> dict[str, Any]:
    per_connection = max(300, symbols // 3)
    broker, clock = QuickBroker(), SystemClock()
    spec = AccountSpec(
        pool_id="1",
        broker="fake",
        user_id=1,
        label="bench",
        # One more than is asked for, so that a single one finds its place with all there.
        options=PoolOptions(
            symbols_per_connection=per_connection + 1, max_connections=3, linger_seconds=0.0
        ),
    )
    declared = make_adapter_class(
        max_connections=3, symbols_per_connection=per_connection + 1, batch_size=CHUNK
    )
    pool = ConnectionPool(
        spec=spec,
        adapter_class=type("Adapter", (QuickAdapter,), {"capabilities": declared.capabilities}),
        sink=RecordingSink(),
        store=InMemoryAccountStore(spec),
        clock=clock,
        rng=random.Random(1),
        connector=broker,
        on_event=lambda event: None,
        on_note=lambda kind, message: None,
    )
    await pool.open()
    instruments = {each.key: each for each in map(make_instrument, range(symbols + 1))}
    wants = [Want(key, FeedMode.QUOTE) for key in instruments]
    extra, wants = wants[-1], wants[:-1]
    gc.collect()
    started = time.process_time()
    calls, refused = 0.0, 0
    for at in range(0, symbols, CHUNK):
        call = time.perf_counter()
        outcomes = pool.want(HOLDER, wants[at : at + CHUNK], instruments)
        calls += time.perf_counter() - call
        refused += sum(outcome.state is OutcomeState.REFUSED for outcome in outcomes)
        await asyncio.sleep(0)
    await _until(lambda: pool.get_stats().confirmed == symbols)
    confirmed = time.process_time() - started
    all_there = broker.subscribed == symbols
    single, unsingle = await _singles(pool, extra, instruments)
    keys = [want.key for want in wants]
    releases = 0.0
    for at in range(0, symbols, CHUNK):
        call = time.perf_counter()
        pool.release(HOLDER, keys[at : at + CHUNK])
        releases += time.perf_counter() - call
        await asyncio.sleep(0)
    await _until(lambda: broker.subscribed == 0 and pool.get_stats().used == 0)
    stats = pool.get_stats()
    await pool.close()
    return {
        "subscribe_us": calls * 1e6 / symbols,
        "unsubscribe_us": releases * 1e6 / symbols,
        "subscribe_at_full_us": single,
        "unsubscribe_at_full_us": unsingle,
        "to_confirmed_us": confirmed * 1e6 / symbols,
        "correct": all_there
        and not refused
        and (stats.used, stats.wanted, stats.confirmed) == (0,) * 3,
    }


async def _singles(pool: ConnectionPool, want: Want, instruments: Any) -> tuple[float, float]:
    """Return µs of one subscribe and one unsubscribe among all the others."""
    taken = given = 0.0
    for _ in range(SINGLES):
        call = time.perf_counter()
        pool.want(HOLDER, [want], instruments)
        taken += time.perf_counter() - call
        await asyncio.sleep(0)
        call = time.perf_counter()
        pool.release(HOLDER, [want.key])
        given += time.perf_counter() - call
        await asyncio.sleep(0)
    return taken * 1e6 / SINGLES, given * 1e6 / SINGLES


async def _until(condition: Any, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the pool did not get there")
        await asyncio.sleep(0.002)


def _main() -> None:
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(asyncio.run(_run(json.loads(line)["symbols"]))), flush=True)


if __name__ == "__main__":
    _main()
