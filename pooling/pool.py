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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import msgspec

from brokers.base import (
    BrokerAdapter,
    BrokerCapabilities,
    BrokerEvent,
    Confirmed,
    Notice,
    OrderUpdate,
    SubscriptionRejected,
)
from brokers.context import pooled_creation
from brokers.exceptions import BrokerError, BrokerLimitError
from brokers.feed import (
    FeedEvent,
    FeedStatus,
    Holder,
    OrderUpdated,
    Outcome,
    OutcomeState,
    PoolStats,
    RefusalCode,
    Want,
)
from brokers.types import Instrument, InstrumentKey, Subscription, TickSink
from pooling.allocator import Limits
from pooling.announcer import FeedAnnouncer
from pooling.backoff import Backoff, Randomness
from pooling.book import SubscriptionBook
from pooling.clock import Clock
from pooling.connection import Connection
from pooling.contracts import AccountSpec, AccountStore, PoolOptions, UsageSample
from pooling.credential_gate import CredentialGate
from pooling.exceptions import PoolClosedError
from pooling.feed_health import FeedHealth
from pooling.journal import PoolJournal
from pooling.lifecycle import ConnectionState
from pooling.reconcile import Batch
from pooling.telemetry import PoolTelemetry
from pooling.transport import Connector

__all__ = ["ConnectionPool"]

CLOSE_SECONDS = 4.0


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
        self._announcer = FeedAnnouncer(pool_id=spec.pool_id, clock=clock, emit=on_event)
        self._gate = CredentialGate(
            pool_id=spec.pool_id,
            store=store,
            clock=clock,
            is_required=bool(self._capabilities.credential_fields),
            interval_seconds=self._capabilities.connect_interval_seconds,
            version=spec.credentials_version,
        )
        self._lock = threading.Lock()
        self._book = SubscriptionBook(
            limits=_limits(spec.options, self._capabilities),
            cost=adapter_class.cost,
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
        self._health = FeedHealth(now_ms=clock.time_ms())
        self._announced = FeedStatus.LIVE  # what listeners last heard of the pool as a whole
        self._stale: set[InstrumentKey] = set()
        self._is_closed = False
        self._is_poked = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        book, limits = self._book.allocator, self._book.allocator.limits
        return (
            f"<ConnectionPool {self._spec.pool_id} {self._spec.broker} {self._health.status} "
            f"{book.used}/{limits.capacity} on {len(book.slots)}/{limits.max_connections}>"
        )

    @property
    def spec(self) -> AccountSpec:
        """The account as it is in force now."""
        return self._spec

    # -- Life ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start serving on the running loop; connections open as symbols need them. Idempotent.

        Raises:
            PoolClosedError: it was closed; a pool opens once.
        """
        with self._lock:
            self._check_open()
            if self._loop is not None:
                return
            self._loop = asyncio.get_running_loop()
        self._journal.pool_started(self._spec, self._book.allocator.limits)
        self._poke()

    async def close(self) -> None:
        """Close every socket with 1000 and stop; under five seconds. Idempotent.

        Nothing is unsubscribed one by one: the broker forgets a socket's subscriptions with it.
        """
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            connections = [] if was_closed else list(self._connections.values())
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        tasks = [self._spawn_close(connection) for connection in connections]
        if pending := {*tasks, *self._closing}:
            await asyncio.wait(pending, timeout=CLOSE_SECONDS)
        if was_closed:
            return
        self._health.close(self._clock.time_ms())
        self._announcer.pool(FeedStatus.CLOSED, self._health.reason)
        self._announcer.close()
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
            outcomes = [self._qualify(outcome) for outcome in outcomes]
        self._poke()
        self._journal.symbols(before, after)
        if (message := self._journal.capacity_reached(outcomes)) is not None:
            self._call_on_loop(partial(self._note, "capacity_reached", message))
        return outcomes

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

    # -- Configuration, from any thread -------------------------------------------------------

    def update_options(self, options: PoolOptions) -> None:
        """Take over edited limits: they bind new placements at once. Any thread."""
        with self._lock:
            self._spec = replace(self._spec, options=options)
            limits = _limits(options, self._capabilities)
            self._book.resize(limits=limits, linger_seconds=options.linger_seconds)
        self._poke()
        self._call_on_loop(partial(self._journal.config_applied, limits, options.revision))

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
            return self._telemetry.to_stats(self._spec, self._health)

    def take_usage_sample(self) -> UsageSample:
        """Return the peaks since the last call and start the next interval. Any thread."""
        with self._lock:
            return self._telemetry.take_usage_sample(self._spec.pool_id)

    # -- What connections ask and tell (ConnectionOwner), on the loop -------------------------

    def is_needed(self, slot: int) -> bool:
        """Tell whether the connection shall carry anything."""
        with self._lock:
            placed = self._book.allocator.slots.get(slot)
            return placed is not None and bool(placed.items)

    def take_batch(self, slot: int, limit: int) -> Batch:
        """Return the next changes to send on the connection."""
        with self._lock:
            return self._book.take_batch(slot, limit)

    def on_ticks(self, count: int) -> None:
        """Count ticks that were published; takes no lock."""
        self._telemetry.count_ticks(count)

    def on_state(self, slot: int, state: ConnectionState, reason: str) -> None:
        """Follow a connection's state."""
        if state is ConnectionState.LIVE:
            self._on_live(slot)
        elif state is ConnectionState.STALE:
            self._on_stale(slot, reason)
        elif state is ConnectionState.AUTH_REQUIRED:
            self._on_auth_required(slot, reason)
        elif state is ConnectionState.SUBSCRIBING:
            self._on_connected(slot)
        elif state in (ConnectionState.BACKOFF, ConnectionState.RATE_LIMITED):
            self._journal.troubled(slot, state, reason)
        with self._lock:
            self._telemetry.observe()
        self._judge_health(reason)

    def on_lost(self, slot: int, reason: str) -> None:
        """Note that everything of the connection is to be replayed and its prices are old."""
        with self._lock:
            lost = self._book.restart(slot)
            self._stale.update(lost)
        self._sink.forget(lost)
        self._announcer.stale(lost, reason)
        self._journal.lost(slot, len(lost), reason)

    def on_events(self, slot: int, events: Sequence[BrokerEvent]) -> None:
        """Take what the broker said beside ticks."""
        for event in events:
            if isinstance(event, Confirmed):
                self._on_confirmed(slot, event.keys)
            elif isinstance(event, SubscriptionRejected):
                self._on_rejected(slot, event.keys, event.error)
            elif isinstance(event, OrderUpdate):
                self._announcer.event(OrderUpdated(self._spec.pool_id, event.order))
            elif isinstance(event, Notice):
                self._journal.broker_says(event.text)

    def on_unsendable(self, slot: int, subscription: Subscription, error: BrokerError) -> None:
        """Refuse a subscription that the adapter cannot express."""
        self._on_rejected(slot, (subscription.instrument.key,), error)

    def _on_live(self, slot: int) -> None:
        # Only prices that were confirmed on this very socket are live by its speaking again;
        # after a reconnect each waits for its own confirmation.
        with self._lock:
            keys = [key for key in self._book.keys_of(slot) if key in self._stale]
            fresh = [key for key in keys if self._is_confirmed(key)]
            self._stale.difference_update(fresh)
            outcomes = self._book.active_outcomes(fresh)
        self._announcer.live(fresh)
        self._announcer.outcomes(outcomes)

    def _on_stale(self, slot: int, reason: str) -> None:
        with self._lock:
            keys = [key for key in self._book.keys_of(slot) if self._is_confirmed(key)]
            self._stale.update(keys)
        self._sink.forget(keys)
        self._announcer.stale(keys, reason)
        self._journal.troubled(slot, ConnectionState.STALE, reason)

    def _on_connected(self, slot: int) -> None:
        self._journal.connected(slot)
        if self._announced is not FeedStatus.LIVE:
            self._announced = FeedStatus.LIVE
            with self._lock:
                waiting = [key for key in self._book.tracker if not self._is_confirmed(key)]
                self._stale.update(waiting)
            self._announcer.pool(FeedStatus.LIVE, "the new credential works")
            self._announcer.stale(waiting, "waiting for the first price")

    def _on_auth_required(self, slot: int, reason: str) -> None:
        others_up = any(c.is_up for number, c in self._connections.items() if number != slot)
        with self._lock:
            keys = self._book.keys_of(slot)
            self._stale.update(keys)
        if others_up:
            # The others go on: a broker checks a credential only when a socket opens.
            self._announcer.auth_required(keys, reason)
        elif self._announced is not FeedStatus.AUTH_REQUIRED:
            self._announced = FeedStatus.AUTH_REQUIRED
            self._announcer.auth_required(None, reason)
            self._journal.auth_required(reason)

    def _on_confirmed(self, slot: int, keys: Sequence[InstrumentKey]) -> None:
        with self._lock:
            outcomes = self._book.confirm(slot, keys)
            fresh = [key for key in keys if key in self._stale and self._is_confirmed(key)]
            self._stale.difference_update(fresh)
            has_actions = self._book.has_actions
        self._announcer.live(fresh)
        self._announcer.outcomes(outcomes)
        if has_actions:
            self._poke()

    def _on_rejected(self, slot: int, keys: Sequence[InstrumentKey], error: BrokerError) -> None:
        self._journal.rejected(slot, error)
        code, message = RefusalCode.BROKER_ERROR, "the broker refused this subscription"
        if isinstance(error, BrokerLimitError):
            code = RefusalCode.MAX_CAPACITY_REACHED
            message = "the broker refused this subscription: its own limit is reached"
        with self._lock:
            outcomes = self._book.reject(slot, keys, code, message)
            self._telemetry.observe()
        self._announcer.outcomes(outcomes)
        self._poke()

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
            timeout = self._spec.options.connect_timeout_seconds
            closed = [c for slot in set(actions.closed) if (c := self._forget_connection(slot))]
            opened = [
                self._make_connection(slot, timeout)
                for slot in self._book.allocator.slots
                if slot not in self._connections
            ]
        for connection in closed:
            self._spawn_close(connection)
        for connection in opened:
            others = len(self._connections) - len(opened)
            self._journal.connection_opened(
                connection.slot, others=others, limits=self._book.allocator.limits
            )
            connection.open()
        for slot in actions.changed & self._connections.keys():
            self._connections[slot].wake()
        self._journal.modes_changed(actions.raised, actions.lowered)
        self._arm_linger(deadline)

    def _make_connection(self, slot: int, connect_timeout_seconds: float) -> Connection:
        connection = self._connections[slot] = Connection(
            pool_id=self._spec.pool_id,
            slot=slot,
            owner=self,
            make_adapter=self._make_adapter,
            gate=self._gate,
            connector=self._connector,
            clock=self._clock,
            backoff=Backoff(rng=self._rng),
            connect_timeout_seconds=connect_timeout_seconds,
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
            gone = self._book.expire(self._clock.monotonic())
            self._stale.difference_update(gone)
            self._telemetry.observe()
        # Whoever subscribes again later must not be shown a price from before.
        self._sink.forget(gone)
        self._perform()

    def _renew_credentials(self, version: int) -> None:
        if self._gate.renew(version):
            self._journal.credentials_renewed(version)
            if self._announced is FeedStatus.AUTH_REQUIRED:
                self._announced = FeedStatus.STALE
                self._announcer.pool(FeedStatus.STALE, "trying the new credential")

    def _restart_connections(self) -> None:
        self._gate.reopen()
        for connection in self._connections.values():
            connection.restart(self._make_adapter, "the endpoint was changed")

    def _judge_health(self, reason: str) -> None:
        states = [c.state for slot, c in self._connections.items() if self.is_needed(slot)]
        self._health.judge(states, self._gate.reason or reason, self._clock.time_ms())

    # -- Under the lock -----------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._is_closed:
            raise PoolClosedError(f"pool {self._spec.pool_id} is closed")

    def _qualify(self, outcome: Outcome) -> Outcome:
        """Say what stands between an accepted want and its prices."""
        if outcome.state is OutcomeState.REFUSED:
            return outcome
        if self._gate.is_shut and not any(c.is_up for c in self._connections.values()):
            return msgspec.structs.replace(
                outcome,
                state=OutcomeState.PENDING,
                code=RefusalCode.BROKER_AUTH_REQUIRED,
                message="the broker needs a new credential; prices come once it is saved",
            )
        if outcome.key in self._stale:
            return msgspec.structs.replace(
                outcome,
                state=OutcomeState.PENDING,
                message="the feed is being restored; prices come once it is",
            )
        return outcome

    def _is_confirmed(self, key: InstrumentKey) -> bool:
        interest = self._book.tracker.get(key)
        return interest is not None and interest.confirmed is not None


def _limits(options: PoolOptions, capabilities: BrokerCapabilities) -> Limits:
    return Limits(
        max_connections=min(options.max_connections, capabilities.max_connections),
        symbols_per_connection=min(
            options.symbols_per_connection, capabilities.symbols_per_connection
        ),
    )
