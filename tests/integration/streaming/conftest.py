"""Fixtures of both sides of a gateway: its bus, and its clients.

``worker`` and ``gateway`` have met at ``port``; ``edge`` is a server with a worker in memory, and
``make_edge`` makes others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.integration.streaming.bus_kit.ends import Gateway, Worker
from tests.integration.streaming.edge_kit import EdgeServer, MakeEdge
from tests.support import eventually, free_port


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def worker(port, stack) -> Worker:
    worker = await Worker(port).open()
    stack.push_async_callback(worker.close)
    return worker


@pytest.fixture
async def gateway(port, worker, stack) -> Gateway:
    gateway = await Gateway(port).open()
    stack.push_async_callback(gateway.close)
    await gateway.met()
    # Events go to the gateways that the worker knows: the link hears a beat before that.
    await eventually(lambda: gateway.link.gateway_id in worker.server.gateways)
    return gateway


@pytest.fixture
async def make_edge() -> AsyncIterator[MakeEdge]:
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> EdgeServer:
            return await stack.enter_async_context(EdgeServer(**options))

        yield make


@pytest.fixture
async def edge(make_edge: MakeEdge) -> EdgeServer:
    return await make_edge()
