"""Exclusive connections of an account: its credential, its limit, shared with market data."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from brokers.exceptions import BrokerAuthError, BrokerUnavailableError
from brokers.pool_service import FeedStatus, RefusalCode
from pooling.contracts import PoolOptions
from pooling.exceptions import PoolClosedError, PoolExhaustedError
from tests.unit.pooling.exclusive.exclusive_kit import EchoBroker
from tests.unit.pooling.kit import PENDING, REFUSED, TOKEN_FIELD, open_kit, virtual

OPEN: dict[str, Any] = {
    "credential_fields": TOKEN_FIELD,
    "default_endpoint": "wss://b.invalid/feed",
}


class CountingBroker(EchoBroker):
    """Counts open sockets of both kinds; market data speaks to ``FakeBroker``, paths are echoed."""

    def heard(self, transport, message):
        if message.startswith("{"):
            super(EchoBroker, self).heard(transport, message)
        else:
            super().heard(transport, message)


def most_open(kit):
    assert isinstance(kit.broker, CountingBroker)
    return kit.broker.most_open


def exclusive(kit):
    stats = kit.pool.get_exclusive_stats()
    assert stats is not None
    return stats


@virtual
async def test_it_connects_as_the_account_to_the_accounts_host():
    async with open_kit(broker=CountingBroker(), **OPEN) as kit:
        async with kit.pool.acquire("/private?x=1") as connection:
            await connection.send("hello")
            assert await connection.recv() == "hello"
        assert isinstance(kit.broker, CountingBroker)
        assert kit.broker.uris == ["wss://b.invalid/private?token=good&x=1"]
        with pytest.raises(ValueError, match="another host"):
            kit.pool.acquire("wss://evil.invalid/private")
        stats = exclusive(kit)
        assert stats.idle_connections == 1
        assert "good" not in str(stats)


@virtual
async def test_market_data_and_exclusive_use_share_the_accounts_connections():
    async with open_kit(broker=CountingBroker(), **OPEN) as kit:
        async with kit.pool.acquire("/a"):
            outcomes = kit.want(*range(7))
            await asyncio.sleep(5)
            assert [o.state for o in outcomes] == [PENDING] * 6 + [REFUSED]
            assert outcomes[6].code is RefusalCode.MAX_CAPACITY_REACHED
            assert outcomes[6].details["max_connections"] == 2
            with pytest.raises(PoolExhaustedError):
                await kit.pool.acquire("/b", timeout=1)
            assert len(kit.broker.open) == 3
        assert most_open(kit) == 3


@virtual
async def test_an_idle_exclusive_connection_makes_way_for_market_data():
    async with open_kit(broker=CountingBroker(), **OPEN) as kit:
        async with kit.pool.acquire("/a"):
            pass
        assert kit.want(*range(7))[6].state is REFUSED
        await asyncio.sleep(1)
        assert kit.want(6)[0].state is PENDING
        await asyncio.sleep(5)
        assert most_open(kit) == 3


@virtual
async def test_the_last_connection_is_market_datas():
    async with (
        open_kit(broker=CountingBroker(), **OPEN) as kit,
        kit.pool.acquire("/a"),
        kit.pool.acquire("/b"),
    ):
        with pytest.raises(PoolExhaustedError):
            await kit.pool.acquire("/c", timeout=1)
        assert kit.want(1)[0].state is PENDING
        await asyncio.sleep(3)
        assert most_open(kit) == 3


@virtual
async def test_a_connection_that_market_data_lets_go_of_serves_who_waits():
    async with open_kit(
        broker=CountingBroker(), options={"linger_seconds": 1, "max_idle_seconds": 5}, **OPEN
    ) as kit:
        kit.want(*range(9))
        await asyncio.sleep(5)
        waiting = asyncio.create_task(take(kit.pool, "/a"))
        await asyncio.sleep(1)
        assert not waiting.done()
        kit.release()
        connection = await waiting
        await connection.release()
        assert most_open(kit) == 3


async def take(pool, path):
    return await pool.acquire(path, timeout=100)


@virtual
async def test_an_edited_limit_binds_both():
    async with open_kit(broker=CountingBroker(), **OPEN) as kit:
        async with kit.pool.acquire("/a"), kit.pool.acquire("/b"):
            pass
        kit.pool.update_options(PoolOptions(symbols_per_connection=3, max_connections=1))
        await asyncio.sleep(1)
        assert exclusive(kit).idle_connections <= 1
        with pytest.raises(PoolExhaustedError):
            await kit.pool.acquire("/c", timeout=1)


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [(403, {}, BrokerAuthError), (503, {"Retry_After": "600"}, BrokerUnavailableError)],
)
@virtual
async def test_a_refused_path_does_not_stop_market_data(status, headers, error):
    """It may be about the path; only market data's own connect judges credential and endpoint."""
    async with open_kit(broker=CountingBroker(), **OPEN) as kit:
        kit.broker.refuse(status, **headers)
        with pytest.raises(error):
            await kit.pool.acquire("/expired")
        kit.broker.accept()
        kit.want(1)
        await asyncio.sleep(3)
        assert kit.pool.get_stats().status is FeedStatus.LIVE
        assert kit.pool.get_stats().confirmed == 1


@virtual
async def test_connects_of_both_kinds_keep_the_brokers_interval():
    async with open_kit(broker=CountingBroker(), connect_interval_seconds=2.0, **OPEN) as kit:
        kit.want(*range(6))
        async with kit.pool.acquire("/a", timeout=50):
            await asyncio.sleep(10)
        times = sorted(at for at, _ in kit.broker.attempts)
        assert len(times) == 3
        assert all(b - a >= 2.0 for a, b in pairwise(times))


@virtual
async def test_closing_the_pool_ends_them():
    async with open_kit(broker=CountingBroker(), **OPEN) as kit:
        await take(kit.pool, "/a")
        started = asyncio.get_running_loop().time()
        await kit.pool.close()
        assert asyncio.get_running_loop().time() - started < 5
        assert not kit.broker.open
        with pytest.raises(PoolClosedError):
            kit.pool.acquire("/a")
