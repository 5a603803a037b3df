"""A SUB socket's side of ZeroMQ's wire protocol, as bytes in and bytes out. Pure.

ZMTP 3.0 with the NULL mechanism (https://rfc.zeromq.org/spec/23/): what libzmq speaks to a peer
that greets with this version, and all that a bus on the same machine needs. Subscriptions are
messages of this version: 1 (subscribe) or 0 (unsubscribe), then the topic.

What it is for, beside a ZeroMQ socket on the same socket file: the socket costs a saturated gateway
5 to 22 % more CPU a delivery and one at 300,000 deliveries/s, where ``BusStream`` also paces its
turns, 43 % more; a single client at 2,000 ticks/s waits 0.11 ms instead of 0.09. To take it again:
``python -m benchmarks reader``; docs/performance.md says how.
"""

from __future__ import annotations

import struct
from enum import Enum, auto

from streaming.exceptions import MalformedMessageError

__all__ = ["GREETING", "ZmtpSubscriber", "subscription"]

_SIGNATURE_BYTES = 10
_GREETING_BYTES = 64
_MECHANISM = b"NULL".ljust(20, b"\0")
# Signature, version 3.0, mechanism, not the server of it, filler.
GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + _MECHANISM + bytes(32)

_LONG, _COMMAND = 0x02, 0x04
_KNOWN_FLAGS = 0x07
_PUBLISHERS = (b"PUB", b"XPUB")
_long_size = struct.Struct(">xQ").unpack_from
_MAX_COMMAND_BYTES = 4096


def _frame(flags: int, body: bytes) -> bytes:
    size = len(body)
    if size < 256:
        return bytes((flags, size)) + body
    return bytes((flags | _LONG,)) + size.to_bytes(8, "big") + body


_READY = _frame(_COMMAND, b"\x05READY\x0bSocket-Type" + (3).to_bytes(4, "big") + b"SUB")


def subscription(topic: bytes, *, wanted: bool) -> bytes:
    """Return the frame that asks for ``topic``, or for it no longer."""
    return _frame(0, (b"\x01" if wanted else b"\x00") + topic)


class _Stage(Enum):
    GREETING = auto()
    HANDSHAKE = auto()
    OPEN = auto()


class ZmtpSubscriber:
    """Takes what a publisher sends apart. For one connection; not thread-safe.

    ``GREETING`` is sent first. What this wants sent is in ``outgoing``, which the caller empties.

    Args:
        max_bytes: the largest message that is taken.
    """

    __slots__ = ("_kept", "_max_bytes", "_stage", "outgoing")

    def __init__(self, *, max_bytes: int) -> None:
        if max_bytes < 1:
            raise ValueError("max_bytes must be positive")
        self.outgoing: list[bytes] = []  # whoever sends it empties it
        self._max_bytes = max_bytes
        self._kept = b""  # the beginning of a message, or of the greeting
        self._stage = _Stage.GREETING  # of the connection

    @property
    def is_open(self) -> bool:
        """Whether the handshake is over: subscriptions may be sent."""
        return self._stage is _Stage.OPEN

    def receive(self, data: bytes) -> list[bytes]:
        """Return the whole messages that ``data`` completes, oldest first; keeps the rest.

        Parts of a message of several parts come as messages of their own.

        Raises:
            MalformedMessageError: the peer is no ZeroMQ publisher, or breaks the protocol; the
                connection is of no more use.
        """
        if self._kept:
            data = self._kept + data
        if self._stage is _Stage.GREETING:
            _check_greeting(data)
            if len(data) < _GREETING_BYTES:
                self._kept = data
                return []
            data = data[_GREETING_BYTES:]
            self._stage = _Stage.HANDSHAKE
            self.outgoing.append(_READY)
        messages: list[bytes] = []
        append = messages.append
        at, size = 0, len(data)
        while size - at >= 2:
            flags = data[at]
            if not flags & _LONG:
                start = at + 2
                end = start + data[at + 1]
            elif size - at >= 9:
                start = at + 9
                length = _long_size(data, at)[0]
                if length > self._max_bytes:
                    raise MalformedMessageError(f"a message of {length} bytes on the bus")
                end = start + length
            else:
                break
            if end > size:
                break
            if flags > 3 or self._stage is not _Stage.OPEN:
                self._on_special(flags, data[start:end])
            else:
                append(data[start:end])
            at = end
        self._kept = data[at:]
        return messages

    def _on_special(self, flags: int, body: bytes) -> None:
        if flags & ~_KNOWN_FLAGS or not flags & _COMMAND or len(body) > _MAX_COMMAND_BYTES:
            raise MalformedMessageError("a frame out of place on the bus")
        if self._stage is _Stage.HANDSHAKE:
            if not body.startswith(b"\x05READY"):
                raise MalformedMessageError("the bus refuses the handshake")
            _check_is_publisher(body[6:])
            self._stage = _Stage.OPEN
        elif body.startswith(b"\x04PING"):
            # Its first two bytes are a time to live; what follows is sent back.
            self.outgoing.append(_frame(_COMMAND, b"\x04PONG" + body[7:]))


def _check_greeting(data: bytes) -> None:
    """Refuse a peer as soon as its first bytes are not those of ZMTP 3 without a mechanism."""
    signature = data[:_SIGNATURE_BYTES]
    if signature[:1] not in (b"", b"\xff") or (len(signature) == 10 and not signature[9] & 1):
        raise MalformedMessageError("the bus does not speak ZeroMQ")
    if data[10:11] and data[10] < 3:
        raise MalformedMessageError("the bus speaks a ZeroMQ protocol before version 3")
    if len(data) >= 32 and data[12:32] != _MECHANISM:
        raise MalformedMessageError("the bus wants a key")


def _check_is_publisher(metadata: bytes) -> None:
    at = 0
    while at < len(metadata):
        value_at = at + 1 + metadata[at]
        name = metadata[at + 1 : value_at]
        end = value_at + 4 + int.from_bytes(metadata[value_at : value_at + 4], "big")
        if name.lower() == b"socket-type" and metadata[value_at + 4 : end] in _PUBLISHERS:
            return
        at = end
    raise MalformedMessageError("what listens on the bus is no publisher")
