"""RFC 6455 on the wire while ticks stream, judged by an implementation that the server has not.

The server's frames are parsed by wsproto, which is strict: reserved bits, masks, lengths longer
than needed, control frames in pieces and bad UTF-8 are errors there. Every case runs on shared
frames, on plain ASGI and on the batch subprotocol; on shared frames also one byte at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket as socket_module
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    Request,
    TextMessage,
)

from brokers.types import FeedMode
from streaming.clients.batches import BATCH_SUBPROTOCOL
from streaming.gateway import consumers
from tests.integration.streaming.edge.wire_cases import CASES, PING, TEXT, Case, frame
from tests.integration.streaming.edge_kit import INFY, KEY, TCS, EdgeServer, MakeEdge
from tests.support import eventually

SECONDS = 30
ONE_BY_ONE_BYTES = 400  # longer ones take too many turns


class WireClient:
    """A raw socket whose incoming bytes wsproto judges; what is sent is none of its business."""

    def __init__(self, edge: EdgeServer, subprotocol: str | None) -> None:
        self._edge = edge
        self._subprotocols = [subprotocol] if subprotocol else []
        self._judge = WSConnection(ConnectionType.CLIENT)
        self._text = ""
        self.raw = bytearray()
        self.pongs: list[bytes] = []
        self.texts: list[dict[str, Any]] = []
        self.prices: list[float] = []
        self.close: CloseConnection | None = None
        self._has_read = asyncio.Event()
        self.pings = 0
        self._is_accepted = False

    async def connect(self) -> None:
        """Connect and read from now on."""
        loop = asyncio.get_running_loop()
        self.socket = socket_module.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket_module.IPPROTO_TCP, socket_module.TCP_NODELAY, 1)
        await loop.sock_connect(self.socket, ("127.0.0.1", self._edge.openalgo_port))
        self._reader = asyncio.create_task(self._read(), name="reader")

    async def begin(self) -> None:
        """Upgrade, authenticate and subscribe."""
        # A batch client with time between two batches gets most of them written at once.
        upgrade = Request(host="localhost", target="/?interval=1", subprotocols=self._subprotocols)
        await self.send(self._judge.send(upgrade))
        await self.until(lambda: self._is_accepted)
        asked = {"action": "authenticate", "api_key": KEY}
        await self.send(frame(TEXT, json.dumps(asked).encode()))
        items = [{"symbol": key.symbol, "exchange": "NSE"} for key in (INFY, TCS)]
        asked = {"action": "subscribe", "symbols": items, "mode": 3}  # type: ignore[dict-item]
        await self.send(frame(TEXT, json.dumps(asked).encode()))
        await self.until(lambda: any(text["type"] == "subscribe" for text in self.texts))
        await self.until(lambda: self.prices)
        self.texts.clear()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until ``condition`` holds; the end of the stream before that is a failure."""
        async with asyncio.timeout(SECONDS):
            while not condition():
                assert not self._reader.done(), self._reader
                self._has_read.clear()
                await self._has_read.wait()

    async def ended(self) -> None:
        """Wait for the end of the stream."""
        async with asyncio.timeout(SECONDS):
            await self._reader

    async def leave(self) -> None:
        """Close the socket without a word."""
        self._reader.cancel()
        await asyncio.wait({self._reader})
        self.socket.close()

    async def _read(self) -> None:
        """Read at all times, so that a reset finds nothing of value on its way.

        A server that closes with bytes of ours unread resets the connection.
        """
        try:
            with contextlib.suppress(ConnectionResetError):
                while data := await asyncio.get_running_loop().sock_recv(self.socket, 256 * 1024):
                    self._received(data)
        finally:
            self._has_read.set()

    def _received(self, data: bytes) -> None:
        self.raw += data if self._is_accepted else b""
        self._judge.receive_data(data)
        for event in self._judge.events():
            self._take(event)
        self._has_read.set()

    def _take(self, event: Event) -> None:
        assert self.close is None, f"{event!r} behind the close"
        match event:
            case AcceptConnection():
                self._is_accepted = True
            case TextMessage():
                self._text += event.data
                if event.message_finished:
                    text, self._text = json.loads(self._text), ""
                    self._take_text(text)
            case Pong():
                self.pongs.append(bytes(event.payload))
            case Ping():
                self.pings += 1
            case CloseConnection():
                self.close = event
            case BytesMessage():
                pytest.fail("a binary message from the server")
            case _:
                pytest.fail(f"{event!r}")

    def _take_text(self, text: dict[str, Any]) -> None:
        if text.get("type") == "market_data":
            self.prices.append(text["data"]["ltp"])
        elif text.get("type") == "ticks":
            self.prices += [tick["data"]["ltp"] for tick in text["ticks"]]
        elif text.get("type") not in ("auth", "feed", "reconnect"):
            self.texts.append(text)

    def assert_whole(self) -> None:
        """Nothing torn at the end of the stream, and nothing behind a close frame."""
        at, data = 0, bytes(self.raw)
        last = b""
        while at < len(data):
            size, head = data[at + 1], 2
            if size == 126:
                (size,), head = struct.unpack_from("!H", data, at + 2), 4
            elif size == 127:
                (size,), head = struct.unpack_from("!Q", data, at + 2), 10
            last = data[at : at + head + size]
            at += head + size
            assert last[0] != 0x88 or at == len(data), "bytes behind the close"
        assert at == len(data), "a torn frame"
        assert self.close is None or last[:1] == b"\x88"


async def stream(edge: EdgeServer) -> None:
    """Tick as fast as the loop turns, at rising prices."""
    price = 0
    while True:
        for _ in range(10):
            price += 1
            edge.link.tick("p1", INFY, FeedMode.DEPTH, ltp=price)
        edge.link.tick("p1", TCS, FeedMode.DEPTH, ltp=price)
        await asyncio.sleep(0)


@pytest.fixture(params=["shared", "asgi", "batch"])
async def wire(
    request: pytest.FixtureRequest, make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Wire]:
    if request.param == "asgi":
        monkeypatch.setattr(consumers, "FRAMES_EXTENSION", "a server without it")
    edge = await make_edge()
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    ticking = asyncio.create_task(stream(edge), name="ticks")
    subprotocol = BATCH_SUBPROTOCOL if request.param == "batch" else None
    # How the client's bytes are read does not depend on how ticks are sent.
    yield Wire(edge, subprotocol, every_way=request.param == "shared")
    ticking.cancel()
    await asyncio.wait({ticking})
    assert failures == []


class Wire:
    """A server that ticks without a pause, and clients for it."""

    def __init__(self, edge: EdgeServer, subprotocol: str | None, *, every_way: bool) -> None:
        self.edge = edge
        self._subprotocol = subprotocol
        self.every_way = every_way

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[WireClient]:
        client = WireClient(self.edge, self._subprotocol)
        await client.connect()
        try:
            await client.begin()
            yield client
        finally:
            await client.leave()


def ways(case: Case, *, every: bool) -> Iterator[tuple[str, list[bytes]]]:
    """Name each way to put the case's bytes on the wire."""
    data = b"".join(case.sent)
    yield "at once", [data]
    if not every:
        return
    if case.chop is not None:
        yield "chopped", [data[at : at + case.chop] for at in range(0, len(data), case.chop)]
    elif len(data) <= ONE_BY_ONE_BYTES:
        yield "one by one", [data[at : at + 1] for at in range(len(data))]
    elif len(case.sent) > 1:
        yield "as given", list(case.sent)


async def check(wire: Wire, case: Case, slices: list[bytes]) -> None:
    async with wire.client() as client:
        for data in slices:
            try:
                await client.send(data)
            except ConnectionError:
                assert case.closes  # it was closed before it had all
                break
            if len(slices) > 1:
                await asyncio.sleep(0)
        if case.closes:
            await client.ended()
            assert client.close is not None, "no close frame"
            assert client.close.code in case.closes, client.close
            client.assert_whole()
            return
        end = b"end of the case"
        await client.send(frame(PING, end))
        await client.until(lambda: end in client.pongs and len(client.texts) >= len(case.texts))
        assert client.pongs == [*case.pongs, end]
        assert [text.get("code", text.get("type")) for text in client.texts] == list(case.texts)
        seen = len(client.prices)
        await client.until(lambda: len(client.prices) > seen)
        assert client.prices == sorted(client.prices)


CATEGORIES = sorted({int(case.category) for case in CASES})


@pytest.mark.parametrize("category", CATEGORIES)
async def test_what_comes_back_is_what_the_rfc_says(wire: Wire, category: int) -> None:
    """One server for all cases of a category; a failure names its case."""
    for case in CASES:
        if int(case.category) != category:
            continue
        for way, slices in ways(case, every=wire.every_way):
            try:
                await check(wire, case, slices)
            except Exception as error:
                error.add_note(f"case {case.name}, {way}")
                raise


async def test_a_client_that_only_listens_on_is_left_with_whole_frames(wire: Wire) -> None:
    """It half closes its socket without a word: the server ends, and no frame is torn."""
    async with wire.client() as client:
        client.socket.shutdown(socket_module.SHUT_WR)
        await client.ended()
        client.assert_whole()
        hub = wire.edge.gateway.current_hub
        assert hub is not None
        await eventually(lambda: not hub.clients)


async def test_the_servers_end_is_a_whole_close_behind_whole_frames(wire: Wire) -> None:
    async with wire.client() as client:
        stopping = asyncio.create_task(wire.edge.stop(), name="stop")
        await client.ended()
        assert client.close is not None
        assert client.close.code == 1012
        client.assert_whole()
        await stopping
