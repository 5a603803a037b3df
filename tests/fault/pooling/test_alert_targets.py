"""Webhooks and mail servers that fail: no tick is lost or late for them, and they come back."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from datetime import UTC
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from brokers.pool_service import FeedStatus
from brokers.testing import RecordingSink
from brokers.types import Instrument, Tick
from pooling.alerts.contracts import AlertKind, PoolTargets, Target
from pooling.alerts.email import EmailSender
from pooling.alerts.message import Alert
from pooling.alerts.service import AlertService
from pooling.alerts.webhook import WebhookSender
from pooling.clock import SystemClock
from tests.fix_running_time import RunningTime
from tests.integration.pooling.conftest import kite_kit
from tests.support import eventually, free_port

FAULTS = ["gone", "silent", "garbage"]
# Half of what a target that does not answer would take, were ticks to wait for it.
LONGEST_GAP_SECONDS = 2.5


class TimedSink(RecordingSink):
    """Remembers when each tick came, leaving out what the machine held up."""

    def __init__(self, running_time: RunningTime) -> None:
        super().__init__()
        self.times: list[float] = []
        self._running_time = running_time

    def publish(self, instrument: Instrument, tick: Tick, ts_received_us: int) -> None:
        super().publish(instrument, tick, ts_received_us)
        self.times.append(self._running_time.seconds)


class Far:
    """The other end of webhooks and of mail: fails as it is told. ``verb`` may change any time."""

    def __init__(self, kind: AlertKind) -> None:
        self.kind = kind
        self.verb = "works"
        self.met = 0  # connections taken
        self.delivered = 0
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()
        await eventually(lambda: not self._open)

    async def turn(self, verb: str) -> None:
        """Fail in another way from now on, or work again."""
        await self.close()
        self.verb = verb
        if verb != "gone":
            await self.open()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self.met += 1
        try:
            if self.verb == "silent":
                while await reader.read(65536):
                    pass
            elif self.verb == "garbage":
                writer.write(b"\x00\xff this is neither \r\n\r\n" * 50)
            elif self.kind is AlertKind.WEBHOOK:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                self.delivered += 1
            else:
                await self._take_mail(reader, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _take_mail(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while line := (await reader.readline()).upper():
            if line.startswith(b"DATA"):
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                self.delivered += 1
            writer.write(b"221 bye\r\n" if line.startswith(b"QUIT") else b"250 ok\r\n")
            if line.startswith(b"QUIT"):
                return


class Store:
    """Tells of one target, and keeps how each delivery ended."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.ended: list[str] = []

    async def targets(self, pool_id: str) -> PoolTargets:
        return PoolTargets(user="asha", broker="zerodha", label="main", targets=[self.target])

    async def delivered(self, target_id: int, error: str) -> None:
        self.ended.append(error)


@contextlib.asynccontextmanager
async def telling(far: Far, store: Store) -> AsyncIterator[AlertService]:
    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async def nothing(alert: Alert) -> None:
        pass

    clock = SystemClock()
    allowed = [f"hooks.test:{far.port}"]
    service = AlertService(
        store=store,
        senders={
            AlertKind.WEBHOOK: WebhookSender(allowed_hosts=allowed, clock=clock, resolver=here),
            AlertKind.EMAIL: EmailSender(zone=UTC, is_configured=True),
        },
        announce=nothing,
        clock=clock,
        rng=random.Random(1),
        hold_seconds=0.0,
    )
    service.open()
    try:
        yield service
    finally:
        await service.close()


@pytest.fixture
def mail(settings: Any) -> Any:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_TIMEOUT = "127.0.0.1", 5
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
    settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
    return settings


@pytest.mark.parametrize("kind", list(AlertKind))
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_target_that_fails_costs_no_tick_and_is_told_once_it_is_back(
    fault: str, kind: AlertKind, mail: Any, make_kite_server: Any, running_time: RunningTime
) -> None:
    """Gone or worse before the start and for seconds under load; then back."""
    far = Far(kind)
    mail.EMAIL_PORT = far.port
    url = f"http://hooks.test:{far.port}/hook"
    address = url if kind is AlertKind.WEBHOOK else "asha@example.com"
    store = Store(Target(id=1, kind=kind, address=address, secret=""))
    exchange = await make_kite_server(rate=1000)
    sink = TimedSink(running_time)
    kit = kite_kit(exchange, sink=sink, symbols_per_connection=100, linger_seconds=0.1)
    await far.turn(fault)
    await kit.open()
    try:
        async with telling(far, store) as service:
            kit.want(*kit.keys[:10])
            await eventually(lambda: kit.confirmed == 10)

            def see(number: int, status: FeedStatus) -> None:
                stats: Any = SimpleNamespace(
                    pool_id="1", status=status, reason="", since_ms=number, waiting=0
                )
                service.observe([stats])

            for number in range(40):
                see(number, (FeedStatus.LIVE, FeedStatus.STALE)[number % 2])
                await asyncio.sleep(0.05)
            await eventually(lambda: store.ended or far.met or fault == "gone", timeout=30)
            assert far.delivered == 0
            await far.turn("works")
            see(99, FeedStatus.CLOSED)
            await eventually(lambda: far.delivered, timeout=60)
            assert len(sink.times) > 50
            assert max(b - a for a, b in pairwise(sink.times)) < LONGEST_GAP_SECONDS
            exchange.go_silent()
            await eventually(lambda: len(sink.published) == exchange.record().ticks_sent)
    finally:
        await kit.pool.close()
        await far.close()
