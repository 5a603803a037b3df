"""A Kite-speaking exchange whose ticks carry their own sequence and send time.

Full packets: ``volume`` is the instrument's sequence number, ``oi`` the low 32 bits of the
monotonic clock in microseconds, which all processes of one machine share. It does nothing else, so
that what is measured is the pool and the gateway. Credentials are not looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import sys
import time
from http import HTTPStatus

import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

SEGMENT_NSE = 1
BASE_PRICE = 100_000  # paise; close is the same, so that the change stays small and frames alike
_PACKET = struct.Struct(">HIIIIIIIIIIIIIIII" + "IIHxx" * 10)
_COUNT = struct.Struct(">H")
_TURN_SECONDS = 0.002


class StampedExchange:
    """Sends ``rate`` ticks a second round robin over whatever is subscribed, in full mode."""

    def __init__(self) -> None:
        self.rate = 0.0
        self.sent = 0
        self.sequences: dict[int, int] = {}
        self.links: dict[ServerConnection, list[int]] = {}

    async def handle(self, link: ServerConnection) -> None:
        """Serve one connection until it closes."""
        tokens = self.links[link] = []
        try:
            async for text in link:
                request = json.loads(text)
                if request["a"] == "subscribe":
                    tokens.extend(token for token in request["v"] if token not in self.sequences)
                    await self._first_ticks(link, request["v"])
                elif request["a"] == "unsubscribe":
                    gone = set(request["v"])
                    tokens[:] = [token for token in tokens if token not in gone]
                    for token in gone:
                        self.sequences.pop(token, None)
        except ConnectionClosed:
            pass
        finally:
            for token in self.links.pop(link):
                self.sequences.pop(token, None)

    async def _first_ticks(self, link: ServerConnection, tokens: list[int]) -> None:
        for start in range(0, len(tokens), 200):
            await link.send(self._frame(tokens[start : start + 200]))

    def _frame(self, tokens: list[int]) -> bytes:
        now = time.monotonic_ns() // 1000 & 0xFFFFFFFF
        parts = [_COUNT.pack(len(tokens))]
        levels = (100, BASE_PRICE, 5) * 10
        sequences = self.sequences
        for token in tokens:
            sequence = sequences[token] = sequences.get(token, 1_000_000) + 1
            price = BASE_PRICE + 100 + sequence % 800
            parts.append(
                _PACKET.pack(
                    184,
                    token,
                    price,
                    10,
                    BASE_PRICE,
                    sequence,
                    500,
                    500,
                    BASE_PRICE,
                    BASE_PRICE + 900,
                    BASE_PRICE,
                    BASE_PRICE,
                    1_700_000_000,
                    now,
                    0,
                    0,
                    1_700_000_000,
                    *levels,
                )
            )
        self.sent += len(tokens)
        return b"".join(parts)

    async def beat(self) -> None:
        """Send Kite's one-byte heartbeat to every connection each second."""
        while True:
            await asyncio.sleep(1.0)
            for link in list(self.links):
                with contextlib.suppress(ConnectionClosed):
                    await link.send(b"\0")

    async def run(self) -> None:
        """Send at ``rate``; falls behind rather than bursting when the machine is too slow."""
        due, last, cursors = 0.0, time.monotonic(), {}
        while True:
            await asyncio.sleep(_TURN_SECONDS)
            now = time.monotonic()
            due = min(due + self.rate * (now - last), max(self.rate * 0.05, 1.0))
            last = now
            total = sum(len(tokens) for tokens in self.links.values())
            for link, tokens in list(self.links.items()):
                count = int(due * len(tokens) / total) if total else 0
                if not count:
                    continue
                start = cursors.get(link, 0) % len(tokens)
                turn = [tokens[(start + n) % len(tokens)] for n in range(count)]
                cursors[link] = start + count
                due -= count
                for at in range(0, count, 300):
                    try:
                        await link.send(self._frame(turn[at : at + 300]))
                    except ConnectionClosed:
                        break


def symbol_of(token: int) -> str:
    """Return the name of an instrument of ``instruments_csv``."""
    return f"S{token // 256 - 1:05d}"


def instruments_csv(count: int) -> bytes:
    """Return a Kite instruments master of ``count`` equities named S00000, S00001, …"""
    head = (
        "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
        "lot_size,instrument_type,segment,exchange\n"
    )
    rows = (
        f"{(n + 1) * 256 + SEGMENT_NSE},{n + 1},S{n:05d},BENCH {n},0,,,0.05,1,EQ,NSE,NSE\n"
        for n in range(count)
    )
    return (head + "".join(rows)).encode()


async def _main() -> None:
    exchange = StampedExchange()

    def over_http(_link: ServerConnection, request: Request) -> Response | None:
        if request.path.startswith("/instruments"):
            return Response(HTTPStatus.OK, "OK", body=instruments_csv(10_000))
        return None

    loop = asyncio.get_running_loop()
    async with serve(
        exchange.handle, "127.0.0.1", 0, compression=None, process_request=over_http, max_size=2**22
    ) as server:
        tasks = [
            asyncio.create_task(exchange.run(), name="sender"),
            asyncio.create_task(exchange.beat(), name="heartbeat"),
        ]
        print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            request = json.loads(line)
            exchange.rate = float(request.get("rate", exchange.rate))
            answer: dict[str, object] = {"sent": exchange.sent, "symbols": len(exchange.sequences)}
            if request.get("sequences"):
                answer["sequences"] = {
                    symbol_of(token): number for token, number in exchange.sequences.items()
                }
            print(json.dumps(answer), flush=True)
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    uvloop.run(_main())
