"""The same behaviour whether frames are shared or sent through ASGI, byte by byte."""

from __future__ import annotations

import asyncio
import fcntl
import inspect
import json
import re
import socket as socket_module
import sys
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from brokers.types import FeedMode
from streaming.clients.senders import FrameSender
from streaming.edge.uvicorn_frames import TESTED_UVICORN, SharedFramesProtocol
from streaming.gateway import consumers
from tests.integration.streaming.edge_kit import INFY, KEY, TCS, EdgeServer, MakeEdge, ask, read
from tests.support import eventually

_SIOCOUTQNSD = 0x894B  # linux/sockios.h: what was not sent for the first time


@pytest.fixture(params=["shared", "asgi"])
async def edge(
    request: pytest.FixtureRequest, make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> EdgeServer:
    if request.param == "asgi":
        monkeypatch.setattr(consumers, "FRAMES_EXTENSION", "a server without it")
    # Who stops reading stays for as long as a test takes.
    return await make_edge(stall_seconds=600.0)


def test_uvicorn_is_one_that_was_looked_at() -> None:
    first, beyond = TESTED_UVICORN
    version = tuple(int(part) for part in uvicorn.__version__.split(".")[:2])
    assert first <= version < beyond, (
        "uvicorn changed: compare its websockets_sansio_impl with "
        "streaming/edge/uvicorn_frames.py, "
        "then move TESTED_UVICORN"
    )


def test_uvicorn_has_what_the_protocol_leans_on() -> None:
    base = WebSocketsSansIOProtocol
    assert issubclass(SharedFramesProtocol, base)
    expected = {
        "handle_connect": ["self", "event"],
        "pause_writing": ["self"],
        "resume_writing": ["self"],
        "connection_lost": ["self", "exc"],
        "shutdown": ["self"],
        "stop_keepalive": ["self"],
        "send": ["self", "message"],
        "send_receive_event_to_app": ["self"],
        "handle_parser_exception": ["self"],
    }
    for name, parameters in expected.items():
        assert list(inspect.signature(getattr(base, name)).parameters) == parameters, name
    used = set(re.findall(r"self\.queue\.(\w+)", inspect.getsource(base)))
    assert used == {"put_nowait", "get", "empty"}  # what SmallQueue has
    made = inspect.getsource(base.__init__)
    for attribute in (
        "conn", "transport", "close_sent", "handshake_complete", "writable", "frames",
        "curr_msg_data_type",
    ):  # fmt: skip
        assert f"self.{attribute}" in made, attribute
    # Whatever uvicorn writes goes to the transport at once: it queues no frames of its own.
    assert 'self.transport.write(b"".join(output))' in inspect.getsource(base.send)


async def test_the_reference_server_shares_frames(make_edge: MakeEdge) -> None:
    """Guards the parameter above: without the extension both would test the same."""
    edge = await make_edge()
    socket = await edge.client()
    await ask(socket, action="subscribe", symbol="INFY", exchange="NSE", mode=1)
    hub = edge.gateway.current_hub
    assert hub is not None
    (client,) = hub.clients
    edge.link.tick("p1", INFY)
    # Written within the turn: nothing was left to the client's task.
    assert not len(client.outbox)
    assert isinstance(client.sender, FrameSender)
    await read(socket)
    await socket.close()


async def test_an_answer_precedes_ticks_and_none_follows_the_unsubscribe(edge: EdgeServer) -> None:
    socket = await edge.client()
    for turn in range(20):
        edge.link.remember("p1", INFY, ltp=100 + turn)
        answer = await ask(socket, action="subscribe", symbol="INFY", exchange="NSE", mode="LTP")
        assert answer["type"] == "subscribe"
        assert (await read(socket))["data"]["ltp"] == (100 + turn) / 100
        await socket.send('{"action":"unsubscribe","symbol":"INFY","exchange":"NSE"}')
        while True:
            edge.link.tick("p1", INFY)
            await asyncio.sleep(0)
            if (await read(socket))["type"] == "unsubscribe":
                break
        edge.link.tick("p1", INFY)
        assert (await ask(socket, action="ping"))["type"] == "pong"
    await socket.close()


async def test_frames_are_whole_among_pings_fragments_and_a_close(edge: EdgeServer) -> None:
    """A strict parser reads the raw stream while ticks, pings and requests go on at once."""
    conn = ClientProtocol(parse_uri(edge.url), max_size=None)
    loop = asyncio.get_running_loop()
    raw = socket_module.socket()
    raw.setblocking(False)
    await loop.sock_connect(raw, ("127.0.0.1", edge.openalgo_port))
    frames: list[Frame] = []

    async def push() -> None:
        await loop.sock_sendall(raw, b"".join(conn.data_to_send()))

    async def pump() -> bool:
        data = await asyncio.wait_for(loop.sock_recv(raw, 65536), 30)
        if data:
            conn.receive_data(data)
        else:
            conn.receive_eof()
        assert conn.parser_exc is None or not data, conn.parser_exc
        frames.extend(event for event in conn.events_received() if isinstance(event, Frame))
        return bool(data)

    async def until(count: int) -> None:
        while len(frames) < count:
            assert await pump()

    conn.send_request(conn.connect())
    await push()
    while conn.state.name != "OPEN":
        await pump()
    conn.send_text(json.dumps({"action": "authenticate", "api_key": KEY}).encode())
    await push()
    await until(1)
    conn.send_text(b'{"action":"subscribe","exchange":"NSE",', fin=False)
    conn.send_ping(b"in between")
    conn.send_continuation(b'"symbol":"TCS","mode":3}', fin=True)
    await push()
    await until(3)
    pings = 0
    for turn in range(200):
        for _ in range(7):
            edge.link.tick("p1", TCS, FeedMode.DEPTH, ltp=1000 + turn)
        conn.send_ping(b"%d" % turn)
        conn.send_text(b'{"action":"ping"}')
        pings += 1
        await push()
        await asyncio.sleep(0)
        if turn % 25 == 24:  # a client that never reads would not get every tick
            await until(3 + pings * 9)
    conn.send_close(1000)
    for _ in range(50):
        edge.link.tick("p1", TCS, FeedMode.DEPTH)
    await push()
    while await pump():
        edge.link.tick("p1", TCS, FeedMode.DEPTH)
    raw.close()

    opcodes = [frame.opcode for frame in frames]
    assert opcodes[-1] is Opcode.CLOSE
    assert opcodes.count(Opcode.CLOSE) == 1
    pongs = [bytes(frame.data) for frame in frames if frame.opcode is Opcode.PONG]
    assert pongs == [b"in between", *(b"%d" % turn for turn in range(pings))]
    texts = [json.loads(bytes(frame.data)) for frame in frames if frame.opcode is Opcode.TEXT]
    assert all(frame.fin and not (frame.rsv1 or frame.rsv2 or frame.rsv3) for frame in frames)
    prices = [text["data"]["ltp"] for text in texts if text["type"] == "market_data"]
    assert prices[:1400] == [(1000 + turn) / 100 for turn in range(200) for _ in range(7)]
    assert sum(text["type"] == "pong" for text in texts) == 200


def most_beside_outboxes(edge: EdgeServer) -> int:
    """The most that transport and kernel hold for one client and have not put on the network."""
    most = 0
    for protocol in edge.server.server_state.connections:
        transport: Any = protocol.transport
        unsent = transport.get_write_buffer_size()
        if sys.platform == "linux":
            tcp = transport.get_extra_info("socket")
            answer = fcntl.ioctl(tcp.fileno(), _SIOCOUTQNSD, bytes(4))
            unsent += int.from_bytes(answer, sys.byteorder)
        most = max(most, unsent)
    return most


async def test_clients_that_stop_reading_cost_the_others_nothing(edge: EdgeServer) -> None:
    """Ten stop, ten read: every tick arrives there, in order; a stopped one costs one MiB."""
    stopped = []
    for _ in range(10):
        narrow = socket_module.socket()
        narrow.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_RCVBUF, 4096)
        narrow.setblocking(False)
        await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", edge.openalgo_port))
        stopped.append(await edge.client(sock=narrow, max_queue=1))
    healthy = [await edge.client(max_queue=None) for _ in range(10)]
    for socket in (*stopped, *healthy):
        await ask(socket, action="subscribe", symbol="INFY", exchange="NSE", mode=3)
    hub = edge.gateway.current_hub
    assert hub is not None
    reading = sorted(hub.clients, key=lambda client: int(client.id))[-len(healthy) :]
    sent = 0
    while sum(bool(client.outbox.conflated) for client in hub.clients) < 10:
        for _ in range(100):
            edge.link.tick("p1", INFY, FeedMode.DEPTH, ltp=sent)
            sent += 1
        in_outbox = max(client.outbox.tick_bytes for client in hub.clients)
        assert in_outbox + most_beside_outboxes(edge) <= 1024 * 1024
        await asyncio.sleep(0.001)
        await eventually(lambda: not any(len(client.outbox) for client in reading))
        assert sent < 40_000
    for socket in healthy:
        prices = [(await read(socket))["data"]["ltp"] for _ in range(sent)]
        assert prices == [number / 100 for number in range(sent)]
    for socket in stopped:
        socket.transport.abort()
    for socket in healthy:
        await socket.close()


async def test_of_long_answers_one_waits_for_who_does_not_read(make_edge: MakeEdge) -> None:
    """In the outbox, on its way or with the transport: 11 clients held 60 MB in three each."""
    edge = await make_edge(stall_seconds=600.0)
    narrow = socket_module.socket()
    narrow.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", edge.openalgo_port))
    socket = await edge.client(sock=narrow, max_size=None, max_queue=None)
    names = [f"{number:040d}" for number in range(9000)]
    symbols = [{"symbol": name, "exchange": "NSE"} for name in names]
    await ask(socket, action="subscribe", symbols=symbols, mode=2)
    hub = edge.gateway.current_hub
    assert hub is not None
    (client,) = hub.clients
    socket.transport.pause_reading()
    before = client.answered_bytes
    for _ in range(5):
        await socket.send('{"action":"list_subscriptions"}')
    await eventually(lambda: client._room._waiter is not None)
    asked_once = client.answered_bytes - before
    socket.transport.resume_reading()
    answers = [await read(socket) for _ in range(5)]
    assert [answer["count"] for answer in answers] == [len(symbols)] * 5
    assert asked_once == pytest.approx((client.answered_bytes - before) / 5, rel=0.01)
    await socket.close()
