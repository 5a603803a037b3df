"""A site that is slow as long as a test wants, at a real server, and clients at many addresses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

from tests.integration.streaming.edge_kit import EdgeServer
from tests.support import eventually

Wrap = Callable[[Callable[..., Awaitable[None]], Callable[[], None]], Any]
LARGE = 20_000_000  # more than the kernel takes of it


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str


class SlowSite:
    """A site that serves when it is told to, and which knows who is inside.

    Args:
        wrap: puts what is tried in front of it, told what to call for whoever is refused.
    """

    def __init__(self, wrap: Wrap) -> None:
        self.refused = 0
        self.inside: list[str] = []  # paths with their queries, in the order in which they came
        self.most_inside = 0
        self.came: list[str] = []
        self.go_on = asyncio.Event()
        self.application = wrap(self._page, self._note_refusal)

    def _note_refusal(self) -> None:
        self.refused += 1

    async def _page(self, scope: Any, receive: Any, send: Any) -> None:
        name = scope["path"] + scope["query_string"].decode()
        body = await receive()
        if body["type"] != "http.request":
            return
        self.came.append(name)
        self.inside.append(name)
        self.most_inside = max(self.most_inside, len(self.inside))
        try:
            if not scope["path"].startswith("/quick"):
                await self.go_on.wait()
        finally:
            self.inside.remove(name)
        is_large = scope["query_string"] == b"large"
        answer = bytes(LARGE) if is_large else b"%d" % len(body["body"])
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        # The server takes what is there, and lets the rest wait for the client.
        for part in (answer, b""):
            await send({"type": "http.response.body", "body": part, "more_body": bool(part)})

    async def has_inside(self, count: int) -> None:
        await eventually(lambda: len(self.inside) == count, timeout=60)


class Line:
    """A connection from an address of the loopback range."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def close(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def answer(self) -> Answer:
        async with asyncio.timeout(60):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers["content-length"]))
        return Answer(int(head[0].split()[1]), headers, body.decode())


class Client:
    """Asks a site from its address, as whom it says."""

    def __init__(self, edge: EdgeServer, stack: AsyncExitStack, number: int, shown: str) -> None:
        self._edge, self._stack = edge, stack
        self._address, self._shown = f"127.0.3.{number}", shown

    async def open(self) -> Line:
        line = Line(
            *await asyncio.open_connection(
                "127.0.0.1", self._edge.port, local_addr=(self._address, 0), limit=2**20
            )
        )
        self._stack.push_async_callback(line.close)
        return line

    async def ask(self, path: str, body: bytes = b"", *, sent: int | None = None) -> Line:
        """Send a request, of its body the first ``sent`` bytes."""
        line = await self.open()
        head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: localhost\r\n{self._shown}"
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        line.writer.write(f"{head}{length}\r\n".encode() + body[:sent])
        return line

    async def get(self, path: str) -> Answer:
        return await (await self.ask(path)).answer()


class Served:
    """A site at a real server, and clients of it."""

    def __init__(self, site: SlowSite, edge: EdgeServer, stack: AsyncExitStack) -> None:
        self.site, self._edge, self._stack = site, edge, stack

    def stranger(self, number: int = 1, shown: str = "") -> Client:
        return Client(self._edge, self._stack, number, shown)


@asynccontextmanager
async def served_site(wrap: Wrap) -> AsyncIterator[Served]:
    """Serve a slow site, which is let on at the end."""
    site = SlowSite(wrap)
    async with (
        EdgeServer(http=site.application) as edge,
        AsyncExitStack() as stack,
    ):
        try:
            yield Served(site, edge, stack)
        finally:
            site.go_on.set()
