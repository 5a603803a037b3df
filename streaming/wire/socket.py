"""A ZeroMQ socket on an event loop, read in batches without a task per message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

import zmq

__all__ = ["LoopSocket", "single_part"]

_T = TypeVar("_T")
_NOBLOCK = int(zmq.NOBLOCK)


class LoopSocket(Generic[_T]):
    """Hands everything that arrives on a socket to ``on_batch``, oldest first.

    A turn takes at most ``batch_size`` messages; the rest follow in the next turn of the loop, so a
    flood cannot starve anything else. The default keeps one batch of the largest ticks (about
    700 bytes) below what a client may have queued (1 MiB), so that a burst alone never looks like a
    slow client. Owns the socket. All methods belong to the loop's thread.
    """

    def __init__(
        self,
        *,
        socket: zmq.Socket[bytes],
        receive: Callable[[], _T],
        on_batch: Callable[[list[_T]], None],
        batch_size: int = 500,
    ) -> None:
        if batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        self.socket = socket
        self._receive = receive
        self._on_batch = on_batch
        self._batch_size = batch_size
        self._loop: asyncio.AbstractEventLoop | None = None  # between ``open`` and ``close``
        self._next_turn: asyncio.Handle | None = None  # a read that is set for the next turn

    def open(self) -> None:
        """Start reading on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.socket.fileno(), self._drain)
        self.look()

    def look(self) -> None:
        """Read in the next turn. Needed after every send and option on the socket.

        Its descriptor is edge triggered, and any other call may have swallowed the edge.
        """
        if self._loop is not None and self._next_turn is None:
            self._next_turn = self._loop.call_soon(self._drain)

    def send(self, parts: list[bytes]) -> None:
        """Queue one message; never blocks.

        Raises:
            zmq.ZMQError: the queue is full, or there is no such peer.
        """
        self.socket.send_multipart(parts, zmq.NOBLOCK)
        self.look()

    def close(self, linger_ms: int = 0) -> None:
        """Stop and close the socket; what is queued gets ``linger_ms`` to leave. Idempotent."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.remove_reader(self.socket.fileno())
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        self.socket.close(linger_ms)

    def _drain(self) -> None:
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        batch: list[_T] = []
        receive, append = self._receive, batch.append
        try:
            for _ in range(self._batch_size):
                append(receive())
        except zmq.ZMQError:
            pass  # Nothing left; an error of the socket itself shows as silence to the beat.
        else:
            self.look()
        if batch:
            self._on_batch(batch)


def single_part(socket: zmq.Socket[bytes]) -> Callable[[], bytes]:
    """Return the fastest way to take one message part off ``socket`` without waiting.

    It goes below the Python-level ``recv``, whose argument checks cost more than the read.
    """
    receive = super(zmq.Socket, socket).recv

    def take() -> bytes:
        return receive(_NOBLOCK)

    return take
