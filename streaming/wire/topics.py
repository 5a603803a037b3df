r"""Topics of the bus: the only place that builds or parses them. Pure.

A tick's topic is ``<pool id>/<exchange>/<symbol>\0``. The pool id comes first, so one user's ticks
can never match another's subscription. The final NUL belongs to the topic: ZeroMQ subscribes to
*prefixes*, and without it a subscription to RELIANCE would also match RELIANCE-BE. Other topics
start with bytes that no tick topic starts with: ``/`` (a pool id is never empty) and 0xFF (never
in UTF-8).
"""

from __future__ import annotations

from typing import NamedTuple

from brokers.types import InstrumentKey
from streaming.exceptions import TopicError

__all__ = [
    "BEAT_TOPIC",
    "MAX_TOPIC_BYTES",
    "TERMINATOR",
    "TickTopic",
    "barrier_topic",
    "is_barrier",
    "parse_tick_topic",
    "tick_topic",
]

TERMINATOR = b"\0"
MAX_TOPIC_BYTES = 255
BEAT_TOPIC = b"/beat\0"

# After a reconnect a SUB socket repeats its subscriptions in byte order, whatever the order asked;
# 0xFF sorts last, so even then a barrier arrives behind every topic subscribed before it.
_BARRIER_PREFIX = b"\xffbarrier/"


class TickTopic(NamedTuple):
    """The parts of a tick's topic."""

    pool_id: str
    key: InstrumentKey


def tick_topic(pool_id: str, key: InstrumentKey) -> bytes:
    """Return the topic of one instrument of one pool, terminator included.

    Raises:
        TopicError: a part is empty, holds NUL, or (pool id and exchange) a slash, or is too long.
    """
    exchange, symbol = key
    if not pool_id or not exchange or not symbol:
        raise TopicError("pool id, exchange and symbol must not be empty")
    if "/" in pool_id or "/" in exchange:
        raise TopicError("pool id and exchange must not contain '/'")
    try:
        topic = f"{pool_id}/{exchange}/{symbol}".encode()
    except UnicodeEncodeError as error:
        raise TopicError("pool id, exchange and symbol must be valid text") from error
    if TERMINATOR in topic:
        raise TopicError("pool id, exchange and symbol must not contain NUL")
    if len(topic) >= MAX_TOPIC_BYTES:
        raise TopicError(f"a topic must stay below {MAX_TOPIC_BYTES} bytes")
    return topic + TERMINATOR


def parse_tick_topic(topic: bytes) -> TickTopic:
    """Take a topic apart; the symbol may itself contain slashes.

    Raises:
        TopicError: the bytes are not a tick topic.
    """
    if not topic.endswith(TERMINATOR) or topic.count(TERMINATOR) != 1:
        raise TopicError("a tick topic ends with its only NUL")
    try:
        parts = topic[:-1].decode().split("/", 2)
    except UnicodeDecodeError as error:
        raise TopicError("a tick topic is UTF-8") from error
    if len(parts) != 3 or not all(parts):
        raise TopicError("a tick topic has a pool id, an exchange and a symbol")
    return TickTopic(parts[0], InstrumentKey(parts[1], parts[2]))


def barrier_topic(token: str) -> bytes:
    """Return a topic that only says "everything subscribed before me has arrived".

    Raises:
        TopicError: the token is empty, not ASCII, or too long.
    """
    if not token or not token.isascii() or "\0" in token or len(token) > 100:
        raise TopicError("a barrier token is 1 to 100 ASCII characters without NUL")
    return _BARRIER_PREFIX + token.encode() + TERMINATOR


def is_barrier(topic: bytes) -> bool:
    """Tell whether ``topic`` was built by ``barrier_topic``."""
    return topic.startswith(_BARRIER_PREFIX)
