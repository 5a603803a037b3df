"""The HTTP pool over TLS on loopback."""

from __future__ import annotations

import asyncio
import random

import pytest

from pooling.clock import SystemClock
from pooling.http.policy import HttpOptions
from pooling.http.pool import HttpPool
from pooling.testing.https import LoopbackHttps
from tests.support import eventually


def make_pool(server: LoopbackHttps, **options: int) -> HttpPool:
    return HttpPool(
        clock=SystemClock(),
        rng=random.Random(1),
        options=HttpOptions(**options),  # type: ignore[arg-type]
        verify=server.client_context,
    )


async def test_http2_carries_many_requests_on_one_connection() -> None:
    async with LoopbackHttps(body=b"x" * 1000) as server, make_pool(server) as pool:
        await pool.request("HEAD", server.url)
        replies = await asyncio.gather(*(pool.request("GET", server.url) for _ in range(20)))
        assert {(reply.http_version, reply.body) for reply in replies} == {("HTTP/2", b"x" * 1000)}
        assert (server.connections, server.requests) == (1, 21)
        (stats,) = pool.get_stats().endpoints
        assert (stats.connections_opened, stats.reuses, stats.replies_http2) == (1, 20, 21)
        assert stats.bytes_received >= 20_000


async def test_http11_connections_are_kept_and_bounded() -> None:
    async with (
        LoopbackHttps(protocols=("http/1.1",)) as server,
        make_pool(server, max_connections_per_host=3) as pool,
    ):
        for _ in range(3):
            await asyncio.gather(*(pool.request("GET", server.url) for _ in range(10)))
        assert server.requests == 30
        assert server.connections <= 3
        (stats,) = pool.get_stats().endpoints
        assert (stats.replies, stats.replies_http2) == (30, 0)
        assert stats.connections_opened == server.connections


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_a_restarted_broker_costs_a_handshake_and_no_request(protocol: str) -> None:
    async with LoopbackHttps(protocols=(protocol,)) as server, make_pool(server) as pool:
        assert (await pool.request("GET", server.url)).status == 200
        server.drop_connections()
        assert (await pool.request("GET", server.url)).status == 200
        assert server.connections == 2


async def test_closing_leaves_no_connection() -> None:
    async with LoopbackHttps() as server:
        async with make_pool(server) as pool:
            await pool.request("GET", server.url)
            assert server.open
        await eventually(lambda: not server.open)
