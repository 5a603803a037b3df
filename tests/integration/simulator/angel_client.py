"""A small Angel One client for tests: frames by (segment, token, mode), built from the spec."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from brokers.simulator.angel.encoder import AngelName
from brokers.simulator.angel.exchange import PATH, AngelExchange
from tests.fix_simulator import ACCESS_TOKEN, API_KEY

__all__ = ["AngelClient", "angel_client", "good_headers"]

SUBSCRIBE, UNSUBSCRIBE = 1, 0


def good_headers() -> dict[str, str]:
    return {
        "Authorization": ACCESS_TOKEN,
        "x-api-key": API_KEY,
        "x-client-code": "C123",
        "x-feed-token": "feed",
    }


class AngelClient:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def ask(
        self, action: int, mode: int, names: Iterable[AngelName], correlation_id: str = "abc"
    ) -> None:
        groups = [{"exchangeType": name.exchange_type, "tokens": [name.token]} for name in names]
        params = {"mode": mode, "tokenList": groups}
        message = {"correlationID": correlation_id, "action": action, "params": params}
        await self.connection.send(json.dumps(message))

    async def frames(self, count: int) -> dict[tuple[AngelName, int], bytes]:
        """Receive until ``count`` pairs of name and mode have sent a frame; the latest of each."""
        latest: dict[tuple[AngelName, int], bytes] = {}
        async with asyncio.timeout(30):
            while len(latest) < count:
                frame = await self.connection.recv()
                if isinstance(frame, bytes):
                    name = AngelName(frame[1], frame[2:27].partition(b"\0")[0].decode())
                    latest[name, frame[0]] = frame
        return latest

    async def text(self) -> str:
        """Receive up to the next text message and return it."""
        async with asyncio.timeout(30):
            while True:
                frame = await self.connection.recv()
                if isinstance(frame, str):
                    return frame


@asynccontextmanager
async def angel_client(
    server: AngelExchange, headers: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[AngelClient]:
    options = {"compression": None, "close_timeout": 1, "ping_interval": None} | options
    async with connect(
        f"{server.url}{PATH}",
        additional_headers=headers or good_headers(),
        max_size=None,
        **options,
    ) as connection:
        yield AngelClient(connection)
