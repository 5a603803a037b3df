"""Sockets and HTTP to brokers through real proxies, and never for loopback."""

from __future__ import annotations

import asyncio
import random

import pytest
from websockets.asyncio.server import serve

from brokers.contract import Handshake
from brokers.exceptions import BrokerConfigError, BrokerUnavailableError
from pooling.clock import SystemClock
from pooling.connectors.websocket import WebSocketConnector
from pooling.http.policy import HttpOptions, RetryPolicy
from pooling.http.pool import HttpPool
from pooling.proxies import ProxyRules
from tests.integration.pooling.connectors.forward_proxy import ForwardProxy
from tests.support import free_port

WAYS = [
    pytest.param("environment", "HTTP_PROXY", "http", id="http"),
    pytest.param("environment", "ALL_PROXY", "http", id="all"),
    pytest.param("environment", "ALL_PROXY", "socks5h", id="socks"),
    pytest.param("setting", "", "http", id="setting"),
    pytest.param("setting", "", "socks5h", id="setting-socks"),
]


def rules(setting: str, variable: str, url: str) -> ProxyRules:
    if setting == "setting":
        return ProxyRules(setting=url, environ={})
    return ProxyRules(setting=setting, environ={variable: url})


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nmaster")
    await writer.drain()
    writer.close()


async def fetch(proxies: ProxyRules, url: str) -> bytes:
    options = HttpOptions(retry=RetryPolicy(retries=0), proxies=proxies, timeout_seconds=10.0)
    async with HttpPool(clock=SystemClock(), rng=random.Random(1), options=options) as pool:
        return (await pool.request("GET", url)).body


async def hear(proxies: ProxyRules, url: str) -> str | bytes:
    connector = WebSocketConnector(clock=SystemClock(), proxies=proxies)
    transport = await connector(
        Handshake(url=url, headers={}), open_timeout_seconds=10.0, max_frame_bytes=100
    )
    try:
        return await transport.recv()
    finally:
        await transport.close()


@pytest.mark.parametrize(("setting", "variable", "scheme"), WAYS)
async def test_sockets_and_http_take_the_same_way(setting: str, variable: str, scheme: str) -> None:
    async def greet(socket):
        await socket.send("tick")
        await socket.wait_closed()

    async with ForwardProxy() as proxy, serve(greet, "127.0.0.1", 0) as feed:
        site = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with site:
            proxies = rules(setting, variable, f"{scheme}://127.0.0.1:{proxy.port}")
            ws, http = (each.sockets[0].getsockname()[1] for each in (feed, site))
            assert await hear(proxies, f"ws://feed.broker.example:{ws}/") == "tick"
            assert await fetch(proxies, f"http://api.broker.example:{http}/") == b"master"
            assert proxy.asked == [f"feed.broker.example:{ws}", f"api.broker.example:{http}"]
            # What is on this machine is reached directly.
            assert await hear(proxies, f"ws://127.0.0.1:{ws}/") == "tick"
            assert await fetch(proxies, f"http://localhost:{http}/") == b"master"
            assert len(proxy.asked) == 2


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
async def test_a_proxy_that_refuses_is_named_and_its_password_is_not(scheme: str) -> None:
    async with ForwardProxy() as proxy:
        proxy.is_refusing = True
        address = f"127.0.0.1:{proxy.port}"
        proxies = ProxyRules(setting=f"{scheme}://ann:planted@{address}")
        if scheme == "socks5h":  # this one takes nobody's name
            proxies = ProxyRules(setting=f"{scheme}://{address}")
        for attempt in (
            hear(proxies, "wss://feed.broker.example/"),
            fetch(proxies, "https://api.broker.example/"),
        ):
            with pytest.raises(BrokerUnavailableError) as raised:
                await attempt
            assert f"the proxy {address} (BROKER_PROXY)" in str(raised.value)
            assert "planted" not in str(raised.value)


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
async def test_a_proxy_that_is_gone_is_named(scheme: str) -> None:
    proxies = ProxyRules(setting=f"{scheme}://127.0.0.1:{free_port()}")
    for attempt in (
        hear(proxies, "ws://feed.broker.example/"),
        fetch(proxies, "http://api.broker.example/"),
    ):
        with pytest.raises(BrokerUnavailableError, match=r"the proxy 127\.0\.0\.1:\d+ "):
            await attempt


async def test_an_unusable_setting_is_one_sentence_on_both_ways() -> None:
    proxies = ProxyRules(setting="environment", environ={"ALL_PROXY": "ftp://gate:21"})
    for attempt in (
        hear(proxies, "wss://feed.broker.example/"),
        fetch(proxies, "https://api.broker.example/"),
    ):
        with pytest.raises(BrokerConfigError, match=r"^ALL_PROXY names no proxy"):
            await attempt
