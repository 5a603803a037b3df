"""What one client notices of all the others: its pings and its ticks beside each kind of load.

The whole chain, as it is delivered: exchange, worker, one gateway process with the default linger.
The neighbour has an account and an exchange of its own, so that its ticks are what they are at rest
whatever the crowd wants of the second one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from benchmarks.harness import Child, ManageCommand, Result, cores
from benchmarks.metrics import metrics_page
from benchmarks.neighbour_cost import watched
from benchmarks.stack import free_ports, installation, prepare, wait_ready

__all__ = ["neighbour"]

MAX_P99_MS = 20.0
MAX_TICK_MS = 100.0
# Words of the rows to run, beside the one at rest; none: all.
_ROWS = [word.strip() for word in os.environ.get("BENCH_ROWS", "").split(",") if word.strip()]
_SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))
_SYMBOLS, _RATE, _CROWD_RATE, _MODE = 20, 400.0, 2000.0, 2
_WARM_UP_SECONDS = 2.0
_DRAIN_SECONDS = 20.0
_SIBLING_SECONDS = 2.0  # that the second gateway serves before it is killed
_NICENESS = 10
_MISSED = re.compile(rb"^tickpool_ticks_missed_total(?:\{[^}]*\})? (\S+)", re.M)
_CLOSED = re.compile(rb'^tickpool_clients_closed_total\{[^}]*reason="slow"[^}]*\} (\S+)', re.M)
_CONFLATED = re.compile(
    rb'^tickpool_deliveries_conflated_total\{[^}]*reason="slow"[^}]*\} (\S+)', re.M
)
_SHARED = (
    "judged: p99 of the round trip at most 20 ms, every tick once, in order, and at most 100 ms "
    "late, memory at most 64 MiB more and back in a minute, no files grown; load, exchanges, "
    "worker and neighbour share the other core; gateway_cpu is what "
    "the gateway used while a ping was under way, own_late how late the neighbour itself woke up"
)


@dataclass
class _Neighbourhood:
    """What is running: the gateway has a core to itself, everything else shares the other."""

    environment: dict[str, str]
    own: Child
    gateway: ManageCommand
    client: Child
    port: int
    openalgo_port: int
    crowd_key: str

    async def counts(self) -> dict[str, int]:
        """Return the number of the last tick that the exchange gave out, by symbol."""
        sequences: dict[str, int] = (await self.own.ask(sequences=True))["sequences"]
        return sequences

    async def drained(self) -> tuple[dict[str, Any], dict[str, int]]:
        """Stop the neighbour's ticks; return what it got and what it must have got."""
        await self.own.ask(rate=0)
        sent = await self.counts()
        deadline = time.monotonic() + _DRAIN_SECONDS
        while True:
            got = await self.client.ask(do="close")
            if got["sequences"] == sent or got["lost"] or time.monotonic() > deadline:
                return got, sent
            await asyncio.sleep(0.1)

    async def metric(self, pattern: re.Pattern[bytes]) -> int:
        """Return the sum of a metric of the gateway."""
        page = await asyncio.to_thread(metrics_page, self.port)
        return sum(int(float(each)) for each in pattern.findall(page))


_Load = Callable[[_Neighbourhood], AbstractAsyncContextManager[dict[str, Any]]]


async def neighbour() -> AsyncIterator[Result]:
    """One row for each kind of load, or those that are asked for; the first is without any."""
    rows: list[tuple[str, _Load]] = [
        ("at rest", _nothing),
        ("100 that stop reading, 20 busy symbols each", _crowd("stopped", 100)),
        ("30 that connect, authenticate, subscribe, leave", _crowd("churn", 30)),
        ("a second gateway killed and started, again and again", _sibling),
        ("100 strangers at 100 addresses send all that they may", _crowd("admitted", 100)),
        ("100 strangers at 100 addresses send what they may not", _crowd("floods", 100)),
        ("100 strangers at 100 addresses say nothing", _crowd("silent", 100)),
        ("100 strangers at 100 addresses shake hands and leave", _crowd("handshakes", 100)),
        ("100 strangers at 100 addresses guess keys and sessions", _crowd("guesses", 100)),
        ("100 strangers at 100 addresses guess passwords", _crowd("passwords", 100)),
        ("100 strangers at 100 addresses read pages", _crowd("pages", 100)),
        ("100 strangers at 100 addresses send bodies", _crowd("bodies", 100)),
        ("another's 500 connections send all frames that they may", _crowd("frames", 500)),
        ("45 scrapers of /metrics: silent, slow, garbage, eager", _crowd("scrapers", 45)),
        # The last ones leave memory with the allocator, which would hide what others take.
        ("another wants 8,900 symbols at once, again and again", _crowd("everything", 1)),
        ("another's 11 connections leave long lists unread", _crowd("unread", 11)),
        ("another's 500 connections hold 100,000 symbols, read nothing", _crowd("hoard", 500)),
        ("another's 60 connections ask for what costs most, without end", _crowd("greedy", 60)),
    ]
    async with _running() as there:
        for at, (name, load) in enumerate(rows):
            if at == 0 or not _ROWS or any(word in name for word in _ROWS):
                yield await _row(there, name, load)


async def _row(there: _Neighbourhood, name: str, load: _Load) -> Result:
    before, began = await there.drained()
    lost_before = [await there.metric(each) for each in (_CLOSED, _CONFLATED, _MISSED)]
    await there.own.ask(rate=_RATE)
    async with watched(there.gateway, there.environment["DATA_DIR"]) as cost, load(there) as done:
        await asyncio.sleep(_WARM_UP_SECONDS)
        cpu, started = there.gateway.cpu_seconds(), time.monotonic()
        pings = await there.client.ask(
            do="measure", seconds=_SECONDS, check=True, sample_all=True, timeout=_SECONDS + 120
        )
        busy = (there.gateway.cpu_seconds() - cpu) / (time.monotonic() - started)
    after, sent = await there.drained()
    lost = [await there.metric(each) for each in (_CLOSED, _CONFLATED, _MISSED)]
    must = sum(sent.values()) - sum(began.values())
    got = after["ticks"] - before["ticks"]
    wrong = {
        "missed": after["missed"] - before["missed"],
        "backwards": after["backwards"] - before["backwards"],
        "strange": after["strange"],
        "lost": after["lost"],
        "last_ticks_differ": after["sequences"] != sent,
        "unanswered_pings": pings["unanswered"],
        "errors": [each for each in pings["others"] if not each.startswith("pong")],
    }
    complaints = [f"{what} {value}" for what, value in wrong.items() if value] + cost.complaints()
    if got != must:
        complaints.append(f"{must - got} ticks too few")
    if not pings["p99_ms"] <= MAX_P99_MS:
        complaints.append(f"p99 above {MAX_P99_MS:g} ms")
    if pings["tick_worst_ms"] > MAX_TICK_MS:
        complaints.append(f"a tick later than {MAX_TICK_MS:g} ms")
    if must < 0.5 * _RATE * _SECONDS:
        complaints.append("the exchange was starved: too few ticks to tell")
    if failed := _undone(name, done):
        complaints.append(failed)
    notes = "; ".join([*(["NOT RIGHT: " + ", ".join(complaints)] if complaints else []), _SHARED])
    return Result(
        f"neighbour: {name}",
        {
            "p50_ms": pings["p50_ms"],
            "p99_ms": pings["p99_ms"],
            "worst_ms": pings["worst_ms"],
            "pings": pings["count"],
            "ticks": got,
            "ticks_due": must,
            "tick_p99_ms": pings["tick_p99_ms"],
            "tick_worst_ms": pings["tick_worst_ms"],
            "gateway_cpu_p99_ms": pings["gateway_cpu_p99_ms"],
            "own_late_p99_ms": pings["late_p99_ms"],
            "gateway_core_busy": busy,
            "closed_as_slow": lost[0] - lost_before[0],
            "conflated": lost[1] - lost_before[1],
            "missed_on_bus": lost[2] - lost_before[2],
            **cost.figures(),
            "load": " ".join(f"[{what}: {count:,}]" for what, count in sorted(done.items()))
            or "none",
        },
        correct=not complaints,
        notes=notes,
    )


def _undone(name: str, done: dict[str, Any]) -> str:
    """Say that the load was none: nothing that it does succeeded. Empty where it was one."""
    if name == "at rest" or any(not each.startswith("failed") for each in done):
        return ""
    return "THE LOAD DID NOTHING"


@contextlib.asynccontextmanager
async def _nothing(there: _Neighbourhood) -> AsyncIterator[dict[str, Any]]:
    yield {}


def _crowd(kind: str, clients: int) -> _Load:
    @contextlib.asynccontextmanager
    async def load(there: _Neighbourhood) -> AsyncIterator[dict[str, Any]]:
        done: dict[str, Any] = {}
        child = Child("benchmarks.neighbour_crowd", cores()[1])
        await child.start()
        try:
            await child.ask(
                do="start",
                kind=kind,
                clients=clients,
                port=there.openalgo_port,
                site_port=there.port,
                api_key=there.crowd_key,
            )
            yield done
            done |= await child.ask(do="tell")
        finally:
            await child.stop()

    return load


@contextlib.asynccontextmanager
async def _sibling(there: _Neighbourhood) -> AsyncIterator[dict[str, Any]]:
    done = {"starts": 0, "failed: not ready": 0}
    task = asyncio.create_task(_restart(there, done), name="second gateway")
    try:
        yield done
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        for what in [what for what, count in done.items() if not count]:
            del done[what]


async def _restart(there: _Neighbourhood, done: dict[str, Any]) -> None:
    """Start a second gateway, give it a client with many symbols, kill it, for ever."""
    port, openalgo_port = free_ports(2)
    ports = {"PORT": str(port), "OPENALGO_PORT": str(openalgo_port)}
    load = Child("benchmarks.load_client", cores()[1])
    await load.start()
    try:
        while True:
            sibling = ManageCommand(
                "rungateway", cores()[1], there.environment | ports, niceness=_NICENESS
            )
            await sibling.start()
            try:
                await wait_ready(port)
                await load.ask(
                    do="connect",
                    port=openalgo_port,
                    path="/",
                    api_key=there.crowd_key,
                    clients=10,
                    symbols=[f"S{n:05d}" for n in range(500)],
                    mode=_MODE,
                )
                done["starts"] += 1
                await asyncio.sleep(_SIBLING_SECONDS)
            except RuntimeError:
                done["failed: not ready"] += 1
            finally:
                await sibling.kill()
            await load.ask(do="close")
    finally:
        await load.stop()


@contextlib.asynccontextmanager
async def _running() -> AsyncIterator[_Neighbourhood]:
    """Start everything in a throw-away installation and end it afterwards."""
    server_core, load_core = cores()
    async with contextlib.AsyncExitStack() as exits:
        made = exits.enter_context(installation(log_level="ERROR"))
        environment = dict(made.environment)
        del environment["UNSUBSCRIBE_LINGER_SECONDS"]  # as the product has it
        exchanges, ports = [], []
        for _ in range(2):
            exchange = Child("benchmarks.stamped_exchange", load_core)
            exits.push_async_callback(exchange.stop)
            ports.append((await exchange.start())["port"])
            exchanges.append(exchange)
        prepared = await prepare(environment, *ports)
        gateway = ManageCommand("rungateway", server_core, environment)
        for command in (ManageCommand("runpool", load_core, environment), gateway):
            exits.push_async_callback(command.stop)
            await command.start()
        await wait_ready(made.port)
        assert gateway.process is not None
        client = Child("benchmarks.neighbour_client", load_core, [str(gateway.process.pid)])
        exits.push_async_callback(client.stop)
        await client.start()
        wanted = [f"S{n:05d}" for n in range(9100, 9100 + _SYMBOLS)]
        await client.ask(
            do="connect",
            port=made.openalgo_port,
            path="/",
            api_key=prepared["api_key"],
            clients=1,
            symbols=wanted,
            mode=_MODE,
        )
        await exchanges[1].ask(rate=_CROWD_RATE)
        await exchanges[0].ask(rate=_RATE)
        await asyncio.sleep(_WARM_UP_SECONDS)
        yield _Neighbourhood(
            environment,
            exchanges[0],
            gateway,
            client,
            made.port,
            made.openalgo_port,
            prepared["crowd_key"],
        )
