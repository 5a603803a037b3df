"""What reading the bus ourselves saves, beside a ZeroMQ socket on the same socket file."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import zmq

from benchmarks.bare_stack import BareStack, Run, judged, limited_by
from benchmarks.harness import RUNS, SECONDS, ManageCommand, Result, cores, median
from benchmarks.stack import free_ports, wait_ready
from brokers.types import FeedMode
from streaming.link.readers import OnBatch
from streaming.wire.socket import LoopSocket, single_part
from streaming.wire.socket_files import SocketFiles

__all__ = ["FileSocket", "bus_reader"]

# Clients, symbols of each, mode, ticks/s (0: as fast as everybody gets everything), ages of which.
_ROWS = (
    (100, 100, FeedMode.QUOTE, 0.0, 0),
    (100, 100, FeedMode.DEPTH, 0.0, 0),
    (1, 1000, FeedMode.QUOTE, 0.0, 0),
    (1, 1000, FeedMode.DEPTH, 0.0, 0),
    (100, 100, FeedMode.QUOTE, 3000.0, 16),
    (1, 1000, FeedMode.QUOTE, 2000.0, 1),
)


class FileSocket:
    """A ``BusReader`` of a socket file by a ZeroMQ socket; takes the arguments of ``BusStream``.

    ``patience`` is nothing that such a socket can have: its thread has read what waits.
    """

    def __init__(
        self,
        *,
        files: SocketFiles,
        name: str,
        on_batch: OnBatch,
        patience: Callable[[], float] = lambda: 0.0,
    ) -> None:
        target = zmq.Context.instance().socket(zmq.SUB)
        target.setsockopt(zmq.LINGER, 0)
        target.setsockopt(zmq.RCVHWM, 100_000)
        target.setsockopt(zmq.SNDHWM, 0)
        target.connect(f"ipc://{files.path(name)}")
        self._bus = LoopSocket(socket=target, receive=single_part(target), on_batch=on_batch)

    def open(self) -> None:
        """See ``BusReader``."""
        self._bus.open()

    def close(self) -> None:
        """See ``BusReader``."""
        self._bus.close()

    def subscribe(self, topic: bytes) -> None:
        """See ``BusReader``."""
        self._bus.socket.setsockopt(zmq.SUBSCRIBE, topic)
        self._bus.look()

    def unsubscribe(self, topic: bytes) -> None:
        """See ``BusReader``."""
        self._bus.socket.setsockopt(zmq.UNSUBSCRIBE, topic)
        self._bus.look()


async def bus_reader(stack: BareStack) -> AsyncIterator[Result]:
    """Two gateways at one publisher in turns: one reads by itself, the other by a ZeroMQ socket."""
    async with _with_socket(stack) as other:
        for clients, symbols, mode, rate, sample_every in _ROWS:
            how = {"rate": rate, "sample_every": sample_every}
            ours: list[Run] = []
            theirs: list[Run] = []
            for _ in range(RUNS):
                for each, runs in ((stack, ours), (other, theirs)):
                    await each.connect(clients, symbols, mode)
                    runs.append(await each.run(SECONDS, mode, **how))
                    await each.disconnect()
            yield _row(
                f"{_many(clients)} x {symbols:,} symbols, {mode.name.title()}", ours, theirs, rate
            )


def _row(of: str, ours: list[Run], theirs: list[Run], rate: float) -> Result:
    more = [their.cpu_us / our.cpu_us - 1 for our, their in zip(ours, theirs, strict=True)]
    figures: dict[str, float | int | str] = {
        "us_per_delivery": median([run.cpu_us for run in ours]),
        "us_by_socket": median([run.cpu_us for run in theirs]),
        "socket_costs_more_percent": 100 * median(more),
        "others_busy": median([run.others_busy for run in ours + theirs]),
    }
    if rate:
        figures["p50_ms"] = median([run.counted["p50_us"] / 1000 for run in ours])
        figures["p50_ms_by_socket"] = median([run.counted["p50_us"] / 1000 for run in theirs])
    pace = f"{rate:,.0f} ticks/s" if rate else "saturated"
    return Result(
        f"bus read by us and by a socket: {of}, {pace}",
        figures,
        correct=all(run.is_right for run in ours + theirs),
        notes=judged(ours + theirs, f"in turns; {limited_by(ours + theirs)}"),
        runs=RUNS,
    )


@contextlib.asynccontextmanager
async def _with_socket(stack: BareStack) -> AsyncIterator[BareStack]:
    """Start a second gateway on the same core, whose bus is read by a ZeroMQ socket."""
    port, openalgo_port = free_ports(2)
    changes = {
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings_socket",
        "PORT": str(port),
        "OPENALGO_PORT": str(openalgo_port),
    }
    environment: dict[str, Any] = stack.environment | changes
    gateway = ManageCommand("rungateway", cores()[0], environment, ["--workers", "1"])
    await gateway.start()
    try:
        await wait_ready(port)
        yield replace(stack, gateway=gateway, port=port, openalgo_port=openalgo_port)
    finally:
        await gateway.stop()


def _many(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients:,} clients"
