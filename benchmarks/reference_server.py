"""The obvious way, for comparison: one ``json.dumps`` and one ``send`` per client and tick.

A few lines on ``websockets`` that read the same bus and speak the same protocol as far as the load
client needs it. No authentication, no limits, no acks from the worker: it has less to do.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop
import zmq
import zmq.asyncio
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from streaming.bus_message import unpack_message

_COMPACT = (",", ":")


class ReferenceServer:
    """Subscribers by symbol; every tick is sent to each of them in turn."""

    def __init__(self, bus: zmq.asyncio.Socket) -> None:
        self.bus = bus
        self.by_symbol: dict[str, set[ServerConnection]] = {}

    async def handle(self, client: ServerConnection) -> None:
        """Answer the two requests of the load client."""
        try:
            async for text in client:
                request = json.loads(text)
                if request["action"] == "authenticate":
                    await client.send(json.dumps({"type": "auth", "status": "success"}))
                    continue
                for item in request["symbols"]:
                    self.by_symbol.setdefault(item["symbol"], set()).add(client)
                await client.send(json.dumps({"type": "subscribe", "status": "success"}))
        except ConnectionClosed:
            pass
        finally:
            for clients in self.by_symbol.values():
                clients.discard(client)

    async def run(self) -> None:
        """Fan out until cancelled."""
        while True:
            message = unpack_message(await self.bus.recv())
            tick = json.loads(message.body)
            clients = self.by_symbol.get(tick["symbol"], ())
            await asyncio.gather(
                *(client.send(json.dumps(tick, separators=_COMPACT)) for client in list(clients)),
                return_exceptions=True,
            )


async def _main() -> None:
    bus = zmq.asyncio.Context.instance().socket(zmq.SUB)
    bus.set_hwm(100_000)
    bus.connect(sys.argv[1])
    bus.subscribe(sys.argv[2].encode() + b"/")
    server = ReferenceServer(bus)
    loop = asyncio.get_running_loop()
    async with serve(server.handle, "127.0.0.1", 0, compression=None) as listener:
        fan_out = asyncio.create_task(server.run(), name="fan-out")
        print(json.dumps({"port": listener.sockets[0].getsockname()[1]}), flush=True)
        await loop.run_in_executor(None, sys.stdin.read)
        fan_out.cancel()


if __name__ == "__main__":
    uvloop.run(_main())
