"""Fixtures of the contract: each broker's lab, its exchange, and pools on it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest

from brokers.types import Instrument, InstrumentKey
from tests.fix_simulator import ACCESS_TOKEN, API_KEY, make_market
from tests.integration.brokers.angel_lab import ANGEL
from tests.integration.brokers.dhan_lab import DHAN
from tests.integration.brokers.fyers_lab import FYERS
from tests.integration.brokers.lab import BrokerLab, MarketBroker
from tests.integration.brokers.upstox_lab import UPSTOX
from tests.integration.brokers.zerodha_lab import ZERODHA
from tests.integration.pool_kit import PoolKit

__all__ = ["LABS", "BrokerPool", "OpenPool", "lab", "open_pool"]

LABS = (ZERODHA, ANGEL, DHAN, FYERS, UPSTOX)


class BrokerPool(PoolKit):
    """A pool on a broker's own exchange, whose instruments come from that exchange's master."""

    def __init__(self, lab: BrokerLab, exchange: MarketBroker, **arguments: Any) -> None:
        super().__init__(exchange, credentials=lab.credentials, **arguments)
        self.lab = lab
        self.market = exchange
        tokens = {item.broker_token: key for key, item in self.instruments.items()}
        self.quotes = {
            tokens[token]: quote
            for quote in exchange.market.quotes.values()
            if (token := lab.broker_token(quote.instrument)) in tokens
        }


OpenPool = Callable[..., Awaitable[BrokerPool]]


@pytest.fixture(params=LABS, ids=lambda lab: lab.name)
def lab(request: pytest.FixtureRequest) -> BrokerLab:
    """Each broker in turn."""
    found: BrokerLab = request.param
    return found


@pytest.fixture
async def open_pool(lab: BrokerLab) -> AsyncIterator[OpenPool]:
    """Open an exchange of the lab's broker and a pool on it; both are closed after the test.

    ``make(rate=…, limit=…, capabilities={…}, **options)``: ``limit`` is the broker's own for one
    connection, ``options`` are ``PoolOptions``.
    """
    async with AsyncExitStack() as stack:

        async def make(
            *,
            rate: float = 5_000,
            limit: int | None = None,
            size: int = 1_000,
            capabilities: dict[str, Any] | None = None,
            **options: Any,
        ) -> BrokerPool:
            limits = {} if limit is None else {lab.limit_option: limit}
            exchange = lab.exchange(
                market=make_market(size),
                api_key=API_KEY,
                access_token=ACCESS_TOKEN,
                rate=rate,
                **limits,
            )
            await stack.enter_async_context(exchange)
            kit = BrokerPool(
                lab,
                exchange,
                adapter=lab.quick_adapter(**(capabilities or {})),
                instruments=await listed(lab, exchange),
                **({"symbols_per_connection": 3, "linger_seconds": 0.1} | options),
            )
            await kit.open()
            stack.push_async_callback(kit.pool.close)
            return kit

        yield make


async def listed(lab: BrokerLab, exchange: MarketBroker) -> list[Instrument]:
    """Return the instruments as ``loadinstruments`` finds them."""
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        answers = [await http.get(url) for url in lab.adapter.master_urls(exchange.http_url)]
    files = [io.BytesIO(answer.raise_for_status().content) for answer in answers]
    return [
        Instrument(InstrumentKey(row.exchange, row.symbol), row.broker_token)
        for row in lab.adapter.parse_masters(files)
    ]
