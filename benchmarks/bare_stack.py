"""A gateway between a publisher and clients that cost next to nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import Child, ManageCommand, Measured, busy_seconds, cores, median
from benchmarks.metrics import metrics_page
from benchmarks.stack import free_ports, installation, prepare, wait_ready
from benchmarks.tick_layout import TickLayout
from brokers.types import FeedMode

__all__ = [
    "BYTES_UNDER_WAY",
    "BareStack",
    "Run",
    "accounts",
    "judged",
    "limited_by",
    "running_bare_stack",
]

# Ticks under way per client: enough that the gateway never waits, and less than a client's queue
# alone takes before ticks are conflated. Kernel and transport may hold more, but none can count on
# it: a client whose process stands still for a while has next to nothing there.
BYTES_UNDER_WAY = 400_000
_LOSSES = {
    "conflated": "tickpool_deliveries_conflated_total",
    "missed_on_bus": "tickpool_ticks_missed_total",
}
_WARM_UP_SECONDS = 0.7


@dataclass
class Run:
    """One measured stretch: what the load counted, what was used for it, and whether all came."""

    counted: dict[str, Any]
    verdict: dict[str, Any]
    seconds: float
    gateway_cpu: float
    gateway_core_busy: float
    load_core_busy: float
    others_busy: float  # cores that were kept busy by what is none of this

    @property
    def per_s(self) -> float:
        return self.counted["ticks"] / self.counted["seconds"]

    @property
    def cpu_us(self) -> float:
        """Gateway CPU per delivery."""
        return self.gateway_cpu * 1e6 / max(self.counted["ticks"], 1)

    @property
    def is_right(self) -> bool:
        """Whether every client got every tick, once, in order, and whole."""
        verdict = self.verdict
        return (
            verdict["complete"]
            and not verdict["missed"]
            and not verdict["backwards"]
            and not verdict["lost"]
            and not verdict["parsed_wrong"]
            and verdict["parsed"] > 0
            and self.counted["least"] > 0
        )

    @property
    def complaint(self) -> str:
        """What was not right; empty when everything was."""
        if self.is_right:
            return ""
        return f"NOT RIGHT: least {self.counted['least']}, " + ", ".join(
            f"{name} {value}" for name, value in self.verdict.items()
        )


def judged(runs: Sequence[Run], notes: str) -> str:
    """Return ``notes``, with the first complaint if there is one."""
    return next((f"{notes}; {run.complaint}" for run in runs if run.complaint), notes)


@dataclass
class BareStack:
    """What is running: the gateway has a core to itself, publisher and clients share the other."""

    publisher: Child
    gateway: ManageCommand
    load: Child
    port: int
    openalgo_port: int
    bus_endpoint: str
    environment: dict[str, str]  # of the installation
    pool_id: str
    api_key: str

    async def connect(
        self,
        clients: int,
        symbols: int,
        mode: FeedMode,
        *,
        total: int = 0,
        port: int | None = None,
        **how: Any,
    ) -> dict[str, Any]:
        """Connect clients; see ``counting_load.Load.connect``."""
        await self.publisher.ask(do="load", mode=int(mode), symbols=total or symbols)
        answer = await self.load.ask(
            do="connect",
            port=port or self.openalgo_port,
            api_key=self.api_key,
            clients=clients,
            symbols=symbols,
            mode=int(mode),
            total=total,
            **how,
        )
        if not answer["ready"]:
            raise RuntimeError(f"the clients could not subscribe: {answer}")
        return answer

    async def run(
        self,
        seconds: float,
        mode: FeedMode,
        *,
        rate: float = 0.0,
        window: int = 0,
        sample_every: int = 0,
        warm_up_seconds: float = _WARM_UP_SECONDS,
        server: Measured | None = None,
    ) -> Run:
        """Publish at ``rate``, or as fast as everybody gets everything; measure, drain, judge.

        Args:
            window: ticks under way at most while there is no rate; 0 takes what the gateway can.
            sample_every: of which ticks ages are taken; 0: of none.
            server: whose accounts are read in place of the gateway's.
        """
        lost_before = await asyncio.to_thread(self._losses)
        number = (await self.publisher.ask(do="align"))["number"]
        await self.load.ask(do="begin", number=number)
        window = window or BYTES_UNDER_WAY // TickLayout(mode).frame_bytes
        await self.publisher.ask(do="start", rate=rate, window=window)
        await self.load.ask(do="measure", seconds=warm_up_seconds)
        before = self._accounts(server)
        counted = await self.load.ask(do="measure", seconds=seconds, sample_every=sample_every)
        elapsed, gateway_cpu, gateway_core, load_core, ours = (
            now - then for now, then in zip(self._accounts(server), before, strict=True)
        )
        others = (gateway_core + load_core - ours) / elapsed
        number = (await self.publisher.ask(do="stop"))["number"]
        verdict = await self.load.ask(do="drain", number=number)
        lost = await asyncio.to_thread(self._losses)
        verdict |= {name: lost[name] - lost_before[name] for name in lost}
        return Run(
            counted,
            verdict,
            elapsed,
            gateway_cpu,
            gateway_core / elapsed,
            load_core / elapsed,
            max(others, 0.0),
        )

    async def runs(self, count: int, seconds: float, mode: FeedMode, **how: Any) -> list[Run]:
        """Do the same several times."""
        return [await self.run(seconds, mode, **how) for _ in range(count)]

    async def disconnect(self) -> None:
        """Drop all clients and let the gateway forget them."""
        await self.load.ask(do="close")
        await asyncio.sleep(0.5)

    def _losses(self) -> dict[str, int]:
        """Return what the gateways themselves say that they have lost so far, and where."""
        page = metrics_page(self.port).decode()
        lines = [line.rsplit(" ", 1) for line in page.splitlines()]
        return {
            name: int(
                sum(
                    float(value)
                    for key, value in lines
                    if key.startswith(metric + "{") and 'reason="interval"' not in key
                )
            )
            for name, metric in _LOSSES.items()
        }

    def _accounts(self, server: Measured | None) -> tuple[float, float, float, float, float]:
        server_core, load_core = cores()
        ours = sum(each.cpu_seconds() for each in (self.publisher, self.gateway, self.load))
        if server is not None:
            ours += server.cpu_seconds()
        ours += sum(os.times()[:2])
        return (
            time.monotonic(),
            (server or self.gateway).cpu_seconds(),
            busy_seconds(server_core),
            busy_seconds(load_core),
            ours,
        )


def accounts(runs: Sequence[Run]) -> dict[str, float]:
    """Return what every saturated scenario tells of its runs."""
    return {
        "delivered_per_s": median([run.per_s for run in runs]),
        "us_per_delivery": median([run.cpu_us for run in runs]),
        "server_busy": median([run.gateway_cpu / run.seconds for run in runs]),
        "server_core_busy": median([run.gateway_core_busy for run in runs]),
        "load_core_busy": median([run.load_core_busy for run in runs]),
        "others_busy": median([run.others_busy for run in runs]),
    }


def limited_by(runs: Sequence[Run]) -> str:
    """Say what was full, by the kernel's accounts."""
    if median([run.others_busy for run in runs]) > 0.15:
        return "the machine was not idle"
    if median([run.gateway_cpu / run.seconds for run in runs]) >= 0.93:
        return "gateway limited"
    if median([run.load_core_busy for run in runs]) >= 0.97:
        return "load core limited"
    return "no core was full"


@contextlib.asynccontextmanager
async def running_bare_stack(
    *, workers: int = 1, is_gateway_pinned: bool = True
) -> AsyncIterator[BareStack]:
    """Start everything in a throw-away installation and end it afterwards."""
    server_core, load_core = cores()
    async with contextlib.AsyncExitStack() as exits:
        made = exits.enter_context(installation(log_level="ERROR"))
        prepared = await prepare(made.environment, exchange_port=free_ports(1)[0])
        positions = Path(made.directory) / "positions"
        positions.write_bytes(bytes(8))
        publisher = Child(
            "benchmarks.bare_publisher",
            load_core,
            [made.directory, str(made.zmq_port), prepared["pool_id"], str(positions)],
        )
        exits.push_async_callback(publisher.stop)
        await publisher.start()
        gateway = ManageCommand(
            "rungateway",
            server_core if is_gateway_pinned else None,
            made.environment | {"DJANGO_SETTINGS_MODULE": "benchmarks.settings"},
            ["--workers", str(workers)],
        )
        exits.push_async_callback(gateway.stop)
        await gateway.start()
        await wait_ready(made.port)
        load = Child("benchmarks.counting_load", load_core, [str(positions)])
        exits.push_async_callback(load.stop)
        await load.start()
        yield BareStack(
            publisher,
            gateway,
            load,
            made.port,
            made.openalgo_port,
            made.bus.ticks,
            made.environment,
            **prepared,
        )
