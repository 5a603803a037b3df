"""The neighbour's crowd: clients that stop reading, come and go, want everything, scrape, or ask
without end, and strangers.

A process of its own, one for each kind of load; it shares a core with the neighbour.
Standard input: ``{"do": "start", ...}`` begins a kind, ``{"do": "tell"}`` says what has come of
it. It ends with the process.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import uvloop

from benchmarks.load_client import Load, Subscriber
from benchmarks.metrics import METRICS_KEY
from benchmarks.neighbour_strangers import Strangers

_RECEIVE_BYTES = 4096
_STOPPED_SECONDS = 15.0  # the gateway closes one that does not read after ten
_STAY_SECONDS = 0.05
_HOLD_SECONDS = 2.0
_LONG_ENOUGH_SECONDS = 7.0  # longer than the product's linger
_NEVER_READ_SECONDS = 5.0
_BUSY = [{"symbol": f"S{n:05d}", "exchange": "NSE"} for n in range(20)]
_EVERYTHING = [{"symbol": f"S{n:05d}", "exchange": "NSE"} for n in range(100, 9000)]
_MODE = 2
_HOARDED = 200  # symbols of each of 500 clients: as many as all of a user's may hold
_LISTS = 20
# A ping of the protocol, how many a client may send at once, and then in a second; a few less.
_FRAME = b"\x89\x81" + bytes(4) + b"?"
_FRAME_BURST, _FRAMES_EVERY, _FRAMES_EACH = 4900, 0.1, 19
_AHEAD = 5  # requests that wait for their answers
_SEARCH = "/api/instruments?q=S&limit=10000"
# What a user's connections may ask for that costs more than a ping.
_DEAR = (
    {"action": "list_subscriptions"},
    {"action": "subscribe", "symbols": _EVERYTHING, "mode": _MODE},
    {"action": "get_broker_info"},
    {"action": "subscribe", "symbols": [{"symbol": f"T{n}", "exchange": "NSE"} for n in range(20)]},
    {"action": "ping", "junk": [[]] * 200_000},
)
_REQUEST = (
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    b"X-API-KEY: " + METRICS_KEY.encode() + b"\r\n\r\n"
)
_GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 70_000,
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" * 20,
)


class Crowd:
    """One kind of load under way."""

    def __init__(self, port: int, site_port: int, api_key: str) -> None:
        self.port, self.site_port, self.api_key = port, site_port, api_key
        self.load = Load()
        self.done: Counter[str] = Counter()
        self.running: list[asyncio.Task[None]] = []  # one for each client

    async def _again_and_again(self, what: Callable[[], Awaitable[None]]) -> None:
        """Do it for ever; one that is refused or cut counts and comes again."""
        while True:
            try:
                await what()
            except (OSError, RuntimeError, TimeoutError) as error:
                self.done[f"failed: {type(error).__name__}"] += 1
                await asyncio.sleep(0.1)

    async def _client(self, receive_bytes: int = 0, address: int | None = None) -> Subscriber:
        """Connect and authenticate one client, of one of a hundred addresses if one is given."""
        loop = asyncio.get_running_loop()
        own = socket.socket()
        if receive_bytes:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        if address is not None:
            own.bind((f"127.0.1.{address % 100 + 1}", 0))
        own.setblocking(False)
        await loop.sock_connect(own, ("127.0.0.1", self.port))
        _, client = await loop.create_connection(lambda: Subscriber(self.load, "/", ""), sock=own)
        try:
            await asyncio.wait_for(client.replies.get(), 30)
            answer = await client.ask(action="authenticate", api_key=self.api_key)
            if answer.get("status") != "success":
                raise RuntimeError(f"not authenticated: {answer}")
        except BaseException:
            client.transport.abort()  # type: ignore[attr-defined]
            raise
        return client

    async def stop_reading(self) -> None:
        """Hold busy symbols and never read; come again some time after the gateway's close."""
        client = await self._client(_RECEIVE_BYTES)
        try:
            await client.ask(action="subscribe", symbols=_BUSY, mode=_MODE)
            client.transport.pause_reading()  # type: ignore[attr-defined]
            self.done["stopped"] += 1
            await asyncio.sleep(_STOPPED_SECONDS)
        finally:
            client.transport.abort()  # type: ignore[attr-defined]

    async def hoard(self, number: int) -> None:
        """Hold as many symbols as all clients of a user may, together, and never read."""
        client = await self._client(_RECEIVE_BYTES, number)
        first = number * _HOARDED % len(_EVERYTHING)
        wanted = (_EVERYTHING + _EVERYTHING)[first : first + _HOARDED]
        try:
            await client.ask(action="subscribe", symbols=wanted, mode=_MODE)
            client.transport.pause_reading()  # type: ignore[attr-defined]
            self.done["stopped"] += 1
            await asyncio.sleep(_STOPPED_SECONDS)
        finally:
            client.transport.abort()  # type: ignore[attr-defined]

    async def leave_answers_unread(self) -> None:
        """Hold everything, ask for lists of it, and read none of them."""
        client = await self._client(_RECEIVE_BYTES)
        try:
            await self._tell(client, "subscribe", _EVERYTHING)
            client.transport.pause_reading()  # type: ignore[attr-defined]
            for _ in range(_LISTS):
                client.send_frame(0x81, b'{"action":"list_subscriptions"}')
            self.done["stopped"] += 1
            await asyncio.sleep(_STOPPED_SECONDS)
        finally:
            client.transport.abort()  # type: ignore[attr-defined]

    async def send_frames(self, number: int) -> None:
        """Send as many frames as a client may: pings of the protocol, and then requests."""
        client = await self._client(address=number)
        write = client.transport.write  # type: ignore[attr-defined]
        try:
            write(_FRAME * _FRAME_BURST)
            while not client.is_lost:
                self.done["frames"] += _FRAMES_EACH
                write(_FRAME * _FRAMES_EACH)
                await asyncio.sleep(_FRAMES_EVERY)
            self.done["closed"] += 1
        finally:
            client.transport.abort()  # type: ignore[attr-defined]

    async def come_and_go(self) -> None:
        """Connect, authenticate, subscribe, leave."""
        client = await self._client()
        try:
            symbols = random.sample(_BUSY, 10)
            answer = await client.ask(action="subscribe", symbols=symbols, mode=_MODE)
            self.done[f"visits: {answer.get('status')}"] += 1
            await asyncio.sleep(_STAY_SECONDS)
        finally:
            client.transport.abort()  # type: ignore[attr-defined]

    async def want_everything(self) -> None:
        """Subscribe 8,900 symbols in one frame, let them go; every other time past the linger."""
        client = await self._client()
        try:
            while True:
                for seconds in (0.2, _LONG_ENOUGH_SECONDS):
                    await self._tell(client, "subscribe", _EVERYTHING)
                    await asyncio.sleep(_HOLD_SECONDS)
                    await self._tell(client, "unsubscribe", _EVERYTHING)
                    await asyncio.sleep(seconds)
        finally:
            client.transport.abort()  # type: ignore[attr-defined]

    async def _tell(self, client: Subscriber, action: str, wanted: list[dict[str, str]]) -> None:
        """Ask, and count what was granted of the answer that belongs to it."""
        number = self.done["requests"] = self.done["requests"] + 1
        answer = await client.ask(action=action, symbols=wanted, mode=_MODE, request_id=f"{number}")
        while answer.get("request_id") != f"{number}":
            if answer.get("type") == "lost":
                raise ConnectionResetError
            answer = await asyncio.wait_for(client.replies.get(), 60)
        if action == "unsubscribe":
            self.done["unsubscribed"] += len(answer.get("successful", ()))
            return
        for item in answer.get("subscriptions") or [answer]:
            self.done[f"{item.get('status')} {item.get('code', '')}".strip()] += 1

    async def scrape(self, patience: float | None, request: bytes) -> None:
        """Send a request and read the answer, with ``patience`` between pieces; None: never."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.site_port, limit=2048)
        try:
            writer.write(request)
            if patience is None:
                await asyncio.sleep(_NEVER_READ_SECONDS)
                return
            async with asyncio.timeout(60):
                first = piece = await reader.read(1024)
                while piece:
                    await asyncio.sleep(patience)
                    piece = await reader.read(1024)
            self.done[f"answers: {first[9:12].decode(errors='replace')}"] += 1
        finally:
            writer.transport.abort()

    async def ask_without_end(self, request: str) -> None:
        """Hold everything, then ask the same again and again, some requests ahead of the answers.

        One that is refused waits a moment, as a client does that would rather not be closed.
        """
        client = await self._client()
        try:
            await self._tell(client, "subscribe", _EVERYTHING)
            for _ in range(_AHEAD):
                client.send_frame(0x81, request.encode())
            while True:
                answer = await asyncio.wait_for(client.replies.get(), 60)
                what = answer.get("type") or answer.get("status")
                self.done[f"{what} {answer.get('code', '')}".strip()] += 1
                if what == "lost":
                    raise ConnectionResetError
                if answer.get("code") == "RATE_LIMITED":
                    await asyncio.sleep(0.1)
                client.send_frame(0x81, request.encode())
        finally:
            client.transport.abort()  # type: ignore[attr-defined]

    async def search(self) -> None:
        """Search for everything through the JSON API, one request after the other."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.site_port)
        headers = f"Host: 127.0.0.1\r\nX-API-KEY: {self.api_key}\r\nConnection: close"
        try:
            writer.write(f"GET {_SEARCH} HTTP/1.1\r\n{headers}\r\n\r\n".encode())
            async with asyncio.timeout(60):
                answer = await reader.read()
            self.done[f"searches: {answer[9:12].decode(errors='replace')}"] += 1
        finally:
            writer.transport.abort()

    def begin(self, kind: str, clients: int) -> None:
        """Let so many clients do what ``kind`` is."""
        self.running = [
            asyncio.create_task(self._again_and_again(each), name=f"{kind} {at}")
            for at, each in enumerate(self._doings(kind, clients))
        ]

    def _doings(self, kind: str, clients: int) -> list[Callable[[], Awaitable[None]]]:
        """Return what each of ``clients`` does again and again."""
        match kind:
            case "stopped":
                return [self.stop_reading] * clients
            case "churn":
                return [self.come_and_go] * clients
            case "everything":
                return [self.want_everything] * clients
            case "greedy":
                return [self._greedy(at) for at in range(clients)]
            case "hoard":
                return [partial(self.hoard, at) for at in range(clients)]
            case "unread":
                return [self.leave_answers_unread] * clients
            case "frames":
                return [partial(self.send_frames, at) for at in range(clients)]
            case "scrapers":
                return [self._scraper(at) for at in range(clients)]
        doings = Strangers(self.port, self.site_port, self.done).doings(kind, clients)
        if doings is None:
            raise ValueError(kind)
        return doings

    def _greedy(self, at: int) -> Callable[[], Awaitable[None]]:
        """Return a sixth each: searches, and what else costs much."""
        if at % 6 == 0:
            return self.search
        request = json.dumps(_DEAR[at % 6 - 1], separators=(",", ":"))
        return lambda: self.ask_without_end(request)

    def _scraper(self, at: int) -> Callable[[], Awaitable[None]]:
        """Return a third that never read, and of the rest a third each: slow, garbage, eager."""
        if at % 3 == 0:
            return lambda: self.scrape(None, _REQUEST)
        if at % 9 < 3:
            return lambda: self.scrape(0.5, _REQUEST)
        if at % 9 < 6:
            return lambda: self.scrape(0.01, _GARBAGE[at % len(_GARBAGE)])
        return lambda: self.scrape(0.0, _REQUEST)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    print(json.dumps({"ready": True}), flush=True)
    crowd: Crowd | None = None
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        answer: dict[str, Any] = {}
        if request.pop("do") == "start":
            kind, clients = request.pop("kind"), request.pop("clients")
            crowd = Crowd(**request)
            crowd.begin(kind, clients)
        elif crowd is not None:
            answer = dict(crowd.done)  # the end of this process ends its clients
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(_main())
