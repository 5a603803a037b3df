"""Clients that cost less than the server: raw sockets, one thread, ticks counted by their length.

A read is checked by columns (see ``tick_layout``): it has to hold whole frames that go on where the
client's last read ended, each number in turn. That is done for every client and every tick, so a
gap, a repeat or a change of order anywhere is seen. What does not fit (pings, answers, gaps) is
taken apart frame by frame. One read of each client is kept and parsed completely after the run.

Answers each JSON line on standard input with one on standard output.
"""

from __future__ import annotations

import base64
import gc
import json
import mmap
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from enum import Enum, auto

from benchmarks.tick_layout import TickLayout, now_us, symbol_name
from brokers.types import FeedMode

_READ_BYTES = 512 * 1024
_ROOM = 64 * 1024  # for what the read before left over; an answer to a large subscribe
_KEPT_BYTES = 64 * 1024
_CONNECTING_AT_ONCE = 32
_POSITION = struct.Struct("=Q")


class Step(Enum):
    """How far a client is."""

    UPGRADING = auto()
    AUTHENTICATING = auto()
    SUBSCRIBING = auto()
    READY = auto()
    LOST = auto()


class Reads:
    """What clients with the same symbols expect; shared by them."""

    def __init__(self, residues: list[int], total: int, frame_bytes: int) -> None:
        self.residues = residues
        self.total = total
        self.index = {residue: at for at, residue in enumerate(residues)}
        longest = (_READ_BYTES + _ROOM) // frame_bytes + 1
        turns = longest // len(residues) + 2
        self.units = bytes(48 + each % 10 for each in residues) * turns
        self.tens = bytes(48 + each // 10 % 10 for each in residues) * turns

    def number(self, base: int, place: int) -> int:
        """Return the number of the tick at ``place`` of a client's stream."""
        turns, at = divmod(place, len(self.residues))
        return base + turns * self.total + self.residues[at]

    def place(self, base: int, number: int) -> int:
        """Return the place of a number; KeyError for one that is none of theirs."""
        turns, residue = divmod(number - base, self.total)
        return turns * len(self.residues) + self.index[residue]


class Client:
    """One socket."""

    def __init__(self, load: Load, port: int, requests: list[bytes], reads: Reads | None) -> None:
        self.load = load
        self.reads = reads
        self.requests = requests
        self.step = Step.UPGRADING
        self.rest = b""
        self.place = 0  # of the next tick
        self.ticks = 0
        self.missed = 0
        self.backwards = 0
        self.others = 0
        self.close_code = 0
        self.kept: bytes | None = None
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n\r\n" % key.encode()
        )
        self.socket.setblocking(False)

    def read(self, buffer: bytearray, view: memoryview) -> None:
        """Take what the socket has, up to ``_READ_BYTES``."""
        rest = self.rest
        size = len(rest)
        if size:
            buffer[:size] = rest
        try:
            got = self.socket.recv_into(view[size:], _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            got = 0
        if not got:
            self.lose()
            return
        size += got
        load = self.load
        if self.step is Step.READY and load.is_begun:
            length = load.layout.frame_bytes
            count = size // length
            if not count:
                self.rest = bytes(view[:size])
                return
            if self.fits(buffer, count, length):
                if load.sample_every:
                    self.sample(buffer, count, length)
                if self.kept is None:
                    self.kept = bytes(view[: min(count, _KEPT_BYTES // length) * length])
                self.ticks += count
                self.place += count
                self.rest = bytes(view[count * length : size])
                return
        self.rest = self.take_apart(buffer, size)

    def fits(self, buffer: bytearray, count: int, length: int) -> bool:
        """Tell whether ``count`` frames are exactly the next ticks of this client."""
        load, reads, place = self.load, self.reads, self.place
        assert reads is not None
        layout, base, end = load.layout, load.base, count * length
        phase = place % len(reads.residues)
        try:
            return (
                buffer[layout.units_at : end : length] == reads.units[phase : phase + count]
                and buffer[layout.tens_at : end : length] == reads.tens[phase : phase + count]
                and layout.number(buffer, 0) == reads.number(base, place)
                and layout.number(buffer, end - length) == reads.number(base, place + count - 1)
            )
        except ValueError:
            return False

    def sample(self, buffer: bytearray, count: int, length: int) -> None:
        """Note the age of every so manieth tick."""
        load, now = self.load, now_us()
        every, age_us = load.sample_every, load.layout.age_us
        for at in range(-self.place % every, count, every):
            load.ages_us.append(age_us(buffer, at * length, now))

    def take_apart(self, buffer: bytearray, size: int) -> bytes:
        """Look at every frame; returns what is left over."""
        at = 0
        if self.step is Step.UPGRADING:
            at = buffer.find(b"\r\n\r\n", 0, size) + 4
            if at < 4:
                return bytes(buffer[:size])
            if b" 101 " not in buffer[:20]:
                raise RuntimeError(bytes(buffer[:200]))
            self.advance(Step.AUTHENTICATING)
        while size - at >= 2:
            length, start = buffer[at + 1], at + 2
            if length == 126:
                start = at + 4
                length = int.from_bytes(buffer[at + 2 : at + 4], "big")
            elif length == 127:
                start = at + 10
                length = int.from_bytes(buffer[at + 2 : at + 10], "big")
            if start + length > size:
                break
            self.frame(buffer, at, start, start + length)
            at = start + length
        return bytes(buffer[at:size])

    def frame(self, buffer: bytearray, at: int, start: int, end: int) -> None:
        """Take one frame apart."""
        first = buffer[at]
        if first == 0x89:
            self.send(0x8A, bytes(buffer[start:end]))
        elif first == 0x88:
            self.close_code = int.from_bytes(buffer[start : start + 2], "big")
        elif buffer.startswith(b'{"type":"market_data"', start):
            self.tick(buffer, at)
        elif self.step is Step.READY:
            self.others += 1
        else:
            answer = json.loads(bytes(buffer[start:end]))
            if answer.get("status") != "success":
                raise RuntimeError(answer)
            self.advance(
                Step.SUBSCRIBING if self.step is Step.AUTHENTICATING else Step.READY,
            )

    def tick(self, buffer: bytearray, at: int) -> None:
        """Count one tick and what is missing before it."""
        load = self.load
        if not load.is_begun or self.reads is None:
            return
        number = load.layout.number(buffer, at)
        place = self.reads.place(load.base, number)
        if place < self.place:
            self.backwards += 1
            return
        self.missed += place - self.place
        self.place = place + 1
        self.ticks += 1
        if load.sample_every and place % load.sample_every == 0:
            load.ages_us.append(load.layout.age_us(buffer, at, now_us()))

    def advance(self, step: Step) -> None:
        """Go on with the next request, or be ready."""
        self.step = step
        if self.requests:
            self.send(0x81, self.requests.pop(0))
        else:
            self.step = Step.READY
            self.load.waiting -= 1

    def send(self, first: int, payload: bytes) -> None:
        """Send one masked frame; a mask of zeros is as good as any for a benchmark."""
        size = len(payload)
        if size < 126:
            head = bytes((first, 0x80 | size))
        elif size < 65536:
            head = struct.pack(">BBH", first, 0x80 | 126, size)
        else:
            head = struct.pack(">BBQ", first, 0x80 | 127, size)
        self.socket.setblocking(True)
        self.socket.sendall(head + b"\0\0\0\0" + payload)
        self.socket.setblocking(False)

    def lose(self) -> None:
        """The server has gone."""
        if self.step not in (Step.READY, Step.LOST):
            self.load.waiting -= 1
        self.step = Step.LOST
        self.load.forget(self)


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
        self._buffer = bytearray(_READ_BYTES + _ROOM * 16)
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
    ) -> dict:
        """Connect and subscribe; client ``i`` reads ``symbols`` of ``total`` from ``i * step``."""
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
            client = Client(self, port, [login, subscribe], reads)
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

    def stop_reading(self, first: int, count: int) -> dict:
        """Leave some clients' sockets alone."""
        for client in self.clients[first : first + count]:
            self.forget(client)
        return {"stopped": count}

    def close(self) -> dict:
        """Drop all clients."""
        codes: dict[int, int] = {}
        for client in self.clients:
            codes[client.close_code] = codes.get(client.close_code, 0) + 1
            self.forget(client)
            client.socket.close()
        self.clients, self.counted, self.groups = [], [], {}
        self.is_begun = False
        return {"closed": True, "codes": codes}

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
