"""Fixture: a TCP proxy that makes a real network fail, between a pool and a local exchange.

``make_proxy(port)`` returns an open ``TcpProxy`` to that loopback port; all are closed after the
test.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Self

import pytest

__all__ = ["MakeProxy", "TcpProxy", "make_proxy"]

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 64 * 1024
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, no time; closing sends RST


class TcpProxy:
    """Forwards bytes between its port and another one, as badly as it is told.

    Args:
        target_port: where it forwards to, on loopback.
    """

    def __init__(self, *, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._port = 0
        self._latency_seconds = 0.0
        self._slice_bytes = CHUNK_BYTES
        self._may_pass = asyncio.Event()
        self._may_pass.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"ws://{LOOPBACK}:{self._port}"

    @property
    def connections(self) -> int:
        """How many links are open."""
        return len(self._writers) // 2

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.down()
        self.speak()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def up(self) -> None:
        """Listen, on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, LOOPBACK, self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Refuse new connections and cut the open ones."""
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
        self._cut()

    def reset(self) -> None:
        """Cut every open connection with RST, as a rebooting firewall does."""
        for writer in self._writers:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._cut()

    def silence(self) -> None:
        """Keep every connection open and pass nothing on, in either direction."""
        self._may_pass.clear()

    def speak(self) -> None:
        """End the silence: what was held back passes."""
        self._may_pass.set()

    def latency(self, milliseconds: float) -> None:
        """Hold everything back for so long."""
        self._latency_seconds = milliseconds / 1000

    def slice(self, size: int | None) -> None:
        """Pass at most ``size`` bytes at a time; None: as they come."""
        self._slice_bytes = size or CHUNK_BYTES

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        writers = [writer]
        self._writers.add(writer)
        pumps: list[asyncio.Task[None]] = []
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._target_port)
            writers.append(far_writer)
            self._writers.add(far_writer)
            ways = ((reader, far_writer), (far_reader, writer))
            pumps += [asyncio.create_task(self._pump(*way), name="proxy-pump") for way in ways]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass  # nobody at the other end: the client's link ends too
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for one in writers:
                self._writers.discard(one)
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=10_000)
        feeding = asyncio.create_task(self._feed(reader, queue), name="proxy-feed")
        try:
            while True:
                due, data = await queue.get()
                if (wait := due - loop.time()) > 0:
                    await asyncio.sleep(wait)
                await self._may_pass.wait()
                if not data:
                    return
                for at in range(0, len(data), self._slice_bytes):
                    writer.write(data[at : at + self._slice_bytes])
                    await writer.drain()
                    await asyncio.sleep(0)
        except ConnectionError:
            return
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    async def _feed(
        self, reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        loop = asyncio.get_running_loop()
        data = b"-"
        while data:
            try:
                data = await reader.read(CHUNK_BYTES)
            except ConnectionError:
                data = b""
            await queue.put((loop.time() + self._latency_seconds, data))


MakeProxy = Callable[[int], Awaitable[TcpProxy]]


@pytest.fixture
async def make_proxy() -> AsyncIterator[MakeProxy]:
    async with AsyncExitStack() as stack:

        async def make(port: int) -> TcpProxy:
            return await stack.enter_async_context(TcpProxy(target_port=port))

        yield make
