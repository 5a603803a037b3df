"""Many subscribers in one process: raw sockets, no WebSocket library in the way.

Reads the server's unmasked frames from the byte stream and counts those of ticks. The first
clients are looked at closely: each symbol's sequence must never go back, what is left out is
counted, and the age of sampled ticks comes from the stamp that ``stamped_exchange`` put into them.
While measuring, the others' ticks are only counted, so that the load keeps up with the server.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
import sys
import time

import uvloop

_SAMPLE_EVERY = 16
_CHECKED_CLIENTS = 4
_TICK = b'{"type":"market_data"'


class Subscriber(asyncio.Protocol):
    """One client: handshake, requests, then counting."""

    def __init__(self, load: Load, path: str, headers: str) -> None:
        self.load = load
        self.path = path
        self.headers = headers
        self.buffer = b""
        self.is_open = False
        self.ticks = 0
        self.bytes = 0
        self.replies: asyncio.Queue[dict] = asyncio.Queue()
        self.last: dict[bytes, int] = {}
        self.missed = 0
        self.backwards = 0
        self.is_lost = False
        self.is_only_counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(  # type: ignore[attr-defined]
            f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"{self.headers}\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self.replies.put_nowait({"type": "lost"})

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)
        buffer = self.buffer + data if self.buffer else data
        if self.is_only_counted:
            # A tick's beginning may be cut in two; what is kept is too short to count twice.
            self.ticks += buffer.count(_TICK)
            self.buffer = buffer[-(len(_TICK) - 1) :]
            return
        if not self.is_open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                self.buffer = buffer
                return
            if b" 101 " not in buffer[:20]:
                raise RuntimeError(buffer[:200])
            self.is_open = True
            self.replies.put_nowait({"type": "open"})
            buffer = buffer[end + 4 :]
        at, size = 0, len(buffer)
        ticks = 0
        while size - at >= 2:
            length, start = buffer[at + 1], at + 2
            if length == 126:
                if size - at < 4:
                    break
                length, start = (buffer[at + 2] << 8) | buffer[at + 3], at + 4
            elif length == 127:
                if size - at < 10:
                    break
                length, start = struct.unpack_from(">Q", buffer, at + 2)[0], at + 10
            end = start + length
            if end > size:
                break
            if buffer[at] == 0x81 and buffer.startswith(b'{"type":"market_data"', start):
                ticks += 1
                if self.load.is_checking:
                    self.check(buffer, start, end)
            elif buffer[at] == 0x81:
                self.replies.put_nowait(json.loads(buffer[start:end]))
            elif buffer[at] == 0x89:
                self.send_frame(0x8A, buffer[start:end])
            at = end
        self.ticks += ticks
        self.buffer = buffer[at:]

    def check(self, buffer: bytes, start: int, end: int) -> None:
        """Follow the sequence of the symbol and sample the tick's age."""
        name_at = start + 32  # {"type":"market_data","symbol":"
        symbol = buffer[name_at : name_at + 6]
        volume_at = buffer.find(b'"volume":', start, end)
        if volume_at < 0:
            return
        sequence = int(buffer[volume_at + 9 : volume_at + 16])
        before = self.last.get(symbol)
        self.last[symbol] = sequence
        if before is not None and sequence != before + 1:
            if sequence <= before:
                self.backwards += 1
            else:
                self.missed += sequence - before - 1
        if sequence % _SAMPLE_EVERY == 0 or self.load.sample_all:
            oi_at = buffer.find(b'"oi":', start, end)
            stamp = int(buffer[oi_at + 5 : buffer.find(b",", oi_at, end)])
            self.load.ages_us.append((time.monotonic_ns() // 1000 - stamp) & 0xFFFFFFFF)

    def send_frame(self, first: int, payload: bytes) -> None:
        """Send one masked frame; a mask of zeros is as good as any for a benchmark."""
        size = len(payload)
        if size < 126:
            head = bytes((first, 0x80 | size))
        elif size < 65536:
            head = struct.pack(">BBH", first, 0x80 | 126, size)
        else:
            head = struct.pack(">BBQ", first, 0x80 | 127, size)
        self.transport.write(head + b"\0\0\0\0" + payload)  # type: ignore[attr-defined]

    async def ask(self, **request: object) -> dict:
        """Send a request and return the next text frame that is not a tick."""
        self.send_frame(0x81, json.dumps(request).encode())
        return await asyncio.wait_for(self.replies.get(), 60)


class Load:
    """All subscribers of this process."""

    def __init__(self) -> None:
        self.clients: list[Subscriber] = []
        self.ages_us: list[int] = []
        self.is_checking = False
        self.sample_all = False

    async def connect(
        self, port: int, path: str, api_key: str, clients: int, symbols: list[str], mode: int
    ) -> dict:
        """Open, authenticate and subscribe ``clients`` clients one after another."""
        loop = asyncio.get_running_loop()
        started = time.monotonic()
        refused = 0
        for _ in range(clients):
            _, client = await loop.create_connection(
                lambda: Subscriber(self, path, ""), "127.0.0.1", port
            )
            await asyncio.wait_for(client.replies.get(), 30)
            answer = await client.ask(action="authenticate", api_key=api_key)
            if answer.get("status") != "success":
                raise RuntimeError(answer)
            items = [{"symbol": symbol, "exchange": "NSE"} for symbol in symbols]
            for start in range(0, len(items), 2000):
                answer = await client.ask(
                    action="subscribe", symbols=items[start : start + 2000], mode=mode
                )
                refused += answer.get("status") != "success"
            self.clients.append(client)
        return {"seconds": time.monotonic() - started, "refused": refused}

    async def measure(self, seconds: float, check: bool, sample_all: bool) -> dict:
        """Count for ``seconds``."""
        self.ages_us = []
        self.sample_all = sample_all
        for client in self.clients:
            client.last = {}
            client.missed = client.backwards = 0
        checked, others = self.clients[:_CHECKED_CLIENTS], self.clients[_CHECKED_CLIENTS:]
        for client in others:
            client.is_only_counted = True
        self.is_checking = check
        before = [client.ticks for client in self.clients]
        started = time.monotonic()
        await asyncio.sleep(seconds)
        elapsed = time.monotonic() - started
        counts = [client.ticks - count for client, count in zip(self.clients, before, strict=True)]
        self.is_checking = False
        ages = sorted(self.ages_us)
        return {
            "seconds": elapsed,
            "ticks": sum(counts),
            "least": min(counts, default=0),
            "most": max(counts, default=0),
            "missed": sum(client.missed for client in self.clients),
            "backwards": sum(client.backwards for client in self.clients),
            "symbols": min((len(client.last) for client in checked), default=0),
            "lost": sum(client.is_lost for client in self.clients),
            "p50_us": ages[len(ages) // 2] if ages else 0,
            "p99_us": ages[int(len(ages) * 0.99)] if ages else 0,
            "samples": len(ages),
        }

    def close(self) -> dict:
        """Drop all clients."""
        for client in self.clients:
            client.transport.abort()  # type: ignore[attr-defined]
        self.clients = []
        return {"closed": True}


async def _main() -> None:
    load = Load()
    loop = asyncio.get_running_loop()
    print(json.dumps({"ready": True}), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        match request.pop("do"):
            case "connect":
                answer = await load.connect(**request)
            case "measure":
                answer = await load.measure(**request)
            case _:
                answer = load.close()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(_main())
