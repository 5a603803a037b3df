"""Bounds of a connection's WebSocket frames, looked at before any of them is parsed. Pure.

Only headers are read here: where a frame ends, and what it is. Frames of every kind count, because
each costs the parser about the same, however small it is. Time is passed in as seconds of a
monotonic clock.
"""

from __future__ import annotations

from streaming.edge.large_messages import LARGE_BYTES
from streaming.edge_limits import EdgeLimits, Refusal, TokenBucket
from streaming.exceptions import StreamingError

__all__ = ["FrameGate", "FrameRefusedError"]

_FIN, _CONTROL, _OPCODE, _MASKED, _LENGTH = 0x80, 0x08, 0x0F, 0x80, 0x7F
_OPCODES = frozenset({0, 1, 2, 8, 9, 10})


class FrameRefusedError(StreamingError):
    """A connection sent more than it may; ``refusal`` says of what."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


class FrameGate:
    """Hands out what a connection sent, a frame or a part of one at a time. Not thread-safe.

    A stranger has ``stranger_frame_burst`` frames and ``stranger_frames_per_second`` more; once it
    is admitted, ``frame_burst`` and ``frames_per_second``. A message has ``pieces_per_message``.
    One that becomes large waits in front of the header that makes it so until ``may_be_large``,
    which each such message uses up.
    Whoever feeds bounds how much waits here.
    """

    __slots__ = (
        "_at",
        "_bucket",
        "_data",
        "_ends_message",
        "_left",
        "_limits",
        "_message_bytes",
        "_most_bytes",
        "_pieces",
        "is_admitted",
        "may_be_large",
        "wants_place",
    )

    def __init__(self, limits: EdgeLimits) -> None:
        self._limits = limits
        self._bucket = TokenBucket(
            rate=limits.stranger_frames_per_second, burst=limits.stranger_frame_burst
        )
        self.is_admitted = False  # the client is known: other bounds hold
        self._data = b""  # what was fed and not yet handed out, from ``_at`` on
        self._at = 0  # where in ``_data``
        self._left = 0  # bytes to come of the frame that was begun
        self._pieces = 0  # so far, of the message under way
        self._message_bytes = 0  # of it, as the headers so far have it
        self._ends_message = False  # the frame that was begun is its last one
        self._most_bytes = 0  # of one message of somebody who is known
        self.may_be_large = False  # whoever feeds has a place for a large message
        self.wants_place = False  # ``take`` stands in front of a header for which it needs that

    @property
    def waiting_bytes(self) -> int:
        """Bytes that were fed and not yet handed out."""
        return len(self._data) - self._at

    @property
    def is_large(self) -> bool:
        """Whether a large message is under way here."""
        return self._message_bytes > LARGE_BYTES

    def admit(self, most_bytes: int) -> None:
        """Count from now on as of somebody who is known, with messages of so many bytes."""
        self.is_admitted = True
        self._most_bytes = most_bytes
        self._bucket = TokenBucket(
            rate=self._limits.frames_per_second, burst=self._limits.frame_burst
        )

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._data = self._data[self._at :] + data if self.waiting_bytes else data
        self._at = 0

    def clear(self) -> None:
        """Forget what waits; nothing more is handed out of it."""
        self._data, self._at, self._left = b"", 0, 0
        self._message_bytes, self.wants_place = 0, False

    def take(self, most_bytes: int, now: float, *, with_data: bool = True) -> bytes:
        """Return the next bytes for the parser, of one frame, at most ``most_bytes`` and a header.

        Empty: more must arrive first, or, without ``with_data``, a data frame is next, or
        ``wants_place``.

        Raises:
            FrameRefusedError: one frame too many; nothing may be taken any more.
        """
        if not self._left:
            return self._begin(most_bytes, now, with_data)
        return self._part(0, most_bytes)

    def _begin(self, most_bytes: int, now: float, with_data: bool) -> bytes:
        """Count the next frame, if its header is there, and return it with what it may have."""
        data, at = self._data, self._at
        if len(data) < at + 2:
            return b""
        first, second = data[at], data[at + 1]
        if not (with_data or first & _CONTROL):
            return b""
        if first & _OPCODE not in _OPCODES or not second & _MASKED:
            # The parser ends the connection at this, and where it would end does not matter.
            self._count(first, now)
            self._left = len(data) - at
            return self._part(0, most_bytes)
        length, header = second & _LENGTH, 6
        if length >= 126:
            header = 8 if length == 126 else 14
            length = int.from_bytes(data[at + 2 : at + header - 4])
        if len(data) < at + header:
            return b""
        if not first & _CONTROL and not self._has_room(first, length):
            return b""
        self._count(first, now)
        self._left = length
        return self._part(header, most_bytes)

    def _has_room(self, first: int, length: int) -> bool:
        """Take a data frame for part of the message under way, unless it needs a place for it."""
        size = self._message_bytes + length
        # What is larger than a message may be is refused by the parser, at this very header.
        is_large = self.is_admitted and LARGE_BYTES < size <= self._most_bytes
        self.wants_place = is_large and not self.may_be_large
        if not self.wants_place:
            self._message_bytes, self._ends_message = size, bool(first & _FIN)
        return not self.wants_place

    def _part(self, header: int, most_bytes: int) -> bytes:
        """Return a header and as much behind it as is there, wanted, and of this frame."""
        end = min(self._at + header + min(self._left, most_bytes), len(self._data))
        part = self._data[self._at : end]
        self._left -= len(part) - header
        self._at = end
        if self._ends_message and not self._left:
            if self.is_large:
                self.may_be_large = False
            self._message_bytes, self._ends_message = 0, False
        return part

    def _count(self, first: int, now: float) -> None:
        if not self._bucket.allows(now):
            raise FrameRefusedError(Refusal.FRAMES, "too many frames")
        if first & _CONTROL:
            return
        is_last = first & _FIN
        self._pieces = 0 if is_last else self._pieces + 1
        if self._pieces >= self._limits.pieces_per_message:
            raise FrameRefusedError(Refusal.PIECES, "a message in too many pieces")
