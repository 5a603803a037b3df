"""The accounts that a worker serves: each has a pool that is as the store says now.

An edit of an account, its limits among them, arrives here: the worker reads all accounts every two
seconds, and at once when somebody asks.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence

import msgspec

from brokers.contract import BrokerAdapter
from brokers.exceptions import BrokerConfigError
from brokers.pool_service import FeedEvent, OrderUpdated
from brokers.registry import BrokerRegistry
from brokers.types import TickSink
from brokers.words import named_error, one_line
from pooling.clock import Clock
from pooling.connectors.websocket import Connector
from pooling.contracts import AccountSpec, AccountStore
from pooling.pool.pool import ConnectionPool
from pooling.retry_waits import Randomness
from pooling.worker.events import EventQueue
from pooling.worker.names import NameFollower
from pooling.worker.periodic import PeriodicSteps
from pooling.worker.refused import RefusedAccount
from pooling.worker.seat_sharing import SeatNeed, SeatSharing, needed_connections
from pooling.worker.statistics import WorkerStatistics

__all__ = ["AccountFollower", "log_ends"]

logger = logging.getLogger("pooling")


class AccountFollower:
    """Opens, closes and changes a worker's pools. Everything runs on the worker's loop.

    Args:
        store: returns where accounts are.
        registry: the brokers.
        sink_for: makes the sink of a pool from (pool id, broker).
        clock: where time is read.
        rng: jitter of reconnects.
        account_filter: which accounts to serve; None serves all of the store's.
        pools: the worker's, by pool id; changed here alone.
        names: what prepares a pool's names before it opens.
        connector_for: opens sockets for an adapter's class.
        statistics: follows the accounts.
        events: takes what people may read later.
        periodic: logs failures once a minute, and proves that the loop has turns.
        emit: takes the pools' events.
    """

    def __init__(
        self,
        *,
        store: Callable[[], AccountStore],
        registry: BrokerRegistry,
        sink_for: Callable[[str, str], TickSink],
        clock: Clock,
        rng: Randomness,
        account_filter: Callable[[AccountSpec], bool] | None,
        pools: dict[str, ConnectionPool],
        names: NameFollower,
        connector_for: Callable[[type[BrokerAdapter]], Connector],
        statistics: WorkerStatistics,
        events: EventQueue,
        periodic: PeriodicSteps,
        emit: Callable[[FeedEvent], None],
    ) -> None:
        self._store = store
        self._registry = registry
        self._sink_for = sink_for
        self._clock = clock
        self._rng = rng
        self.account_filter = account_filter
        self._pools = pools
        self._names = names
        self._connector_for = connector_for
        self._statistics = statistics
        self._events = events
        self._periodic = periodic
        self._emit = emit
        self._lives: dict[str, int] = {}  # which opening of each pool is the present one
        self._life_numbers = itertools.count(1)
        self.refused: dict[str, RefusedAccount] = {}  # accounts without a pool, and why
        self._kept_settings: dict[str, AccountSpec] = {}  # edits that pools do not follow
        self._sharing = SeatSharing()  # of seats that accounts have together
        self._following = asyncio.Lock()  # held while accounts are read and applied

    def life_of(self, pool_id: str) -> int:
        """Return which opening of a pool is the present one; 0: it was never opened."""
        return self._lives.get(pool_id, 0)

    async def follow(self) -> None:
        """Have pools be what the store says now. Raises what the store does."""
        # One at a time: what was read before an edit must not be applied after it.
        async with self._following:
            await self._read_and_apply()

    async def _read_and_apply(self) -> None:
        specs = {
            spec.pool_id: spec
            for spec in await self._store().accounts()
            if self.account_filter is None or self.account_filter(spec)
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
        log_ends(ending, ends)
        for pool_id in gone:
            self._statistics.leave(self._pools.pop(pool_id))
        self._statistics.keep(specs.keys())
        for table in (self.refused, self._kept_settings):
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
            self.refused.pop(spec.pool_id, None)
            return
        refused = self.refused.get(spec.pool_id)
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
            store=self._store(),
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
        self.refused.pop(spec.pool_id, None)

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
        known = self.refused.get(spec.pool_id)
        if known is not None and (known.spec, known.reason) == (spec, reason):
            return
        self.refused[spec.pool_id] = RefusedAccount(
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


def log_ends(pools: Sequence[ConnectionPool], ends: Sequence[BaseException | None]) -> None:
    """Log what kept pools from closing properly."""
    for pool, end in zip(pools, ends, strict=True):
        if isinstance(end, Exception):
            logger.error("pool %s did not close properly", pool.spec.pool_id, exc_info=end)


def _is_another(spec: AccountSpec, current: AccountSpec) -> bool:
    """Tell whether an account's pool has to end for what is stored now."""
    return bool(spec.problem) or spec.broker != current.broker


def _credential_of(spec: AccountSpec) -> tuple[int, str, int | None]:
    return spec.credentials_version, spec.credential_lack, spec.credential_expiry_ms


def _of_life(event: FeedEvent, life: int) -> FeedEvent:
    if isinstance(event, OrderUpdated):
        return event
    return msgspec.structs.replace(event, life=life)
