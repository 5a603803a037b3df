"""One client of the counting load: a raw socket whose stream is checked by columns.

A read has to hold whole frames that go on where the client's last read ended, each number in turn
(see ``tick_layout``). What does not fit (pings, answers, gaps) is taken apart frame by frame.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from enum import Enum, auto
from typing import Protocol

from benchmarks.tick_layout import TickLayout, now_us

__all__ = ["READ_BYTES", "ROOM_BYTES", "Client", "Load", "Reads", "Step"]

READ_BYTES = 512 * 1024
ROOM_BYTES = 1024 * 1024  # for what the read before left over; an answer to a large subscribe
_KEPT_BYTES = 64 * 1024


class Load(Protocol):
    """What a client needs to know of the whole."""

    layout: TickLayout
    is_begun: bool
    base: int
    waiting: int
    sample_every: int
    ages_us: list[int]

    def forget(self, client: Client) -> None:
        """Read this client no more."""


class Step(Enum):
    """How far a client is."""

    UPGRADING = auto()
    AUTHENTICATING = auto()
    SUBSCRIBING = auto()
    READY = auto()
    LOST = auto()


class Reads:
    """What clients with the same symbols expect; shared by them.

    Args:
        residues: their symbols, ascending.
        total: how many symbols are published in turn; a multiple of 100, so that a symbol's ticks
            all have the same two last digits.
        frame_bytes: of one tick.
    """

    def __init__(self, residues: list[int], total: int, frame_bytes: int) -> None:
        if total % 100:
            raise ValueError("the number of symbols must be a multiple of 100")
        self.residues = residues
        self.total = total
        self.index = {residue: at for at, residue in enumerate(residues)}
        longest = (READ_BYTES + ROOM_BYTES) // frame_bytes + 1
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

    def fits(
        self, layout: TickLayout, buffer: bytearray, count: int, base: int, place: int
    ) -> bool:
        """Tell whether ``buffer`` begins with ``count`` frames that are the ticks from ``place``.

        ``base`` is the number of the first tick of all, a multiple of ``total``.
        """
        length = layout.frame_bytes
        end = count * length
        phase = place % len(self.residues)
        try:
            return (
                buffer[layout.units_at : end : length] == self.units[phase : phase + count]
                and buffer[layout.tens_at : end : length] == self.tens[phase : phase + count]
                and layout.number(buffer, 0) == self.number(base, place)
                and layout.number(buffer, end - length) == self.number(base, place + count - 1)
            )
        except ValueError:
            return False


class Client:
    """One socket."""

    def __init__(
        self,
        load: Load,
        port: int,
        requests: list[bytes],
        reads: Reads | None,
        receive_bytes: int = 0,
    ) -> None:
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
        self.kept: bytes | None = None
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n\r\n" % key.encode()
        )
        self.socket.setblocking(False)

    def read(self, buffer: bytearray, view: memoryview) -> None:
        """Take what the socket has, up to ``READ_BYTES``."""
        rest = self.rest
        size = len(rest)
        if size:
            buffer[:size] = rest
        try:
            got = self.socket.recv_into(view[size:], READ_BYTES)
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
            assert self.reads is not None
            if self.reads.fits(load.layout, buffer, count, load.base, self.place):
                if load.sample_every:
                    self.sample(buffer, count, length)
                if self.kept is None:
                    self.kept = bytes(view[: min(count, _KEPT_BYTES // length) * length])
                self.ticks += count
                self.place += count
                self.rest = bytes(view[count * length : size])
                return
        self.rest = self.take_apart(buffer, size)

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
