"""The channel layer fails in every way: no client loses its socket or a tick, none is kept out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels_redis.core import RedisChannelLayer
from django.core.asgi import get_asgi_application
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from openalgo_site.config.channel_layer import channel_layers
from streaming.gateway.notices import CHANGED, GROUP, Notices, NoticeState, send_notice
from streaming.testing.edge import make_principal
from tests.fix_proxy import MakeProxy, TcpProxy, make_proxy
from tests.fix_services import RedisServer
from tests.integration.streaming.edge_kit import INFY, EdgeServer, ask, closing
from tests.integration.streaming.gateway.test_health import health
from tests.support import eventually

pytestmark = [
    pytest.mark.redis,
    pytest.mark.timeout(240),
    pytest.mark.django_db(transaction=True),
]

__all__ = ["make_proxy"]  # a fixture

QUIET_SECONDS = 13.0  # longer than any library's time-out here, the longest of which is 8 s


def layer_at(port: int) -> RedisChannelLayer:
    """Return the layer that the site's settings make of a URL."""
    layer = channel_layers(f"redis://127.0.0.1:{port}/0")["default"]
    return RedisChannelLayer(**layer["CONFIG"])


class Reader:
    """A client that reads ticks and notes which it got."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.prices: list[float] = []
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self.socket:
                self.prices.append(json.loads(text)["data"]["ltp"])


class Site:
    """A gateway on a layer, with clients and a stream of ticks."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.edge = EdgeServer(
            http=get_asgi_application(), make_layer=lambda: layer, revalidate_seconds=300.0
        )
        self.readers: list[Reader] = []
        self.sent: list[float] = []
        self._ticking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Site:
        await self.edge.__aenter__()
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
        await self.edge.__aexit__(*error)
        await asyncio.gather(*(reader.task for reader in self.readers))

    @property
    def notices(self) -> Notices:
        assert self.edge.gateway.notices is not None
        return self.edge.gateway.notices

    async def is_in(self, state: NoticeState, within: float = 60) -> None:
        await eventually(lambda: self.notices.state is state, timeout=within)

    async def client(self) -> Reader:
        """Let a new client come in, subscribe and read."""
        async with asyncio.timeout(60):
            socket = await self.edge.client()
            reply = await ask(socket, action="subscribe", symbol="INFY", exchange="NSE", mode=1)
            assert reply["status"] == "success"
        self.readers.append(Reader(socket))
        return self.readers[-1]

    async def hears_of_a_revoked_key(self) -> None:
        """Revoke the key of a second user, whose client ends long before the next regular look."""
        self.edge.directory.add_key("doomed", make_principal(2))
        victim = await self.edge.client("doomed")
        self.edge.directory.revoke("doomed")
        assert self.edge.gateway.announce(2)
        assert await closing(victim) == (4401, "API key revoked")

    async def lost_nothing(self) -> None:
        """Assert that each client is there and has every tick since its first."""
        await eventually(lambda: len(self.sent) > 0)
        mark = self.sent[-1]
        await eventually(lambda: all(mark in reader.prices for reader in self.readers), timeout=60)
        for reader in self.readers:
            assert reader.socket.close_code is None
            got = reader.prices
            assert got == self.sent[self.sent.index(got[0]) :][: len(got)]

    async def degraded(self) -> list[str]:
        reply = await health(self.edge, "/readyz")
        assert reply.status_code == 200
        found: list[str] = reply.json()["degraded"]
        assert reply.json()["status"] == ("degraded" if found else "ok")
        return found

    async def _tick(self) -> None:
        paise = 10_000
        while True:
            paise += 5
            self.sent.append(paise / 100)
            self.edge.link.tick("p1", INFY, ltp=paise)
            await asyncio.sleep(0.02)


@pytest.fixture
async def proxy(make_proxy: MakeProxy, own_redis: RedisServer) -> TcpProxy:
    own_redis.start()
    return await make_proxy(own_redis.port)


@pytest.fixture
async def site(proxy: TcpProxy) -> AsyncIterator[Site]:
    async with Site(layer_at(int(proxy.url.rpartition(":")[2]))) as site:
        for _ in range(4):
            await site.client()
        yield site


async def works(site: Site) -> None:
    """The layer is there: a notice is heard at once, and nobody complains."""
    await site.is_in(NoticeState.LIVE)
    received = site.notices.received
    await site.hears_of_a_revoked_key()
    assert site.notices.received == received + 1
    assert await site.degraded() == []


async def is_served_without(site: Site) -> None:
    """The layer is away: said, and for this process's own clients nothing is different."""
    await site.is_in(NoticeState.AWAY)
    unsent = site.notices.unsent
    await site.hears_of_a_revoked_key()
    assert site.notices.unsent == unsent + 1
    await site.client()

    async def says_so() -> bool:  # what was under way may still come by, and count as an answer
        return ["Redis" in each for each in await site.degraded()] == [True]

    await eventually(says_so)


async def test_quiet_for_longer_than_any_time_out(own_redis: RedisServer) -> None:
    """With the libraries' own time-outs too: nothing is configured here but the address."""
    own_redis.start()
    async with Site(RedisChannelLayer(hosts=[{"address": own_redis.url}])) as site:
        for _ in range(3):
            await site.client()
        await site.is_in(NoticeState.LIVE)
        await asyncio.sleep(QUIET_SECONDS)
        assert site.notices.state_changes == 0
        await works(site)
        await site.lost_nothing()


async def test_gone_before_the_start(own_redis: RedisServer) -> None:
    async with Site(layer_at(own_redis.port)) as site:
        await site.client()
        await is_served_without(site)
        own_redis.start()
        await works(site)
        await site.lost_nothing()


async def test_killed_under_load_and_back(
    site: Site, proxy: TcpProxy, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A Redis that comes back knows of no group; a few lines are logged, none with a traceback."""
    caplog.set_level(logging.INFO)
    await works(site)
    own_redis.kill()
    await proxy.down()
    await is_served_without(site)
    own_redis.start()
    await proxy.up()
    await works(site)
    await site.lost_nothing()
    logged = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(logged) <= 3, [record.getMessage() for record in logged]
    assert not any(record.exc_info for record in logged)


async def test_slow_by_five_seconds(site: Site, proxy: TcpProxy) -> None:
    await works(site)
    proxy.latency(5000)
    await is_served_without(site)
    proxy.latency(0)
    await works(site)
    await site.lost_nothing()


async def test_it_hangs(site: Site, own_redis: RedisServer) -> None:
    await works(site)
    own_redis.hang()
    try:
        await is_served_without(site)
    finally:
        own_redis.go_on()
    await works(site)
    await site.lost_nothing()


GARBAGE = [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"$-7\r\n*9999999\r\n",
    b"\x00\xff" * 100_000,
    b"-MISCONF Redis is configured to save RDB snapshots\r\n" * 10,
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=["http", "lengths", "bytes", "errors"])
async def test_another_program_answers(garbage: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(1000):
                writer.write(garbage)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, Site(layer_at(server.sockets[0].getsockname()[1])) as site:
        await site.client()
        await is_served_without(site)
        await site.lost_nothing()


FOREIGN = [
    {"type": "websocket.receive", "text": '{"action":"unsubscribe_all"}'},
    {"type": "websocket.disconnect"},
    {"type": "accepted"},
    {"type": CHANGED, "user_ids": "all"},
    {"type": CHANGED, "user_ids": [True]},
    {"type": CHANGED},
    {"x": 1},
]


async def test_only_notices_are_taken_from_the_layer(site: Site) -> None:
    """Whoever may write to Redis can make gateways look, and nothing else."""
    await site.is_in(NoticeState.LIVE)
    for message in FOREIGN:
        await site.layer.group_send(GROUP, message)
    await eventually(lambda: site.notices.refused == len(FOREIGN))
    await works(site)
    await site.lost_nothing()


async def test_what_cannot_be_read_does_not_end_the_reading(site: Site) -> None:
    """Bytes that are no message, put where the layer keeps messages."""
    await site.is_in(NoticeState.LIVE)
    redis = site.layer.connection(0)
    key = "asgi" + site.layer.non_local_name(site.notices.channel)
    await redis.zadd(key, {b"\xc1" * 40: 0.0, b"": 1.0})
    await eventually(lambda: site.notices.state_changes >= 1)
    await works(site)
    await site.lost_nothing()


async def test_two_gateways_hear_of_each_other(site: Site, own_redis: RedisServer) -> None:
    async with Site(layer_at(own_redis.port)) as other:
        await other.client()
        await other.is_in(NoticeState.LIVE)
        await site.is_in(NoticeState.LIVE)
        before = other.notices.received
        await send_notice(site.layer, [1])
        await eventually(lambda: other.notices.received == before + 1)
        await other.lost_nothing()
