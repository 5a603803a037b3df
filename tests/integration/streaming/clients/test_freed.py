"""A client that is gone is freed by its last reference, whichever way it went.

The collector of cycles is off: in a gateway it runs so rarely that what waits for it adds up to
megabytes a minute where clients come and go.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import json
import os
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
import uvloop
from django.test import Client as Browser

from openalgo_site.web.handler import site_handler
from streaming.clients.batches import BATCH_SUBPROTOCOL
from streaming.clients.client import Client
from streaming.clients.outbox import Outbox
from streaming.clients.senders import FrameSender
from streaming.edge.http_protocol import GatewayHttpProtocol
from streaming.edge.uvicorn_frames import UvicornFrameWriter
from streaming.gateway.consumers import EdgeConsumer
from streaming.gateway.server import GatewayProtocol
from streaming.protocol.session import ClientSession
from streaming.testing.edge import make_principal
from tests.integration.streaming.edge_kit import INFY, KEY, EdgeServer
from tests.support import eventually

pytestmark = pytest.mark.django_db(transaction=True)

KINDS = (
    Client, ClientSession, EdgeConsumer, FrameSender, GatewayHttpProtocol, GatewayProtocol, Outbox,
    UvicornFrameWriter,
)  # fmt: skip
TIMES = 72  # of each way to go, which makes a thousand


def handshake(port: int, path: str, headers: Mapping[str, str]) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    fields = {
        "Host": f"127.0.0.1:{port}", "Upgrade": "websocket", "Connection": "Upgrade",
        "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13", **headers,
    }  # fmt: skip
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Wire:
    """A WebSocket client of bytes, whose own objects are no cycles."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, path: str = "/ws", **headers: str) -> Wire:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        writer.write(handshake(port, path, named))
        await reader.readuntil(b"\r\n\r\n")
        return cls(reader, writer)

    def send(self, opcode: int, payload: bytes) -> None:
        is_short = len(payload) < 126
        size = (
            struct.pack("!B", 0x80 | len(payload))
            if is_short
            else struct.pack("!BH", 0x80 | 126, len(payload))
        )
        self.writer.write(bytes([0x80 | opcode]) + size + bytes(4) + payload)

    def ask(self, **fields: Any) -> None:
        self.send(1, json.dumps(fields).encode())

    async def until(self, word: bytes) -> None:
        await self.reader.readuntil(word)

    async def end(self) -> None:
        """Answer the server's close frame, and close when the server has."""
        with contextlib.suppress(ConnectionError):
            while data := await self.reader.read(65_536):
                if b"\x88" in data:
                    self.send(8, struct.pack("!H", 1000))
        self.writer.close()

    def vanish(self) -> None:
        self.writer.transport.abort()


Way = Callable[[EdgeServer, str], Awaitable[None]]


async def ready(edge: EdgeServer, **headers: str) -> Wire:
    wire = await Wire.open(edge.openalgo_port, **headers)
    wire.ask(action="authenticate", api_key=KEY)
    await wire.until(b'"success"')
    wire.ask(action="subscribe", symbol="INFY", exchange="NSE")
    await wire.until(b'"subscribe"')
    edge.link.tick("p1", INFY)
    await wire.until(b"market_data")
    return wire


async def closes(edge: EdgeServer, session: str) -> None:
    wire = await ready(edge)
    wire.send(8, struct.pack("!H", 1000))
    await wire.end()


async def vanishes(edge: EdgeServer, session: str) -> None:
    (await ready(edge)).vanish()


async def reads_batches(edge: EdgeServer, session: str) -> None:
    (await ready(edge, Sec_WebSocket_Protocol=BATCH_SUBPROTOCOL)).vanish()


async def breaks_the_protocol(edge: EdgeServer, session: str) -> None:
    wire = await ready(edge)
    wire.writer.write(b"\xff\xff\xff\xff")
    await wire.end()


async def sends_too_much(edge: EdgeServer, session: str) -> None:
    wire = await Wire.open(edge.openalgo_port)
    wire.send(1, b" " * 5000)
    await wire.end()


async def has_a_wrong_key(edge: EdgeServer, session: str) -> None:
    wire = await Wire.open(edge.openalgo_port)
    wire.ask(action="authenticate", api_key="wrong")
    await wire.end()


async def never_authenticates(edge: EdgeServer, session: str) -> None:
    (await Wire.open(edge.openalgo_port)).vanish()


async def has_a_wrong_interval(edge: EdgeServer, session: str) -> None:
    headers = {"Sec_WebSocket_Protocol": BATCH_SUBPROTOCOL}
    wire = await Wire.open(edge.openalgo_port, "/ws?interval=never", **headers)
    await wire.end()


async def asks_for_what_is_not_there(edge: EdgeServer, session: str) -> None:
    wire = await Wire.open(edge.port, "/nothing")
    await wire.end()


async def does_not_keep_up(edge: EdgeServer, session: str) -> None:
    wire = await ready(edge)
    hub = edge.gateway.current_hub
    assert hub is not None
    hub.abort_slow(max(hub.clients, key=lambda client: int(client.id)))
    wire.send(8, struct.pack("!H", 1000))
    await wire.end()


async def has_its_key_revoked(edge: EdgeServer, session: str) -> None:
    edge.directory.add_key("doomed", make_principal(2))
    wire = await Wire.open(edge.openalgo_port)
    wire.ask(action="authenticate", api_key="doomed")
    await wire.until(b'"success"')
    edge.directory.revoke("doomed")
    assert edge.gateway.announce(2)
    await wire.end()


async def is_a_page(edge: EdgeServer, session: str) -> None:
    site = f"http://127.0.0.1:{edge.port}"
    cookie = f"sessionid={session}"
    wire = await Wire.open(edge.port, "/ws/ticks/", Origin=site, Cookie=cookie)
    wire.ask(action="subscribe", symbol="INFY", exchange="NSE")
    await wire.until(b'"subscribe"')
    wire.vanish()


async def is_a_page_without_a_login(edge: EdgeServer, session: str) -> None:
    wire = await Wire.open(edge.port, "/ws/ticks/", Origin=f"http://127.0.0.1:{edge.port}")
    wire.send(8, struct.pack("!H", 1000))
    await wire.end()


async def asks_over_http(edge: EdgeServer, session: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b'"ok"}')
    writer.close()


WAYS = [
    closes, vanishes, reads_batches, breaks_the_protocol, sends_too_much, has_a_wrong_key,
    never_authenticates, does_not_keep_up, has_its_key_revoked, is_a_page,
    is_a_page_without_a_login, asks_over_http, has_a_wrong_interval, asks_for_what_is_not_there,
]  # fmt: skip


def alive() -> Counter[str]:
    """Count the objects of clients that there are."""
    found = [type(each).__name__ for each in gc.get_objects() if isinstance(each, KINDS)]
    return Counter(found)


@pytest.mark.usefixtures("without_collector")
def test_a_thousand_clients_leave_nothing_behind(django_user_model: Any) -> None:
    user = django_user_model.objects.create_user("trader", password="x")
    browser = Browser()
    browser.force_login(user)
    session = str(browser.session.session_key)
    left: dict[str, Counter[str]] = {}

    async def main() -> None:
        edge = EdgeServer(
            http=site_handler(), auth_failure_close_seconds=0.001,
            auth_failures_per_minute=10_000,
        )  # fmt: skip
        edge.directory.add_session(session, make_principal(user.pk, pool_id="p1"))
        async with edge:
            for way in WAYS:
                for _ in range(TIMES):
                    async with asyncio.timeout(20):
                        await way(edge, session)
                hub = edge.gateway.current_hub
                assert hub is not None
                await eventually(lambda: not hub.clients and hub.sockets.total == 0)  # noqa: B023
                # What the last one still has to do is done within its turns.
                with contextlib.suppress(AssertionError):
                    await eventually(lambda: not alive(), timeout=20.0, interval=0.05)
                left[way.__name__] = alive()
                gc.collect()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    assert left == {way.__name__: Counter() for way in WAYS}
