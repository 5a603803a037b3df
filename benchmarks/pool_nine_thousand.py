"""How soon all of a large request are confirmed, and how soon all of them tick.

A pool of Zerodha's adapter at the stamped exchange whose port is the argument. The times count from
the call of ``want``; a symbol ticks when the market has moved it after its first packet, which is
also what confirms it.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import sys
import time
from collections.abc import Iterable
from typing import Any

import uvloop

from brokers.pool_service import Holder, OutcomeState, Want
from brokers.types import FeedMode, Instrument, InstrumentKey, Tick
from brokers.zerodha.config import CAPABILITIES
from brokers.zerodha.connection import ZerodhaAdapter
from pooling.clock import SystemClock
from pooling.connectors.websocket import WebSocketConnector
from pooling.contracts import AccountSpec, PoolOptions
from pooling.pool.pool import ConnectionPool
from pooling.testing import InMemoryAccountStore

TIMEOUT_SECONDS = 60.0


class CountingSink:
    """Notes when the last symbol ticked for the second time."""

    def __init__(self) -> None:
        self.seen: dict[InstrumentKey, int] = {}
        self.ticking = 0
        self.last_at = 0.0
        self.backwards = 0

    def publish(self, instrument: Instrument, tick: Tick, ts_received_us: int) -> None:
        before = self.seen.get(instrument.key)
        sequence = tick.volume or 0
        if before is None:
            self.seen[instrument.key] = sequence
        elif before >= 0:
            self.backwards += sequence <= before
            self.seen[instrument.key] = -1
            self.ticking += 1
            self.last_at = time.perf_counter()

    def forget(self, keys: Iterable[InstrumentKey]) -> None:
        """Keep counting."""

    def close(self) -> None:
        """Keep what was counted."""


async def _run(port: int, symbols: int) -> dict[str, Any]:
    clock, sink = SystemClock(), CountingSink()
    spec = AccountSpec(
        pool_id="1",
        broker="zerodha",
        user_id=1,
        label="bench",
        options=PoolOptions(symbols_per_connection=3000, max_connections=3),
        endpoint=f"ws://127.0.0.1:{port}",
        credentials_version=1,
    )
    pool = ConnectionPool(
        spec=spec,
        adapter_class=ZerodhaAdapter,
        sink=sink,
        store=InMemoryAccountStore(spec, values={"api_key": "k", "access_token": "t"}),
        clock=clock,
        rng=random.Random(1),
        connector=WebSocketConnector(clock=clock),
        on_event=lambda event: None,
        on_note=lambda kind, message: None,
    )
    await pool.open()
    instruments = {
        (key := InstrumentKey("NSE", f"S{n:05d}")): Instrument(key, str((n + 1) * 256 + 1))
        for n in range(symbols)
    }
    wants = [Want(key, FeedMode.DEPTH) for key in instruments]
    started = time.perf_counter()
    outcomes = []
    for at in range(0, symbols, 500):
        outcomes += pool.want(Holder("bench", "client"), wants[at : at + 500], instruments)
        await asyncio.sleep(0)
    requested = time.perf_counter() - started
    acked = None
    while sink.ticking < symbols and time.perf_counter() - started < TIMEOUT_SECONDS:
        if acked is None and pool.get_stats().confirmed == symbols:
            acked = time.perf_counter() - started
        await asyncio.sleep(0.005)
    stats = pool.get_stats()
    await pool.close()
    connects = CAPABILITIES.connect_interval_seconds * 2
    messages = math.ceil(symbols / 3 / CAPABILITIES.batch_size) * 2 - 1
    return {
        "request_ms": requested * 1e3,
        "acked_s": acked or TIMEOUT_SECONDS,
        "ticking_s": sink.last_at - started,
        "pacing_s": connects + messages * CAPABILITIES.message_interval_seconds,
        "correct": acked is not None
        and sink.ticking == symbols
        and not sink.backwards
        and stats.confirmed == symbols
        and len(stats.connections) == 3
        and not any(outcome.state is OutcomeState.REFUSED for outcome in outcomes),
    }


def _main() -> None:
    port = int(sys.argv[1])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(uvloop.run(_run(port, json.loads(line)["symbols"]))), flush=True)


if __name__ == "__main__":
    _main()
