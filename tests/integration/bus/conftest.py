"""Fixtures of the bus tests: a port, and a worker and a gateway that have met there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.integration.bus.ends import Gateway, Worker
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
