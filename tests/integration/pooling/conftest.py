"""A pool over real sockets to the local exchange."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from brokers.feed import FeedChange, Holder, Outcome, SubscriptionChange, Want
from brokers.simulator.kite import KiteExchange
from brokers.testing import RecordingSink
from brokers.types import FeedMode, Instrument, InstrumentKey
from brokers.zerodha.config import CAPABILITIES
from brokers.zerodha.connection import ZerodhaAdapter
from pooling.clock import SystemClock
from pooling.contracts import AccountSpec, PoolOptions
from pooling.pool import ConnectionPool
from pooling.testing import InMemoryAccountStore
from pooling.transport import WebSocketConnector
from tests.fix_simulator import ACCESS_TOKEN, API_KEY

__all__ = ["PoolKit", "open_pool"]

GOOD = {"api_key": API_KEY, "access_token": ACCESS_TOKEN}


class QuickAdapter(ZerodhaAdapter):
    """Zerodha's adapter at a pace for tests."""

    capabilities = replace(
        CAPABILITIES,
        message_interval_seconds=0.0,
        connect_interval_seconds=0.0,
        heartbeat_seconds=1.0,
    )


class PoolKit:
    """One pool, the exchange at its other end, and what it told."""

    def __init__(
        self,
        exchange: KiteExchange,
        adapter: type[ZerodhaAdapter],
        sink: RecordingSink | None = None,
        **options: Any,
    ):
        self.exchange = exchange
        self.spec = AccountSpec(
            pool_id="1",
            broker="zerodha",
            user_id=1,
            label="test",
            options=PoolOptions(**options),
            endpoint=exchange.url,
            credentials_version=1,
        )
        self.store = InMemoryAccountStore(self.spec, values=GOOD)
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
        self.instruments = {
            (k := InstrumentKey("NSE", str(token))): Instrument(k, str(token))
            for token in exchange.market.quotes
        }
        self.keys = list(self.instruments)

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


@pytest.fixture
async def open_pool() -> AsyncIterator[Callable[..., Awaitable[PoolKit]]]:
    async with AsyncExitStack() as stack:

        async def make(
            exchange: KiteExchange,
            *,
            adapter=QuickAdapter,
            sink: RecordingSink | None = None,
            **options: Any,
        ) -> PoolKit:
            options = {"symbols_per_connection": 3, "linger_seconds": 0.1} | options
            kit = PoolKit(exchange, adapter, sink, **options)
            await kit.pool.open()
            stack.push_async_callback(kit.pool.close)
            return kit

        yield make
