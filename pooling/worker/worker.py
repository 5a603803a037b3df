"""The worker: opens a pool per account, keeps them in step with the store, and serves gateways."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, tzinfo
from typing import Any

import msgspec

from brokers.batching import portions
from brokers.contract import BrokerAdapter
from brokers.exceptions import BrokerConfigError
from brokers.pool_service import (
    FeedEvent,
    Holder,
    OrderUpdated,
    Outcome,
    PoolStats,
    SubscriptionChange,
    Want,
)
from brokers.registry import BrokerRegistry
from brokers.types import InstrumentKey, TickSink
from brokers.words import counted, named_error, one_line
from pooling.backoff import Randomness
from pooling.clock import Clock
from pooling.connectors.circuit_connector import CircuitConnector, CircuitRegistry
from pooling.connectors.rate_connector import ConnectRateRegistry, RatedConnector
from pooling.connectors.websocket import Connector, WebSocketConnector
from pooling.contracts import AccountSpec, AccountStore
from pooling.pool.pool import ConnectionPool
from pooling.worker.commands import CommandRunner
from pooling.worker.events import EventQueue
from pooling.worker.names import NameFollower
from pooling.worker.periodic import PeriodicSteps
from pooling.worker.refused import RefusedAccount
from pooling.worker.seat_sharing import SeatNeed, SeatSharing, needed_connections
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
        self._sink_for = sink_for
        self._clock = clock
        self._rng = rng
        self._worker_id = worker_id
        self._epoch = epoch
        self._account_filter = account_filter
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
        self._lives: dict[str, int] = {}  # which opening of each pool is the present one
        self._life_numbers = itertools.count(1)
        self._refused: dict[str, RefusedAccount] = {}  # accounts without a pool, and why
        self._kept_settings: dict[str, AccountSpec] = {}  # edits that pools do not follow
        self._sharing = SeatSharing()  # of seats that accounts have together
        self._following = asyncio.Lock()  # held while accounts are read and applied
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
        self._log_ends(pools, ends)
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
        return [*self._pools, *(one for one in self._refused if one not in self._pools)]

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
            return self._refused[pool_id].to_outcomes(wants)
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
            return self._statistics.with_past(self._refused[pool_id].to_stats())
        stats = self._statistics.stats(pool)
        return msgspec.structs.replace(
            stats,
            **self._endpoint_of(pool),
            exclusive=exclusive_totals(pool.get_exclusive_stats()),
            life=self._lives.get(pool_id, 0),
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
        # One at a time: what was read before an edit must not be applied after it.
        async with self._following:
            await self._apply_accounts()

    async def _apply_accounts(self) -> None:
        specs = {
            spec.pool_id: spec
            for spec in await self._store.accounts()
            if self._account_filter is None or self._account_filter(spec)
        }
        shared = self._sharing.apply(
            specs.values(), limit_of=self._connections_of_group, need_of=self._need_of
        )
        specs = {spec.pool_id: spec for spec in shared}
        await self._statistics.follow(specs.values())
        gone = [
            pool_id
            for pool_id, pool in self._pools.items()
            if pool_id not in specs or _is_another(specs[pool_id], pool.spec)
        ]
        # They leave the table once they are closed: cancelled here, ``close`` finds them there.
        ending = [self._pools[pool_id] for pool_id in gone]
        ends = await asyncio.gather(*(pool.close() for pool in ending), return_exceptions=True)
        self._log_ends(ending, ends)
        for pool_id in gone:
            self._statistics.leave(self._pools.pop(pool_id))
        self._statistics.keep(specs.keys())
        for table in (self._refused, self._kept_settings):
            for pool_id in [one for one in table if one not in specs]:
                del table[pool_id]
        for spec in specs.values():
            try:
                await self._follow(spec)
                self._periodic.log_return(f"account {spec.pool_id}")
            except Exception as error:
                # Supervision point: one account's failure is that account's state, nobody else's.
                self._periodic.log_failure(f"account {spec.pool_id}", error)
                self._refuse(spec, named_error(error)[:200], is_final=False)

    def _connections_of_group(self, spec: AccountSpec) -> int:
        try:
            return self._registry.get(spec.broker, dict(spec.settings)).capabilities.max_connections
        except BrokerConfigError:
            return spec.options.max_connections  # it is refused, and opens none

    def _need_of(self, spec: AccountSpec) -> SeatNeed:
        pool, most = self._pools.get(spec.pool_id), spec.options.max_connections
        if pool is None:
            return SeatNeed(pool_id=spec.pool_id, most=most)
        try:
            stats = pool.get_stats()
        except Exception as error:
            # Supervision point: one pool's defect must not stop the others' accounts.
            self._periodic.log_failure(f"the need of pool {spec.pool_id}", error)
            return SeatNeed(pool_id=spec.pool_id, most=most)
        per_connection = stats.capacity // max(1, stats.max_connections)
        needs = needed_connections(stats.used, stats.waiting, per_connection)
        return SeatNeed(pool_id=spec.pool_id, most=most, needs=needs, has=len(stats.connections))

    async def _follow(self, spec: AccountSpec) -> None:
        pool = self._pools.get(spec.pool_id)
        if pool is not None:
            self._apply(pool, spec)
            self._refused.pop(spec.pool_id, None)
            return
        refused = self._refused.get(spec.pool_id)
        if refused is not None and refused.is_final and refused.spec == spec:
            return
        if spec.problem:
            self._refuse(spec, spec.problem, is_final=True)
            return
        try:
            adapter_class: type[BrokerAdapter] = self._registry.get(
                spec.broker, dict(spec.settings)
            )
        except BrokerConfigError as error:
            self._refuse(spec, str(error), is_final=True)
        else:
            await self._open_pool(spec, adapter_class)

    async def _open_pool(self, spec: AccountSpec, adapter_class: type[BrokerAdapter]) -> None:
        life = next(self._life_numbers)
        pool = ConnectionPool(
            spec=spec,
            adapter_class=adapter_class,
            sink=self._sink_for(spec.pool_id, spec.broker),
            store=self._store,
            clock=self._clock,
            rng=self._rng,
            connector=self._connector_for(adapter_class),
            on_event=lambda event: self._emit(_of_life(event, life)),
            on_note=lambda kind, message: self._events.add(spec.pool_id, kind, message),
            prepare=lambda: self._names.prepare(spec.pool_id),
            pulse=self._periodic.pulse,
        )
        self._lives[spec.pool_id] = life
        self._pools[spec.pool_id] = pool
        try:
            await pool.open()
        except Exception:
            del self._pools[spec.pool_id]
            await pool.close()
            raise
        self._refused.pop(spec.pool_id, None)

    def _apply(self, pool: ConnectionPool, spec: AccountSpec) -> None:
        current = pool.spec
        if spec.settings != current.settings:
            self._apply_settings(pool, spec)
        if spec.options != current.options:
            pool.update_options(spec.options)
        if spec.endpoint != current.endpoint:
            pool.update_endpoint(spec.endpoint)
        if _credential_of(spec) != _credential_of(current):
            pool.credentials_changed(
                max(spec.credentials_version, current.credentials_version),
                lack=spec.credential_lack,
                ends_ms=spec.credential_expiry_ms,
            )
        if spec.is_paused != current.is_paused:
            pool.set_paused(spec.is_paused)

    def _apply_settings(self, pool: ConnectionPool, spec: AccountSpec) -> None:
        if self._kept_settings.get(spec.pool_id) == spec:
            return
        try:
            adapter_class = self._registry.get(spec.broker, dict(spec.settings))
        except BrokerConfigError as error:
            self._kept_settings[spec.pool_id] = spec
            self._note_problem(spec, f"its settings stay as they are: {error}")
        else:
            self._kept_settings.pop(spec.pool_id, None)
            pool.update_adapter(adapter_class, spec.settings)

    def _refuse(self, spec: AccountSpec, why: str, *, is_final: bool) -> None:
        """Have an account that cannot be opened, or followed, say so; what runs goes on."""
        reason = f"it cannot be opened: {why}"
        known = self._refused.get(spec.pool_id)
        if known is not None and (known.spec, known.reason) == (spec, reason):
            return
        self._refused[spec.pool_id] = RefusedAccount(
            spec=spec,
            reason=reason,
            since_ms=self._clock.time_ms(),
            life=next(self._life_numbers),
            is_final=is_final,
        )
        self._note_problem(spec, reason)

    def _note_problem(self, spec: AccountSpec, message: str) -> None:
        logger.error("pool %s: %s", spec.pool_id, one_line(message))
        self._events.add(spec.pool_id, "config_error", message)

    def _log_ends(
        self, pools: Sequence[ConnectionPool], ends: Sequence[BaseException | None]
    ) -> None:
        for pool, end in zip(pools, ends, strict=True):
            if isinstance(end, Exception):
                logger.error("pool %s did not close properly", pool.spec.pool_id, exc_info=end)

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
        for pool_id, refused in self._refused.items():
            if pool_id not in self._pools:
                yield self._statistics.with_past(refused.to_stats())

    async def _save_usage(self) -> None:
        await self._statistics.save_usage(self._pools.values())

    def _until_events_seconds(self) -> float:
        return self._poll_seconds if self._events.is_failing else 0.0

    # -- Supervision --------------------------------------------------------------------------

    def _emit_outcomes(self, pool_id: str, outcomes: Sequence[Outcome]) -> None:
        self._emit(SubscriptionChange(pool_id, outcomes, self._lives.get(pool_id, 0)))

    def _emit(self, event: FeedEvent) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                # Supervision point: one listener's defect must not reach connections or others.
                logger.exception("a listener of worker %s failed", self._worker_id)


def _is_another(spec: AccountSpec, current: AccountSpec) -> bool:
    """Tell whether an account's pool has to end for what is stored now."""
    return bool(spec.problem) or spec.broker != current.broker


def _credential_of(spec: AccountSpec) -> tuple[int, str, int | None]:
    return spec.credentials_version, spec.credential_lack, spec.credential_expiry_ms


def _of_life(event: FeedEvent, life: int) -> FeedEvent:
    if isinstance(event, OrderUpdated):
        return event
    return msgspec.structs.replace(event, life=life)
