"""One worker process: store, brokers, bus and pools joined, from start to drained end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING

import uvloop

from brokers.registry import BrokerRegistry, login_of
from brokers.words import counted
from openalgo_site.processes.stopping import end_within, stop_signals
from openalgo_site.processes.workers import process_name
from pooling.alerts.service import AlertService
from pooling.clock import Clock, SystemClock
from pooling.connectors.websocket import WebSocketConnector
from pooling.contracts import AccountStore
from pooling.http.policy import HttpOptions
from pooling.login.contracts import LoginStore
from pooling.login.desk import LoginDesk
from pooling.login.http import LoginHttp
from pooling.proxies import DIRECT, ProxyRules
from pooling.worker.worker import PoolWorker
from streaming.collector import calm_collector, collect_when_quiet
from streaming.wire.address import BusAddress
from streaming.worker.control_server import ControlServer
from streaming.worker.publisher import SharedZmqPublisher

if TYPE_CHECKING:
    from pooling.http.pool import HttpPool

__all__ = ["WorkerSettings", "run_worker"]

logger = logging.getLogger("openalgo_site")

DRAIN_SECONDS = 8.5
THREADS_SECONDS = 1.0  # of the ten: for what the store still does


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Where the bus of a worker is, its bound, how often it saves its peaks, its midnight, and its
    way to brokers. ``login_http`` None: nobody is logged in at brokers.
    """

    bus: BusAddress
    usage_interval_seconds: float
    zone: tzinfo
    proxies: ProxyRules = DIRECT
    send_hwm: int = 100_000
    login_http: HttpOptions | None = None


def run_worker(
    settings: WorkerSettings,
    store: AccountStore,
    registry: BrokerRegistry,
    make_alerts: Callable[[Clock], AlertService] | None = None,
    watch: Callable[[], Awaitable[None]] | None = None,
    on_opened: Callable[[PoolWorker], None] | None = None,
    logins: LoginStore | None = None,
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP, then drain for less than 10 seconds.

    A second signal ends the process at once, with code 1. ``watch`` runs once it
    serves; the worker drains for what it raises, which is raised on. ``on_opened`` is called on the
    worker's loop once its pools are open; it must neither wait nor raise. ``logins`` is where
    logins at brokers wait for a worker.

    Raises:
        BusError: the bus cannot be opened; ``BusConfigurationError`` when its settings are why.
        StoreUnavailableError: the accounts cannot be read.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, store, registry, make_alerts, watch, on_opened, logins))
        end_within(THREADS_SECONDS)


async def _serve(
    settings: WorkerSettings,
    store: AccountStore,
    registry: BrokerRegistry,
    make_alerts: Callable[[Clock], AlertService] | None,
    watch: Callable[[], Awaitable[None]] | None,
    on_opened: Callable[[PoolWorker], None] | None,
    logins: LoginStore | None = None,
) -> None:
    clock = SystemClock()
    alerts = make_alerts(clock) if make_alerts else None
    # Milliseconds of the wall clock: every later life of a worker has a larger one.
    epoch = clock.time_ms()
    worker_id = process_name()
    publisher = SharedZmqPublisher(bus=settings.bus, epoch=epoch, send_hwm=settings.send_hwm)
    worker = PoolWorker(
        store=store,
        registry=registry,
        sink_for=publisher.for_pool,
        clock=clock,
        rng=random.SystemRandom(),
        worker_id=worker_id,
        epoch=epoch,
        connector=WebSocketConnector(clock=clock, proxies=settings.proxies),
        usage_interval_seconds=settings.usage_interval_seconds,
        zone=settings.zone,
        on_status=alerts.observe if alerts else None,
    )
    control = ControlServer(service=worker, publisher=publisher, worker_id=worker_id)
    stop = asyncio.Event()
    with stop_signals(stop.set, lambda: os._exit(1)):
        async with contextlib.AsyncExitStack() as stack:
            publisher.open()
            stack.callback(publisher.close)
            if alerts is not None:
                alerts.open()
                stack.push_async_callback(alerts.close)
            stack.push_async_callback(_close, worker, control)
            await worker.open()
            await control.open()
            # Otherwise thousands of symbols wanted at once stop all ticks for a tenth of a second.
            calm_collector()
            logger.info("worker %s serves %s", worker_id, counted(len(worker.pool_ids()), "pool"))
            if on_opened is not None:
                on_opened(worker)
            if logins is not None and settings.login_http is not None:
                await _open_desk(stack, settings.login_http, logins, worker, worker_id, clock)
            quiet = collect_when_quiet(lambda: publisher.published)
            collecting = asyncio.create_task(quiet, name="worker-collector")
            stack.callback(collecting.cancel)
            await _stopped(stop, control, watch() if watch else None)
            logger.info("worker %s drains", worker_id)


async def _open_desk(
    stack: contextlib.AsyncExitStack,
    options: HttpOptions,
    store: LoginStore,
    worker: PoolWorker,
    worker_id: str,
    clock: Clock,
) -> None:
    """Have logins at brokers carried out until the stack ends."""

    def make() -> HttpPool:
        from pooling.http.pool import HttpPool  # noqa: PLC0415 -- most workers' hours need none

        return HttpPool(clock=clock, rng=random.SystemRandom(), options=options)

    http = LoginHttp(make)
    stack.push_async_callback(http.close)
    desk = LoginDesk(
        store=store,
        http=http,
        login_of=login_of,
        clock=clock,
        worker_id=worker_id,
        pool_ids=worker.pool_ids,
        on_stored=worker.follow_accounts,
    )
    stack.push_async_callback(desk.close)
    desk.open()


async def _stopped(
    stop: asyncio.Event, control: ControlServer, watch: Awaitable[None] | None
) -> None:
    """Return when asked to stop; raise what ended the beats, or what was watched for.

    Without beats a worker is useless.
    """
    asked = asyncio.create_task(stop.wait(), name="worker-stop")
    failed = asyncio.create_task(control.wait_failed(), name="worker-control-watch")
    watched = asyncio.create_task(_raised_by(watch), name="worker-watch")
    try:
        await asyncio.wait({asked, failed, watched}, return_when=asyncio.FIRST_COMPLETED)
        for each in (failed, watched):
            if each.done():
                each.result()
    finally:
        for task in (asked, failed, watched):
            task.cancel()


async def _raised_by(watch: Awaitable[None] | None) -> None:
    """Raise what ``watch`` does, or never end."""
    if watch is not None:
        await watch
    await asyncio.Event().wait()


async def _close(worker: PoolWorker, control: ControlServer) -> None:
    """Take leave of the gateways, then of the brokers; what hangs does not hold up the end."""
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await control.close()
            await worker.close()
    except TimeoutError:
        logger.warning("the worker did not drain within %g s and ends all the same", DRAIN_SECONDS)
