"""Clients that cost less than the server: raw sockets, one thread, ticks counted by their length.

Every client and every tick is checked (see ``counting_client``), so a gap, a repeat or a change of
order anywhere is seen. One read of each client is kept and parsed completely after the run.

Answers each JSON line on standard input with one on standard output.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import select
import struct
import sys
import time
from collections.abc import Callable

from benchmarks.counting_client import READ_BYTES, ROOM_BYTES, Client, Reads, Step
from benchmarks.tick_layout import TickLayout, symbol_name
from brokers.types import FeedMode

_CONNECTING_AT_ONCE = 32
_POSITION = struct.Struct("=Q")


class Load:
    """All clients of this process, and the loop that reads them."""

    def __init__(self, positions: mmap.mmap) -> None:
        self.positions = positions
        self.clients: list[Client] = []
        self.readers: dict[int, Client] = {}
        # Those whose progress lets the publisher go on, and the same by what they read.
        self.counted: list[Client] = []
        self.groups: dict[Reads, list[Client]] = {}
        self.layout = TickLayout(FeedMode.QUOTE)
        self.is_begun = False
        self.base = 0
        self.waiting = 0
        self.sample_every = 0
        self.ages_us: list[int] = []
        self._poll = select.epoll()
        self._buffer = bytearray(READ_BYTES + ROOM_BYTES)
        self._view = memoryview(self._buffer)

    def turn(self, until: float) -> None:
        """Read whatever is there, waiting no longer than ``until``; say how far all have come."""
        timeout = max(until - time.monotonic(), 0.0)
        readers, buffer, view = self.readers, self._buffer, self._view
        for fd, _ in self._poll.poll(timeout, 4096):
            client = readers.get(fd)
            if client is not None:
                client.read(buffer, view)
        if self.is_begun and self.groups:
            base = self.base
            least = min(
                [
                    reads.number(base, min([each.place for each in clients]))
                    for reads, clients in self.groups.items()
                ]
            )
            _POSITION.pack_into(self.positions, 0, least)

    def run_until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Go on until ``done`` or the time is over; returns which."""
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() >= deadline:
                return False
            self.turn(deadline)
        return True

    def connect(
        self,
        port: int,
        api_key: str,
        clients: int,
        symbols: int,
        mode: int,
        total: int = 0,
        step: int = 0,
        at_once: int = _CONNECTING_AT_ONCE,
        is_counted: bool = True,
        receive_bytes: int = 0,
    ) -> dict:
        """Connect and subscribe; client ``i`` reads ``symbols`` of ``total`` from ``i * step``.

        Args:
            at_once: how many may be on their way in at a time.
            is_counted: whether measurements and verdicts are about them.
            receive_bytes: the kernel's buffer of each; 0 leaves it to the kernel.
        """
        self.layout = TickLayout(FeedMode(mode))
        total = total or symbols
        started = time.monotonic()
        known: dict[int, tuple[Reads, bytes]] = {}
        login = json.dumps({"action": "authenticate", "api_key": api_key}).encode()
        lost_before = sum(each.step is Step.LOST for each in self.clients)
        for index in range(clients):
            first = index * step % total
            if first not in known:
                residues = sorted((first + n) % total for n in range(symbols))
                items = [{"symbol": symbol_name(n), "exchange": "NSE"} for n in residues]
                request = {"action": "subscribe", "symbols": items, "mode": mode}
                known[first] = (
                    Reads(residues, total, self.layout.frame_bytes),
                    json.dumps(request).encode(),
                )
            reads, subscribe = known[first]
            self.waiting += 1
            client = Client(self, port, [login, subscribe], reads, receive_bytes)
            self.clients.append(client)
            if is_counted:
                self.counted.append(client)
                self.groups.setdefault(reads, []).append(client)
            self.watch(client)
            self.run_until(lambda: self.waiting < at_once, 60)
        is_ready = self.run_until(lambda: not self.waiting, 60)
        lost = sum(each.step is Step.LOST for each in self.clients) - lost_before
        return {
            "seconds": time.monotonic() - started,
            "ready": is_ready and not lost,
            "lost": lost,
            "frame_bytes": self.layout.frame_bytes,
        }

    def watch(self, client: Client) -> None:
        """Read this client from now on."""
        fd = client.socket.fileno()
        self.readers[fd] = client
        self._poll.register(fd, select.EPOLLIN)

    def forget(self, client: Client) -> None:
        """Read it no more."""
        fd = client.socket.fileno()
        if self.readers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def begin(self, number: int) -> dict:
        """Expect ``number`` as the next tick of all; a multiple of the number of symbols."""
        self.base = number
        self.is_begun = True
        for client in self.clients:
            client.place = client.ticks = client.missed = client.backwards = 0
            client.others = 0
            client.kept = None
        _POSITION.pack_into(self.positions, 0, number)
        return {"begun": number}

    def measure(self, seconds: float, sample_every: int = 0) -> dict:
        """Count for ``seconds``; ages of every ``sample_every``-th tick, 0: none."""
        self.ages_us = []
        self.sample_every = sample_every
        before = [client.ticks for client in self.counted]
        started = time.monotonic()
        self.run_until(lambda: False, seconds)
        elapsed = time.monotonic() - started
        self.sample_every = 0
        counts = [each.ticks - count for each, count in zip(self.counted, before, strict=True)]
        ages = sorted(self.ages_us)
        return {
            "seconds": elapsed,
            "ticks": sum(counts),
            "least": min(counts, default=0),
            "p50_us": ages[len(ages) // 2] if ages else 0,
            "p99_us": ages[int(len(ages) * 0.99)] if ages else 0,
            "max_us": ages[-1] if ages else 0,
            "samples": len(ages),
        }

    def drain(self, number: int, seconds: float = 10.0) -> dict:
        """Wait until all counted clients have everything before ``number``; then judge them."""
        base = self.base

        def expected(client: Client) -> int:
            reads = client.reads
            assert reads is not None
            turns, over = divmod(number - base, reads.total)
            return turns * len(reads.residues) + sum(each < over for each in reads.residues)

        wanted = [expected(each) for each in self.counted]

        def complete() -> bool:
            return all(c.place >= due for c, due in zip(self.counted, wanted, strict=True))

        is_complete = self.run_until(complete, seconds)
        wrong = [
            at
            for at, (client, due) in enumerate(zip(self.counted, wanted, strict=True))
            if client.ticks != due or client.place != due
        ]
        return {
            "complete": is_complete and not wrong,
            "expected": sum(wanted),
            "ticks": sum(each.ticks for each in self.counted),
            "missed": sum(each.missed for each in self.counted),
            "backwards": sum(each.backwards for each in self.counted),
            "incomplete_clients": len(wrong),
            "lost": sum(each.step is Step.LOST for each in self.counted),
            "unexpected_frames": sum(each.others for each in self.counted),
            **self._judge_kept(),
        }

    def _judge_kept(self) -> dict:
        length, good, bad = self.layout.frame_bytes, 0, 0
        for client in self.counted:
            kept, reads = client.kept or b"", client.reads
            assert reads is not None
            for at in range(0, len(kept), length):
                if self.layout.is_whole(kept[at : at + length], reads.total):
                    good += 1
                else:
                    bad += 1
        return {"parsed": good, "parsed_wrong": bad}

    def stop_reading(self) -> dict:
        """Leave alone the sockets of all that are not counted."""
        counted = set(self.counted)
        stopped = [each for each in self.clients if each not in counted]
        for client in stopped:
            self.forget(client)
        return {"stopped": len(stopped)}

    def drop_stopped(self) -> dict:
        """Close the sockets of all that are not counted."""
        counted = set(self.counted)
        for client in self.clients:
            if client not in counted:
                client.socket.close()
        self.clients = list(self.counted)
        return {"left": len(self.clients)}

    def close(self) -> dict:
        """Drop all clients."""
        for client in self.clients:
            self.forget(client)
            client.socket.close()
        self.clients, self.counted, self.groups = [], [], {}
        self.is_begun = False
        return {"closed": True}

    def serve(self) -> None:
        """Answer requests until there are no more."""
        self._poll.register(0, select.EPOLLIN)
        os.set_blocking(0, False)
        pending = b""
        while True:
            self.turn(time.monotonic() + 1.0)
            try:
                data = os.read(0, 65536)
            except BlockingIOError:
                continue
            if not data:
                return
            pending += data
            while b"\n" in pending:
                line, _, pending = pending.partition(b"\n")
                request = json.loads(line)
                answer = getattr(self, request.pop("do"))(**request)
                print(json.dumps(answer), flush=True)


def _main(positions_file: str) -> None:
    gc.disable()
    with open(positions_file, "r+b") as file:
        positions = mmap.mmap(file.fileno(), _POSITION.size)
    print(json.dumps({"ready": True}), flush=True)
    Load(positions).serve()


if __name__ == "__main__":
    _main(sys.argv[1])
