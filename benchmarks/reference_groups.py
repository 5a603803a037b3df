"""Channels as its manual has it: a consumer per client, one ``group_send`` per tick.

In-memory layer, uvicorn with the same WebSocket implementation as the gateway. The tick's JSON is
taken as it comes off the bus, so nothing is encoded here. The layer's capacity is raised, because
at its default it would silently drop.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from typing import Any

import uvicorn
import uvloop
from django.conf import settings

settings.configure(
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels.layers.InMemoryChannelLayer",
            "CONFIG": {"capacity": 1_000_000},
        }
    }
)

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402

from benchmarks.reference_bus import answer_to, open_bus, symbols_of  # noqa: E402
from streaming.wire.message import unpack_message  # noqa: E402
from streaming.wire.topics import parse_tick_topic  # noqa: E402


class TickConsumer(AsyncWebsocketConsumer):
    """One client; a group per symbol."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        request = json.loads(text_data or "{}")
        for symbol in symbols_of(request):
            await self.channel_layer.group_add(symbol, self.channel_name)
        await self.send(text_data=answer_to(request))

    async def tick(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


async def _fan_out(endpoint: str, pool_id: str) -> None:
    bus, layer = open_bus(endpoint, pool_id), get_channel_layer()
    assert layer is not None
    while True:
        message = unpack_message(await bus.recv())
        symbol = parse_tick_topic(message.topic).key.symbol
        await layer.group_send(symbol, {"type": "tick", "text": message.body.decode("ascii")})


async def _main(endpoint: str, pool_id: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            TickConsumer.as_asgi(),
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            lifespan="off",
            log_level="error",
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="server")
    fan_out = asyncio.create_task(_fan_out(endpoint, pool_id), name="fan-out")
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    fan_out.cancel()
    server.should_exit = True
    await serving


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], sys.argv[2]))
