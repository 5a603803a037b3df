"""The real system for a benchmark: stamped exchange, worker, gateway, each a process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import ROOT, Child, ManageCommand, cores
from benchmarks.metrics import METRICS_KEY
from streaming.wire.address import BusAddress
from streaming.wire.socket_files import SocketFiles

__all__ = [
    "Installation",
    "Stack",
    "free_ports",
    "installation",
    "local_bus",
    "prepare",
    "running_stack",
    "wait_ready",
]

SYMBOLS = 10_000


@dataclass
class Stack:
    """What is running: the gateway has a core to itself, everything else shares the other."""

    exchange: Child
    worker: ManageCommand
    gateway: ManageCommand
    load: Child
    port: int
    openalgo_port: int
    pool_id: str
    api_key: str

    async def connect(self, clients: int, symbols: int, mode: int = 3, port: int | None = None):
        """Connect subscribers of the first ``symbols`` instruments."""
        return await self.load.ask(
            do="connect",
            port=port or self.openalgo_port,
            path="/",
            api_key=self.api_key,
            clients=clients,
            symbols=[f"S{n:05d}" for n in range(symbols)],
            mode=mode,
        )

    async def measure(self, seconds: float, *, check: bool = True, sample_all: bool = False):
        """Count what the subscribers get."""
        return await self.load.ask(
            do="measure", seconds=seconds, check=check, sample_all=sample_all
        )

    async def rate(self, ticks_per_second: float):
        """Set how many ticks the exchange sends."""
        return await self.exchange.ask(rate=ticks_per_second)

    async def disconnect(self) -> None:
        """Drop all subscribers and stop the exchange."""
        await self.rate(0)
        await self.load.ask(do="close")
        await asyncio.sleep(0.5)


class Installation(NamedTuple):
    """A throw-away installation: the environment of its processes, and its ports."""

    environment: dict[str, str]
    directory: str
    port: int
    openalgo_port: int
    zmq_port: int

    @property
    def bus(self) -> BusAddress:
        """Where its worker publishes, as the settings have it."""
        return local_bus(self.directory, self.zmq_port)


def local_bus(directory: str, port: int) -> BusAddress:
    """Return the bus of an installation on this machine whose data are in ``directory``."""
    return BusAddress(host="127.0.0.1", port=port, files=SocketFiles(Path(directory) / "bus"))


@contextlib.contextmanager
def installation(log_level: str = "WARNING") -> Iterator[Installation]:
    """Make one with free ports; its files go away at the end."""
    with tempfile.TemporaryDirectory(prefix="tickpool-bench-") as directory:
        ports = free_ports(3)
        names = zip(("PORT", "OPENALGO_PORT", "ZMQ_PORT"), map(str, ports), strict=True)
        environment = {
            **os.environ,
            "DATA_DIR": directory,
            "DATABASE_URL": "",
            "REDIS_URL": "",
            "METRICS_KEY": METRICS_KEY,
            "LOG_LEVEL": log_level,
            # What one scenario leaves must not share the next one's rate.
            "UNSUBSCRIBE_LINGER_SECONDS": "0.1",
            **dict(names),
        }
        yield Installation(environment, directory, *ports)


@contextlib.asynccontextmanager
async def running_stack() -> AsyncIterator[Stack]:
    """Start everything in a throw-away installation and end it afterwards."""
    server_core, load_core = cores()
    with installation() as made:
        environment, port, openalgo_port = made.environment, made.port, made.openalgo_port
        async with contextlib.AsyncExitStack() as exits:
            exchange = Child("benchmarks.stamped_exchange", load_core)
            exchange_port = (await exchange.start())["port"]
            exits.push_async_callback(exchange.stop)
            prepared = await prepare(environment, exchange_port)
            worker = ManageCommand("runpool", load_core, environment)
            await worker.start()
            exits.push_async_callback(worker.stop)
            gateway = ManageCommand("rungateway", server_core, environment)
            await gateway.start()
            exits.push_async_callback(gateway.stop)
            await wait_ready(port)
            load = Child("benchmarks.load_client", load_core)
            await load.start()
            exits.push_async_callback(load.stop)
            yield Stack(exchange, worker, gateway, load, port, openalgo_port, **prepared)


async def prepare(
    environment: dict[str, str], exchange_port: int, crowd_port: int | None = None
) -> dict[str, str]:
    """Make what is in the database; with ``crowd_port`` a second user as well, ``crowd_key``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.prepare",
        str(exchange_port),
        str(SYMBOLS),
        *(() if crowd_port is None else (str(crowd_port),)),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("the installation for the benchmark could not be made")
    prepared: dict[str, str] = json.loads(output.splitlines()[-1])
    return prepared


async def wait_ready(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            answer = await asyncio.to_thread(_get, f"http://127.0.0.1:{port}/readyz")
            if answer == 200:
                return
        await asyncio.sleep(0.1)
    raise RuntimeError("the gateway did not become ready")


def _get(url: str) -> int:
    with urllib.request.urlopen(url, timeout=2) as answer:
        status: int = answer.status
        return status


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
