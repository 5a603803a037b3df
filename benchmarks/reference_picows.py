"""A bare server in Cython: ``picows``, no framework, no JSON, one ``send`` per client and tick.

It reads the bus in batches as the gateway does, so what differs is how a tick gets to the clients.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvloop
import zmq
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from benchmarks.reference_bus import answer_to, symbols_of
from streaming.wire.message import unpack_message
from streaming.wire.socket import LoopSocket, single_part
from streaming.wire.topics import parse_tick_topic

_by_symbol: dict[str, dict[WSTransport, None]] = {}


class TickListener(WSListener):
    """One client."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE or frame.msg_type is not WSMsgType.TEXT:
            return
        request = json.loads(frame.get_payload_as_utf8_text())
        for symbol in symbols_of(request):
            _by_symbol.setdefault(symbol, {})[transport] = None
        transport.send(WSMsgType.TEXT, answer_to(request).encode())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        for transports in _by_symbol.values():
            transports.pop(transport, None)


def _on_batch(batch: list[bytes]) -> None:
    text = WSMsgType.TEXT
    for data in batch:
        message = unpack_message(data)
        for transport in _by_symbol.get(parse_tick_topic(message.topic).key.symbol, ()):
            transport.send(text, message.body)


async def _main(endpoint: str, pool_id: str) -> None:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    socket.set_hwm(100_000)
    socket.connect(endpoint)
    socket.subscribe(pool_id.encode() + b"/")
    bus: LoopSocket[Any] = LoopSocket(
        socket=socket, receive=single_part(socket), on_batch=_on_batch
    )
    bus.open()
    server = await ws_create_server(
        lambda _request: TickListener(), "127.0.0.1", 0, max_frame_size=2**22
    )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    bus.close()
    server.close()


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], sys.argv[2]))
