"""A pool over real sockets to the local exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from brokers.simulator.zerodha.exchange import KiteExchange
from brokers.testing import RecordingSink
from brokers.types import Instrument, InstrumentKey
from brokers.zerodha.config import CAPABILITIES
from brokers.zerodha.connection import ZerodhaAdapter
from tests.fix_simulator import ACCESS_TOKEN, API_KEY
from tests.integration.pool_kit import PoolKit

__all__ = ["PoolKit", "QuickAdapter", "kite_kit", "open_pool"]

GOOD = {"api_key": API_KEY, "access_token": ACCESS_TOKEN}


class QuickAdapter(ZerodhaAdapter):
    """Zerodha's adapter at a pace for tests."""

    capabilities = replace(
        CAPABILITIES,
        message_interval_seconds=0.0,
        connect_interval_seconds=0.0,
        heartbeat_seconds=1.0,
    )


def kite_kit(
    exchange: KiteExchange,
    adapter: type[ZerodhaAdapter] = QuickAdapter,
    sink: RecordingSink | None = None,
    **options: Any,
) -> PoolKit:
    """Return a pool of everything that a Kite exchange lists, named by its tokens."""
    names = [(InstrumentKey("NSE", str(token)), str(token)) for token in exchange.market.quotes]
    return PoolKit(
        exchange,
        adapter,
        credentials=GOOD,
        instruments=[Instrument(*name) for name in names],
        sink=sink,
        **options,
    )


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
            kit = kite_kit(exchange, adapter, sink, **options)
            await kit.open()
            stack.push_async_callback(kit.pool.close)
            return kit

        yield make
