"""Fixtures: the local exchange, running in the test's own loop on a free port.

``kite_server``: a Kite exchange of 1,000 instruments, 2,000 ticks/s, valid credential
``API_KEY`` / ``ACCESS_TOKEN``. ``make_kite_server``: the same with other arguments
(``size=``, ``rate=``, anything of ``KiteExchange``); ``make_angel_server``,
``make_dhan_server``, ``make_fyers_server`` and ``make_upstox_server``: those brokers' likewise.
All are closed after the test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import date
from typing import Any

import pytest

from brokers.simulator.angel.exchange import AngelExchange
from brokers.simulator.dhan.exchange import DhanExchange
from brokers.simulator.fyers.exchange import FyersExchange
from brokers.simulator.market import Market, build_market
from brokers.simulator.upstox.exchange import UpstoxExchange
from brokers.simulator.zerodha.exchange import KiteExchange

__all__ = [
    "ACCESS_TOKEN",
    "API_KEY",
    "CONTROL_TOKEN",
    "OPENED_S",
    "TODAY",
    "MakeAngelServer",
    "MakeDhanServer",
    "MakeFyersServer",
    "MakeKiteServer",
    "MakeUpstoxServer",
    "kite_server",
    "make_angel_server",
    "make_dhan_server",
    "make_fyers_server",
    "make_kite_server",
    "make_market",
    "make_upstox_server",
]

API_KEY = "test-key"
ACCESS_TOKEN = "test-token"
CONTROL_TOKEN = "test-control"
TODAY = date(2026, 1, 5)
OPENED_S = 1_767_600_000  # 2026-01-05 08:00:00 UTC

MakeAngelServer = Callable[..., Awaitable[AngelExchange]]
MakeDhanServer = Callable[..., Awaitable[DhanExchange]]
MakeFyersServer = Callable[..., Awaitable[FyersExchange]]
MakeKiteServer = Callable[..., Awaitable[KiteExchange]]
MakeUpstoxServer = Callable[..., Awaitable[UpstoxExchange]]


def make_market(size: int = 1_000, seed: int = 7) -> Market:
    """Return the market of the fixtures' exchanges, as it is when it opens."""
    return build_market(seed=seed, today=TODAY, now_s=OPENED_S, size=size)


@pytest.fixture
async def make_kite_server() -> AsyncIterator[MakeKiteServer]:
    async with AsyncExitStack() as stack:

        async def make(*, size: int = 1_000, seed: int = 7, **options: Any) -> KiteExchange:
            market = options.pop("market", None) or make_market(size, seed)
            defaults: dict[str, Any] = {"api_key": API_KEY, "access_token": ACCESS_TOKEN}
            return await stack.enter_async_context(
                KiteExchange(market=market, **(defaults | options))
            )

        yield make


@pytest.fixture
async def make_angel_server() -> AsyncIterator[MakeAngelServer]:
    async with AsyncExitStack() as stack:

        async def make(*, size: int = 1_000, seed: int = 7, **options: Any) -> AngelExchange:
            market = options.pop("market", None) or make_market(size, seed)
            defaults: dict[str, Any] = {"api_key": API_KEY, "access_token": ACCESS_TOKEN}
            return await stack.enter_async_context(
                AngelExchange(market=market, **(defaults | options))
            )

        yield make


@pytest.fixture
async def make_dhan_server() -> AsyncIterator[MakeDhanServer]:
    async with AsyncExitStack() as stack:

        async def make(*, size: int = 1_000, seed: int = 7, **options: Any) -> DhanExchange:
            market = options.pop("market", None) or make_market(size, seed)
            defaults: dict[str, Any] = {"access_token": ACCESS_TOKEN}
            return await stack.enter_async_context(
                DhanExchange(market=market, **(defaults | options))
            )

        yield make


@pytest.fixture
async def make_fyers_server() -> AsyncIterator[MakeFyersServer]:
    async with AsyncExitStack() as stack:

        async def make(*, size: int = 1_000, seed: int = 7, **options: Any) -> FyersExchange:
            market = options.pop("market", None) or make_market(size, seed)
            defaults: dict[str, Any] = {"access_token": ACCESS_TOKEN}
            return await stack.enter_async_context(
                FyersExchange(market=market, **(defaults | options))
            )

        yield make


@pytest.fixture
async def make_upstox_server() -> AsyncIterator[MakeUpstoxServer]:
    async with AsyncExitStack() as stack:

        async def make(*, size: int = 1_000, seed: int = 7, **options: Any) -> UpstoxExchange:
            market = options.pop("market", None) or make_market(size, seed)
            defaults: dict[str, Any] = {"access_token": ACCESS_TOKEN}
            return await stack.enter_async_context(
                UpstoxExchange(market=market, **(defaults | options))
            )

        yield make


@pytest.fixture
async def kite_server(make_kite_server: MakeKiteServer) -> KiteExchange:
    return await make_kite_server()
