"""The worker: opens a pool per account, keeps them in step with the store, and serves gateways."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, tzinfo
from typing import Any

import msgspec

from brokers.batching import portions
from brokers.contract import BrokerAdapter
from brokers.pool_service import (
    FeedEvent,
    Holder,
    Outcome,
    PoolStats,
    SubscriptionChange,
    Want,
)
from brokers.registry import BrokerRegistry
from brokers.types import InstrumentKey, TickSink
from brokers.words import counted
from pooling.clock import Clock
from pooling.connectors.circuit_connector import CircuitConnector, CircuitRegistry
from pooling.connectors.rate_connector import ConnectRateRegistry, RatedConnector
from pooling.connectors.websocket import Connector, WebSocketConnector
from pooling.contracts import AccountSpec, AccountStore
from pooling.pool.pool import ConnectionPool
from pooling.retry_waits import Randomness
from pooling.worker.accounts import AccountFollower, log_ends
from pooling.worker.commands import CommandRunner
from pooling.worker.events import EventQueue
from pooling.worker.names import NameFollower
from pooling.worker.periodic import PeriodicSteps
from pooling.worker.shared_stats import endpoint_stats, exclusive_totals
from pooling.worker.statistics import WorkerStatistics
from pooling.worker.wants import WANT_CHUNK, WantTaker

__all__ = ["PoolWorker"]

logger = logging.getLogger("pooling")

CLOSE_STORE_SECONDS = 2.0


class PoolWorker:
    """All pools of one process. Implements ``brokers.pool_service.FeedService``.

    Coroutines and ``stats`` run on the loop that ``open`` ran on. A store that fails is logged and
    asked again; ticks flow on meanwhile.

    Args:
        store: accounts, credentials, instruments and history.
        registry: the brokers.
        sink_for: makes the sink of a pool from (pool id, broker).
        clock: where time is read.
        rng: jitter of reconnects.
        worker_id: who writes the status rows.
        epoch: which life of the worker this is; later ones are greater.
        usage_interval_seconds: how often peaks are saved, counted from midnight; they are at
            ``close`` too.
        zone: where midnight is.
        account_filter: which accounts to serve; None serves all of the store's.
        connector: opens sockets; None takes real WebSockets.
        poll_seconds: how often accounts are read again.
        status_seconds: how often the status rows are written.
        command_seconds: how often requests of people are looked for.
        names_seconds: how often a load of instruments is looked for.
        on_status: takes the statistics of all pools, as often as they are written.
    """

    def __init__(
        self,
        *,
        store: AccountStore,
        registry: BrokerRegistry,
        sink_for: Callable[[str, str], TickSink],
        clock: Clock,
        rng: Randomness,
        worker_id: str,
        epoch: int,
        usage_interval_seconds: float = 300.0,
        account_filter: Callable[[AccountSpec], bool] | None = None,
        connector: Connector | None = None,
        poll_seconds: float = 2.0,
        status_seconds: float = 1.0,
        command_seconds: float = 1.0,
        names_seconds: float = 1.0,
        zone: tzinfo = UTC,
        on_status: Callable[[Sequence[PoolStats]], None] | None = None,
    ) -> None:
        looks = (poll_seconds, status_seconds, command_seconds, names_seconds)
        if min(usage_interval_seconds, *looks) <= 0:
            raise ValueError("intervals must be positive")
        self._store = store
        self._registry = registry
        self._clock = clock
        self._worker_id = worker_id
        self._epoch = epoch
        self._circuits = CircuitRegistry(clock=clock, rng=rng)
        self._connect_rates = ConnectRateRegistry(clock=clock)
        self._connector = CircuitConnector(
            connector=connector or WebSocketConnector(clock=clock),
            circuits=self._circuits,
            clock=clock,
        )
        self._poll_seconds, self._status_seconds = poll_seconds, status_seconds
        self._on_status = on_status
        self._command_seconds, self._names_seconds = command_seconds, names_seconds
        self._pools: dict[str, ConnectionPool] = {}  # open, by pool id
        self._listeners: list[Callable[[FeedEvent], None]] = []
        self._periodic = PeriodicSteps(worker_id=worker_id, clock=clock)
        self._events = EventQueue(store=store, worker_id=worker_id)
        self._names = NameFollower(
            store=lambda: self._store,
            pools=self._pools,
            log_failure=self._periodic.log_failure,
            log_return=self._periodic.log_return,
        )
        self._wants = WantTaker(
            names=self._names, pools=self._pools, on_outcomes=self._emit_outcomes
        )
        self._statistics = WorkerStatistics(
            store=store,
            clock=clock,
            zone=zone,
            worker_id=worker_id,
            epoch=epoch,
            usage_interval_seconds=usage_interval_seconds,
        )
        self._accounts = AccountFollower(
            store=lambda: self._store,
            registry=registry,
            sink_for=sink_for,
            clock=clock,
            rng=rng,
            account_filter=account_filter,
            pools=self._pools,
            names=self._names,
            connector_for=self._connector_for,
            statistics=self._statistics,
            events=self._events,
            periodic=self._periodic,
            emit=self._emit,
        )
        self._commands = CommandRunner(
            store=store,
            worker_id=worker_id,
            pools=self._pools,
            registry=registry,
            follow_accounts=self.follow_accounts,
        )
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<PoolWorker {self._worker_id} epoch {self._epoch}: {len(self._pools)} pools>"

    # -- Life ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Load the accounts, open their pools and keep them in step from now on.

        A store that fails here raises: a worker that knows no account is of no use. Later failures
        are logged and retried.
        """
        self._periodic.pulse.start()
        await self.follow_accounts()
        await self._save_first_status()
        periodic, statistics = self._periodic, self._statistics
        periodic.every("accounts", self._poll_seconds, self.follow_accounts)
        periodic.every("status", self._status_seconds, self._save_status)
        periodic.after("usage", statistics.until_sample_seconds, self._save_usage)
        periodic.every("commands", self._command_seconds, self._commands.look)
        periodic.every("names", self._names_seconds, self._names.follow)
        periodic.every("untold", self._names_seconds, self._wants.ask_untold)
        periodic.after("events", self._until_events_seconds, self._events.wait_and_flush)

    async def close(self) -> None:
        """Close every pool and save the last peaks; under ten seconds. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._periodic.stop()
        pools = list(self._pools.values())
        ends = await asyncio.gather(*(pool.close() for pool in pools), return_exceptions=True)
        log_ends(pools, ends)
        try:
            async with asyncio.timeout(CLOSE_STORE_SECONDS):
                await self._save_usage()
                await self._save_status()
                await self._events.flush()
        except Exception:
            # Supervision point: a store that is down must not keep the process from ending.
            logger.exception("worker %s could not save its last statistics", self._worker_id)

    def pool(self, pool_id: str) -> ConnectionPool:
        """Return a pool that this worker owns, to lend connections of it (``acquire``).

        Raises:
            KeyError: this worker does not own it.
        """
        return self._pools[pool_id]

    # -- FeedService --------------------------------------------------------------------------

    def pool_ids(self) -> Sequence[str]:
        """Name the pools that this worker owns, also those that it cannot open."""
        return [*self._pools, *(one for one in self._accounts.refused if one not in self._pools)]

    async def want(self, pool_id: str, holder: Holder, wants: Sequence[Want]) -> Sequence[Outcome]:
        """Take or change references; one outcome per want, in order. Idempotent.

        Thousands of wants are taken in chunks, between which ticks get their turn. A cancelled call
        may have taken some of them.

        Raises:
            KeyError: this worker does not own the pool.
        """
        self._periodic.pulse.look()  # the answer carries last prices
        pool = self._pools.get(pool_id)
        if pool is None:
            return self._accounts.refused[pool_id].to_outcomes(wants)
        return await self._wants.take(pool, holder, wants)

    async def release(
        self, pool_id: str, holder: Holder, keys: Sequence[InstrumentKey] | None
    ) -> None:
        """Give up references; unknown ones, and those of an unknown pool, are ignored.

        Thousands are given up in chunks, as they are taken. Cancelled, some of them are.
        """
        self._wants.release(pool_id, holder, keys)
        pool = self._pools.get(pool_id)
        if pool is not None:
            for chunk in portions(pool.held_by(holder) if keys is None else keys, WANT_CHUNK):
                pool.release(holder, chunk)
                await asyncio.sleep(0)

    async def release_gateway(self, gateway: str) -> None:
        """Give up every reference of every client of a gateway that is gone."""
        clients = 0
        self._wants.release_gateway(gateway)
        for pool_id, pool in tuple(self._pools.items()):
            try:
                while pool.knows_gateway(gateway):
                    clients += pool.release_gateway(gateway, WANT_CHUNK)
                    await asyncio.sleep(0)
            except Exception:
                # Supervision point: a pool's defect must not leave references with the others.
                logger.exception("pool %s could not release gateway %s", pool_id, gateway)
        if clients:
            released = counted(clients, "client")
            logger.info("gateway %s is gone; released its %s", gateway, released)

    def stats(self, pool_id: str) -> PoolStats:
        """Return the pool's statistics. Raises KeyError for a pool of someone else."""
        pool = self._pools.get(pool_id)
        if pool is None:
            return self._statistics.with_past(self._accounts.refused[pool_id].to_stats())
        stats = self._statistics.stats(pool)
        return msgspec.structs.replace(
            stats,
            **self._endpoint_of(pool),
            exclusive=exclusive_totals(pool.get_exclusive_stats()),
            life=self._accounts.life_of(pool_id),
        )

    def _endpoint_of(self, pool: ConnectionPool) -> dict[str, Any]:
        capabilities = self._registry.get(pool.spec.broker).capabilities
        url = pool.spec.endpoint or capabilities.default_endpoint
        circuit = self._circuits.stats_of(url)
        if circuit is None:
            return {}
        rate = self._connect_rates.stats_of(url, capabilities.connect_rate)
        stats = endpoint_stats(self._epoch, circuit, rate)
        return {"circuit": circuit.state.value, "endpoint": stats}

    def add_listener(self, listener: Callable[[FeedEvent], None]) -> Callable[[], None]:
        """Call ``listener`` on the worker's loop for every event; returns the way to stop it."""
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove

    # -- Accounts -----------------------------------------------------------------------------

    async def follow_accounts(self) -> None:
        """Open, close and change pools so that they are what the store says now.

        By itself this is done every two seconds. Raises what the store does.
        """
        await self._accounts.follow()

    def _connector_for(self, adapter_class: type[BrokerAdapter]) -> Connector:
        rate = adapter_class.capabilities.connect_rate
        if rate is None:
            return self._connector
        return RatedConnector(
            connector=self._connector, rates=self._connect_rates, rate=rate, clock=self._clock
        )

    # -- History ------------------------------------------------------------------------------

    async def _save_status(self) -> None:
        stats = [*self._stats_of_pools(), *self._stats_of_refused()]
        if self._on_status is not None:
            try:
                self._on_status(stats)
                self._periodic.log_return("telling statistics")
            except Exception as error:
                # Supervision point: who watches must not keep the rows from being written.
                self._periodic.log_failure("telling statistics", error)
        await self._statistics.save_status(stats)

    async def _save_first_status(self) -> None:
        """Tell at once who serves: before that, another worker may take the accounts for free."""
        try:
            await self._save_status()
        except Exception as error:
            # Supervision point: as in ``PeriodicSteps``, which do it again and again from now on.
            self._periodic.log_failure("status", error)

    def _stats_of_pools(self) -> Iterator[PoolStats]:
        for pool_id, pool in self._pools.items():
            try:
                yield self._statistics.stats(pool)
            except Exception as error:
                # Supervision point: one pool's defect must not hide the others.
                self._periodic.log_failure(f"the status of pool {pool_id}", error)

    def _stats_of_refused(self) -> Iterator[PoolStats]:
        for pool_id, refused in self._accounts.refused.items():
            if pool_id not in self._pools:
                yield self._statistics.with_past(refused.to_stats())

    async def _save_usage(self) -> None:
        await self._statistics.save_usage(self._pools.values())

    def _until_events_seconds(self) -> float:
        return self._poll_seconds if self._events.is_failing else 0.0

    # -- Supervision --------------------------------------------------------------------------

    def _emit_outcomes(self, pool_id: str, outcomes: Sequence[Outcome]) -> None:
        self._emit(SubscriptionChange(pool_id, outcomes, self._accounts.life_of(pool_id)))

    def _emit(self, event: FeedEvent) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                # Supervision point: one listener's defect must not reach connections or others.
                logger.exception("a listener of worker %s failed", self._worker_id)
