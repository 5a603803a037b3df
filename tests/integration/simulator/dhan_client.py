"""A small Dhan client for tests: packets by (kind, segment, security id), built from the spec."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect

from brokers.simulator.dhan.encoder import DhanName
from brokers.simulator.dhan.exchange import DhanExchange
from tests.fix_simulator import ACCESS_TOKEN

__all__ = ["DISCONNECTED", "DhanClient", "Kind", "dhan_client", "feed_url"]

Kind = tuple[int, int, int]
DISCONNECTED = 50


def feed_url(server: DhanExchange, path: str = "/", **changes: str) -> str:
    query = {"version": "2", "token": ACCESS_TOKEN, "clientId": "1000000001", "authType": "2"}
    return f"{server.url}{path}?{urlencode(query | changes)}"


class DhanClient:
    def __init__(self, connection: ClientConnection, *, is_deep: bool = False) -> None:
        self.connection = connection
        self._is_deep = is_deep

    async def ask(self, code: int, names: Iterable[DhanName]) -> None:
        listed = [
            {"ExchangeSegment": name.segment, "SecurityId": name.security_id} for name in names
        ]
        request = {"RequestCode": code, "InstrumentCount": len(listed), "InstrumentList": listed}
        await self.connection.send(json.dumps(request))

    async def packets(self, count: int) -> dict[Kind, bytes]:
        """Receive until ``count`` kinds of packet have come; the latest of each."""
        latest: dict[Kind, bytes] = {}
        async with asyncio.timeout(30):
            while len(latest) < count:
                for kind, packet in self._split(await self._message()):
                    latest[kind] = packet
        return latest

    async def reason(self) -> int:
        """Receive up to the packet that ends the connection, and return its reason."""
        async with asyncio.timeout(30):
            while True:
                for (code, *_), packet in self._split(await self._message()):
                    if code == DISCONNECTED:
                        return int(struct.unpack_from("<H", packet, len(packet) - 2)[0])

    async def _message(self) -> bytes:
        message = await self.connection.recv()
        assert isinstance(message, bytes)
        return message

    def _split(self, message: bytes) -> Iterable[tuple[Kind, bytes]]:
        at = 0
        while at < len(message):
            if self._is_deep:
                length, code, segment, number = struct.unpack_from("<HBBi", message, at)
            else:
                code, length, segment, number = struct.unpack_from("<BHBI", message, at)
            yield (code, segment, number), message[at : at + length]
            at += length


@asynccontextmanager
async def dhan_client(
    server: DhanExchange, path: str = "/", query: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[DhanClient]:
    options = {"compression": None, "close_timeout": 1, "ping_interval": None} | options
    url = feed_url(server, path, **(query or {}))
    async with connect(url, max_size=None, **options) as connection:
        yield DhanClient(connection, is_deep=path != "/")
