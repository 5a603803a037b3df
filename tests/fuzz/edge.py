"""The client edge under broken requests and frames, through real sockets, next to a neighbour.

A case is a connection: a broken HTTP request; or a handshake, sometimes a key, some requests of
either dialect of which most are broken, one whole request whose answer is waited for, and one
frame that breaks the rules of WebSocket. Then the client says no more, and the server has to end.
Meanwhile a neighbour pings every 50 ms and counts its ticks. The cases of a seed are always the
same, each by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import struct
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import count

from websockets.asyncio.client import ClientConnection, connect

from streaming.clients.batches import BATCH_SUBPROTOCOL
from tests.fuzz.mutations import mutants
from tests.integration.streaming.clients.test_freed import handshake
from tests.integration.streaming.edge.wire_cases import CASES, frame

__all__ = ["KEYS", "NEIGHBOURS_KEY", "SESSION", "SYMBOLS", "EdgePorts", "Outcome", "fuzz_edge"]

NEIGHBOURS_KEY = "neighbours-key"
KEYS = [f"key-{number}" for number in range(200)]
SESSION = "session"
SYMBOLS = [f"S{number}" for number in range(20)]
_PING_SECONDS = 0.05
_ANSWER_SECONDS = 60.0  # a machine may be busy; nothing here ever has to wait so long
# A request that is not whole has no answer for ten seconds, which nobody learns from.
_PATIENCE_SECONDS = 0.2
_TEXT, _CLOSE, _PING = 1, 8, 9

_OPENALGO = (
    {"action": "authenticate", "api_key": "key-1"},
    {"action": "subscribe", "symbol": "INFY", "exchange": "NSE", "mode": 1},
    {"action": "subscribe", "symbols": [{"symbol": "INFY", "exchange": "NSE"}], "mode": "Depth"},
    {"action": "subscribe", "symbol": "TCS", "exchange": "NSE", "mode": 3, "depth": 5},
    {"action": "unsubscribe", "symbol": "INFY", "exchange": "NSE", "mode": 1},
    {"action": "unsubscribe_all"},
    {"action": "get_broker_info"},
    {"action": "get_supported_brokers"},
    {"action": "subscribe_orders"},
    {"action": "unsubscribe_orders"},
    {"type": "ping", "timestamp": 5, "_pingId": "x"},
    {"type": "pong"},
)
_OURS = (
    {"action": "auth", "api_key": "key-1", "request_id": 1},
    {"action": "subscribe", "mode": 2, "request_id": "a",
     "symbols": [{"symbol": each, "exchange": "NSE"} for each in SYMBOLS]},
    {"action": "unsubscribe", "mode": 2, "request_id": 2,
     "symbols": [{"symbol": "S1", "exchange": "NSE"}]},
    {"action": "subscribe_status", "request_id": 3},
    {"action": "unsubscribe_status"},
    {"action": "subscribe_pool_status", "page": 0, "search": "a", "request_id": 4},
    {"action": "unsubscribe_pool_status"},
    {"action": "list_subscriptions", "request_id": "b"},
    {"action": "ping", "request_id": 7},
)  # fmt: skip
_REQUESTS = [json.dumps(each) for each in (*_OPENALGO, *_OURS)] + ["ping", "pong"]

_HEAD = b"Host: 127.0.0.1\r\nUser-Agent: x\r\n"
_HTTP = (
    b"GET / HTTP/1.1\r\n" + _HEAD + b"\r\n",
    b"GET /a%20b?c=%f0%9f%98%80&d=1 HTTP/1.1\r\n" + _HEAD + b"Accept: */*\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n" + b"GET / HTTP/1.1\r\n" + _HEAD + b"\r\n",
    b"POST /login/ HTTP/1.1\r\n" + _HEAD + b"Content-Length: 5\r\n\r\nhello",
    b"POST /api/x HTTP/1.1\r\n"
    + _HEAD
    + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\nyou\r\n"
    + b"0\r\nX-Trailer: 1\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\n" + _HEAD + b"Connection: close\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n" + _HEAD + b"\r\n",
    handshake(1, "/", {}),
    handshake(1, "/ws", {"Sec-WebSocket-Protocol": BATCH_SUBPROTOCOL}),
    handshake(1, "/ws/ticks/", {"Origin": "http://127.0.0.1:1", "Cookie": f"sessionid={SESSION}"}),
    handshake(1, "/", {"Sec-WebSocket-Extensions": "permessage-deflate", "Content-Length": "3"}),
)
_FEARED = (
    b"Content-Length: 0\r\n", b"Content-Length: -1\r\n", b"Content-Length: " + b"9" * 30 + b"\r\n",
    b"Content-Length: 5\r\nContent-Length: 6\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity, chunked\r\n", b"Transfer-Encoding: gzip\r\n",
    b"Upgrade: websocket\r\n", b"Upgrade: h2c\r\nHTTP2-Settings: AAA\r\n", b"Connection: \r\n",
    b"Connection: upgrade, close\r\n", b"Expect: 100-continue\r\n", b"Expect: nothing\r\n",
    b"Host: \xff\xfe\r\n", b"Host: [::1\r\n", b"Sec-WebSocket-Key: x\r\n", b": x\r\n", b" x: y\r\n",
    b"Sec-WebSocket-Version: 14\r\n", b"Sec-WebSocket-Protocol: ,,\r\n", b"Origin: null\r\n",
    b"X-Forwarded-For: 1.2.3.4, x, ::ffff:1\r\n", b"Cookie: sessionid=\x01; ;=;\r\n",
    b"X: \x00\r\n", b"X-API-KEY: \xe2\x82\xac\r\n", b"Range: bytes=0-\r\n", b"\r\n", b"\n", b"\r",
)  # fmt: skip
# What breaks the rules of frames, of the suite's own cases: those that end a connection.
_WIRE = [b"".join(case.sent) for case in CASES if case.closes and sum(map(len, case.sent)) < 4096]


@dataclass(frozen=True, slots=True)
class EdgePorts:
    """Where the server under test listens."""

    site: int
    openalgo: int


@dataclass(slots=True)
class Outcome:
    """What a run found; ``frames`` counts requests too."""

    connections: int = 0
    frames: int = 0
    refused: int = 0  # connections that the server ended before the whole request was answered
    answered: int = 0  # the others
    pings: int = 0
    worst_ping_seconds: float = 0.0
    ticks: int = 0


@dataclass(frozen=True, slots=True)
class _Case:
    """What one connection sends: ``head``; ``first`` once it is accepted; ``tail`` after ``word``.

    Of a broken HTTP request there is ``tail`` only.
    """

    port: int
    address: str
    head: bytes
    first: bytes
    word: bytes
    tail: bytes
    frames: int


def _case(number: int, seed: int, ports: EdgePorts) -> _Case:
    rng = random.Random(f"{seed}:{number}")
    address = f"127.{rng.randint(1, 9)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
    if rng.random() < 0.25:
        port = rng.choice((ports.site, ports.openalgo))
        return _Case(port, address, b"", b"", b"", _broken_http(rng), 1)
    is_page = rng.random() < 0.2
    port = ports.site if is_page or rng.random() < 0.3 else ports.openalgo
    head, key, is_known = _upgrade(rng, port, is_page=is_page)
    many = rng.randint(1, 60) if is_known else rng.randint(0, 4)
    sent = [key, *(_as_frames(each, rng) for each in mutants(_REQUESTS, rng, many))]
    whole = b"end-%d" % number
    sent.append(frame(_TEXT, b'{"action":"ping","request_id":"%b"}' % whole))
    return _Case(port, address, head, b"".join(sent), whole, _broken_frame(rng), many + 3)


def _upgrade(rng: random.Random, port: int, *, is_page: bool) -> tuple[bytes, bytes, bool]:
    """Return a handshake, a frame with a key, and whether the server then knows who that is."""
    headers, query = {}, ""
    if rng.random() < 0.4:
        headers["Sec-WebSocket-Protocol"] = BATCH_SUBPROTOCOL
        query = rng.choice(("", "?interval=1", "?interval=1000", "?interval=x", "?interval=-1"))
    if is_page:
        headers |= {"Origin": f"http://127.0.0.1:{port}", "Cookie": f"sessionid={SESSION}"}
        return handshake(port, "/ws/ticks/" + query, headers), b"", True
    head = handshake(port, rng.choice(("/", "/ws", "/ws/")) + query, headers)
    if rng.random() < 0.15:
        return head, b"", False
    asked = json.dumps({"action": "authenticate", "api_key": rng.choice(KEYS)}).encode()
    return head, frame(_TEXT, asked), True


def _as_frames(text: str | bytes, rng: random.Random) -> bytes:
    """Return a message as a client may send it: whole or in pieces, with control frames between."""
    data = text.encode() if isinstance(text, str) else text
    if rng.random() < 0.8 or len(data) < 2:
        return frame(_TEXT, data, key=rng.randbytes(4))
    at = rng.randrange(1, len(data))
    between = rng.choice((b"", frame(_PING, b"x"), frame(10, b"y"), frame(0, b"", fin=False)))
    return frame(_TEXT, data[:at], fin=False) + between + frame(0, data[at:])


def _broken_frame(rng: random.Random) -> bytes:
    kind = rng.randrange(5)
    good = frame(_TEXT, rng.choice(_REQUESTS).encode(), key=rng.randbytes(4))
    if kind == 0:
        return rng.choice(_WIRE)
    if kind == 1:
        payload = rng.randbytes(rng.choice((0, 1, 2, 5, 125, 126, 130)))
        return frame(
            rng.randrange(16), payload, fin=rng.random() < 0.7, rsv=rng.choice((0, 0, 1, 4, 7)),
            key=rng.choice((rng.randbytes(4), None)),
            length=rng.choice((None, None, 0, 125, 65_535, 65_536, 2**32, 2**63, 2**64 - 1)),
        )  # fmt: skip
    if kind == 2:
        code = rng.choice((0, 999, 1000, 1004, 1005, 1006, 1015, 2999, 3000, 4999, 65_535))
        return frame(_CLOSE, struct.pack("!H", code) + rng.randbytes(rng.randrange(124)))
    if kind == 3:
        data = rng.randbytes(rng.randint(1, 40))
        return frame(_TEXT, data[:9], fin=False) + frame(0, data[9:], fin=rng.random() < 0.8)
    return _mutant([good, rng.choice(_WIRE)], rng)


def _broken_http(rng: random.Random) -> bytes:
    seed = rng.choice(_HTTP)
    for _ in range(rng.randint(0, 3)):
        lines = seed.split(b"\r\n")
        at = rng.randint(1, len(lines))
        seed = b"\r\n".join(lines[:at]) + b"\r\n" + rng.choice(_FEARED) + b"\r\n".join(lines[at:])
    return _mutant([seed], rng) if rng.random() < 0.6 else seed


def _mutant(seeds: list[bytes], rng: random.Random) -> bytes:
    made = next(mutants(seeds, rng, 1))
    return made if isinstance(made, bytes) else made.encode()


class _Neighbour:
    """A client with twenty symbols that pings all the time, and misses no tick."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._price: int | None = None
        self._pong = asyncio.Event()

    @contextlib.asynccontextmanager
    async def beside(self, port: int) -> AsyncIterator[None]:
        """Be there while the block runs; what it finds wrong ends the block with that."""
        url = f"ws://127.0.0.1:{port}/"
        async with connect(url, compression=None, proxy=None, open_timeout=60) as socket:
            await socket.send(json.dumps({"action": "authenticate", "api_key": NEIGHBOURS_KEY}))
            symbols = [{"symbol": each, "exchange": "NSE"} for each in SYMBOLS]
            await socket.send(json.dumps({"action": "subscribe", "symbols": symbols, "mode": 1}))
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._read(socket)),
                    group.create_task(self._ask(socket)),
                ]
                yield
                for task in tasks:
                    task.cancel()

    async def _read(self, socket: ClientConnection) -> None:
        async for text in socket:
            said = json.loads(text)
            if said.get("type") == "pong":
                self._pong.set()
            elif said.get("type") == "market_data" and said["symbol"] == SYMBOLS[0]:
                price = round(said["data"]["ltp"] * 100)
                assert self._price in (None, price - 1), "the neighbour missed a tick"
                self._price = price
                self._outcome.ticks += 1
        raise AssertionError("the neighbour was closed")

    async def _ask(self, socket: ClientConnection) -> None:
        while True:
            self._pong.clear()
            asked_at = time.monotonic()
            await socket.send('{"action":"ping"}')
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._pong.wait()
            waited = time.monotonic() - asked_at
            self._outcome.pings += 1
            self._outcome.worst_ping_seconds = max(self._outcome.worst_ping_seconds, waited)
            await asyncio.sleep(_PING_SECONDS)


async def fuzz_edge(
    ports: EdgePorts,
    *,
    seed: int,
    frames: int,
    first: int = 0,
    at_once: int = 40,
    on_progress: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Send at least so many ``frames``, beginning with case ``first``, and return what was found.

    The server has a directory with ``KEYS``, ``SESSION`` and ``NEIGHBOURS_KEY``, and a market that
    moves the first of ``SYMBOLS`` by a hundredth each time.

    Raises:
        ExceptionGroup: a connection did not end, or the neighbour noticed; a note names the case.
    """
    outcome = Outcome()
    numbers = count(first)

    async def line() -> None:
        while outcome.frames < frames:
            number = next(numbers)
            case = _case(number, seed, ports)
            outcome.frames += case.frames
            outcome.connections += 1
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    is_answered = await _say(case)
            except TimeoutError as error:
                error.add_note(f"case {number} of seed {seed}: {case}")
                raise
            outcome.answered += is_answered
            outcome.refused += not is_answered
            if outcome.connections % 1000 == 0:
                on_progress(outcome)

    async with _Neighbour(outcome).beside(ports.openalgo), asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(line())
    return outcome


async def _say(case: _Case) -> bool:
    """Send a case, to the end; whether its whole request was answered."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", case.port, local_addr=(case.address, 0)
    )
    try:
        if case.head:
            writer.write(case.head)
            if not (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 "):
                return False
            writer.write(case.first)
            if not await _is_answered(reader, case.word):
                return False
            writer.write(case.tail)
        else:
            writer.write(case.tail)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(65_536), _PATIENCE_SECONDS)
        writer.write_eof()
        while await reader.read(65_536):
            pass
    except (ConnectionError, asyncio.IncompleteReadError):
        return False
    finally:
        writer.transport.abort()
    return True


async def _is_answered(reader: asyncio.StreamReader, word: bytes) -> bool:
    """Read whole frames to one with ``word``; False where the server closes before."""
    while True:
        opcode, size = await reader.readexactly(2)
        if opcode & 0x0F == _CLOSE:
            return False
        if size >= 126:
            size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
        if word in await reader.readexactly(size):
            return True
