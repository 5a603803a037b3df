"""The pool: all connections of one broker account, filled and kept alive.

Concurrency: one lock guards the book, the meters and the table of connections; every decision is
made inside it, and nothing inside it waits or talks. Connections, timers and events live on the
loop that ``open`` ran on. Public methods may be called from any thread; they decide at once and
leave the rest to ``PlanPerformer`` on the loop, which reads what there is to do from the book, so
that calls from many threads need no order among themselves.

A shell; its length is the constructor that joins the parts, and a short method for each verb.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from brokers.context import pooled_creation
from brokers.contract import BrokerAdapter
from brokers.pool_service import FeedEvent, Holder, Outcome, PoolStats, RefusalCode, Want
from brokers.settings import SettingValue
from brokers.types import Instrument, InstrumentKey, TickSink
from pooling.backoff import Randomness
from pooling.clock import Clock
from pooling.connection.pulse import Pulse
from pooling.connectors.credential_gate import CredentialGate
from pooling.connectors.websocket import Connector
from pooling.contracts import AccountSpec, AccountStore, PoolOptions, UsageSample
from pooling.exceptions import PoolClosedError
from pooling.exclusive.connection import ExclusiveConnection
from pooling.exclusive.options import ConnectionTerms, ExclusiveStats
from pooling.exclusive.pool import Acquisition
from pooling.pool.announcer import FeedAnnouncer
from pooling.pool.caretaker import Caretaker
from pooling.pool.connections import ConnectionTable
from pooling.pool.exclusive import AccountExclusive, AccountSeats
from pooling.pool.feed import PoolFeed
from pooling.pool.journal import PoolJournal
from pooling.pool.loop_calls import LoopCalls
from pooling.pool.operator import ByHand
from pooling.pool.performer import PlanPerformer
from pooling.pool.telemetry import PoolTelemetry
from pooling.subscriptions.book import SubscriptionBook
from pooling.subscriptions.capacity import Limits
from pooling.subscriptions.outcomes import Gone
from pooling.subscriptions.renaming import Renamed
from pooling.subscriptions.reoffer import reoffer

__all__ = ["ConnectionPool"]

CLOSE_SECONDS = 4.0


async def _nothing() -> None:
    pass


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
        prepare: brings names up to date before a new socket is asked for anything; must not raise.
        pulse: the worker's; None: nobody tells that it was held up.
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
        prepare: Callable[[], Awaitable[None]] = _nothing,
        pulse: Pulse | None = None,
    ) -> None:
        self._spec = spec
        self._capabilities = adapter_class.capabilities
        self._adapter_class = adapter_class
        self._sink = sink
        self._clock = clock
        self._note = on_note
        self._gate = CredentialGate(
            pool_id=spec.pool_id,
            store=store,
            clock=clock,
            is_required=bool(self._capabilities.credential_fields),
            interval_seconds=self._capabilities.connect_interval_seconds,
            version=spec.credentials_version,
            endpoint=spec.endpoint or self._capabilities.default_endpoint,
        )
        self._lock = threading.Lock()
        self._calls = LoopCalls(lock=self._lock, perform=self._perform)
        self._seats = AccountSeats(
            lock=self._lock,
            capabilities=self._capabilities,
            open_sockets=lambda: len(self._book.slots) + self._table.closing,
            apply=self._apply_limits,
            poke=self._calls.poke,
        )
        self._exclusive = AccountExclusive(
            seats=self._seats,
            capabilities=self._capabilities,
            gate=self._gate,
            make_adapter=self._make_adapter,
            connector=connector,
            clock=clock,
            rng=rng,
        )
        self._book = SubscriptionBook(
            limits=self._seats.limits(spec.options),
            cost=adapter_class.cost,
            category=adapter_class.category,
            modes=self._capabilities.modes,
            depth_levels=self._capabilities.depth_levels,
            linger_seconds=spec.options.linger_seconds,
        )
        self._table = ConnectionTable(
            pool_id=spec.pool_id,
            make_adapter=self._make_adapter,
            gate=self._gate,
            connector=connector,
            clock=clock,
            rng=rng,
            pulse=pulse or Pulse(clock=clock),
            on_closed=self._exclusive.serve,
        )
        self._telemetry = PoolTelemetry(
            clock=clock, book=self._book, connections=self._table.connections
        )
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
            connections=self._table.connections,
            sink=sink,
            gate=self._gate,
            announcer=FeedAnnouncer(pool_id=spec.pool_id, clock=clock, emit=on_event),
            journal=self._journal,
            telemetry=self._telemetry,
            clock=clock,
            poke=self._calls.poke,
            prepare=prepare,
        )
        self._caretaker = Caretaker(
            lock=self._lock,
            book=self._book,
            table=self._table,
            options=lambda: self._spec.options,
            journal=self._journal,
            telemetry=self._telemetry,
            clock=clock,
            rng=rng,
            max_lifetime_seconds=self._capabilities.max_lifetime_seconds,
            perform=self._perform,
        )
        self._performer = PlanPerformer(
            lock=self._lock,
            performing=self._calls.performing,
            book=self._book,
            table=self._table,
            options=lambda: self._spec.options,
            feed=self._feed,
            journal=self._journal,
            telemetry=self._telemetry,
            arm_linger=self._caretaker.arm_linger,
        )
        self.by_hand = ByHand(
            lock=self._lock,
            book=self._book,
            table=self._table,
            feed=self._feed,
            gate=self._gate,
            journal=self._journal,
            telemetry=self._telemetry,
            perform=self._perform,
            tried=self._seats.tried,
        )

    def __repr__(self) -> str:
        book, limits = self._book, self._book.limits
        return (
            f"<ConnectionPool {self._spec.pool_id} {self._spec.broker} {self._feed.health.status} "
            f"{book.used}/{limits.capacity} on {len(book.slots)}/{limits.max_connections}>"
        )

    @property
    def spec(self) -> AccountSpec:
        """The account as it is in force now."""
        return self._spec

    async def open(self) -> None:
        """Start serving on the running loop. Idempotent.

        The warm connections open at once, others as symbols need them.

        Raises:
            PoolClosedError: it was closed; a pool opens once.
        """
        with self._lock:
            self._check_open()
            if self._calls.is_open:
                return
            self._calls.open()
            self._caretaker.warm_up()
        self._feed.start()
        if self._spec.is_paused:
            self.by_hand.pause()
        self._journal.pool_started(self._spec, self._book.limits)
        self._caretaker.start()
        self._calls.poke()

    async def close(self) -> None:
        """Close every socket with 1000 and stop; under five seconds. Idempotent.

        Nothing is unsubscribed one by one: the broker forgets a socket's subscriptions with it.
        """
        with self._lock:
            was_closed = self._calls.close()
            connections = [] if was_closed else list(self._table.connections.values())
        self._caretaker.stop()
        for connection in connections:
            self._table.spawn_close(connection)
        exclusive = asyncio.create_task(self._exclusive.close(), name="pool-close-exclusive")
        try:
            await asyncio.wait({exclusive, *self._table.wait_closed()}, timeout=CLOSE_SECONDS)
        finally:
            # Also when nobody waits any longer: its last prices must not outlive it.
            if not was_closed:
                self._feed.close()
                self._journal.pool_closed()

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
            before = self._book.symbols
            outcomes = [
                self._book.want(holder, want, instruments.get(want.key), now) for want in wants
            ]
            after = self._book.symbols
            self._telemetry.observe()
            outcomes = [self._feed.qualify(outcome) for outcome in outcomes]
        self._calls.poke()
        self._journal.symbols(before, after)
        if full := [o for o in outcomes if o.code is RefusalCode.MAX_CAPACITY_REACHED]:
            self._calls.call(self._exclusive.make_way)
            if (message := self._journal.capacity_reached(full)) is not None:
                self._calls.call(partial(self._note, "capacity_reached", message))
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
        self._calls.poke()

    def held_by(self, holder: Holder) -> list[InstrumentKey]:
        """Return what a client holds. Any thread."""
        with self._lock:
            return self._book.held_by(holder)

    def knows_gateway(self, gateway: str) -> bool:
        """Tell whether any client of a gateway holds anything. Any thread."""
        with self._lock:
            return self._book.knows_gateway(gateway)

    def release_gateway(self, gateway: str, most: int | None = None) -> int:
        """Give up references of a gateway, at most so many, or all. Any thread.

        Returns how many of its clients have none any more.
        """
        with self._lock:
            clients = self._book.release_gateway(gateway, self._clock.monotonic(), most)
            self._telemetry.observe()
        self._calls.poke()
        return clients

    def instruments(self, keys: Iterable[InstrumentKey]) -> dict[InstrumentKey, Instrument]:
        """Return those of ``keys`` that are subscribed, resolved. Any thread."""
        with self._lock:
            interests = [(key, self._book.get(key)) for key in keys]
            return {key: interest.instrument for key, interest in interests if interest is not None}

    def names(self) -> dict[InstrumentKey, set[str]]:
        """Return every name that is wanted or may tick, with the broker's tokens. Any thread."""
        with self._lock:
            return self._book.renaming.names()

    def follow_names(
        self,
        today: Mapping[InstrumentKey, Instrument],
        gone: Mapping[InstrumentKey, Gone],
        taken: Collection[str],
    ) -> Renamed:
        """Have everything follow what names mean today; see ``Renaming.follow``.

        On the loop, where no tick can come between the decision and what it silences.
        """
        with self._lock:
            renamed = self._book.renaming.follow(today, gone, taken)
            self._telemetry.observe()
        self._feed.renamed(renamed)
        self._calls.poke()
        if renamed:
            self._journal.names_followed(renamed)
        return renamed

    def acquire(
        self,
        path_or_uri: str,
        timeout: float | None = None,
        *,
        on_reconnect: Callable[[ExclusiveConnection], Awaitable[None]] | None = None,
        terms: ConnectionTerms | None = None,
    ) -> Acquisition:
        """Lend a connection of the account's: ``async with pool.acquire("/ws/x") as connection``.

        Its endpoint and credential are the account's, and it counts against ``max_connections``
        together with market data, whose last connection is never lent. ``terms`` None: it comes
        back by itself and is pinged as the account's options say. See ``ExclusivePool.acquire``.

        Raises:
            ValueError: the URI leads to another host, or the timeout makes no sense.
            PoolExhaustedError: no connection became free in time.
            PoolClosedError: the pool was closed.
            BrokerError: the connection could not be opened.
        """
        self._check_open()
        pool = self._exclusive.pool
        if pool is None:
            pool = self._exclusive.make_pool(self._spec, self._seats.max_connections)
        if timeout is None:
            timeout = self._spec.options.acquire_timeout_seconds
        return pool.acquire(path_or_uri, timeout, on_reconnect=on_reconnect, terms=terms)

    def get_exclusive_stats(self) -> ExclusiveStats | None:
        """Return the lent and idle exclusive connections; None: nothing was acquired yet."""
        return self._exclusive.get_stats()

    def update_options(self, options: PoolOptions) -> None:
        """Take over edited limits and timings. Any thread.

        Raised limits place what waits; lowered ones move what still fits, make-before-break, and
        what does not loses its place, the newest first: its holders are told and keep it, so that
        it comes back once there is room.
        """
        with self._lock:
            self._spec = replace(self._spec, options=options)
            limits = self._seats.limits(options)
            self._book.resize(limits=limits, linger_seconds=options.linger_seconds)
            self._caretaker.warm_up()
            self._telemetry.observe()
        self._calls.poke()
        self._calls.call(self._update_exclusive)
        self._calls.call(partial(self._journal.config_applied, limits, options.revision))

    def credentials_changed(self, version: int) -> None:
        """Note that a newer credential is stored; a waiting pool tries it at once. Any thread."""
        with self._lock:
            self._spec = replace(self._spec, credentials_version=version)
        self._calls.call(partial(self._renew_credentials, version))

    def update_endpoint(self, endpoint: str | None) -> None:
        """Connect to another URL from now on; open connections move over. Any thread."""
        with self._lock:
            self._spec = replace(self._spec, endpoint=endpoint)
        self._calls.call(partial(self._restart_connections, "the endpoint was changed"))

    def update_adapter(
        self, adapter_class: type[BrokerAdapter], settings: tuple[tuple[str, SettingValue], ...]
    ) -> None:
        """Serve the account with edited settings from now on; its connections open anew.

        Whoever holds what the broker does not offer any more is told that it ends; limits follow as
        in ``update_options``. Any thread.
        """
        capabilities = adapter_class.capabilities
        with self._lock:
            self._spec = replace(self._spec, settings=settings)
            self._adapter_class, self._capabilities = adapter_class, capabilities
            self._seats.capabilities = self._exclusive.capabilities = capabilities
            ended = reoffer(self._book, capabilities, self._clock.monotonic())
            self._apply_limits(self._seats.limits(self._spec.options))
            self._telemetry.observe()
        self._calls.poke()
        self._calls.call(partial(self._follow_settings, ended))

    def set_paused(self, is_paused: bool) -> None:
        """Close every connection and open none, or take that back; references stay. Any thread."""
        with self._lock:
            self._spec = replace(self._spec, is_paused=is_paused)
        self._calls.call(self.by_hand.pause if is_paused else self.by_hand.resume)

    def get_stats(self) -> PoolStats:
        """Return the pool as it is now. Any thread."""
        with self._lock:
            return self._telemetry.to_stats(self._spec, self._feed.health)

    def take_usage_sample(self) -> UsageSample:
        """Return the peaks since the last call and start the next interval. Any thread."""
        with self._lock:
            return self._telemetry.take_usage_sample(self._spec.pool_id)

    def _perform(self) -> None:
        self._performer.perform()

    def _make_adapter(self) -> BrokerAdapter:
        with pooled_creation(self._sink):
            return self._adapter_class(endpoint=self._spec.endpoint)

    def _update_exclusive(self) -> None:
        self._exclusive.update_options(self._spec.options, self._seats.max_connections)

    def _renew_credentials(self, version: int) -> None:
        if self._gate.renew(version):
            self._feed.credential_renewed(version)

    def _follow_settings(self, ended: Sequence[Outcome]) -> None:
        self._feed.expelled(ended)
        self._journal.settings_applied(self._spec.settings)
        self._update_exclusive()
        self._gate.forget_refusals()  # a setting may say how the credential is sent
        self._restart_connections("the settings were changed")

    def _restart_connections(self, reason: str) -> None:
        self._gate.interval_seconds = self._capabilities.connect_interval_seconds
        self._gate.reopen(self._spec.endpoint or self._capabilities.default_endpoint)
        self._exclusive.update_endpoint()
        for slot in self._table.connections:
            self._table.restart(slot, reason)
        self._sink.forget(None)  # none of it is a price of where they connect next

    def _apply_limits(self, limits: Limits) -> None:
        self._book.resize(limits=limits)

    def _check_open(self) -> None:
        if self._calls.is_closed:
            raise PoolClosedError(f"pool {self._spec.pool_id} is closed")
