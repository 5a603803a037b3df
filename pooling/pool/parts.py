"""Parts that everything of one pool shares, and the lock that guards them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from brokers.context import pooled_creation
from brokers.contract import BrokerAdapter, BrokerCapabilities
from brokers.types import TickSink
from pooling.clock import Clock
from pooling.connectors.credential_gate import CredentialGate
from pooling.contracts import AccountSpec, PoolOptions
from pooling.pool.connections import ConnectionTable
from pooling.pool.journal import PoolJournal
from pooling.pool.telemetry import PoolTelemetry
from pooling.subscriptions.book import SubscriptionBook

__all__ = ["PoolAccount", "PoolParts"]


class PoolAccount:
    """The account as it is in force now, and the adapters that are made for it.

    Args:
        spec: the account with its options.
        adapter_class: the broker; built inside ``pooled_creation(sink)``.
        sink: where the account's ticks go.
    """

    def __init__(
        self, *, spec: AccountSpec, adapter_class: type[BrokerAdapter], sink: TickSink
    ) -> None:
        # Both are replaced by what was edited, under the pool's lock.
        self.spec = spec
        self.adapter_class = adapter_class
        self.sink = sink

    @property
    def options(self) -> PoolOptions:
        """The limits and timings in force."""
        return self.spec.options

    @property
    def capabilities(self) -> BrokerCapabilities:
        """The broker's own limits, as the account's settings have them."""
        return self.adapter_class.capabilities

    @property
    def endpoint(self) -> str:
        """The URL that its connections connect to."""
        return self.spec.endpoint or self.capabilities.default_endpoint

    def make_adapter(self) -> BrokerAdapter:
        """Return a new adapter for the endpoint in force."""
        with pooled_creation(self.sink):
            return self.adapter_class(endpoint=self.spec.endpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolParts:
    """State that a pool's feed, runtime and operator share. ``build_pool`` makes it, once.

    Whoever is called while it holds ``lock`` says *under the lock*; nobody else is.
    """

    # The pool's only lock. It guards the account in force, the book with all that is in it, the
    # table of connections, the seats, the peaks and counters of the telemetry, the feed's set of
    # stale instruments, and whether the runtime is open. Every decision is made inside it; nothing
    # inside it waits, talks or announces.
    lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    account: PoolAccount
    book: SubscriptionBook
    table: ConnectionTable
    gate: CredentialGate
    clock: Clock
    telemetry: PoolTelemetry
    journal: PoolJournal
