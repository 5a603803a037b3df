"""Building of a pool: every part once, in the order in which the later ones need the earlier."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from brokers.contract import BrokerAdapter
from brokers.pool_service import FeedEvent
from brokers.types import TickSink
from pooling.clock import Clock
from pooling.connection.pulse import Pulse
from pooling.connectors.credential_gate import CredentialGate
from pooling.connectors.websocket import Connector
from pooling.contracts import AccountSpec, AccountStore
from pooling.pool.announcer import FeedAnnouncer
from pooling.pool.connections import ConnectionTable
from pooling.pool.exclusive import AccountExclusive, AccountSeats
from pooling.pool.feed import PoolFeed
from pooling.pool.journal import PoolJournal
from pooling.pool.operator import PoolOperator
from pooling.pool.parts import PoolAccount, PoolParts
from pooling.pool.runtime import PoolRuntime
from pooling.pool.telemetry import PoolTelemetry
from pooling.retry_waits import Randomness
from pooling.subscriptions.book import SubscriptionBook

__all__ = ["BuiltPool", "build_pool"]


class BuiltPool(NamedTuple):
    """A pool's parts, joined."""

    parts: PoolParts
    seats: AccountSeats
    exclusive: AccountExclusive
    feed: PoolFeed
    runtime: PoolRuntime
    operator: PoolOperator


def build_pool(
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
    prepare: Callable[[], Awaitable[None]],
    pulse: Pulse | None,
) -> BuiltPool:
    """Build what a ``ConnectionPool`` of these arguments works with; nothing is opened yet."""
    pool_id, capabilities = spec.pool_id, adapter_class.capabilities
    account = PoolAccount(spec=spec, adapter_class=adapter_class, sink=sink)
    seats = AccountSeats(account=account)
    book = SubscriptionBook(
        limits=seats.limits(spec.options),
        cost=adapter_class.cost,
        category=adapter_class.category,
        modes=capabilities.modes,
        depth_levels=capabilities.depth_levels,
        linger_seconds=spec.options.linger_seconds,
    )
    gate = CredentialGate(
        pool_id=pool_id,
        store=store,
        clock=clock,
        is_required=bool(capabilities.credential_fields),
        interval_seconds=capabilities.connect_interval_seconds,
        version=spec.credentials_version,
        endpoint=account.endpoint,
        lack=spec.credential_lack,
        ends_ms=spec.credential_expiry_ms,
    )
    table = ConnectionTable(
        pool_id=pool_id,
        make_adapter=account.make_adapter,
        gate=gate,
        connector=connector,
        clock=clock,
        rng=rng,
        pulse=pulse or Pulse(clock=clock),
    )
    telemetry = PoolTelemetry(clock=clock, book=book, connections=table.connections)
    parts = PoolParts(
        account=account,
        book=book,
        table=table,
        gate=gate,
        clock=clock,
        telemetry=telemetry,
        journal=PoolJournal(
            pool_id=pool_id, clock=clock, note=on_note, describe_peaks=telemetry.describe_peaks
        ),
    )
    runtime = PoolRuntime(parts, rng=rng)
    feed = PoolFeed(
        parts,
        announcer=FeedAnnouncer(pool_id=pool_id, clock=clock, emit=on_event),
        request_run=runtime.request_run,
        prepare=prepare,
    )
    operator = PoolOperator(parts, feed=feed, runtime=runtime, seats=seats)
    exclusive = AccountExclusive(
        seats=seats, account=account, gate=gate, connector=connector, clock=clock, rng=rng
    )
    # Three circles, closed here and nowhere else. A run tells the feed, which asks for runs; the
    # seats say the book's limits, and count its connections; a closed connection makes room for
    # an exclusive one, which takes its seat from the same account.
    runtime.feed = feed
    seats.join(parts, request_run=runtime.request_run)
    table.on_closed = exclusive.serve
    return BuiltPool(parts, seats, exclusive, feed, runtime, operator)
