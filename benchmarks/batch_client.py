"""Many subscribers of the batch subprotocol in one process; see ``load_client``."""

from __future__ import annotations

import asyncio
import json
import struct
import time

import uvloop

from benchmarks import load_client

_TICK = b'{"type":"market_data"'


class BatchSubscriber(load_client.Subscriber):
    """One client: counts the ticks inside batches, and the batches."""

    batches = 0

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)
        buffer = self.buffer + data if self.buffer else data
        if not self.is_open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                self.buffer = buffer
                return
            if b"tickpool.batch.v1" not in buffer[:end]:
                raise RuntimeError(buffer[:200])
            self.is_open = True
            self.replies.put_nowait({"type": "open"})
            buffer = buffer[end + 4 :]
        at, size = 0, len(buffer)
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
            self.frame(buffer[at], buffer, start, end)
            at = end
        self.buffer = buffer[at:]

    def frame(self, first: int, buffer: bytes, start: int, end: int) -> None:
        """Take one whole frame."""
        if first == 0x89:
            self.send_frame(0x8A, buffer[start:end])
        elif buffer.startswith(b'{"type":"ticks"', start):
            self.batches += 1
            self.ticks += buffer.count(_TICK, start, end)
            at = buffer.find(_TICK, start, end) if self.load.is_checking else -1
            while at >= 0:
                following = buffer.find(_TICK, at + 1, end)
                self.check(buffer, at, following if following >= 0 else end)
                at = following
        elif first == 0x81 and not buffer.startswith(b'{"type":"feed"', start):
            self.replies.put_nowait(json.loads(buffer[start:end]))


class BatchLoad(load_client.Load):
    """All subscribers of this process."""

    async def connect(
        self, port: int, path: str, api_key: str, clients: int, symbols: list[str], mode: int
    ) -> dict:
        """See ``Load``."""
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        items = [{"symbol": symbol, "exchange": "NSE"} for symbol in symbols]
        headers = "Sec-WebSocket-Protocol: tickpool.batch.v1\r\n"
        for _ in range(clients):
            _, client = await loop.create_connection(
                lambda: BatchSubscriber(self, path, headers), "127.0.0.1", port
            )
            await asyncio.wait_for(client.replies.get(), 30)
            for request in (
                {"action": "authenticate", "api_key": api_key},
                {"action": "subscribe", "symbols": items, "mode": mode},
            ):
                answer = await client.ask(**request)
                if answer.get("status") != "success":
                    raise RuntimeError(answer)
            self.clients.append(client)
        return {"seconds": time.monotonic() - started}

    async def measure(self, seconds: float, check: bool, sample_all: bool) -> dict:
        """See ``Load``; counts batches as well, of the client that got most."""
        before = [client.batches for client in self.clients]
        measured = await super().measure(seconds, check, sample_all)
        counts = [
            client.batches - count for client, count in zip(self.clients, before, strict=True)
        ]
        return {**measured, "batches": max(counts, default=0)}


if __name__ == "__main__":
    load_client.Load = BatchLoad  # type: ignore[misc]
    uvloop.run(load_client._main())
