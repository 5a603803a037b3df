"""The obvious way: one ``json.dumps`` and one ``send`` per client and tick, on ``websockets``.

The same bus, the same requests of the clients as far as the load needs them. No authentication, no
limits, no answers from the worker: it has less to do than the gateway.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.reference_bus import answer_to, open_bus, symbols_of
from streaming.wire.message import unpack_message

_COMPACT = (",", ":")


class JsonServer:
    """Subscribers by symbol; every tick is made into JSON for each of them in turn."""

    def __init__(self) -> None:
        self.by_symbol: dict[str, set[ServerConnection]] = {}

    async def handle(self, client: ServerConnection) -> None:
        """Answer the two requests of the load."""
        try:
            async for text in client:
                request = json.loads(text)
                for symbol in symbols_of(request):
                    self.by_symbol.setdefault(symbol, set()).add(client)
                await client.send(answer_to(request))
        except ConnectionClosed:
            pass
        finally:
            for clients in self.by_symbol.values():
                clients.discard(client)

    async def run(self, endpoint: str, pool_id: str) -> None:
        """Fan out until cancelled."""
        bus = open_bus(endpoint, pool_id)
        while True:
            tick = json.loads(unpack_message(await bus.recv()).body)
            clients = self.by_symbol.get(tick["symbol"], ())
            await asyncio.gather(
                *(client.send(json.dumps(tick, separators=_COMPACT)) for client in list(clients)),
                return_exceptions=True,
            )


async def _main(endpoint: str, pool_id: str) -> None:
    server = JsonServer()
    loop = asyncio.get_running_loop()
    async with serve(
        server.handle, "127.0.0.1", 0, compression=None, max_size=2**22, ping_interval=None
    ) as listener:
        fan_out = asyncio.create_task(server.run(endpoint, pool_id), name="fan-out")
        print(json.dumps({"port": listener.sockets[0].getsockname()[1]}), flush=True)
        await loop.run_in_executor(None, sys.stdin.read)
        fan_out.cancel()


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], sys.argv[2]))
