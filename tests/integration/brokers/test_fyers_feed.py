"""Fyers in a pool, as it ships: one connection, which acknowledges what it gets."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from brokers.fyers.connection import FyersAdapter
from brokers.simulator.fyers.exchange import FyersExchange
from brokers.types import FeedMode
from tests.integration.brokers.conftest import OpenPool
from tests.integration.brokers.fyers_lab import FYERS
from tests.support import eventually

AS_SHIPPED = replace(FYERS, adapter=FyersAdapter, exchange=partial(FyersExchange, ack_every=3))


@pytest.mark.parametrize("lab", [AS_SHIPPED], ids=["fyers"], indirect=True)
async def test_what_the_server_wants_acknowledged_is(open_pool: OpenPool):
    """It sends no more than twice as many frames ahead; many times that arrive."""
    kit = await open_pool()
    kit.want(*kit.keys[:3], mode=FeedMode.DEPTH)
    await eventually(lambda: kit.confirmed == 3)
    ticks = len(kit.sink.published)
    await eventually(lambda: len(kit.sink.published) > ticks + 300, timeout=30)
    record = kit.exchange.record()
    assert (record.opened, record.complaints()) == (1, [])
