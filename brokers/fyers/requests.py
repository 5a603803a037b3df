"""Messages that we send to Fyers, as bytes. Pure.

A frame is ``u16 length, u8 type, u8 number of fields``, a field ``u8 id, u16 size, value``. The
official client writes lengths that are wrong, so the server does not read them; ours are right.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from brokers.fyers.constants import (
    TYPE_ACK,
    TYPE_AUTH,
    TYPE_MODE,
    TYPE_SUBSCRIBE,
    TYPE_UNSUBSCRIBE,
)

__all__ = ["EMPTY_REQUEST_BYTES", "encode_ack", "encode_auth", "encode_mode", "encode_topics"]

_FULL: Final = b"F"
_LITE: Final = b"L"
_PRODUCTION: Final = b"P"


def encode_auth(hsm_key: str, source: str) -> bytes:
    """Return the first message: the credential, and the name of the client."""
    return _frame(TYPE_AUTH, hsm_key.encode("ascii"), _PRODUCTION, b"\1", source.encode("ascii"))


def encode_mode(channel: int, *, is_lite: bool) -> bytes:
    """Return the message that makes a channel lite (last price alone) or full."""
    channels = (1 << channel).to_bytes(8, "big")
    return _frame(TYPE_MODE, channels, _LITE if is_lite else _FULL)


def encode_topics(topics: Iterable[str], channel: int, *, is_end: bool = False) -> bytes:
    """Return a subscription of topics on a channel, or its end."""
    names = [topic.encode("ascii") for topic in topics]
    listed = b"".join(bytes((len(name),)) + name for name in names)
    kind = TYPE_UNSUBSCRIBE if is_end else TYPE_SUBSCRIBE
    return _frame(kind, len(names).to_bytes(2, "big") + listed, bytes((channel,)))


def encode_ack(number: int) -> bytes:
    """Return the acknowledgement of a data message and all before it."""
    return _frame(TYPE_ACK, number.to_bytes(4, "big"))


def _frame(kind: int, *values: bytes) -> bytes:
    fields = b"".join(
        bytes((at,)) + len(value).to_bytes(2, "big") + value for at, value in enumerate(values, 1)
    )
    body = bytes((kind, len(values))) + fields
    return len(body).to_bytes(2, "big") + body


EMPTY_REQUEST_BYTES: Final = len(encode_topics((), 0))
