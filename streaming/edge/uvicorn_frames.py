"""uvicorn's WebSocket protocol with a way for frames that are built once and written to many.

ASGI's ``send`` takes text and makes a frame of it again for every client, and it costs a coroutine
per frame. The ASGI extension ``FRAMES_EXTENSION`` hands the consumer a ``FrameWriter``, as
``clients/senders.py`` wants it, which takes ready bytes and shows whether the transport is
congested. A write goes to the transport at once and whole, so what uvicorn itself writes (pongs,
pings, close) is before or behind it, never inside; after a close frame nothing more is taken.

It leans on attributes of ``WebSocketsSansIOProtocol`` that uvicorn does not promise to keep:
``TESTED_UVICORN`` names the versions that were looked at, and a test fails outside of them.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import OPEN

from streaming.waiters import SmallQueue

__all__ = [
    "FRAMES_EXTENSION",
    "TESTED_UVICORN",
    "SharedFramesProtocol",
    "UvicornFrameWriter",
]

# Name of the ASGI extension.
FRAMES_EXTENSION = "tickpool.frames"

# From the first version that was looked at up to the first one that was not.
TESTED_UVICORN = ((0, 54), (0, 55))


class UvicornFrameWriter:
    """The ``FrameWriter`` of one client's transport. Belongs to the event loop.

    ``is_congested`` is true from when the transport holds more than its high water mark until it
    is below its low one. ``on_drained`` is called then, and when the connection is lost.
    """

    __slots__ = ("_protocol", "is_congested", "on_drained")

    def __init__(self, protocol: SharedFramesProtocol) -> None:
        self._protocol = protocol
        self.is_congested = False
        self.on_drained: Callable[[], None] = _nothing

    @property
    def is_open(self) -> bool:
        """Whether frames are still taken: no close frame was sent, the connection is there."""
        protocol = self._protocol
        return (
            protocol.conn.state is OPEN
            and protocol.handshake_complete
            and not protocol.close_sent
            and not protocol.transport.is_closing()
        )

    @property
    def unsent_bytes(self) -> int:
        """Bytes that were written and that the kernel has not taken."""
        return self._protocol.transport.get_write_buffer_size()

    def write(self, frames: bytes) -> bool:
        """Write whole unmasked frames; False, and nothing written, when it is no longer open.

        Never waits: look at ``is_congested`` before.
        """
        if not self.is_open:
            return False
        self._protocol.transport.write(frames)
        return True


class SharedFramesProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol with a ``FrameWriter`` in the scope's extensions."""

    frame_writer: UvicornFrameWriter | None = None  # from the handshake on

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Of asyncio's queue it uses these methods only; three kilobytes of every client.
        self.queue = SmallQueue()  # type: ignore[assignment]

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            writer = self.frame_writer = UvicornFrameWriter(self)
            extensions: dict[str, object] = self.scope["extensions"]  # type: ignore[assignment]
            extensions[FRAMES_EXTENSION] = writer

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.frame_writer is not None:
            self.frame_writer.is_congested = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self._drained()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits for room, and let go of what refers to this object.

        A connection that is gone is to be freed by its last reference: the collector of cycles runs
        rarely in a gateway, because each run makes every client wait.
        """
        super().connection_lost(exc)
        self._drained()
        self.frame_writer = None
        if self.handshake_initiated and hasattr(self, "scope"):
            self.scope["extensions"] = {}
        # A generator that refers to it, and exceptions whose tracebacks do.
        self.conn.parser.close()
        self.conn.parser_exc = self.conn.handshake_exc = None

    def _drained(self) -> None:
        writer = self.frame_writer
        if writer is not None:
            writer.is_congested = False
            writer.on_drained()


def _nothing() -> None:
    """Stand in until somebody listens."""
