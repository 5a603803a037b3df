"""What tests of every layer share: waiting for a condition, free ports, recorded data."""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from streaming.ports.link import TickMessage
from streaming.wire.address import BusAddress
from streaming.wire.keys import CurveKeys
from streaming.wire.message import FORMAT_VERSION, HEADER
from streaming.wire.socket_files import SocketFiles

__all__ = [
    "SHARED_DATA",
    "AgingClock",
    "bus_at",
    "eventually",
    "eventually_sync",
    "free_port",
    "is_running",
    "metrics_headers",
    "pack_message",
]

_PORTS = range(10_240, 32_768)
# Each process of a parallel run has ports of its own: some tests want one that stays unused.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_MY_PORTS = _PORTS[_WORKER :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
# Not the module's own generator: that one is seeded alike in every test and every run.
_CHANCE = random.Random(os.urandom(8))
_taken_ports: set[int] = set()
# Of the buses that tests make in this process; gone with it.
_BUSES = tempfile.TemporaryDirectory(prefix="tickpool-buses-")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pack_message(message: TickMessage) -> bytes:
    """Return the bus message that a publisher makes of it; its topic carries its terminator."""
    header = HEADER.pack(
        FORMAT_VERSION,
        message.mode,
        0,
        message.epoch,
        message.sequence,
        message.ts_received_us,
        message.published_after_us,
    )
    return message.topic + header + message.body


class AgingClock:
    """Monotonic seconds that also go on when they are told to."""

    def __init__(self) -> None:
        self.added_seconds = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.added_seconds


async def eventually(
    condition: Callable[[], object] | Callable[[], Awaitable[object]],
    *,
    timeout: float = 10.0,
    interval: float = 0.01,
    message: str = "",
) -> object:
    """Wait until ``condition`` is true and return its value; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(message or f"did not become true within {timeout} s: {condition}")
        await asyncio.sleep(interval)


def eventually_sync(
    condition: Callable[[], object],
    *,
    timeout: float = 10.0,
    interval: float = 0.02,
    message: str = "",
) -> object:
    """``eventually`` for tests without an event loop."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(message or f"did not become true within {timeout} s: {condition}")
        time.sleep(interval)
    return value


def free_port() -> int:
    """Return a loopback port that nobody uses, and that this run has not returned before.

    From below the range that systems take outgoing connections' ports from: one of that range may
    be taken by any client between its choice and its use.
    """
    while True:
        port = _CHANCE.choice(_MY_PORTS)
        if port in _taken_ports:
            continue
        _taken_ports.add(port)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def metrics_headers(data_dir: Path) -> dict[str, str]:
    """Return what opens ``/metrics`` of a gateway with this ``DATA_DIR``, once it serves."""
    return {"Authorization": f"Bearer {(data_dir / 'metrics.key').read_text().strip()}"}


def bus_at(port: int | None = None, curve: CurveKeys | None = None) -> BusAddress:
    """Return the bus of an installation on this machine; with ``curve`` its port is open, too."""
    files = SocketFiles(Path(_BUSES.name))
    return BusAddress(host="127.0.0.1", port=port or free_port(), files=files, curve=curve)


def is_running(pid: int) -> bool:
    """Tell whether a thread of the process still runs; its files are open until the last ends."""
    return any(map(_runs, Path(f"/proc/{pid}/task").glob("*/stat")))


def _runs(stat: Path) -> bool:
    try:
        state = stat.read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False  # it ended while it was looked at
    return state not in ("Z", "X")
