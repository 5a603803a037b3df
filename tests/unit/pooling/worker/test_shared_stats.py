"""What a worker tells of its endpoints and of the connections that it lends. Virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from brokers.contract import ConnectRate
from brokers.registry import BrokerRegistry
from pooling.testing import make_adapter_class
from tests.unit.pooling.kit import spec, virtual
from tests.unit.pooling.worker.test_worker import open_worker

RATE = ConnectRate(attempts=2, window_seconds=60.0)


def counting() -> BrokerRegistry:
    registry = BrokerRegistry()
    registry.register(
        make_adapter_class(connect_rate=RATE, default_endpoint="wss://fake.invalid/feed?v=3")
    )
    return registry


@virtual
async def test_an_endpoint_is_told_by_all_its_pools_and_only_once_tried():
    accounts = [replace(spec(), pool_id=str(number)) for number in range(4)]
    async with open_worker(*accounts, registry=counting()) as kit:
        assert kit.worker.stats("0").endpoint is None
        for account in accounts:
            await kit.want(1, pool_id=account.pool_id)
        await asyncio.sleep(5)
        told = [kit.worker.stats(account.pool_id).endpoint for account in accounts]
        assert told[0] is not None
        assert told == [told[0]] * 4
        endpoint = told[0]
        assert (endpoint.worker, endpoint.name) == (3, "wss://fake.invalid:443")
        assert (endpoint.connects, endpoint.connects_allowed, endpoint.connects_held) == (2, 2, 2)
        assert endpoint.failures == 0


@virtual
async def test_a_circuit_tells_what_it_counted():
    async with open_worker() as kit:
        kit.broker.refuse(503)
        await kit.want(1)
        await asyncio.sleep(120)
        stats = kit.worker.stats("7")
        assert stats.endpoint is not None
        assert stats.circuit in ("open", "half_open")
        assert stats.endpoint.failures == len(kit.broker.attempts)
        assert stats.endpoint.times_opened > 1
        assert stats.endpoint.attempts_held == stats.losses["circuit_open"]
        assert stats.endpoint.connects_allowed == 0, "this broker is not known to count"


@virtual
async def test_lent_connections_are_counted():
    async with open_worker() as kit:
        assert kit.worker.stats("7").exclusive is None
        async with kit.worker.pool("7").acquire("/private"):
            totals = kit.worker.stats("7").exclusive
            assert totals is not None
            assert (totals.active, totals.idle) == (1, 0)
        async with kit.worker.pool("7").acquire("/private") as connection:
            await connection.send('{"do":"subscribe","items":[]}')
        totals = kit.worker.stats("7").exclusive
        assert totals is not None
        assert (totals.active, totals.idle, totals.reuses, totals.messages_sent) == (0, 1, 1, 1)
