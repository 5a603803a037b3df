"""The pool: all connections of one broker account, filled and kept alive.

Concurrency: one lock guards the book, the meters and the table of connections; every decision is
made inside it, and nothing inside it waits or talks. Connections, timers and events live on the
loop that ``open`` ran on. Public methods may be called from any thread; they decide at once and
leave the rest to ``_perform`` on the loop, which reads what there is to do from the book, so that
calls from many threads need no order among themselves.
"""

from __future__ import annotations

import asyncio
import logging
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
from pooling.lifecycle import ConnectionState
from pooling.reconcile import Batch
from pooling.stats import Gauge, PoolMeters, RateWindow
from pooling.transport import Connector

__all__ = ["ConnectionPool"]

logger = logging.getLogger("pooling")

MILESTONE_SYMBOLS = 100
CAPACITY_NOTE_SECONDS = 60.0
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
        self._meters = PoolMeters(now_ms=clock.time_ms())
        self._connections: dict[int, Connection] = {}
        self._stale: set[InstrumentKey] = set()
        self._is_closed = False
        self._is_poked = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

        self._rate = RateWindow()
        self._ticks = 0
        self._past_reconnects = self._past_malformed = self._past_unknown = 0
        self._status = FeedStatus.LIVE
        self._reason = "nothing is subscribed"
        self._since_ms = clock.time_ms()
        self._announced = FeedStatus.LIVE  # what listeners last heard of the pool as a whole
        self._last_capacity_note: float | None = None

    def __repr__(self) -> str:
        book, limits = self._book.allocator, self._book.allocator.limits
        return (
            f"<ConnectionPool {self._spec.pool_id} {self._spec.broker} {self._status} "
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
        limits = self._book.allocator.limits
        logger.info(
            "pool %s started: broker %s, %d connections of %d symbols, linger %g s, revision %d",
            self._spec.pool_id,
            self._spec.broker,
            limits.max_connections,
            limits.symbols_per_connection,
            self._spec.options.linger_seconds,
            self._spec.options.revision,
        )
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
        self._set_status(FeedStatus.CLOSED, "the pool was closed")
        self._announcer.pool(FeedStatus.CLOSED, "the pool was closed")
        self._announcer.close()
        logger.info("pool %s closed; peaks: %s", self._spec.pool_id, self._describe_peaks())

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
            self._observe()
            outcomes = [self._qualify(outcome) for outcome in outcomes]
        self._poke()
        if before // MILESTONE_SYMBOLS != after // MILESTONE_SYMBOLS and after > before:
            logger.info("pool %s carries %d symbols", self._spec.pool_id, after)
        full = [o for o in outcomes if o.code is RefusalCode.MAX_CAPACITY_REACHED]
        if full:
            self._note_capacity(len(full), full[0])
        return outcomes

    def release(self, holder: Holder, keys: Sequence[InstrumentKey] | None) -> None:
        """Give up references (None: all of the holder's). Unknown ones are ignored. Any thread."""
        with self._lock:
            self._book.release(holder, keys, self._clock.monotonic())
            self._observe()
        self._poke()

    def release_gateway(self, gateway: str) -> int:
        """Give up every reference of a gateway; returns how many clients it had. Any thread."""
        with self._lock:
            clients = self._book.release_gateway(gateway, self._clock.monotonic())
            self._observe()
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
        message = (
            f"revision {options.revision}: {limits.max_connections} connections of "
            f"{limits.symbols_per_connection} symbols"
        )
        logger.info("pool %s applied %s", self._spec.pool_id, message)
        self._call_on_loop(partial(self._note, "config_applied", message))

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
            self._observe()
            allocator, tracker = self._book.allocator, self._book.tracker
            limits, peak = allocator.limits, self._meters.peak
            connections = tuple(
                connection.to_stats(
                    used=allocator.slots[slot].used if slot in allocator.slots else 0,
                    capacity=limits.symbols_per_connection,
                )
                for slot, connection in sorted(self._connections.items())
            )
            return PoolStats(
                pool_id=self._spec.pool_id,
                broker=self._spec.broker,
                status=self._status,
                reason=self._reason,
                since_ms=self._since_ms,
                connections=connections,
                max_connections=limits.max_connections,
                symbols_per_connection=limits.symbols_per_connection,
                used=allocator.used,
                capacity=limits.capacity,
                wanted=tracker.held,
                confirmed=tracker.confirmed,
                clients=tracker.clients,
                ticks_received=self._ticks,
                ticks_per_second=self._rate.rate(self._clock.monotonic()),
                frames_malformed=self._past_malformed
                + sum(c.frames_malformed for c in self._connections.values()),
                ticks_unknown=self._past_unknown
                + sum(c.ticks_unknown for c in self._connections.values()),
                reconnects=self._reconnects(),
                peak_symbols=peak(Gauge.SYMBOLS),
                peak_connections=peak(Gauge.CONNECTIONS),
                peak_clients=peak(Gauge.CLIENTS),
                peak_ticks_per_second=peak(Gauge.TICKS_PER_SECOND),
                config_revision=self._spec.options.revision,
            )

    def take_usage_sample(self) -> UsageSample:
        """Return the peaks since the last call and start the next interval. Any thread."""
        with self._lock:
            self._observe()
            return self._meters.take(
                self._spec.pool_id,
                self._clock.time_ms(),
                ticks=self._ticks,
                reconnects=self._reconnects(),
            )

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
        """Count ticks that were published. Takes no lock: only the loop writes these."""
        self._ticks += count
        self._rate.add(count, self._clock.monotonic())

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
            logger.warning("connection %s/%d %s: %s", self._spec.pool_id, slot, state, reason)
        with self._lock:
            self._observe()
        self._refresh_status(reason)

    def on_lost(self, slot: int, reason: str) -> None:
        """Note that everything of the connection is to be replayed and its prices are old."""
        with self._lock:
            lost = self._book.restart(slot)
            self._stale.update(lost)
        self._sink.forget(lost)
        self._announcer.stale(lost, reason)
        logger.warning(
            "connection %s/%d lost with %d live symbols: %s; peaks: %s",
            self._spec.pool_id,
            slot,
            len(lost),
            reason,
            self._describe_peaks(),
        )
        self._note("lost", f"connection {slot}: {reason}")

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
                logger.info("pool %s: the broker says: %.200s", self._spec.pool_id, event.text)

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
        logger.warning("connection %s/%d is stale: %s", self._spec.pool_id, slot, reason)

    def _on_connected(self, slot: int) -> None:
        logger.info("connection %s/%d is connected", self._spec.pool_id, slot)
        self._note("connected", f"connection {slot}")
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
            self._note("auth_required", reason)
            logger.error("pool %s needs a new credential: %s", self._spec.pool_id, reason)

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
        logger.warning(
            "connection %s/%d: the broker refused subscriptions: %.200s",
            self._spec.pool_id,
            slot,
            error,
        )
        code, message = RefusalCode.BROKER_ERROR, "the broker refused this subscription"
        if isinstance(error, BrokerLimitError):
            code = RefusalCode.MAX_CAPACITY_REACHED
            message = "the broker refused this subscription: its own limit is reached"
        with self._lock:
            outcomes = self._book.reject(slot, keys, code, message)
            self._observe()
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
            self._log_opened(connection)
            connection.open()
        for slot in actions.changed & self._connections.keys():
            self._connections[slot].wake()
        if actions.raised or actions.lowered:
            logger.info(
                "pool %s changed modes: %d raised, %d lowered",
                self._spec.pool_id,
                actions.raised,
                actions.lowered,
            )
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
            self._past_reconnects += connection.reconnects
            self._past_malformed += connection.frames_malformed
            self._past_unknown += connection.ticks_unknown
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
            self._observe()
        # Whoever subscribes again later must not be shown a price from before.
        self._sink.forget(gone)
        self._perform()

    def _renew_credentials(self, version: int) -> None:
        if self._gate.renew(version):
            logger.info("pool %s tries credential version %d", self._spec.pool_id, version)
            self._note("credentials_changed", f"trying credential version {version}")
            if self._announced is FeedStatus.AUTH_REQUIRED:
                self._announced = FeedStatus.STALE
                self._announcer.pool(FeedStatus.STALE, "trying the new credential")

    def _restart_connections(self) -> None:
        self._gate.reopen()
        for connection in self._connections.values():
            connection.restart(self._make_adapter, "the endpoint was changed")

    def _refresh_status(self, reason: str) -> None:
        states = [c.state for slot, c in self._connections.items() if self.is_needed(slot)]
        up = sum(state is ConnectionState.LIVE for state in states)
        if not states:
            self._set_status(FeedStatus.LIVE, "nothing is subscribed")
        elif up:
            down = len(states) - up
            self._set_status(FeedStatus.LIVE, f"{down} connections are not live" if down else "")
        elif ConnectionState.AUTH_REQUIRED in states:
            self._set_status(FeedStatus.AUTH_REQUIRED, self._gate.reason or reason)
        else:
            was_stale = self._status is FeedStatus.STALE
            kept = self._reason if was_stale else "connecting"
            self._set_status(FeedStatus.STALE, reason or kept)

    def _set_status(self, status: FeedStatus, reason: str) -> None:
        if status is not self._status:
            self._since_ms = self._clock.time_ms()
        self._status, self._reason = status, reason

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

    def _observe(self) -> None:
        now_ms = self._clock.time_ms()
        observe = self._meters.observe
        observe(Gauge.SYMBOLS, self._book.allocator.symbols, now_ms)
        observe(Gauge.CLIENTS, self._book.tracker.clients, now_ms)
        observe(Gauge.CONNECTIONS, sum(c.is_up for c in self._connections.values()), now_ms)
        observe(Gauge.TICKS_PER_SECOND, self._rate.rate(self._clock.monotonic()), now_ms)

    def _reconnects(self) -> int:
        return self._past_reconnects + sum(c.reconnects for c in self._connections.values())

    # -- Logs ---------------------------------------------------------------------------------

    def _log_opened(self, connection: Connection) -> None:
        limits = self._book.allocator.limits
        why = "the others are full" if len(self._connections) > 1 else "the first symbols came"
        logger.info(
            "pool %s opens connection %d of %d: %s",
            self._spec.pool_id,
            connection.slot,
            limits.max_connections,
            why,
        )

    def _note_capacity(self, refused: int, outcome: Outcome) -> None:
        now = self._clock.monotonic()
        last = self._last_capacity_note
        if last is not None and now - last < CAPACITY_NOTE_SECONDS:
            return
        self._last_capacity_note = now
        message = f"{refused} symbols refused: {outcome.message}"
        logger.warning("pool %s reached its capacity; %s", self._spec.pool_id, message)
        self._call_on_loop(partial(self._note, "capacity_reached", message))

    def _describe_peaks(self) -> str:
        peak = self._meters.peak
        return ", ".join(f"{peak(gauge).value:g} {gauge.value}" for gauge in Gauge)


def _limits(options: PoolOptions, capabilities: BrokerCapabilities) -> Limits:
    return Limits(
        max_connections=min(options.max_connections, capabilities.max_connections),
        symbols_per_connection=min(
            options.symbols_per_connection, capabilities.symbols_per_connection
        ),
    )
