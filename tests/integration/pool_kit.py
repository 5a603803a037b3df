"""A pool over real sockets to a local exchange, for the tests of any broker."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

from brokers.contract import BrokerAdapter
from brokers.pool_service import FeedChange, Holder, Outcome, SubscriptionChange, Want
from brokers.simulator.exchange import LocalExchange
from brokers.testing import RecordingSink
from brokers.types import FeedMode, Instrument, InstrumentKey
from pooling.clock import SystemClock
from pooling.connectors.websocket import WebSocketConnector
from pooling.contracts import AccountSpec, PoolOptions
from pooling.pool.pool import ConnectionPool
from pooling.testing import InMemoryAccountStore

__all__ = ["PoolKit"]


class PoolKit:
    """One pool, the exchange at its other end, and what it told.

    Args:
        exchange: open already; the pool connects to its ``url``.
        adapter: of the exchange's broker.
        credentials: stored for the account.
        instruments: what can be wanted.
        sink: takes the ticks; None makes one.
        options: of ``PoolOptions``.
    """

    def __init__(
        self,
        exchange: LocalExchange,
        adapter: type[BrokerAdapter],
        *,
        credentials: Mapping[str, str],
        instruments: Iterable[Instrument],
        sink: RecordingSink | None = None,
        **options: Any,
    ):
        self.exchange = exchange
        self.spec = AccountSpec(
            pool_id="1",
            broker=adapter.capabilities.name,
            user_id=1,
            label="test",
            options=PoolOptions(**options),
            endpoint=exchange.url,
            credentials_version=1,
        )
        self.store = InMemoryAccountStore(self.spec, values=dict(credentials))
        self.sink = sink or RecordingSink()
        self.events: list[Any] = []
        self.notes: list[tuple[str, str]] = []
        clock = SystemClock()
        self.pool = ConnectionPool(
            spec=self.spec,
            adapter_class=adapter,
            sink=self.sink,
            store=self.store,
            clock=clock,
            rng=random.Random(1),
            connector=WebSocketConnector(clock=clock),
            on_event=self.events.append,
            on_note=lambda kind, message: self.notes.append((kind, message)),
        )
        self.instruments = {instrument.key: instrument for instrument in instruments}
        self.keys = list(self.instruments)

    async def open(self) -> None:
        """Open the pool as if it had been there for a while and nobody had wanted anything."""
        await self.pool.open()
        self.pool._feed._forget_start()
        self.pool._feed.judge()

    def want(self, *keys: InstrumentKey, mode=FeedMode.QUOTE, client: str = "ann") -> list[Outcome]:
        wants = [Want(key, mode) for key in keys]
        return self.pool.want(Holder("g", client), wants, self.instruments)

    def release(self, *keys: InstrumentKey, client: str = "ann") -> None:
        self.pool.release(Holder("g", client), keys or None)

    @property
    def confirmed(self) -> int:
        return self.pool.get_stats().confirmed

    @property
    def feed(self) -> list[FeedChange]:
        return [event for event in self.events if isinstance(event, FeedChange)]

    @property
    def outcomes(self) -> list[Outcome]:
        changes = [event for event in self.events if isinstance(event, SubscriptionChange)]
        return [outcome for change in changes for outcome in change.outcomes]
