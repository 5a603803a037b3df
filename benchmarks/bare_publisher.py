"""A worker that has nothing to do but publish: exchange and worker no longer limit.

Publisher and control server are the product's own, so subscriptions, barriers and beats are real.
The feed service behind them says yes to everything, and ticks are made from ready pieces. They
leave at a steady rate, or as fast as the slowest reader of the load takes them (``window``): the
load writes how far all have come into a shared file, so that nothing has to be thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import mmap
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence

import uvloop
import zmq

from benchmarks.stack import local_bus
from benchmarks.tick_layout import TickLayout, now_us, symbol_name
from brokers.pool_service import (
    FeedEvent,
    FeedStatus,
    Holder,
    Outcome,
    OutcomeState,
    Peak,
    PoolStats,
    Want,
)
from brokers.types import FeedMode, InstrumentKey
from streaming.wire.address import BusAddress
from streaming.wire.message import FORMAT_VERSION, HEADER
from streaming.wire.topics import tick_topic
from streaming.worker.control_server import ControlServer
from streaming.worker.publisher import SharedZmqPublisher

_POSITION = struct.Struct("=Q")
_TURN_SECONDS = 0.0003
_BURST = 64
_TIMED_MASK = 63


class YesService:
    """A ``FeedService`` with one pool that has everything."""

    def __init__(self, pool_id: str) -> None:
        self._pool_id = pool_id
        none = Peak(0, 0)
        self._stats = PoolStats(
            pool_id=pool_id,
            broker="zerodha",
            status=FeedStatus.LIVE,
            reason="",
            since_ms=1,
            connections=(),
            max_connections=3,
            symbols_per_connection=3000,
            used=0,
            capacity=9000,
            wanted=0,
            confirmed=0,
            clients=0,
            ticks_received=0,
            ticks_per_second=0.0,
            frames_malformed=0,
            ticks_unknown=0,
            reconnects=0,
            peak_symbols=none,
            peak_connections=none,
            peak_clients=none,
            peak_ticks_per_second=none,
        )

    def pool_ids(self) -> Sequence[str]:
        return [self._pool_id]

    async def want(self, pool_id: str, holder: Holder, wants: Sequence[Want]) -> Sequence[Outcome]:
        return [Outcome(each.key, OutcomeState.ACTIVE, each.mode) for each in wants]

    async def release(
        self, pool_id: str, holder: Holder, keys: Sequence[InstrumentKey] | None
    ) -> None:
        pass

    async def release_gateway(self, gateway: str) -> None:
        pass

    def stats(self, pool_id: str) -> PoolStats:
        if pool_id != self._pool_id:
            raise KeyError(pool_id)
        return self._stats

    def add_listener(self, listener: Callable[[FeedEvent], None]) -> Callable[[], None]:
        return lambda: None


class BarePublisher(SharedZmqPublisher):
    """The product's publisher, with a way to send messages that are ready."""

    def send_ready(self, messages: Sequence[bytes]) -> None:
        """Send bus messages in order; nothing is encoded and no last values are kept."""
        with self._lock:
            for message in messages:
                self._send_locked(message)


class Sender(threading.Thread):
    """Publishes ticks of ``symbols`` symbols in turn, numbered without a hole."""

    def __init__(self, publisher: BarePublisher, pool_id: str, positions: mmap.mmap) -> None:
        super().__init__(name="sender", daemon=True)
        self._publisher = publisher
        self._pool_id = pool_id
        self._positions = positions
        self._wanted = threading.Condition()
        self._job: tuple[float, int] | None = None  # ticks a second, ticks in flight
        self._is_idle = True
        self.number = 0
        self._sequences: list[int] = []
        self.load(FeedMode.QUOTE, 100)

    def load(self, mode: FeedMode, symbols: int) -> None:
        """Choose what is published from now on, while nothing is."""
        layout = self._layout = TickLayout(mode)
        keys = [InstrumentKey("NSE", symbol_name(n)) for n in range(symbols)]
        self._topics = [tick_topic(self._pool_id, key) for key in keys]
        self._prefixes = [layout.prefix(key.symbol) for key in keys]
        self._sequences += [0] * (symbols - len(self._sequences))
        self.align()

    def align(self) -> None:
        """Let the next tick be one of the first symbol."""
        self.number += -self.number % len(self._topics)

    def start_sending(self, rate: float, window: int) -> None:
        """Begin: ``rate`` ticks a second, or with 0 as fast as ``window`` in flight allow."""
        with self._wanted:
            self._job = (rate, window)
            self._is_idle = False
            self._wanted.notify_all()

    def stop_sending(self) -> int:
        """End; returns the number that the next tick would have had."""
        with self._wanted:
            self._job = None
            self._wanted.notify_all()
            self._wanted.wait_for(lambda: self._is_idle)
        return self.number

    def run(self) -> None:
        while True:
            with self._wanted:
                self._is_idle = True
                self._wanted.notify_all()
                self._wanted.wait_for(lambda: self._job is not None)
                self._is_idle = False
                assert self._job is not None
                rate, window = self._job
            if rate:
                self._send_paced(rate)
            else:
                self._send_window(window)

    def _send_paced(self, rate: float) -> None:
        """Spread the ticks evenly; when late, catch up by at most 20 ms of them."""
        due = time.perf_counter()
        while self._job is not None:
            now = time.perf_counter()
            if now < due:
                time.sleep(min(due - now, 0.05))
                continue
            due = max(due, now - 0.02)
            count = int((now - due) * rate) + 1
            due += count / rate
            self._send(count)

    def _send_window(self, window: int) -> None:
        first = self.number
        while self._job is not None:
            done = max(_POSITION.unpack_from(self._positions)[0], first)
            free = window - (self.number - done)
            if free <= 0:
                time.sleep(_TURN_SECONDS)
                continue
            self._send(min(free, _BURST))

    def _send(self, count: int) -> None:
        epoch, rest = self._publisher.epoch, self._layout.rest
        symbols, mode, number = len(self._topics), self._layout.mode, self.number
        received_us = time.time_ns() // 1000
        messages = []
        for _ in range(count):
            index = number % symbols
            sequence = self._sequences[index] = self._sequences[index] + 1
            after_us = 1 if sequence & _TIMED_MASK == 1 else 0
            messages.append(
                self._topics[index]
                + HEADER.pack(FORMAT_VERSION, mode, 0, epoch, sequence, received_us, after_us)
                + self._prefixes[index]
                + rest(number, now_us())
            )
            number += 1
        self.number = number
        self._publisher.send_ready(messages)


async def _main(bus: BusAddress, pool_id: str, positions: mmap.mmap) -> None:
    publisher = BarePublisher(bus=bus, epoch=time.time_ns() // 1000)
    publisher.open()
    server = ControlServer(
        service=YesService(pool_id), publisher=publisher, worker_id="bare publisher"
    )
    await server.open()
    sender = Sender(publisher, pool_id, positions)
    sender.start()
    print(json.dumps({"ready": True, "libzmq": zmq.zmq_version()}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        match request.pop("do"):
            case "load":
                sender.load(FeedMode(request["mode"]), request["symbols"])
            case "align":
                sender.align()
            case "start":
                sender.start_sending(request.get("rate", 0.0), request.get("window", 1))
            case _:
                await asyncio.to_thread(sender.stop_sending)
        answer = {"number": sender.number, "dropped": publisher.dropped}
        print(json.dumps(answer), flush=True)
    await asyncio.to_thread(sender.stop_sending)
    await server.close()
    publisher.close()


if __name__ == "__main__":
    with open(sys.argv[4], "r+b") as positions_file:
        mapped = mmap.mmap(positions_file.fileno(), _POSITION.size)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_main(local_bus(sys.argv[1], int(sys.argv[2])), sys.argv[3], mapped))
