"""The one ZeroMQ part that carries a tick: topic, NUL, fixed header, JSON body. Pure.

Header, little-endian, 32 bytes: format version (u8), mode (u8), flags (u16, zero), publisher epoch
(u64), sequence (u64), receive time in epoch microseconds (u64), microseconds from there to the
publication (u32, 0: not measured). The sequence counts per *topic*: a gateway subscribes to some
topics only, and a count over all of them would always show gaps.
"""

from __future__ import annotations

import struct

from streaming.exceptions import MalformedMessageError
from streaming.ports.link import TickMessage

__all__ = ["FORMAT_VERSION", "HEADER", "is_tick", "unpack_held", "unpack_message"]

FORMAT_VERSION = 2
HEADER = struct.Struct("<BBHQQQI")

_HEADER_SIZE = HEADER.size
_unpack_header = HEADER.unpack_from
# Building the tuple without the Python-level __new__ halves the cost of the busiest line.
_new_tuple = tuple.__new__


def is_tick(data: bytes, topic_bytes: int) -> bool:
    """Tell from its first bytes whether ``data``, with a topic so long, carries a tick."""
    return (
        topic_bytes > 1
        and len(data) >= topic_bytes + _HEADER_SIZE
        and data[topic_bytes] == FORMAT_VERSION
        and 1 <= data[topic_bytes + 1] <= 3
    )


def unpack_held(data: bytes, topic: bytes) -> TickMessage:
    """Take apart a bus message that begins with ``topic``, whose bytes the result shares.

    Raises:
        MalformedMessageError: too short, no topic, or of another format version.
    """
    end = len(topic)
    body = end + _HEADER_SIZE
    if end <= 1 or len(data) < body:
        raise MalformedMessageError("bus message without topic or header")
    version, mode, _flags, epoch, sequence, received, after = _unpack_header(data, end)
    if version != FORMAT_VERSION or not 1 <= mode <= 3:
        raise MalformedMessageError(f"bus message of format {version}, mode {mode}")
    return _new_tuple(TickMessage, (topic, mode, epoch, sequence, received, data[body:], after))


def unpack_message(data: bytes) -> TickMessage:
    """Take one bus message apart.

    Raises:
        MalformedMessageError: too short, no topic, or of another format version.
    """
    return unpack_held(data, data[: data.find(b"\0") + 1])
