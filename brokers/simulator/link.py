"""One accepted WebSocket of a local exchange, with the faults that a link can have."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import State

__all__ = ["Link"]

_MAX_BUFFER_BYTES = 8 * 1024 * 1024
_CONGESTED_BYTES = 1024 * 1024


class Link(ServerConnection):
    """A server connection that sends without waiting and can fall silent, be late, or drop.

    Only for the loop it runs in. ``push`` never blocks: a link whose client has not read
    8 MiB refuses further frames (and says so by returning False) until it has.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.number = 0
        # When a message of ours left last, on the loop's clock.
        self.last_sent = 0.0
        self.on_lost: Callable[[], None] | None = None
        self.on_control: Callable[[Opcode, bytes], None] | None = None
        # Whether nothing at all is sent.
        self._silent = False
        # Messages that are held back: when each is due, itself, whether it is text.
        self._late: deque[tuple[float, bytes, bool]] = deque()
        # Their length together.
        self._late_bytes = 0

    @property
    def is_open(self) -> bool:
        return self.protocol.state is State.OPEN

    @property
    def is_silent(self) -> bool:
        return self._silent

    def push(self, data: bytes, *, text: bool = False, delay_seconds: float = 0.0) -> bool:
        """Send one message, or keep it for ``delay_seconds``; False where it was dropped.

        Dropped: the link is not open, is silent, or its client is 8 MiB behind.
        """
        if not self.is_open or self._silent:
            return False
        if self.transport.get_write_buffer_size() + self._late_bytes > _MAX_BUFFER_BYTES:
            return False
        now = self.loop.time()
        self.last_sent = now
        if delay_seconds or self._late:
            self._late.append((now + delay_seconds, data, text))
            self._late_bytes += len(data)
        else:
            self._write(data, text)
        return True

    def flush_late(self, now: float) -> None:
        """Send the delayed messages that are due at ``now``; they never overtake each other."""
        while self._late and self._late[0][0] <= now:
            _, data, text = self._late.popleft()
            self._late_bytes -= len(data)
            if self.is_open:
                self._write(data, text)

    def send_ping(self, payload: bytes) -> None:
        """Send a ping without waiting for its pong."""
        if self.is_open:
            self.protocol.send_ping(payload)
            self.send_data()

    def go_silent(self) -> None:
        """Send nothing more: no ticks, heartbeats, pongs, nor a close frame. It still listens."""
        self._silent = True

    def speak(self) -> None:
        """End the silence; pongs that were held back go out now."""
        self._silent = False
        self.send_data()

    def drop(self) -> None:
        """Cut the link without a close frame."""
        self.transport.abort()

    @property
    def is_congested(self) -> bool:
        """True for a client so far behind that what can wait should."""
        return self.transport.get_write_buffer_size() + self._late_bytes > _CONGESTED_BYTES

    def send_data(self) -> None:
        # What the protocol wants to send stays with it while the link is silent.
        if not self._silent:
            super().send_data()

    def process_event(self, event: Any) -> None:
        is_control = isinstance(event, Frame) and event.opcode in (Opcode.PING, Opcode.PONG)
        if is_control and self.on_control is not None:
            self.on_control(event.opcode, bytes(event.data))
        super().process_event(event)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._late.clear()
        if self.on_lost is not None:
            self.on_lost()

    def _write(self, data: bytes, text: bool) -> None:
        if text:
            self.protocol.send_text(data)
        else:
            self.protocol.send_binary(data)
        self.send_data()
