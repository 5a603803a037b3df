"""What a holder asks of its connection holds while it holds it, on a reused socket too."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from pooling.contracts import PoolOptions
from pooling.exceptions import ConnectionLostError, MessageTooLongError
from pooling.exclusive.options import ConnectionTerms, ReconnectOptions
from tests.unit.pooling.exclusive.exclusive_kit import EchoBroker, open_exclusive
from tests.unit.pooling.kit import open_kit, virtual

QUICK = ReconnectOptions(base_seconds=0.1, cap_seconds=1.0)


@virtual
async def test_reconnecting_is_for_those_who_ask_for_it():
    async with open_exclusive() as (pool, broker):
        async with pool.acquire("/a", terms=ConnectionTerms(reconnect=QUICK)) as connection:
            broker.drop()
            await asyncio.sleep(2)
            await connection.send("back")
            assert await connection.recv() == "back"
        async with pool.acquire("/a") as connection:
            assert pool.get_stats().reuses == 1
            broker.drop()
            with pytest.raises(ConnectionLostError):
                await connection.recv()


@virtual
async def test_reconnecting_of_the_pool_can_be_declined():
    async with (
        open_exclusive(reconnect=QUICK) as (pool, broker),
        pool.acquire("/a", terms=ConnectionTerms()) as connection,
    ):
        broker.drop()
        with pytest.raises(ConnectionLostError):
            await connection.recv()
        assert pool.get_stats().total_reconnects == 0


@virtual
async def test_a_heartbeat_is_of_one_holder_and_ends_with_it():
    async with open_exclusive(health_check_seconds=10_000, max_idle_seconds=20_000) as (
        pool,
        broker,
    ):
        async with pool.acquire("/a", terms=ConnectionTerms(heartbeat_seconds=5)):
            await asyncio.sleep(26)
            assert broker.pings == 5
        await asyncio.sleep(100)
        assert broker.pings == 5
        async with pool.acquire("/a"):
            await asyncio.sleep(100)
            assert broker.pings == 6, "only the check before the hand-over"
        async with pool.acquire("/a", terms=ConnectionTerms(heartbeat_seconds=50)):
            await asyncio.sleep(101)
            assert broker.pings == 9


@virtual
async def test_a_message_limit_may_be_lowered_and_never_lifted():
    async with open_exclusive(max_message_bytes=8) as (pool, broker):
        async with pool.acquire("/a", terms=ConnectionTerms(max_message_bytes=3)) as connection:
            with pytest.raises(MessageTooLongError) as caught:
                await connection.send("four")
            assert (caught.value.size, caught.value.limit) == (4, 3)
        for terms in (None, ConnectionTerms(), ConnectionTerms(max_message_bytes=100)):
            async with pool.acquire("/a", terms=terms) as connection:
                await connection.send("12345678")
                with pytest.raises(MessageTooLongError):
                    await connection.send("₹₹₹")
        assert len(broker.heard_texts) == 3


@pytest.mark.parametrize("terms", [{"heartbeat_seconds": 0}, {"max_message_bytes": 0}])
def test_terms_that_make_no_sense_are_refused(terms):
    with pytest.raises(ValueError, match="must be positive"):
        ConnectionTerms(**terms)


@virtual
async def test_an_accounts_connections_keep_the_brokers_message_limit():
    async with open_kit(broker=EchoBroker(), max_message_bytes=64) as kit:
        for terms in (None, ConnectionTerms()):
            async with kit.pool.acquire("/private", terms=terms) as connection:
                await connection.send("x" * 64)
                with pytest.raises(MessageTooLongError):
                    await connection.send("x" * 65)
        async with kit.pool.acquire("/private", terms=ConnectionTerms()) as connection:
            kit.broker.drop()
            with pytest.raises(ConnectionLostError):
                await connection.recv()


@virtual
async def test_the_accounts_options_say_how_its_connections_behave():
    """By default a lost one comes back and a held one is pinged; both can be switched off."""
    broker = EchoBroker()
    async with open_kit(broker=broker) as kit:
        async with kit.pool.acquire("/private") as connection:
            await asyncio.sleep(41)
            assert broker.pings == 2
            broker.drop()
            await asyncio.sleep(2)
            await connection.send("back")
            assert await connection.recv() == "back"
        kit.pool.update_options(
            PoolOptions(exclusive_reconnect_seconds=0, exclusive_heartbeat_seconds=0)
        )
        await asyncio.sleep(1)
        async with kit.pool.acquire("/private") as connection:
            assert exclusive(kit).reuses == 1, "an edit does not cost a handshake"
            broker.pings = 0
            await asyncio.sleep(100)
            assert broker.pings == 0
            broker.drop()
            with pytest.raises(ConnectionLostError):
                await connection.recv()


@virtual
async def test_edited_timings_hold_for_idle_connections_at_once():
    broker = EchoBroker()
    async with open_kit(broker=broker) as kit:
        async with kit.pool.acquire("/private"):
            pass
        kit.pool.update_options(PoolOptions(health_check_seconds=10))
        await asyncio.sleep(35)
        assert broker.pings == 3
        kit.pool.update_options(PoolOptions(max_idle_seconds=0))
        await asyncio.sleep(1)
        assert exclusive(kit).idle_connections == 0
        async with kit.pool.acquire("/private"):
            pass
        await asyncio.sleep(1)
        assert exclusive(kit).idle_connections == 0, "0 seconds: none is kept"


@virtual
async def test_a_lost_connection_is_tried_again_within_the_longest_wait():
    options = {"exclusive_reconnect_seconds": 4.0}
    async with (
        open_kit(broker=EchoBroker(), options=options) as kit,
        kit.pool.acquire("/private"),
    ):
        kit.broker.refuse(503)
        kit.broker.drop()
        await asyncio.sleep(600)
        times = [at for at, _ in kit.broker.attempts]
        assert max(b - a for a, b in pairwise(times)) <= 4
        kit.broker.accept()
        await asyncio.sleep(5)


@virtual
async def test_an_edited_endpoint_is_where_paths_lead_next():
    broker = EchoBroker()
    async with open_kit(broker=broker, default_endpoint="wss://old.invalid/feed/v1") as kit:
        async with kit.pool.acquire("v2"):
            pass
        kit.pool.update_endpoint("wss://new.invalid/other/v1")
        await asyncio.sleep(1)
        assert exclusive(kit).idle_connections == 0
        async with kit.pool.acquire("v2"), kit.pool.acquire("wss://new.invalid/x"):
            pass
        with pytest.raises(ValueError, match="another host"):
            kit.pool.acquire("wss://old.invalid/x")
        assert [uri.partition("?")[0] for uri in broker.uris] == [
            "wss://old.invalid/feed/v2",
            "wss://new.invalid/other/v2",
            "wss://new.invalid/x",
        ]


def exclusive(kit):
    stats = kit.pool.get_exclusive_stats()
    assert stats is not None
    return stats
