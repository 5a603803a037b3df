"""Fyers' answers and messages, as values. Pure.

A frame is ``u16 length, u8 type, u8 number of fields``, a field ``u8 id, u16 size, value``. The
length is not read: nobody writes it reliably.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from brokers.exceptions import BrokerProtocolError
from brokers.fyers.constants import OK, TYPE_AUTH

__all__ = ["CustomMessage", "Reply", "decode_custom", "decode_reply"]

MAX_TEXT: Final = 200


class Reply(NamedTuple):
    """The answer to a request of type ``kind``; ``ack_every`` is how many frames we may take
    before an acknowledgement is due (0: never), and only an answer to the credential has it.
    """

    kind: int
    text: str
    ack_every: int = 0

    @property
    def is_ok(self) -> bool:
        return self.text == OK


class CustomMessage(NamedTuple):
    """A message of the server's own, about requests of type ``about``."""

    code: int
    text: str
    about: int


def decode_reply(kind: int, frame: bytes) -> Reply:
    """Decode the answer to a request. Raises BrokerProtocolError."""
    fields = _fields(frame)
    if 1 not in fields:
        raise BrokerProtocolError(f"fyers: an answer of type {kind} says nothing")
    ack_every = fields.get(2, b"") if kind == TYPE_AUTH else b""
    return Reply(kind, _readable(fields[1]), int.from_bytes(ack_every[:4], "big"))


def decode_custom(frame: bytes) -> CustomMessage:
    """Decode a message of type 51. Raises BrokerProtocolError."""
    fields = _fields(frame)
    code, about = fields.get(1, b""), fields.get(3, b"")
    return CustomMessage(
        int.from_bytes(code[:4], "big", signed=True),
        _readable(fields.get(2, b"")),
        about[0] if about else 0,
    )


def _fields(frame: bytes) -> dict[int, bytes]:
    """Return a frame's fields by id: each is an id, a size of two bytes and so many bytes."""
    fields: dict[int, bytes] = {}
    size, at = len(frame), 4
    for _ in range(frame[3] if size > 3 else 1):
        end = at + 3 + int.from_bytes(frame[at + 1 : at + 3], "big")
        if size < at + 3 or size < end:
            raise BrokerProtocolError(f"fyers: frame of type {frame[2]} is cut short")
        fields[frame[at]] = frame[at + 3 : end]
        at = end
    return fields


def _readable(text: bytes) -> str:
    return text[:MAX_TEXT].decode("utf-8", "replace")
