"""What the bus tests share: instruments, ticks, and a plain SUB socket to look at the wire with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from brokers.types import FeedMode, Instrument, InstrumentKey, Tick
from streaming.ports.link import TickMessage
from streaming.wire.address import BusAddress
from streaming.wire.message import unpack_message

__all__ = ["RawSubscriber", "instrument", "raw_subscriber", "tick"]


def instrument(symbol: str, exchange: str = "NSE") -> Instrument:
    """An instrument whose broker token is its symbol."""
    return Instrument(InstrumentKey(exchange, symbol), symbol)


def tick(ltp: int, mode: FeedMode = FeedMode.QUOTE) -> Tick:
    """A small tick that carries ``ltp`` as its recognisable value."""
    return Tick("t", mode, 1, ltp=ltp)


class RawSubscriber:
    """A SUB socket without any of our subscriber's rules."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket

    def receive(self, timeout: float = 30.0) -> bytes | None:
        """Return the next message, or None after ``timeout`` seconds."""
        if not self.socket.poll(int(timeout * 1000)):
            return None
        return self.socket.recv()

    def take(self, count: int, timeout: float = 60.0) -> list[TickMessage]:
        """Return the next ``count`` ticks, or fewer after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        taken: list[TickMessage] = []
        while len(taken) < count:
            data = self.receive(max(0.0, deadline - time.monotonic()))
            if data is None:
                break
            taken.append(unpack_message(data))
        return taken


@contextmanager
def raw_subscriber(
    bus: BusAddress, *topics: bytes, hwm: int = 0, keys: object = None
) -> Iterator[RawSubscriber]:
    """Connect a SUB socket to ``topics``: to the socket file, or with ``keys`` to the port."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM, hwm)
    for topic in topics:
        socket.setsockopt(zmq.SUBSCRIBE, topic)
    if keys is not None:
        keys.protect_client(socket)  # type: ignore[attr-defined]
    socket.connect(bus.ticks if keys is None else bus.tcp)
    try:
        yield RawSubscriber(socket)
    finally:
        socket.close(0)
        context.term()
