"""Pool of all connections of one broker account, filled and kept alive.

Concurrency: one lock guards all that is decided on (``PoolParts`` says what); every decision is
made inside it, and nothing inside it waits or talks. Connections, timers and events live on the
loop that ``open`` ran on. Public methods may be called from any thread; they decide at once and
leave the rest to a run of ``PoolRuntime`` on the loop.

A shell: a short method for each verb. ``build`` makes and joins what it works with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from brokers.contract import BrokerAdapter
from brokers.pool_service import FeedEvent, Holder, Outcome, PoolStats, RefusalCode, Want
from brokers.settings import SettingValue
from brokers.types import Instrument, InstrumentKey, TickSink
from pooling.clock import Clock
from pooling.connection.pulse import Pulse
from pooling.connectors.websocket import Connector
from pooling.contracts import AccountSpec, AccountStore, PoolOptions, UsageSample
from pooling.exceptions import PoolClosedError
from pooling.exclusive.connection import ExclusiveConnection
from pooling.exclusive.options import ConnectionTerms, ExclusiveStats
from pooling.exclusive.pool import Acquisition
from pooling.pool.build import build_pool
from pooling.retry_waits import Randomness
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
        parts, self._seats, self._exclusive, self._feed, self._runtime, self.operator = build_pool(
            spec=spec,
            adapter_class=adapter_class,
            sink=sink,
            store=store,
            clock=clock,
            rng=rng,
            connector=connector,
            on_event=on_event,
            on_note=on_note,
            prepare=prepare,
            pulse=pulse,
        )
        self._lock, self._account = parts.lock, parts.account
        self._book, self._table, self._gate = parts.book, parts.table, parts.gate
        self._journal, self._telemetry, self._clock = parts.journal, parts.telemetry, parts.clock
        self._note = on_note

    def __repr__(self) -> str:
        book, limits = self._book, self._book.limits
        return (
            f"<ConnectionPool {self.spec.pool_id} {self.spec.broker} {self._feed.health.status} "
            f"{book.used}/{limits.capacity} on {len(book.slots)}/{limits.max_connections}>"
        )

    @property
    def spec(self) -> AccountSpec:
        """The account as it is in force now."""
        return self._account.spec

    async def open(self) -> None:
        """Start serving on the running loop. Idempotent.

        The warm connections open at once, others as symbols need them.

        Raises:
            PoolClosedError: it was closed; a pool opens once.
        """
        with self._lock:
            self._check_open()
            if self._runtime.is_open:
                return
            self._runtime.open()
        self._feed.start()
        if self.spec.is_paused:
            self.operator.pause()
        self._journal.pool_started(self.spec, self._book.limits)
        self._runtime.start()
        self._runtime.request_run()

    async def close(self) -> None:
        """Close every socket with 1000 and stop; under five seconds. Idempotent.

        Nothing is unsubscribed one by one: the broker forgets a socket's subscriptions with it.
        """
        with self._lock:
            was_closed = self._runtime.close()
            connections = [] if was_closed else list(self._table.connections.values())
        self._runtime.stop()
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
        self._runtime.request_run()
        self._journal.symbols(before, after)
        if full := [o for o in outcomes if o.code is RefusalCode.MAX_CAPACITY_REACHED]:
            self._runtime.call(self._exclusive.make_way)
            if (message := self._journal.capacity_reached(full)) is not None:
                self._runtime.call(partial(self._note, "capacity_reached", message))
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
        self._runtime.request_run()

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
        self._runtime.request_run()
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
        self._runtime.request_run()
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
            pool = self._exclusive.make_pool(self.spec, self._seats.max_connections)
        if timeout is None:
            timeout = self._account.options.acquire_timeout_seconds
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
            self._account.spec = replace(self.spec, options=options)
            limits = self._seats.limits(options)
            self._book.resize(limits=limits, linger_seconds=options.linger_seconds)
            self._runtime.keep_warm()
            self._telemetry.observe()
        self._runtime.request_run()
        self._runtime.call(self._update_exclusive)
        self._runtime.call(partial(self._journal.config_applied, limits, options.revision))

    def credentials_changed(
        self, version: int, *, lack: str = "", ends_ms: int | None = None
    ) -> None:
        """Note what is stored now; a waiting pool tries a newer credential at once. Any thread.

        Args:
            version: of the credential.
            lack: what of it is not stored, in words; "": nothing.
            ends_ms: when it ends, in epoch milliseconds; None: nobody can know.
        """
        with self._lock:
            self._account.spec = replace(
                self.spec,
                credentials_version=version,
                credential_lack=lack,
                credential_expiry_ms=ends_ms,
            )
        self._runtime.call(partial(self._renew_credentials, version, lack, ends_ms))

    def update_endpoint(self, endpoint: str | None) -> None:
        """Connect to another URL from now on; open connections move over. Any thread."""
        with self._lock:
            self._account.spec = replace(self.spec, endpoint=endpoint)
        self._runtime.call(partial(self._restart_connections, "the endpoint was changed"))

    def update_adapter(
        self, adapter_class: type[BrokerAdapter], settings: tuple[tuple[str, SettingValue], ...]
    ) -> None:
        """Serve the account with edited settings from now on; its connections open again.

        Whoever holds what the broker does not offer any more is told that it ends; limits follow as
        in ``update_options``. Any thread.
        """
        with self._lock:
            self._account.spec = replace(self.spec, settings=settings)
            self._account.adapter_class = adapter_class
            ended = reoffer(self._book, adapter_class.capabilities, self._clock.monotonic())
            self._book.resize(limits=self._seats.limits(self._account.options))
            self._telemetry.observe()
        self._runtime.request_run()
        self._runtime.call(partial(self._follow_settings, ended))

    def set_paused(self, is_paused: bool) -> None:
        """Close every connection and open none, or take that back; references stay. Any thread."""
        with self._lock:
            self._account.spec = replace(self.spec, is_paused=is_paused)
        self._runtime.call(self.operator.pause if is_paused else self.operator.resume)

    def get_stats(self) -> PoolStats:
        """Return the pool as it is now. Any thread."""
        with self._lock:
            return self._telemetry.to_stats(self.spec, self._feed.health)

    def take_usage_sample(self) -> UsageSample:
        """Return the peaks since the last call and start the next interval. Any thread."""
        with self._lock:
            return self._telemetry.take_usage_sample(self.spec.pool_id)

    def _update_exclusive(self) -> None:
        self._exclusive.update_options(self._account.options, self._seats.max_connections)

    def _renew_credentials(self, version: int, lack: str, ends_ms: int | None) -> None:
        if self._gate.renew(version, lack=lack, ends_ms=ends_ms):
            self._feed.credential_renewed(version)
        self._feed.look_at_login()

    def _follow_settings(self, ended: Sequence[Outcome]) -> None:
        self._feed.expelled(ended)
        self._journal.settings_applied(self.spec.settings)
        self._update_exclusive()
        self._gate.forget_refusals()  # a setting may say how the credential is sent
        self._restart_connections("the settings were changed")

    def _restart_connections(self, reason: str) -> None:
        self._gate.interval_seconds = self._account.capabilities.connect_interval_seconds
        self._gate.reopen(self._account.endpoint)
        self._exclusive.update_endpoint()
        for slot in self._table.connections:
            self._table.restart(slot, reason)
        self._account.sink.forget(None)  # none of it is a price of where they connect next

    def _check_open(self) -> None:
        if self._runtime.is_closed:
            raise PoolClosedError(f"pool {self.spec.pool_id} is closed")
