"""Exclusive connections of one broker account, within the limit that its market data shares.

The broker counts sockets, not what they are for: market data and exclusive connections take from
one ``max_connections``. The last one is market data's, so that it can never be locked out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

from brokers.contract import BrokerAdapter, BrokerCapabilities, Handshake
from brokers.exceptions import BrokerRateLimitError
from pooling.clock import Clock
from pooling.connectors.credential_gate import CredentialGate
from pooling.connectors.websocket import Connector, Transport, UpgradeRefusedError
from pooling.contracts import AccountSpec, PoolOptions
from pooling.exclusive.options import ExclusiveOptions, ExclusiveStats, ReconnectOptions
from pooling.exclusive.pool import ExclusivePool
from pooling.pool.connections import ConnectionTable
from pooling.pool.parts import PoolAccount, PoolParts
from pooling.retry_waits import Randomness
from pooling.subscriptions.book import SubscriptionBook
from pooling.subscriptions.capacity import Limits, effective_limits

__all__ = ["AccountConnector", "AccountExclusive", "AccountSeats"]


class AccountSeats:
    """The account's connections that exclusive use has taken. Implements ``Seats``.

    Args:
        account: what the broker allows; ``limits`` puts it into force.
    """

    # The pool's lock, market data's connections, and how what follows is done; ``join`` sets them.
    _lock: threading.Lock
    _book: SubscriptionBook
    _table: ConnectionTable
    _request_run: Callable[[], None]

    def __init__(self, *, account: PoolAccount) -> None:
        self._account = account
        self._full: Limits | None = None  # the account's, of both kinds together; under the lock
        self._taken = 0  # connections that exclusive use has now; under the lock

    def join(self, parts: PoolParts, *, request_run: Callable[[], None]) -> None:
        """Count these connections as market data's; their limits follow what is taken."""
        self._lock, self._book, self._table = parts.lock, parts.book, parts.table
        self._request_run = request_run

    @property
    def max_connections(self) -> int:
        """The account's limit in force, of both kinds together."""
        return 1 if self._full is None else self._full.max_connections

    def limits(self, options: PoolOptions) -> Limits:
        """Put the account's limits into force; returns what of them is left for market data."""
        self._full = self._effective(options, self._account.capabilities)
        return self._left_for_feed(self._full)

    def tried(self, options: PoolOptions, capabilities: BrokerCapabilities | None = None) -> Limits:
        """Return what these limits would leave for market data; nothing changes.

        ``capabilities`` None: those in force.
        """
        return self._left_for_feed(
            self._effective(options, capabilities or self._account.capabilities)
        )

    def take(self) -> bool:
        """Take a connection if the account has one to spare."""
        with self._lock:
            full = self._full
            if full is None or self._taken + 1 >= full.max_connections:
                return False
            open_sockets = len(self._book.slots) + self._table.closing
            if open_sockets + self._taken >= full.max_connections:
                return False
            self._taken += 1
            self._book.resize(limits=self._left_for_feed(full))
        self._request_run()
        return True

    def give_back(self) -> None:
        """Give a connection back: market data may open it again."""
        with self._lock:
            self._taken -= 1
            if self._full is not None:
                self._book.resize(limits=self._left_for_feed(self._full))
        self._request_run()

    def _effective(self, options: PoolOptions, capabilities: BrokerCapabilities) -> Limits:
        return effective_limits(
            symbols_per_connection=options.symbols_per_connection,
            max_connections=options.max_connections,
            capabilities=capabilities,
        )

    def _left_for_feed(self, full: Limits) -> Limits:
        return replace(full, max_connections=max(1, full.max_connections - self._taken))


class AccountConnector:
    """A ``Connector`` that connects as the account: its credential, its pace, its host only.

    Args:
        gate: where credentials come from, one connect at a time.
        make_adapter: knows how the broker wants to be connected to.
        connector: opens sockets.
    """

    def __init__(
        self,
        *,
        gate: CredentialGate,
        make_adapter: Callable[[], BrokerAdapter],
        connector: Connector,
    ) -> None:
        self._gate = gate
        self._make_adapter = make_adapter
        self._connector = connector

    async def __call__(
        self, handshake: Handshake, *, open_timeout_seconds: float, max_frame_bytes: int
    ) -> Transport:
        """Open one socket; see ``Connector``. A refused path does not condemn the credential."""
        adapter = self._make_adapter()
        transport: Transport | None = None
        async with self._gate.attempt() as credentials:
            own = adapter.handshake(credentials)
            try:
                transport = await self._connector(
                    Handshake(
                        _merge(own.url, handshake.url),
                        own.headers,
                        redirect_domain=own.redirect_domain,
                    ),
                    open_timeout_seconds=open_timeout_seconds,
                    max_frame_bytes=max_frame_bytes,
                )
            except UpgradeRefusedError as error:
                refusal = error
                meaning = adapter.refused(error.status, error.headers, error.body)
                if isinstance(meaning, BrokerRateLimitError):
                    raise meaning from error  # the gate holds the account's other connects, too
        if transport is None:
            raise meaning from refusal
        try:
            for message in own.first_messages:
                await transport.send(message)
        except BaseException:
            transport.abort()
            raise
        return transport


class AccountExclusive:
    """The exclusive pool of an account, once ``acquire`` needed one. On the worker's loop.

    Args:
        seats: shared with market data.
        account: what the broker allows; ``update_options`` puts it into force.
        gate, connector: as the account connects.
        clock: where time is read.
        rng: jitter of reconnects.
    """

    def __init__(
        self,
        *,
        seats: AccountSeats,
        account: PoolAccount,
        gate: CredentialGate,
        connector: Connector,
        clock: Clock,
        rng: Randomness,
    ) -> None:
        self._seats = seats
        self._account = account
        self._connector = AccountConnector(
            gate=gate, make_adapter=account.make_adapter, connector=connector
        )
        self._clock = clock
        self._rng = rng
        self.pool: ExclusivePool | None = None  # None: nothing was acquired yet; loop only

    def make_pool(self, spec: AccountSpec, max_connections: int) -> ExclusivePool:
        """Make the pool for the account's first ``acquire``."""
        self.pool = ExclusivePool(
            base_uri=self._account.make_adapter().endpoint,
            connector=self._connector,
            clock=self._clock,
            rng=self._rng,
            options=self._exclusive_options(spec.options, max_connections),
            seats=self._seats,
            is_bound=True,
            name=spec.pool_id,
        )
        return self.pool

    def get_stats(self) -> ExclusiveStats | None:
        """Return the pool as it is now; None: nothing was acquired yet."""
        return None if self.pool is None else self.pool.get_stats()

    def update_options(self, options: PoolOptions, max_connections: int) -> None:
        """Take over the account's edited limits and timings; see ``ExclusivePool``."""
        if self.pool is not None:
            self.pool.update_options(self._exclusive_options(options, max_connections))

    def update_endpoint(self) -> None:
        """Connect to the endpoint that is in force now; idle connections to another are closed."""
        if self.pool is not None:
            self.pool.rebase(self._account.make_adapter().endpoint)

    def make_way(self, count: int = 1) -> None:
        """Close idle connections, because market data needs their places."""
        if self.pool is not None:
            self.pool.evict_idle(count)

    def serve(self) -> None:
        """Notice that market data may have let go of a connection."""
        if self.pool is not None:
            self.pool.serve()

    async def close(self) -> None:
        """Wait a moment for holders, then close everything. Idempotent."""
        if self.pool is not None:
            await self.pool.close(drain_seconds=1.0)

    def _exclusive_options(self, options: PoolOptions, max_connections: int) -> ExclusiveOptions:
        capabilities = self._account.capabilities
        reconnect_seconds = options.exclusive_reconnect_seconds
        return ExclusiveOptions(
            max_connections=max_connections,
            max_idle_seconds=options.max_idle_seconds,
            health_check_seconds=options.health_check_seconds,
            acquire_timeout_seconds=options.acquire_timeout_seconds,
            connect_timeout_seconds=options.connect_timeout_seconds,
            reconnect=(
                ReconnectOptions(cap_seconds=reconnect_seconds) if reconnect_seconds else None
            ),
            heartbeat_seconds=options.exclusive_heartbeat_seconds or None,
            message_interval_seconds=capabilities.message_interval_seconds,
            max_message_bytes=capabilities.max_message_bytes,
            max_frame_bytes=capabilities.max_frame_bytes,
        )


def _merge(own: str, asked: str) -> str:
    """Return the asked path and query with what the adapter's URL has in its own query."""
    mine, theirs = urlsplit(own), urlsplit(asked)
    query = "&".join(part for part in (mine.query, theirs.query) if part)
    return urlunsplit((mine.scheme, mine.netloc, theirs.path, query, ""))
