"""Exclusive connections over real sockets to a server that says back what it hears."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from pooling.clock import SystemClock
from pooling.connectors.websocket import UpgradeRefusedError, WebSocketConnector
from pooling.exceptions import ConnectionLostError, PoolExhaustedError
from pooling.exclusive.options import ExclusiveOptions, LinkState, ReconnectOptions
from pooling.exclusive.pool import ExclusivePool
from tests.support import eventually


class Link(ServerConnection):
    """A connection that counts the pings that it gets."""

    pings = 0

    def process_event(self, event) -> None:
        self.pings += isinstance(event, Frame) and event.opcode is Opcode.PING
        super().process_event(event)


class EchoServer:
    """A WebSocket server; ``links`` are its open connections."""

    def __init__(self) -> None:
        self.links: set[ServerConnection] = set()
        self.accepted = 0
        self.most_open = 0
        self.is_refusing = False
        self.port = 0

    def refuse(self) -> None:
        self.is_refusing = True

    def accept(self) -> None:
        self.is_refusing = False

    def drop(self) -> None:
        """Cut every connection without a close frame."""
        for link in self.links:
            link.transport.abort()

    async def hang_up(self, code: int = 1000) -> None:
        """Close every connection with a close frame."""
        for link in list(self.links):
            await link.close(code)

    async def handle(self, link: ServerConnection) -> None:
        self.links.add(link)
        self.accepted += 1
        self.most_open = max(self.most_open, len(self.links))
        try:
            async for message in link:
                await link.send(message)
        except ConnectionClosed:
            pass
        finally:
            self.links.discard(link)

    async def over_http(self, link: ServerConnection, request):
        return link.respond(503, "down\n") if self.is_refusing else None


@pytest.fixture
async def server() -> AsyncIterator[EchoServer]:
    echo = EchoServer()
    async with serve(
        echo.handle,
        "127.0.0.1",
        0,
        process_request=echo.over_http,
        create_connection=Link,
        close_timeout=0.5,
    ) as running:
        echo.port = running.sockets[0].getsockname()[1]
        yield echo


@contextlib.asynccontextmanager
async def open_pool(server, **options) -> AsyncIterator[ExclusivePool]:
    clock = SystemClock()
    async with ExclusivePool(
        base_uri=f"ws://127.0.0.1:{server.port}",
        connector=WebSocketConnector(clock=clock),
        clock=clock,
        rng=random.Random(1),
        options=ExclusiveOptions(**({"max_connections": 2} | options)),
    ) as pool:
        yield pool
    await eventually(lambda: not server.links)


async def use(pool, path="/ws/a", text="hello") -> None:
    async with pool.acquire(path) as connection:
        await connection.send(text)
        assert await connection.recv() == text


async def test_a_socket_is_reused(server):
    async with open_pool(server) as pool:
        for number in range(20):
            await use(pool, text=str(number))
        assert server.accepted == 1
        stats = pool.get_stats()
        assert (stats.total_messages_sent, stats.total_messages_received) == (20, 20)


async def test_a_socket_that_the_server_closed_a_moment_ago_is_not_handed_out(server):
    async with open_pool(server) as pool:
        for round_number in range(1, 6):
            await use(pool)
            assert server.accepted == round_number
            server.drop()
        await use(pool)
        await server.hang_up()
        await use(pool)


async def test_one_that_was_lost_while_idle_is_noticed_without_anybody_asking(server):
    async with open_pool(server) as pool:
        await use(pool)
        server.drop()
        await eventually(lambda: pool.get_stats().idle_connections == 0)
        await eventually(lambda: pool.get_stats().broken == 1)


async def test_a_held_socket_comes_back(server):
    reconnect = ReconnectOptions(base_seconds=0.05, cap_seconds=0.2)
    async with open_pool(server, reconnect=reconnect) as pool, pool.acquire("/a") as connection:
        server.refuse()
        server.drop()
        await eventually(lambda: pool.get_stats().connections[0].state is LinkState.RECONNECTING)
        with pytest.raises(ConnectionLostError):
            await connection.send("nowhere")
        server.accept()
        await eventually(lambda: pool.get_stats().connections[0].state is LinkState.ACTIVE)
        await connection.send("again")
        assert await connection.recv() == "again"
        assert pool.get_stats().total_reconnects == 1


async def test_iteration_ends_with_the_servers_goodbye(server):
    async with open_pool(server) as pool, pool.acquire("/a") as connection:
        await connection.send("1")
        await connection.send("2")
        await eventually(lambda: pool.get_stats().total_messages_received == 2)
        await server.hang_up(1001)
        assert [message async for message in connection] == ["1", "2"]


async def test_pings_are_answered_and_idle_sockets_checked(server):
    async with open_pool(server, health_check_seconds=0.05) as pool:
        async with pool.acquire("/a") as connection:
            assert 0 < await connection.ping() < 30
        (link,) = server.links
        assert isinstance(link, Link)
        await eventually(lambda: link.pings > 3)
        assert pool.get_stats().idle_connections == 1
    async with open_pool(server, max_idle_seconds=0.05, health_check_seconds=0.05) as pool:
        await use(pool)
        await eventually(lambda: not server.links)


async def test_a_refusal_raises_and_exhaustion_too(server):
    async with open_pool(server) as pool:
        server.refuse()
        with pytest.raises(UpgradeRefusedError):
            await use(pool)
        server.accept()
        async with pool.acquire("/a"), pool.acquire("/b"):
            with pytest.raises(PoolExhaustedError):
                await pool.acquire("/c", timeout=0.05)
        await use(pool, "/c")
        assert server.most_open == 2


async def test_many_callers_share_few_sockets(server):
    """Nobody gets another one's answer, and the limit holds all the time."""
    async with open_pool(server, max_connections=4, acquire_timeout_seconds=30) as pool:

        async def work(number: int) -> None:
            for turn in range(5):
                await use(pool, f"/{number % 3}", f"{number}-{turn}")

        await asyncio.gather(*(work(number) for number in range(40)))
        assert server.most_open <= 4
        assert pool.get_stats().total_messages_received == 200


async def test_hundreds_of_losses_leave_nothing_behind(server):
    """Sockets and tasks of lost connections are gone, not kept."""
    reconnect = ReconnectOptions(base_seconds=0.001, cap_seconds=0.01)
    async with open_pool(server, reconnect=reconnect) as pool:
        async with pool.acquire("/a") as connection:
            for number in range(300):
                server.drop()
                await eventually(
                    lambda number=number: connection.reconnects > number, interval=0.001
                )
        before = len(asyncio.all_tasks())
        for _ in range(100):
            await use(pool)
            server.drop()
        await eventually(lambda: len(asyncio.all_tasks()) <= before + 2)
