"""Exclusive connections as their holders see them, on virtual time."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from brokers.exceptions import BrokerLimitError, BrokerUnavailableError
from pooling.connectors.websocket import UpgradeRefusedError
from pooling.exceptions import (
    ConnectionLostError,
    ConnectionReleasedError,
    PoolClosedError,
    PoolExhaustedError,
    SilentConnectionError,
)
from pooling.exclusive.options import (
    ExclusiveOptions,
    LinkState,
    ReconnectOptions,
    describe_uri,
    resolve_uri,
)
from pooling.exclusive.pool import ExclusivePool
from pooling.testing import MiddleOfRange, VirtualClock
from tests.unit.pooling.exclusive.exclusive_kit import (
    BASE,
    EchoBroker,
    EchoTransport,
    have_idle,
    open_exclusive,
    states,
)
from tests.unit.pooling.kit import virtual


async def hold(pool, path):
    return await pool.acquire(path)


QUICK = ReconnectOptions(base_seconds=1, cap_seconds=8)


@virtual
async def test_a_holder_sends_and_receives():
    async with open_exclusive() as (pool, broker), pool.acquire("/ws/a") as connection:
        await connection.send("hello")
        assert await connection.recv() == "hello"
        assert broker.uris == ["wss://b.invalid/ws/a"]
        assert states(pool) == [LinkState.ACTIVE]
        assert connection.uri == "wss://b.invalid/ws/a"


@virtual
async def test_a_released_connection_is_reused_by_the_next_holder_of_its_uri():
    async with open_exclusive() as (pool, broker):
        for _ in range(5):
            async with pool.acquire("/ws/a") as connection:
                await connection.send("x")
                await connection.recv()
        assert len(broker.uris) == 1
        stats = pool.get_stats()
        assert (stats.total_connections, stats.reuses, stats.idle_connections) == (1, 4, 1)
        assert stats.connections[0].uses == 5


@virtual
async def test_two_holders_of_one_uri_have_a_connection_each():
    async with open_exclusive() as (pool, broker):
        async with pool.acquire("/ws/a") as one, pool.acquire("/ws/a") as two:
            await one.send("for one")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await two.recv()
        assert len(broker.uris) == 2


@virtual
async def test_it_can_be_awaited_and_released_by_hand():
    async with open_exclusive() as (pool, broker):
        connection = await pool.acquire("/ws/a")
        await connection.release()
        await connection.release()
        async with await pool.acquire("/ws/a"):
            pass
        assert len(broker.uris) == 1


@virtual
async def test_a_full_pool_says_so_with_its_numbers():
    async with (
        open_exclusive(acquire_timeout_seconds=4) as (pool, _),
        pool.acquire("/a"),
        pool.acquire("/b"),
    ):
        started = asyncio.get_running_loop().time()
        with pytest.raises(PoolExhaustedError) as caught:
            await pool.acquire("/c")
        assert asyncio.get_running_loop().time() - started == pytest.approx(4)
        assert (caught.value.max_connections, caught.value.timeout) == (2, 4)
        with pytest.raises(PoolExhaustedError) as caught:
            await pool.acquire("/c", timeout=1.5)
        assert caught.value.timeout == 1.5
        with pytest.raises(PoolExhaustedError):
            await pool.acquire("/c", timeout=0)
        assert pool.get_stats().exhausted == 3


@virtual
async def test_a_timeout_of_zero_takes_what_is_free():
    async with open_exclusive() as (pool, _):
        async with pool.acquire("/a", timeout=0):
            pass
        async with pool.acquire("/a", timeout=0):
            pass
        assert pool.get_stats().reuses == 1


@virtual
async def test_callers_are_served_in_the_order_of_their_asking():
    async with open_exclusive(max_connections=1) as (pool, _):
        served = []

        async def hold(name, path):
            async with pool.acquire(path, timeout=100):
                served.append(name)
                await asyncio.sleep(1)

        tasks = []
        for number in range(6):
            tasks.append(asyncio.create_task(hold(number, f"/{number % 2}")))
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        assert served == list(range(6))


@virtual
async def test_an_idle_connection_of_another_path_makes_way_at_the_limit():
    async with open_exclusive() as (pool, broker):
        for path in ("/a", "/b", "/c"):
            async with pool.acquire(path):
                await asyncio.sleep(1)
        assert len(broker.uris) == 3
        assert broker.most_open <= 2
        addresses = {c.address for c in pool.get_stats().connections}
        assert addresses == {"wss://b.invalid/b", "wss://b.invalid/c"}, "the longest idle one goes"


@virtual
async def test_closing_connections_count_until_they_are_closed():
    broker = EchoBroker()
    async with open_exclusive(broker) as (pool, _):
        for path in ("/a", "/b"):
            async with pool.acquire(path):
                pass
        broker.slow(0.5)
        async with pool.acquire("/c"), pool.acquire("/d"):
            assert broker.most_open <= 2


@virtual
async def test_a_broken_idle_connection_is_not_handed_out():
    async with open_exclusive() as (pool, broker):
        async with pool.acquire("/a"):
            pass
        broker.drop()
        async with pool.acquire("/a") as connection:
            await connection.send("x")
            assert await connection.recv() == "x"
        stats = pool.get_stats()
        assert (stats.total_connections, stats.broken, stats.reuses) == (2, 1, 0)


@virtual
async def test_one_that_answers_no_more_is_not_handed_out():
    """A peer that is gone without a word is only found by asking."""
    async with open_exclusive() as (pool, broker):
        async with pool.acquire("/a"):
            pass
        await asyncio.sleep(10)
        dead = broker.open[0]
        assert isinstance(dead, EchoTransport)
        dead.is_deaf = True
        async with pool.acquire("/a") as connection:
            await connection.send("x")
            assert await connection.recv() == "x"
        assert not dead.is_open
        assert pool.get_stats().broken == 1


@virtual
async def test_a_connection_that_broke_in_use_is_not_put_back():
    async with open_exclusive() as (pool, broker):
        async with pool.acquire("/a") as connection:
            broker.drop()
            with pytest.raises(ConnectionLostError):
                await connection.recv()
            assert states(pool) == [LinkState.BROKEN]
        assert pool.get_stats().idle_connections == 0
        async with pool.acquire("/a") as connection:
            await connection.send("x")
            assert await connection.recv() == "x"


@virtual
async def test_what_arrived_before_the_loss_is_still_delivered():
    async with open_exclusive() as (pool, broker), pool.acquire("/a") as connection:
        await connection.send("1")
        await connection.send("2")
        await asyncio.sleep(1)
        broker.drop()
        await asyncio.sleep(1)
        assert [await connection.recv(), await connection.recv()] == ["1", "2"]
        with pytest.raises(ConnectionLostError):
            await connection.recv()


@virtual
async def test_what_arrives_between_holders_reaches_nobody():
    async with open_exclusive() as (pool, broker):
        async with pool.acquire("/a") as connection:
            await connection.send("not read")
            await asyncio.sleep(1)
        broker.say("nobody is here")
        await asyncio.sleep(1)
        async with pool.acquire("/a") as connection:
            await connection.send("mine")
            assert await connection.recv() == "mine"
        assert pool.get_stats().connections[0].messages_discarded == 2


@virtual
async def test_a_released_connection_refuses_its_former_holder():
    async with open_exclusive() as (pool, _):
        async with pool.acquire("/a") as former:
            waiting = asyncio.create_task(former.recv())
            await asyncio.sleep(1)
        with pytest.raises(ConnectionReleasedError):
            await waiting
        async with pool.acquire("/a") as present:
            for use in (former.send("x"), former.recv(), former.ping()):
                with pytest.raises(ConnectionReleasedError):
                    await use
            await former.release()
            await present.send("still mine")
            assert await present.recv() == "still mine"
            assert "released" in repr(former)
            assert "active" in repr(present)


@virtual
async def test_idle_connections_are_closed_after_their_time():
    async with open_exclusive(max_idle_seconds=300) as (pool, broker):
        async with pool.acquire("/a"):
            pass
        await asyncio.sleep(299)
        assert len(broker.open) == 1
        await asyncio.sleep(2)
        assert not broker.open
        assert pool.get_stats().connections == ()


@virtual
async def test_a_use_starts_the_idle_time_anew():
    async with open_exclusive(max_idle_seconds=10) as (pool, broker):
        for _ in range(5):
            async with pool.acquire("/a"):
                pass
            await asyncio.sleep(8)
        assert len(broker.uris) == 1


@virtual
async def test_idle_connections_are_pinged_and_dead_ones_replaced():
    async with open_exclusive(health_check_seconds=30) as (pool, broker):
        async with pool.acquire("/a"):
            pass
        await asyncio.sleep(95)
        assert broker.pings == 3, "every 30 s"
        broker.go_silent()
        await asyncio.sleep(33)
        assert not broker.open
        assert pool.get_stats().broken == 1
        broker.speak()


@virtual
async def test_a_held_connection_comes_back_by_itself():
    async with (
        open_exclusive(reconnect=QUICK) as (pool, broker),
        pool.acquire("/a") as connection,
    ):
        receiving = asyncio.create_task(connection.recv())
        await asyncio.sleep(1)
        broker.drop()
        await asyncio.sleep(0.1)
        assert states(pool) == [LinkState.RECONNECTING]
        with pytest.raises(ConnectionLostError):
            await connection.send("nowhere")
        await asyncio.sleep(2)
        await connection.send("again")
        assert await receiving == "again"
        assert connection.reconnects == pool.get_stats().total_reconnects == 1
        assert pool.get_stats().active_connections == 1


@virtual
async def test_reconnects_wait_longer_and_longer_with_jitter():
    async with open_exclusive(reconnect=QUICK) as (pool, broker), pool.acquire("/a"):
        broker.refuse(503)
        broker.drop()
        await asyncio.sleep(60)
        times = [at for at, _ in broker.attempts][1:]
        waits = [b - a for a, b in pairwise([0.0, *times])]
        assert waits[:6] == pytest.approx([0.5, 1, 2, 4, 4, 4])
        broker.accept()
        await asyncio.sleep(5)
        assert pool.get_stats().connections[0].state is LinkState.ACTIVE


@virtual
async def test_a_reconnect_waits_as_long_as_the_server_asks():
    async with open_exclusive(reconnect=QUICK) as (pool, broker), pool.acquire("/a"):
        broker.refuse(503, Retry_After="30")
        broker.drop()
        await asyncio.sleep(29)
        assert len(broker.attempts) == 2
        broker.accept()
        await asyncio.sleep(3)
        assert pool.get_stats().connections[0].state is LinkState.ACTIVE


@virtual
async def test_reconnecting_gives_up_after_so_many_attempts():
    options = ReconnectOptions(base_seconds=1, cap_seconds=8, max_attempts=3)
    async with open_exclusive(reconnect=options) as (pool, broker):
        async with pool.acquire("/a") as connection:
            broker.refuse(503)
            broker.drop()
            with pytest.raises(UpgradeRefusedError):
                await connection.recv()
            assert len(broker.attempts) == 4
        assert pool.get_stats().idle_connections == 0


@virtual
async def test_the_holder_is_told_of_a_reconnect_so_that_it_asks_again():
    async def subscribe(connection):
        await connection.send("subscribe")

    async with (
        open_exclusive(reconnect=QUICK) as (pool, broker),
        pool.acquire("/a", on_reconnect=subscribe) as connection,
    ):
        for _ in range(3):
            broker.drop()
            assert await connection.recv() == "subscribe"


@virtual
async def test_a_hook_that_fails_ends_the_connection_instead_of_leaving_it_silent(caplog):
    async def subscribe(connection):
        raise KeyError("a defect")

    async with (
        open_exclusive(reconnect=QUICK) as (pool, broker),
        pool.acquire("/a", on_reconnect=subscribe) as connection,
    ):
        broker.drop()
        with pytest.raises(ConnectionLostError):
            await connection.recv()


@virtual
async def test_a_connection_released_while_it_reconnects_is_closed():
    async with open_exclusive(reconnect=QUICK, max_connections=1) as (pool, broker):
        async with pool.acquire("/a"):
            broker.refuse(503)
            broker.drop()
            await asyncio.sleep(3)
        broker.accept()
        async with pool.acquire("/a") as connection:
            await connection.send("x")
            assert await connection.recv() == "x"


@virtual
async def test_a_heartbeat_finds_a_silent_peer_and_the_connection_comes_back():
    async with (
        open_exclusive(reconnect=QUICK, heartbeat_seconds=5) as (pool, broker),
        pool.acquire("/a") as connection,
    ):
        await asyncio.sleep(60)
        assert len(broker.uris) == 1
        assert broker.pings >= 10
        broker.go_silent()
        await asyncio.sleep(10)
        broker.speak()
        await asyncio.sleep(5)
        assert connection.reconnects == 1


@virtual
async def test_without_reconnecting_a_heartbeat_tells_why():
    async with (
        open_exclusive(heartbeat_seconds=5) as (pool, broker),
        pool.acquire("/a") as connection,
    ):
        broker.go_silent()
        with pytest.raises(SilentConnectionError):
            await connection.recv()


@virtual
async def test_a_holder_that_does_not_read_loses_nothing_and_is_not_called_dead():
    async with (
        open_exclusive(heartbeat_seconds=5) as (pool, broker),
        pool.acquire("/a") as connection,
    ):
        for number in range(3000):
            broker.say(str(number))
        await asyncio.sleep(1)
        broker.go_silent()
        await asyncio.sleep(30)
        broker.speak()
        assert [await connection.recv() for _ in range(3000)] == [str(n) for n in range(3000)]


@virtual
async def test_async_iteration_ends_with_a_normal_close_and_raises_otherwise():
    class Closing(EchoBroker):
        code = 1000

        async def __call__(self, handshake, **options):
            transport = await super().__call__(handshake, **options)
            assert isinstance(transport, EchoTransport)
            transport.code = self.code
            return transport

    broker = Closing()
    async with open_exclusive(broker) as (pool, _):
        for code, ends in ((1000, True), (1001, True), (1006, False)):
            broker.code = code
            async with pool.acquire("/a") as connection:
                broker.say("1")
                broker.say("2")
                broker.drop()
                seen = []
                try:
                    async for message in connection:
                        seen.append(message)
                    ended = True
                except ConnectionLostError:
                    ended = False
                assert (seen, ended) == (["1", "2"], ends)


@virtual
async def test_ping_measures_a_round_trip():
    async with open_exclusive() as (pool, broker), pool.acquire("/a") as connection:
        assert await connection.ping() == 0.0
        assert pool.get_stats().connections[0].latency_seconds == 0.0
        await asyncio.sleep(1)
        broker.go_silent()
        with pytest.raises(SilentConnectionError):
            await connection.ping(timeout=3)


@virtual
async def test_messages_keep_the_brokers_pace_and_size():
    async with (
        open_exclusive(message_interval_seconds=0.25, max_message_bytes=4) as (pool, broker),
        pool.acquire("/a") as connection,
    ):
        await asyncio.gather(*(connection.send(str(n)) for n in range(8)))
        times = [at for at, _ in broker.heard_texts]
        gaps = [b - a for a, b in pairwise(times)]
        assert gaps == pytest.approx([0.25] * 7)
        await connection.send("1234")
        for long in ("12345", "äöü", b"12345"):
            with pytest.raises(BrokerLimitError):
                await connection.send(long)
        assert len(broker.heard_texts) == 9


@virtual
async def test_statistics_add_up_over_all_connections_and_after_they_are_gone():
    async with open_exclusive(reconnect=QUICK) as (pool, broker):
        async with pool.acquire("/a") as one, pool.acquire("/b") as two:
            for connection in (one, one, two):
                await connection.send("x")
            await asyncio.sleep(1)
            broker.drop()
            await asyncio.sleep(5)
            stats = pool.get_stats()
            assert stats.active_connections == 2
            assert (stats.total_messages_sent, stats.total_messages_received) == (3, 3)
            assert [c.messages_sent for c in stats.connections] == [2, 1]
        await pool.close()
        stats = pool.get_stats()
        assert stats.connections == ()
        assert (stats.total_messages_sent, stats.total_messages_received) == (3, 3)
        assert (stats.total_connections, stats.total_reconnects) == (2, 2)


@virtual
async def test_close_tells_those_who_wait_and_waits_for_those_who_hold():
    async with open_exclusive(max_connections=1) as (pool, broker):
        held = await pool.acquire("/a")
        waiting = asyncio.create_task(hold(pool, "/a"))
        await asyncio.sleep(1)
        closing = asyncio.create_task(pool.close(drain_seconds=5))
        await asyncio.sleep(1)
        with pytest.raises(PoolClosedError):
            await waiting
        await held.send("still served")
        assert await held.recv() == "still served"
        await held.release()
        await closing
        assert not broker.open
        with pytest.raises(PoolClosedError):
            await pool.acquire("/a")


@virtual
async def test_close_does_not_wait_for_ever():
    async with open_exclusive() as (pool, _):
        held = await pool.acquire("/a")
        receiving = asyncio.create_task(held.recv())
        await asyncio.sleep(1)
        started = asyncio.get_running_loop().time()
        await pool.close(drain_seconds=2)
        assert asyncio.get_running_loop().time() - started < 5
        with pytest.raises(ConnectionLostError):
            await receiving
        await held.release()


@virtual
async def test_close_ends_an_opening():
    broker = EchoBroker()
    async with open_exclusive(broker) as (pool, _):
        broker.slow(1000)
        opening = asyncio.create_task(hold(pool, "/a"))
        await asyncio.sleep(1)
        await pool.close()
        with pytest.raises(PoolClosedError):
            await opening


@virtual
async def test_a_lowered_limit_closes_idle_connections_and_leaves_held_ones():
    async with open_exclusive(max_connections=4) as (pool, broker):
        async with pool.acquire("/a"), pool.acquire("/b"):
            await have_idle(pool, "/c", 2)
            pool.update_options(ExclusiveOptions(max_connections=1))
            await asyncio.sleep(1)
            assert len(broker.open) == 2
            with pytest.raises(PoolExhaustedError):
                await pool.acquire("/d", timeout=1)
        async with pool.acquire("/a"):
            await asyncio.sleep(1)
            assert len(broker.open) == 1


@virtual
async def test_a_raised_limit_serves_those_who_wait():
    async with open_exclusive(max_connections=1) as (pool, _), pool.acquire("/a"):
        waiting = asyncio.create_task(hold(pool, "/b"))
        await asyncio.sleep(1)
        pool.update_options(ExclusiveOptions(max_connections=2))
        await (await waiting).release()


class Shared:
    """Seats that others take from too."""

    def __init__(self, free):
        self.free = free

    def take(self):
        if not self.free:
            return False
        self.free -= 1
        return True

    def give_back(self):
        self.free += 1


@virtual
async def test_a_shared_limit_is_kept_and_given_back():
    seats = Shared(1)
    async with open_exclusive(seats=seats, max_connections=5) as (pool, _):
        async with pool.acquire("/a"):
            with pytest.raises(PoolExhaustedError):
                await pool.acquire("/b", timeout=1)
            waiting = asyncio.create_task(hold(pool, "/b"))
            await asyncio.sleep(1)
            seats.give_back()
            pool.serve()
            await (await waiting).release()
        assert pool.evict_idle(5) == 2
        await asyncio.sleep(1)
    assert seats.free == 2


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ("/ws/x", "wss://b.invalid/ws/x"),
        ("ws/x?y=1", "wss://b.invalid/ws/x?y=1"),
        ("wss://other.invalid/x", "wss://other.invalid/x"),
    ],
)
def test_paths_are_relative_to_the_base(given, uri):
    assert resolve_uri(BASE, given) == uri


@pytest.mark.parametrize(
    "given", ["//evil.invalid/x", "https://b.invalid/", "ws:///x", "btc:usd", "/" + "x" * 5000]
)
def test_what_is_no_address_of_the_pool_is_refused(given):
    with pytest.raises(ValueError):  # noqa: PT011 - the sentence is for people
        resolve_uri(BASE, given)


def test_a_bound_pool_goes_nowhere_else():
    assert resolve_uri(BASE, "wss://b.invalid:443/x", is_bound=True)
    for given in ("wss://other.invalid/x", "ws://b.invalid/x", "wss://b.invalid:444/x"):
        with pytest.raises(ValueError, match="another host"):
            resolve_uri(BASE, given, is_bound=True)


def test_shown_addresses_have_no_secrets():
    secret = "pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1"
    shown = describe_uri(f"wss://user:pass@b.invalid:9/ws/{secret}?token={secret}#x")
    assert shown == "wss://b.invalid:9/ws/pqia…"
    assert describe_uri("ws://[::1]/x") == "ws://[::1]/x"


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_connections": 0},
        {"max_idle_seconds": -1},
        {"health_check_seconds": -1},
        {"heartbeat_seconds": 0},
        {"message_interval_seconds": -1},
        {"max_message_bytes": 0},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError):  # noqa: PT011
        ExclusiveOptions(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"base_seconds": 0}, {"cap_seconds": 0.5}, {"cap_seconds": 301}, {"max_attempts": 0}]
)
def test_reconnect_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError):  # noqa: PT011
        ReconnectOptions(**wrong)


@virtual
async def test_a_wrong_call_is_refused_before_anything_happens():
    async with open_exclusive() as (pool, broker):
        for arguments in (("ftp://x/",), ("/a", -1), ("/a", float("nan"))):
            with pytest.raises(ValueError):  # noqa: PT011
                pool.acquire(*arguments)
        acquisition = pool.acquire("/a")
        async with acquisition:
            pass
        with pytest.raises(RuntimeError):
            await acquisition.__aenter__()
    with pytest.raises(ValueError, match="not a WebSocket URI"):
        ExclusivePool(
            base_uri="http://b.invalid", connector=broker, clock=VirtualClock(), rng=MiddleOfRange()
        )


@virtual
async def test_an_unreachable_broker_raises_and_leaves_the_place_free():
    async with open_exclusive(max_connections=1) as (pool, broker):
        for _ in range(3):
            broker.refuse(503)
            with pytest.raises(BrokerUnavailableError):
                await pool.acquire("/a")
            broker.accept()
            async with pool.acquire("/a"):
                broker.drop()
