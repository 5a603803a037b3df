"""HSM frames for tests, written from the byte table and not from the codec's structs."""

from __future__ import annotations

import struct
from collections.abc import Sequence

__all__ = ["NONE", "data", "lite", "reply", "snapshot", "update"]

NONE = -(2**31)


def data(*records: bytes, number: int = 1) -> bytes:
    """Return a data frame."""
    body = struct.pack(">BIH", 6, number, len(records)) + b"".join(records)
    return struct.pack(">H", len(body)) + body


def snapshot(
    topic: str,
    values: Sequence[int],
    *,
    number: int = 1,
    multiplier: int = 1,
    precision: int = 2,
) -> bytes:
    """Return a snapshot record."""
    names = b"".join(bytes((len(text),)) + text for text in (b"nse_cm", b"3045", b"SBIN-EQ"))
    return (
        struct.pack(">BHB", 83, number, len(topic))
        + topic.encode()
        + struct.pack(f">B{len(values)}i2xHB", len(values), *values, multiplier, precision)
        + names
    )


def update(values: Sequence[int], *, number: int = 1) -> bytes:
    """Return a record of what has changed; ``NONE``: it has not."""
    return struct.pack(f">BHB{len(values)}i", 85, number, len(values), *values)


def lite(ltp: int, *, number: int = 1) -> bytes:
    """Return a record of a last price."""
    return struct.pack(">BHi", 76, number, ltp)


def reply(kind: int, text: str, ack_every: int | None = None) -> bytes:
    """Return the answer to a request."""
    fields = b"\1" + struct.pack(">H", len(text)) + text.encode()
    if ack_every is not None:
        fields += b"\2" + struct.pack(">HI", 4, ack_every)
    body = bytes((kind, 1 if ack_every is None else 2)) + fields
    return struct.pack(">H", len(body)) + body
