"""A small Kite client for tests: its own parser, built from the wire specification."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from brokers.simulator.zerodha.exchange import KiteExchange
from tests.fix_simulator import ACCESS_TOKEN, API_KEY

__all__ = ["KiteClient", "kite_client", "packets_of"]


def packets_of(frame: bytes) -> list[bytes]:
    """Split a binary message into packet bodies; a heartbeat has none."""
    if len(frame) < 2:
        return []
    (count,) = struct.unpack_from(">H", frame)
    bodies, at = [], 2
    for _ in range(count):
        (length,) = struct.unpack_from(">H", frame, at)
        bodies.append(frame[at + 2 : at + 2 + length])
        at += 2 + length
    assert at == len(frame)
    return bodies


class KiteClient:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.received = 0

    async def receive(self) -> str | bytes:
        """Receive one message of whatever kind."""
        frame: str | bytes = await self.connection.recv()
        self.received += 1
        return frame

    async def drain(self, server: KiteExchange) -> None:
        """Receive everything that the server has sent on this, its only or first, connection."""
        sent = server.record().connections[0].frames_sent
        async with asyncio.timeout(30):
            while self.received < sent:
                await self.receive()

    async def say(self, action: str, value: Any) -> None:
        await self.connection.send(json.dumps({"a": action, "v": value}))

    async def packets(self, count: int) -> dict[int, bytes]:
        """Receive until ``count`` instruments have sent a packet; the latest packet of each."""
        latest: dict[int, bytes] = {}
        async with asyncio.timeout(30):
            while len(latest) < count:
                frame = await self.receive()
                if isinstance(frame, bytes):
                    latest |= {int.from_bytes(body[:4], "big"): body for body in packets_of(frame)}
        return latest

    async def text(self) -> dict[str, Any]:
        """Receive up to the next text message and return it parsed."""
        async with asyncio.timeout(30):
            while True:
                frame = await self.receive()
                if isinstance(frame, str):
                    parsed: dict[str, Any] = json.loads(frame)
                    return parsed

    async def subscribe(self, tokens: Sequence[int], mode: str = "quote") -> None:
        await self.say("subscribe", list(tokens))
        if mode != "quote":
            await self.say("mode", [mode, list(tokens)])


@asynccontextmanager
async def kite_client(
    server: KiteExchange, api_key: str = API_KEY, access_token: str = ACCESS_TOKEN, **options: Any
) -> AsyncIterator[KiteClient]:
    url = f"{server.url}/?api_key={api_key}&access_token={access_token}"
    options = {"compression": None, "close_timeout": 1, "ping_interval": None} | options
    async with connect(url, max_size=None, **options) as connection:
        yield KiteClient(connection)
