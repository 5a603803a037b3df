"""The bytes of a server's WebSocket frames (RFC 6455 section 5.2), and ticks as such frames. Pure.

What a server sends is not masked, so one frame's bytes serve every client that gets the same text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["Chunk", "FrameJoiner", "TickPayload", "text_frame"]

_CHUNK_BYTES = 256 * 1024


def text_frame(body: bytes) -> bytes:
    """Return ``body``, UTF-8 text, as one final unmasked text frame."""
    size = len(body)
    if size < 126:
        return b"\x81%c%b" % (size, body)
    if size < 65536:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), body)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), body)


class TickPayload:
    """One tick for one line, built once and handed to every client that reads the line.

    ``line`` is the key under which a congested client keeps only the newest; ``body`` the JSON
    object, ``frame`` the same as a WebSocket frame.
    """

    __slots__ = ("_text", "body", "frame", "line")

    def __init__(self, line: Any, body: bytes) -> None:
        self.line = line
        self.body = body
        self.frame = text_frame(body)
        self._text: str | None = None  # ``body`` decoded, once somebody asks

    def __repr__(self) -> str:
        return f"<TickPayload {self.line!r} {len(self.body)} bytes>"

    @property
    def text(self) -> str:
        """The JSON object as text, decoded when the first client asks for it."""
        text = self._text
        if text is None:
            text = self._text = self.body.decode("ascii")
        return text


class Chunk(NamedTuple):
    """Ticks that are written at once, and their frames' bytes."""

    data: bytes
    payloads: Sequence[TickPayload]


class FrameJoiner:
    """Joins the ticks of one loop turn into what is written to a client.

    Clients that read the same lines get the same ticks in the same order; their bytes are joined
    once and shared. A chunk has at most 256 KiB (or one frame), which bounds what a transport may
    be given beyond its high water mark. Not thread-safe; ``clear`` it when the turn is over.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        # By length and the ids of both ends: payloads, and what they were joined into.
        self._known: dict[tuple[int, int, int], tuple[list[TickPayload], list[Chunk]]] = {}

    def join(self, payloads: list[TickPayload]) -> list[Chunk]:
        """Return the chunks of ``payloads``, which has at least one; the list may change after."""
        # The ids are those of live objects: each entry keeps its payloads alive.
        key = (len(payloads), id(payloads[0]), id(payloads[-1]))
        known = self._known.get(key)
        if known is not None and known[0] == payloads:
            return known[1]
        kept = payloads[:]
        chunks = self._known[key] = (kept, _chunks(kept))
        return chunks[1]

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()


def _chunks(payloads: list[TickPayload]) -> list[Chunk]:
    data = b"".join([payload.frame for payload in payloads])
    if len(data) <= _CHUNK_BYTES:
        return [Chunk(data, payloads)]
    chunks = []
    start = size = 0
    for at, payload in enumerate(payloads):
        length = len(payload.frame)
        if size and size + length > _CHUNK_BYTES:
            part = payloads[start:at]
            chunks.append(Chunk(b"".join([each.frame for each in part]), part))
            start, size = at, 0
        size += length
    part = payloads[start:]
    chunks.append(Chunk(b"".join([each.frame for each in part]), part))
    return chunks
