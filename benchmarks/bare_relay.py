"""What a tick's way costs where nothing is done on it: a process that reads and sends, no more.

A gateway with one client pays two crossings of the kernel and a wake-up for each tick of a slow
rate. This pays the same and nothing else, so the difference is what the gateway itself takes.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator

from benchmarks.harness import RUNS, SECONDS, Child, Result, cores, median, percentile

__all__ = ["bare_relay"]

_RATE = 2000.0
_FRAME_BYTES = 460  # of a Quote tick


async def bare_relay() -> AsyncIterator[Result]:
    """Relay 2,000 ticks a second on the gateway's core; the feeder has the load's core."""
    server_core, load_core = cores()
    feeder = Child("benchmarks.bare_relay", load_core, ["feed"])
    relay: Child | None = None
    try:
        port = (await feeder.start())["port"]
        relay = Child("benchmarks.bare_relay", server_core, ["relay", str(port)])
        await relay.start()
        await feeder.ask(seconds=0.7)
        runs = []
        for _ in range(RUNS):
            cpu = relay.cpu_seconds()
            run = await feeder.ask(seconds=SECONDS)
            runs.append({**run, "cpu": relay.cpu_seconds() - cpu})
    finally:
        if relay is not None:
            await relay.stop()
        await feeder.stop()
    yield Result(
        f"bare relay (recv, send, nothing else), {_RATE:,.0f} ticks/s",
        {
            "us_per_tick": median([run["cpu"] * 1e6 / run["ticks"] for run in runs]),
            "p50_ms": median([run["p50_us"] / 1000 for run in runs]),
            "p99_ms": median([run["p99_us"] / 1000 for run in runs]),
        },
        correct=all(run["arrived"] == run["ticks"] for run in runs),
        notes="what the kernel takes of a tick to one client; compare with the gateway's row",
        runs=RUNS,
    )


class _Reader(threading.Thread):
    """Takes the age of each frame that comes back."""

    def __init__(self, returned: socket.socket) -> None:
        super().__init__(name="reader", daemon=True)
        self._returned = returned
        self.ages_us: list[float] = []

    def run(self) -> None:
        kept = b""
        while data := self._returned.recv(65536):
            now = time.perf_counter_ns()
            kept += data
            while len(kept) >= _FRAME_BYTES:
                self.ages_us.append((now - int.from_bytes(kept[:8], "little")) / 1000)
                kept = kept[_FRAME_BYTES:]


def _feed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(json.dumps({"ready": True, "port": listener.getsockname()[1]}), flush=True)
        away, returned = (listener.accept()[0] for _ in range(2))
    away.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = _Reader(returned)
    reader.start()
    for line in sys.stdin:
        count = int(json.loads(line)["seconds"] * _RATE)
        reader.ages_us = []
        due = time.perf_counter()
        for _ in range(count):
            while (wait := due - time.perf_counter()) > 0:
                time.sleep(wait)
            due += 1 / _RATE
            away.sendall(time.perf_counter_ns().to_bytes(8, "little").ljust(_FRAME_BYTES, b"."))
        deadline = time.monotonic() + 10
        while len(reader.ages_us) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        ages = reader.ages_us
        answer = {
            "ticks": count,
            "arrived": len(ages),
            "p50_us": percentile(ages, 0.5),
            "p99_us": percentile(ages, 0.99),
        }
        print(json.dumps(answer), flush=True)


def _relay(port: int) -> None:
    arriving = socket.create_connection(("127.0.0.1", port))
    leaving = socket.create_connection(("127.0.0.1", port))
    leaving.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(json.dumps({"ready": True}), flush=True)
    while data := arriving.recv(65536):
        leaving.sendall(data)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, OSError):
        if sys.argv[1] == "feed":
            _feed()
        else:
            _relay(int(sys.argv[2]))
