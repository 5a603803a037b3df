"""A real server on free ports with a worker and a directory in memory, and its clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from channels.layers import get_channel_layer
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from brokers.types import InstrumentKey
from streaming.addresses import Network
from streaming.edge_limits import EdgeLimits
from streaming.gateway.gateway import Gateway
from streaming.gateway.proxies import behind_proxies
from streaming.gateway.routing import build_application
from streaming.gateway.server import listen, make_server, websockets_only
from streaming.testing.edge import FakeDirectory, FakeFeedLink, make_principal
from tests.support import eventually

INFY = InstrumentKey("NSE", "INFY")
TCS = InstrumentKey("NSE", "TCS")
KEY = "good-key"


async def plain_site(scope: Any, receive: Any, send: Any) -> None:
    """The smallest site: every page is ``site``."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"site"})


class EdgeServer:
    """A served gateway; ``link`` and ``directory`` are its fakes."""

    def __init__(
        self,
        *,
        http: Any = plain_site,
        openalgo_port: int = 0,
        clock: Callable[[], float] = time.monotonic,
        make_layer: Callable[[], Any] = get_channel_layer,
        proxies: Sequence[Network] = (),
        **limits: Any,
    ) -> None:
        self.link = FakeFeedLink()
        self.directory = FakeDirectory()
        self.principal = self.directory.add_key(KEY, make_principal(1))
        self.gateway = Gateway(
            make_link=lambda: self.link,
            directory=self.directory,
            limits=EdgeLimits(**{"revalidate_seconds": 60.0, **limits}),
            clock=clock,
            make_layer=make_layer,
            proxies=proxies,
        )
        self.application = behind_proxies(
            build_application(http=http, gateway=self.gateway), trusted=proxies
        )
        self.port = 0
        self.openalgo_port = openalgo_port

    async def __aenter__(self) -> EdgeServer:
        sockets = [
            listen("127.0.0.1", 0, "PORT"),
            listen("127.0.0.1", self.openalgo_port, "OPENALGO_PORT"),
        ]
        self.port, self.openalgo_port = (s.getsockname()[1] for s in sockets)
        self.server = make_server(
            websockets_only(self.application, self.openalgo_port), self.gateway.edge
        )
        await self.gateway.open()
        self._serving = asyncio.create_task(self.server.serve(sockets=sockets), name="edge server")
        await eventually(lambda: self.server.started)
        return self

    async def __aexit__(self, *args: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stop as a signal would. Idempotent."""
        self.server.should_exit = True
        await self._serving
        await self.gateway.close()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.openalgo_port}/"

    @property
    def site_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def connect(self, url: str | None = None, **options: Any) -> ClientConnection:
        """Open a socket that is not authenticated yet."""
        options = {"compression": None, "proxy": None, "open_timeout": 60} | options
        return await connect(url or self.url, **options)

    async def client(self, api_key: str = KEY, **options: Any) -> ClientConnection:
        """Open a socket and authenticate it."""
        socket = await self.connect(**options)
        reply = await ask(socket, action="authenticate", api_key=api_key)
        assert reply["status"] == "success", reply
        return socket


async def read(socket: ClientConnection) -> dict[str, Any]:
    """Receive one frame."""
    async with asyncio.timeout(30):
        frame: dict[str, Any] = json.loads(await socket.recv())
    return frame


async def ask(socket: ClientConnection, **fields: Any) -> dict[str, Any]:
    """Send a request and receive the next frame."""
    await socket.send(json.dumps(fields))
    return await read(socket)


async def closing(socket: ClientConnection) -> tuple[int | None, str | None]:
    """Read to the end; return close code and reason."""
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(30):
            async for _ in socket:
                pass
    return socket.close_code, socket.close_reason


MakeEdge = Callable[..., Awaitable[EdgeServer]]
