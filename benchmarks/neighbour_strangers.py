"""Strangers next to the neighbour: each at an address of its own, without a key, at its worst."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

__all__ = ["Strangers"]

_PING = b"\x89\x81" + bytes(4) + b"?"
_PIECES = b"\x01\x80" + bytes(4) + (b"\x00\x80" + bytes(4)) * 10_000
_UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
_HANDSHAKE = (
    f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{_UPGRADE}"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()
# What a stranger may send, in a moment less than the time in which it has to authenticate.
_ADMITTED_BURST, _ADMITTED_EVERY, _STRANGER_SECONDS = 32, 0.25, 9.0
_SOCKETS_EACH = 5
_SILENT_EACH = 60  # of a hundred: more than there may be in all
_TOKEN = "t" * 32
_AGAIN_SECONDS = 1.0  # after a refusal, which says five
_FLOODS = (
    ("frames", _HANDSHAKE, _PING * 10_000),
    ("pieces", _HANDSHAKE, _PIECES),
    ("a large frame", _HANDSHAKE, b"\x81\xff" + (1024 * 1024).to_bytes(8) + bytes(100_000)),
    ("headers", b"", b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 20_000),
    ("requests", b"", b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 2000),
)
_PAGES = ("/login/", "/", "/there-is-none", "/api/pools", "/readyz")
_BODY = bytes(2_400_000)  # a little less than a body may have, and all of it but the end
_BODY_SECONDS = 20.0
_WORDS_SECONDS = 30.0

_Doing = Callable[[], Awaitable[None]]
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Strangers:
    """What strangers do, and ``done``, which counts what came of it.

    Args:
        port: where OpenAlgo's clients go.
        site_port: where the site is.
    """

    def __init__(self, port: int, site_port: int, done: Counter[str]) -> None:
        self._port, self._site_port, self._done = port, site_port, done

    def doings(self, kind: str, clients: int) -> list[_Doing] | None:
        """Return what each of so many strangers does again and again; None: no such kind."""
        kinds: dict[str, Callable[[int], Awaitable[None]]] = {
            "floods": self._flood,
            "admitted": self._use_what_is_admitted,
            "silent": self._say_nothing,
            "handshakes": self._come_and_go,
            "guesses": self._guess,
            "passwords": self._guess_password,
            "pages": self._read_pages,
            "bodies": self._send_bodies,
        }
        what = kinds.get(kind)
        return None if what is None else [partial(what, at) for at in range(clients)]

    async def _connect(self, number: int, port: int | None = None) -> _Streams:
        return await asyncio.open_connection(
            "127.0.0.1", port or self._port, local_addr=(f"127.0.1.{number + 1}", 0)
        )

    async def _flood(self, number: int) -> None:
        """Send what no stranger may, until it is cut off; then come again at once."""
        name, first, flood = _FLOODS[number % len(_FLOODS)]
        reader, writer = await self._connect(number)
        try:
            writer.write(first)
            if first:
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _WORDS_SECONDS)
            writer.write(flood)
            async with asyncio.timeout(_WORDS_SECONDS):
                while await reader.read(65_536):
                    pass
            self._done[f"cut off: {name}"] += 1
        except ConnectionError:
            self._done[f"cut off: {name}"] += 1
        finally:
            writer.transport.abort()

    async def _use_what_is_admitted(self, number: int) -> None:
        """Send as many frames as a stranger may, on some sockets, for as long as it may stay."""
        sockets = [await self._connect(number) for _ in range(_SOCKETS_EACH)]
        try:
            for _, writer in sockets:
                writer.write(_HANDSHAKE)
            for reader, writer in sockets:
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _WORDS_SECONDS)
                writer.write(_PING * (_ADMITTED_BURST - 2))
            self._done["sockets"] += _SOCKETS_EACH
            for _ in range(round(_STRANGER_SECONDS / _ADMITTED_EVERY)):
                await asyncio.sleep(_ADMITTED_EVERY)
                for _, writer in sockets:
                    writer.write(_PING)
            self._done["stayed"] += _SOCKETS_EACH
        finally:
            for _, writer in sockets:
                writer.transport.abort()

    async def _say_nothing(self, number: int) -> None:
        """Hold connections with half a request each, but one, until they are closed."""
        lines = [await self._connect(number) for _ in range(_SILENT_EACH)]
        try:
            self._done["opened"] += len(lines)
            for _, writer in lines[1:]:
                writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            for reader, _ in lines:
                with contextlib.suppress(ConnectionError):
                    await asyncio.wait_for(reader.read(), 60)
                self._done["closed: silent"] += 1
        finally:
            for _, writer in lines:
                writer.transport.abort()

    async def _come_and_go(self, number: int) -> None:
        """Shake hands and leave."""
        reader, writer = await self._connect(number)
        try:
            writer.write(_HANDSHAKE)
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _WORDS_SECONDS)
            self._done["handshakes"] += 1
        finally:
            writer.transport.abort()

    async def _guess(self, number: int) -> None:
        """Try a key that nobody has, or a session, and come again at once."""
        is_page = number % 2 == 1
        reader, writer = await self._connect(number, self._site_port if is_page else None)
        try:
            writer.write(_page_handshake(self._site_port) if is_page else _HANDSHAKE)
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _WORDS_SECONDS)
            if not is_page:
                writer.write(_text({"action": "authenticate", "api_key": os.urandom(32).hex()}))
            if not await asyncio.wait_for(reader.read(4096), _WORDS_SECONDS):
                raise ConnectionResetError
            self._done["sessions refused" if is_page else "keys refused"] += 1
        finally:
            writer.transport.abort()

    async def _guess_password(self, number: int) -> None:
        """Try the password of a name that nobody has tried before, and come again."""
        form = f"username={os.urandom(8).hex()}&password=guess&csrfmiddlewaretoken={_TOKEN}"
        request = (
            "POST /login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Cookie: csrftoken={_TOKEN}\r\nContent-Length: {len(form)}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}"
        )
        reader, writer = await self._connect(number, self._site_port)
        try:
            writer.write(request.encode())
            answer = await asyncio.wait_for(reader.read(), _WORDS_SECONDS)
            self._done[f"passwords: {answer[9:12].decode(errors='replace')}"] += 1
            if not answer.startswith(b"HTTP/1.1 200"):
                await asyncio.sleep(_AGAIN_SECONDS)
        finally:
            writer.transport.abort()

    async def _read_pages(self, number: int) -> None:
        """Ask for a page on each of some connections, one after the other, and read them."""
        await asyncio.gather(*(self._read_page(number + at, number) for at in range(_SOCKETS_EACH)))

    async def _read_page(self, at: int, number: int) -> None:
        path = _PAGES[at % len(_PAGES)]
        reader, writer = await self._connect(number, self._site_port)
        try:
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
            )
            answer = await asyncio.wait_for(reader.read(), 60)
            self._done[f"pages: {answer[9:12].decode(errors='replace')}"] += 1
        finally:
            writer.transport.abort()

    async def _send_bodies(self, number: int) -> None:
        """Send a body as large as one may be, but for its end, on each of some connections."""
        lines = [await self._connect(number, self._site_port) for _ in range(_SOCKETS_EACH)]
        head = (
            "POST /admin/streaming/watchlist/add/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: text/plain\r\nContent-Length: {len(_BODY) + 1}\r\n\r\n"
        ).encode()
        try:
            for _, writer in lines:
                writer.write(head)
                writer.write(_BODY)
            self._done["bodies"] += len(lines)
            async with asyncio.timeout(_BODY_SECONDS):
                await asyncio.gather(*(reader.read() for reader, _ in lines))
        except TimeoutError:
            self._done["bodies held"] += len(lines)
        finally:
            for _, writer in lines:
                writer.transport.abort()


def _page_handshake(port: int) -> bytes:
    """Return the handshake of a page of the site with a session that there is not."""
    key, session = base64.b64encode(os.urandom(16)).decode(), os.urandom(16).hex()
    return (
        f"GET /ws/ticks/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{_UPGRADE}"
        f"Origin: http://127.0.0.1:{port}\r\nCookie: sessionid={session}\r\n"
        f"Sec-WebSocket-Key: {key}\r\n\r\n"
    ).encode()


def _text(request: dict[str, str]) -> bytes:
    payload = json.dumps(request).encode()
    assert len(payload) < 126
    return bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload
