"""A forward proxy for tests: HTTP (CONNECT and whole URLs) and SOCKS5 on one port.

Every host leads to loopback, so that names which nobody has can stand for brokers: what arrives
here came by the proxy, and what is not asked of it cannot arrive at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

__all__ = ["ForwardProxy"]


class ForwardProxy:
    """Open with ``async with``. ``asked`` lists what was asked for, as ``host:port``."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_refusing = False
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            first = await reader.readexactly(1)
            await (
                self._socks(reader, writer) if first == b"\5" else self._http(first, reader, writer)
            )
        writer.close()

    async def _http(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = first + await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b" ", 2)
        if self.is_refusing:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        if method == b"CONNECT":
            host, _, port = target.decode().rpartition(":")
            self.asked.append(f"{host}:{port}")
            upstream = await asyncio.open_connection("127.0.0.1", int(port))
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            parts = urlsplit(target.decode())
            self.asked.append(f"{parts.hostname}:{parts.port}")
            upstream = await asyncio.open_connection("127.0.0.1", parts.port)
            upstream[1].write(head)
        await _relay((reader, writer), upstream)

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\5\0")  # no authentication
        request = await reader.readexactly(4)
        assert request == b"\5\1\0\3", "a name was to be asked for, not an address"
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append(f"{host}:{port}")
        if self.is_refusing:
            writer.write(b"\5\2\0\1" + bytes(6))
            await writer.drain()
            return
        upstream = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\5\0\0\1" + bytes(6))
        await _relay((reader, writer), upstream)


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _relay(one: Pair, other: Pair) -> None:
    try:
        await asyncio.wait(
            [
                asyncio.ensure_future(_copy(one[0], other[1])),
                asyncio.ensure_future(_copy(other[0], one[1])),
            ]
        )
    finally:
        other[1].close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await source.read(65536):
            target.write(part)
            await target.drain()
    target.close()
