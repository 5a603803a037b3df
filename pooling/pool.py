"""The pool: all connections of one broker account, filled and kept alive.

Concurrency: one lock guards the book, the meters and the table of connections; every decision is
made inside it, and nothing inside it waits or talks. Connections, timers and events live on the
loop that ``open`` ran on. Public methods may be called from any thread; they decide at once and
leave the rest to ``_perform`` on the loop, which reads what there is to do from the book, so that
calls from many threads need no order among themselves.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from brokers.base import BrokerAdapter
from brokers.context import pooled_creation
from brokers.feed import FeedEvent, Holder, Outcome, PoolStats, RefusalCode, Want
from brokers.types import Instrument, InstrumentKey, TickSink
from pooling.account_exclusive import AccountExclusive, AccountSeats
from pooling.announcer import FeedAnnouncer
from pooling.backoff import Backoff, Randomness
from pooling.book import SubscriptionBook
from pooling.capacity import Limits, effective_limits
from pooling.clock import Clock
from pooling.connection import Connection
from pooling.contracts import AccountSpec, AccountStore, PoolOptions, UsageSample
from pooling.credential_gate import CredentialGate
from pooling.exceptions import PoolClosedError
from pooling.exclusive import Acquisition
from pooling.exclusive_connection import ExclusiveConnection
from pooling.exclusive_types import ExclusiveStats
from pooling.feed import PoolFeed
from pooling.journal import PoolJournal
from pooling.lifecycle import ConnectionState
from pooling.limits_preview import LimitsPreview, preview_limits
from pooling.telemetry import PoolTelemetry
from pooling.transport import Connector
from pooling.upkeep import (
    CloseIdle,
    ConnectionView,
    Evacuate,
    Merge,
    Readmit,
    Reopen,
    Retire,
    SettleMoves,
    Task,
    Upkeep,
)

__all__ = ["ConnectionPool"]

CLOSE_SECONDS = 4.0
UPKEEP_SECONDS = 1.0


class ConnectionPool:
    """The connections of one broker account and everything that is subscribed on them.

    Args:
        spec: the account with its options.
        adapter_class: the broker; built inside ``pooled_creation(sink)``.
        sink: where the account's ticks go.
        store: where credentials are read, before every connect.
        clock: where time is read.
        rng: jitter of reconnects.
        connector: opens sockets.
        on_event: takes feed, subscription and order events, on the loop; must not raise.
        on_note: takes (kind, message) of what people may want to know later; must not raise.
    """

    def __init__(
        self,
        *,
        spec: AccountSpec,
        adapter_class: type[BrokerAdapter],
        sink: TickSink,
        store: AccountStore,
        clock: Clock,
        rng: Randomness,
        connector: Connector,
        on_event: Callable[[FeedEvent], None],
        on_note: Callable[[str, str], None],
    ) -> None:
        self._spec = spec
        self._capabilities = adapter_class.capabilities
        self._adapter_class = adapter_class
        self._sink = sink
        self._clock = clock
        self._rng = rng
        self._connector = connector
        self._note = on_note
        self._gate = CredentialGate(
            pool_id=spec.pool_id,
            store=store,
            clock=clock,
            is_required=bool(self._capabilities.credential_fields),
            interval_seconds=self._capabilities.connect_interval_seconds,
            version=spec.credentials_version,
        )
        self._lock = threading.Lock()
        self._seats = AccountSeats(
            lock=self._lock,
            open_sockets=lambda: len(self._book.allocator.slots) + len(self._closing),
            apply=self._apply_limits,
            poke=self._poke,
        )
        self._exclusive = AccountExclusive(
            seats=self._seats,
            gate=self._gate,
            make_adapter=self._make_adapter,
            connector=connector,
            clock=clock,
            rng=rng,
        )
        self._book = SubscriptionBook(
            limits=self._limits(spec.options),
            cost=adapter_class.cost,
            category=adapter_class.category if self._capabilities.category_limits else None,
            modes=self._capabilities.modes,
            depth_levels=self._capabilities.depth_levels,
            linger_seconds=spec.options.linger_seconds,
        )
        self._connections: dict[int, Connection] = {}
        self._telemetry = PoolTelemetry(clock=clock, book=self._book, connections=self._connections)
        self._journal = PoolJournal(
            pool_id=spec.pool_id,
            clock=clock,
            note=on_note,
            describe_peaks=self._telemetry.describe_peaks,
        )
        self._feed = PoolFeed(
            pool_id=spec.pool_id,
            lock=self._lock,
            book=self._book,
            connections=self._connections,
            sink=sink,
            gate=self._gate,
            announcer=FeedAnnouncer(pool_id=spec.pool_id, clock=clock, emit=on_event),
            journal=self._journal,
            telemetry=self._telemetry,
            clock=clock,
            poke=self._poke,
        )
        self._is_closed = False
        self._is_poked = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._upkeep = Upkeep(rng=rng, max_lifetime_seconds=self._capabilities.max_lifetime_seconds)
        self._upkeep_timer: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        book, limits = self._book.allocator, self._book.allocator.limits
        return (
            f"<ConnectionPool {self._spec.pool_id} {self._spec.broker} {self._feed.health.status} "
            f"{book.used}/{limits.capacity} on {len(book.slots)}/{limits.max_connections}>"
        )

    @property
    def spec(self) -> AccountSpec:
        """The account as it is in force now."""
        return self._spec

    # -- Life ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start serving on the running loop. Idempotent.

        The warm connections open at once, others as symbols need them.

        Raises:
            PoolClosedError: it was closed; a pool opens once.
        """
        with self._lock:
            self._check_open()
            if self._loop is not None:
                return
            self._loop = asyncio.get_running_loop()
            self._warm_up(self._spec.options)
        self._journal.pool_started(self._spec, self._book.allocator.limits)
        self._upkeep_timer = self._loop.call_later(UPKEEP_SECONDS, self._keep_up)
        self._poke()

    async def close(self) -> None:
        """Close every socket with 1000 and stop; under five seconds. Idempotent.

        Nothing is unsubscribed one by one: the broker forgets a socket's subscriptions with it.
        """
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            connections = [] if was_closed else list(self._connections.values())
        for timer in (self._linger_timer, self._upkeep_timer):
            if timer is not None:
                timer.cancel()
        tasks = [self._spawn_close(connection) for connection in connections]
        tasks.append(asyncio.create_task(self._exclusive.close(), name="pool-close-exclusive"))
        await asyncio.wait({*tasks, *self._closing}, timeout=CLOSE_SECONDS)
        if was_closed:
            return
        self._feed.close()
        self._journal.pool_closed()

    # -- References, from any thread ----------------------------------------------------------

    def want(
        self,
        holder: Holder,
        wants: Sequence[Want],
        instruments: Mapping[InstrumentKey, Instrument],
    ) -> list[Outcome]:
        """Take or change references; one outcome per want, in order. Idempotent. Any thread.

        Args:
            holder: who wants.
            wants: what is wanted.
            instruments: the known ones among the wants; others are refused.

        Raises:
            PoolClosedError: the pool was closed.
        """
        now = self._clock.monotonic()
        with self._lock:
            self._check_open()
            before = self._book.allocator.symbols
            outcomes = [
                self._book.want(holder, want, instruments.get(want.key), now) for want in wants
            ]
            after = self._book.allocator.symbols
            self._telemetry.observe()
            outcomes = [self._feed.qualify(outcome) for outcome in outcomes]
        self._poke()
        self._journal.symbols(before, after)
        if any(outcome.code is RefusalCode.MAX_CAPACITY_REACHED for outcome in outcomes):
            self._call_on_loop(self._exclusive.make_way)
        if (message := self._journal.capacity_reached(outcomes)) is not None:
            self._call_on_loop(partial(self._note, "capacity_reached", message))
        return outcomes

    def settle(self, holder: Holder, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Return outcomes of the holder's wants as they are now. Any thread.

        A large request takes a while; what was confirmed or refused meanwhile has been told to
        listeners, and an answer that still calls it pending would come last and be believed.
        """
        with self._lock:
            return [self._feed.qualify(self._book.settle(holder, o)) for o in outcomes]

    def release(self, holder: Holder, keys: Sequence[InstrumentKey] | None) -> None:
        """Give up references (None: all of the holder's). Unknown ones are ignored. Any thread."""
        with self._lock:
            self._book.release(holder, keys, self._clock.monotonic())
            self._telemetry.observe()
        self._poke()

    def release_gateway(self, gateway: str) -> int:
        """Give up every reference of a gateway; returns how many clients it had. Any thread."""
        with self._lock:
            clients = self._book.release_gateway(gateway, self._clock.monotonic())
            self._telemetry.observe()
        self._poke()
        return clients

    def instruments(self, keys: Iterable[InstrumentKey]) -> dict[InstrumentKey, Instrument]:
        """Return those of ``keys`` that are subscribed, resolved. Any thread."""
        with self._lock:
            interests = [(key, self._book.tracker.get(key)) for key in keys]
            return {key: interest.instrument for key, interest in interests if interest is not None}

    # -- Exclusive connections, on the loop ---------------------------------------------------

    def acquire(
        self,
        path_or_uri: str,
        timeout: float | None = None,
        *,
        on_reconnect: Callable[[ExclusiveConnection], Awaitable[None]] | None = None,
    ) -> Acquisition:
        """Lend a connection of the account's: ``async with pool.acquire("/ws/x") as connection``.

        Its endpoint and credential are the account's, and it counts against ``max_connections``
        together with market data, whose last connection is never lent. See ``ExclusivePool``.

        Raises:
            ValueError: the URI leads to another host, or the timeout makes no sense.
            PoolExhaustedError: no connection became free in time.
            PoolClosedError: the pool was closed.
            BrokerError: the connection could not be opened.
        """
        self._check_open()
        limit = self._full_limits(self._spec.options).max_connections
        return self._exclusive.acquire(self._spec, limit, path_or_uri, timeout, on_reconnect)

    def get_exclusive_stats(self) -> ExclusiveStats | None:
        """Return the lent and idle exclusive connections; None: nothing was acquired yet."""
        return self._exclusive.get_stats()

    # -- Configuration, from any thread -------------------------------------------------------

    def update_options(self, options: PoolOptions) -> None:
        """Take over edited limits and timings. Any thread.

        Raised limits place what waits; lowered ones move what still fits, make-before-break, and
        what does not loses its place, the newest first: its holders are told and keep it, so that
        it comes back once there is room.
        """
        with self._lock:
            self._spec = replace(self._spec, options=options)
            limits = self._limits(options)
            self._book.resize(limits=limits, linger_seconds=options.linger_seconds)
            self._warm_up(options)
            self._telemetry.observe()
        self._poke()
        full = self._full_limits(options).max_connections
        self._call_on_loop(partial(self._exclusive.resize, full))
        self._call_on_loop(partial(self._journal.config_applied, limits, options.revision))

    def preview_limits(self, *, symbols_per_connection: int, max_connections: int) -> LimitsPreview:
        """Return what these limits would drop; changes nothing. Any thread.

        Takes as long as many subscriptions are held, some microseconds each, and holds the lock
        only to copy them: call it off the loop.
        """
        options = replace(
            self._spec.options,
            symbols_per_connection=symbols_per_connection,
            max_connections=max_connections,
        )
        with self._lock:
            limits = self._limits(options)
            held = self._book.held()
        has_categories = bool(self._capabilities.category_limits)
        return preview_limits(
            held,
            limits=limits,
            cost=self._adapter_class.cost,
            category=self._adapter_class.category if has_categories else None,
        )

    def credentials_changed(self, version: int) -> None:
        """Note that a newer credential is stored; a waiting pool tries it at once. Any thread."""
        with self._lock:
            self._spec = replace(self._spec, credentials_version=version)
        self._call_on_loop(partial(self._renew_credentials, version))

    def update_endpoint(self, endpoint: str | None) -> None:
        """Connect to another URL from now on; open connections move over. Any thread."""
        with self._lock:
            self._spec = replace(self._spec, endpoint=endpoint)
        self._call_on_loop(self._restart_connections)

    # -- Statistics, from any thread ----------------------------------------------------------

    def get_stats(self) -> PoolStats:
        """Return the pool as it is now. Any thread."""
        with self._lock:
            return self._telemetry.to_stats(self._spec, self._feed.health)

    def take_usage_sample(self) -> UsageSample:
        """Return the peaks since the last call and start the next interval. Any thread."""
        with self._lock:
            return self._telemetry.take_usage_sample(self._spec.pool_id)

    # -- On the loop --------------------------------------------------------------------------

    def _poke(self) -> None:
        """Have ``_perform`` run on the loop soon, once for any number of calls."""
        with self._lock:
            if self._is_poked or self._is_closed or self._loop is None:
                return
            self._is_poked = True
            loop = self._loop
        loop.call_soon_threadsafe(self._perform)

    def _call_on_loop(self, call: Callable[[], None]) -> None:
        with self._lock:
            loop = None if self._is_closed else self._loop
        if loop is not None:
            loop.call_soon_threadsafe(call)

    def _perform(self) -> None:
        """Do what the book asks for now, whoever asked for it and in whichever order."""
        with self._lock:
            self._is_poked = False
            if self._is_closed:
                return
            actions = self._book.take_actions()
            deadline = self._book.tracker.next_deadline()
            options = self._spec.options
            closed = [c for slot in set(actions.closed) if (c := self._forget_connection(slot))]
            opened = [
                self._make_connection(slot, options)
                for slot in self._book.allocator.slots
                if slot not in self._connections
            ]
        for connection in closed:
            self._journal.connection_closed(connection.slot)
            self._spawn_close(connection)
        for connection in opened:
            others = len(self._connections) - len(opened)
            self._journal.connection_opened(
                connection.slot,
                others=others,
                limits=self._book.allocator.limits,
                is_warm=not self._feed.carries(connection.slot),
            )
            connection.open()
        for slot in actions.changed & self._connections.keys():
            self._connections[slot].wake()
        for connection in self._connections.values():
            connection.connect_timeout_seconds = options.connect_timeout_seconds
            connection.health_check_seconds = options.health_check_seconds
        self._feed.forget(actions.gone)
        if actions.displaced:
            self._journal.displaced(len(actions.displaced), self._book.allocator.limits)
        if actions.displaced or actions.outcomes:
            self._feed.displaced(actions.displaced, actions.outcomes)
        self._feed.judge()
        self._journal.modes_changed(actions.raised, actions.lowered)
        self._arm_linger(deadline)

    def _make_connection(self, slot: int, options: PoolOptions) -> Connection:
        connection = self._connections[slot] = Connection(
            pool_id=self._spec.pool_id,
            slot=slot,
            owner=self._feed,
            make_adapter=self._make_adapter,
            gate=self._gate,
            connector=self._connector,
            clock=self._clock,
            backoff=Backoff(rng=self._rng),
            connect_timeout_seconds=options.connect_timeout_seconds,
            health_check_seconds=options.health_check_seconds,
        )
        return connection

    def _make_adapter(self) -> BrokerAdapter:
        with pooled_creation(self._sink):
            return self._adapter_class(endpoint=self._spec.endpoint)

    def _forget_connection(self, slot: int) -> Connection | None:
        connection = self._connections.pop(slot, None)
        if connection is not None:
            self._telemetry.retire(connection)
        return connection

    def _spawn_close(self, connection: Connection) -> asyncio.Task[None]:
        name = f"pool-close-{self._spec.pool_id}/{connection.slot}"
        task = asyncio.create_task(connection.close(), name=name)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        task.add_done_callback(lambda _: self._exclusive.serve())
        return task

    def _arm_linger(self, deadline: float | None) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None
        if deadline is not None:
            delay = max(0.0, deadline - self._clock.monotonic())
            self._linger_timer = asyncio.get_running_loop().call_later(delay, self._end_lingers)

    def _end_lingers(self) -> None:
        with self._lock:
            self._book.expire(self._clock.monotonic())
            self._telemetry.observe()
        self._perform()

    # -- Upkeep, on the loop ------------------------------------------------------------------

    def _keep_up(self) -> None:
        """Do what the passing of time asks for, about once a second."""
        with self._lock:
            if self._is_closed:
                return
            self._warm_up(self._spec.options)
            tasks = self._review()
            notes = [note for task in tasks if (note := self._carry_out(task))]
        for note in notes:
            self._journal.kept_up(note)
        for connection in self._connections.values():
            if connection.state is ConnectionState.IDLE and self._feed.is_needed(connection.slot):
                connection.wake()
        if tasks or self._book.has_actions:
            self._perform()
        loop = asyncio.get_running_loop()
        self._upkeep_timer = loop.call_later(UPKEEP_SECONDS, self._keep_up)

    def _review(self) -> list[Task]:
        """Return what is to be done now; called under the lock."""
        views = [
            ConnectionView(
                slot,
                connection.state is ConnectionState.LIVE,
                connection.opened_at,
                connection.down_since,
            )
            for slot, connection in self._connections.items()
        ]
        return self._upkeep.review(
            self._clock.monotonic(),
            views,
            self._book.allocator,
            warm=[slot for slot in self._connections if self._book.is_warm(slot)],
            max_idle_seconds=self._spec.options.max_idle_seconds,
        )

    def _carry_out(self, task: Task) -> str:
        """Have the book follow a task, under the lock; returns what people may want to know."""
        book = self._book
        if isinstance(task, Evacuate):
            if moved := book.evacuate(task.slot, task.among):
                return f"connection {task.slot} stays away: {moved} symbols moved to live ones"
        elif isinstance(task, Readmit):
            book.readmit(task.slot)
        elif isinstance(task, CloseIdle):
            book.close_idle(task.slot)
        elif isinstance(task, Merge):
            moving = book.merge(task.source, task.target)
            return f"connection {task.source} fits on {task.target}: {moving} symbols move"
        elif isinstance(task, Retire):
            book.retire(task.slot)
            return f"connection {task.slot} is replaced before the broker ends it"
        elif isinstance(task, Reopen):
            book.reinstate(task.slot)
            if (connection := self._connections.get(task.slot)) is not None:
                connection.restart(self._make_adapter, "opened anew before the broker ends it")
            return f"connection {task.slot} is opened anew: there is no room to replace it"
        elif isinstance(task, SettleMoves):
            book.settle_moves(task.keys)
        return ""

    def _warm_up(self, options: PoolOptions) -> None:
        limits = self._book.allocator.limits
        self._book.warm_connections = min(options.warm_connections, limits.max_connections)
        self._book.open_warm()

    def _renew_credentials(self, version: int) -> None:
        if self._gate.renew(version):
            self._feed.credential_renewed(version)

    def _restart_connections(self) -> None:
        self._gate.reopen()
        self._exclusive.make_way(self._capabilities.max_connections)
        for connection in self._connections.values():
            connection.restart(self._make_adapter, "the endpoint was changed")

    def _limits(self, options: PoolOptions) -> Limits:
        return self._seats.left_for_feed(self._full_limits(options))

    def _apply_limits(self, limits: Limits) -> None:
        self._book.resize(limits=limits, linger_seconds=self._book.tracker.linger_seconds)

    def _full_limits(self, options: PoolOptions) -> Limits:
        return effective_limits(
            symbols_per_connection=options.symbols_per_connection,
            max_connections=options.max_connections,
            capabilities=self._capabilities,
        )

    def _check_open(self) -> None:
        if self._is_closed:
            raise PoolClosedError(f"pool {self._spec.pool_id} is closed")
