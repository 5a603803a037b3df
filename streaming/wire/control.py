"""The messages between gateways and workers on the control link, and the worker's beat. Pure.

msgpack, one tagged value per ZeroMQ message. Everything that comes from outside is bounded here:
lengths of lists by the types, the size of a message by ``MAX_REQUEST_BYTES`` on the socket.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec

from brokers.pool_service import (
    FeedChange,
    FeedEvent,
    FeedStatus,
    Outcome,
    PoolStats,
    SubscriptionChange,
    Want,
)
from brokers.types import InstrumentKey
from streaming.exceptions import MalformedMessageError, TopicError
from streaming.wire.topics import tick_topic
from streaming.wire.versions import UNTOLD

__all__ = [
    "MAX_ITEMS",
    "MAX_REPLY_BYTES",
    "MAX_REQUEST_BYTES",
    "MAX_TAILS",
    "Beat",
    "Bye",
    "Done",
    "ErrorCode",
    "ErrorReply",
    "EventNotice",
    "Heartbeat",
    "Hello",
    "PoolBeat",
    "ReleaseRequest",
    "Reply",
    "Request",
    "ResyncNotice",
    "SnapshotReply",
    "SnapshotRequest",
    "StatsReply",
    "StatsRequest",
    "WantReplyMessage",
    "WantRequest",
    "decode_beat",
    "decode_from_gateway",
    "decode_from_worker",
    "encode",
]

MAX_ITEMS = 500  # instruments in one message; longer lists are sent as several
MAX_REQUEST_BYTES = 1 << 20
MAX_TAILS = 10_000  # topics in one beat
MAX_REPLY_BYTES = 64 << 20  # 500 snapshots of 200-level depth

_Id = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Wants = Annotated[list[Want], msgspec.Meta(max_length=MAX_ITEMS)]
_Keys = Annotated[list[InstrumentKey], msgspec.Meta(max_length=MAX_ITEMS)]


class ErrorCode(StrEnum):
    """Why a worker did not do what a gateway asked."""

    UNKNOWN_POOL = "UNKNOWN_POOL"
    BUSY = "BUSY"
    PATH_NOT_OPEN = "PATH_NOT_OPEN"
    TIMEOUT = "TIMEOUT"
    SERVER_ERROR = "SERVER_ERROR"


class PoolBeat(msgspec.Struct, frozen=True, array_like=True):
    """One pool of a worker, how its feed is, and which opening of it that is.

    With another ``life`` than before the pool knows nothing of what was wanted of it. ``waiting``
    symbols are held and have no place.
    """

    pool_id: str
    status: FeedStatus
    since_ms: int
    reason: str
    life: int = 0
    waiting: int = 0


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """A worker's sign of life on the bus, once a second: how gateways find it.

    ``number`` counts the beats of one worker. ``control_port`` is on the host of the bus.
    ``tails`` are topics that fell silent, each with its last tick's sequence: all of their ticks
    went out before this. ``published`` and ``dropped`` count the worker's ticks since its start:
    all of them, and those that its own socket refused. ``bus_format`` is that of its ticks; a
    worker that does not say it has the one that was there before beats did. ``version`` is that of
    the whole protocol, see ``bus_versions``.
    """

    worker_id: str
    epoch: int
    number: int
    control_port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    pools: Sequence[PoolBeat]
    sent_ms: int
    tails: Annotated[list[tuple[bytes, int]], msgspec.Meta(max_length=MAX_TAILS)] = []
    published: _Id = 0
    dropped: _Id = 0
    bus_format: _Id = 2
    version: _Id = UNTOLD


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """A gateway begins: references that the worker still holds for it are void."""

    version: _Id = UNTOLD


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat"):
    """A gateway lives. ``gaps`` counts the ticks that it knows it has missed since it started."""

    gaps: _Id = 0


class Bye(msgspec.Struct, frozen=True, tag="bye"):
    """A gateway ends: its references go at once."""


class WantRequest(msgspec.Struct, frozen=True, tag="want"):
    """Take or change references; answer once ``barrier`` has come through the bus."""

    id: _Id
    pool_id: _Name
    client: _Name
    wants: _Wants
    barrier: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern="^[!-~]+$")]


class ReleaseRequest(msgspec.Struct, frozen=True, tag="release"):
    """Give up references; ``keys`` None means all of the client's in that pool."""

    id: _Id
    pool_id: _Name
    client: _Name
    keys: _Keys | None


class StatsRequest(msgspec.Struct, frozen=True, tag="stats"):
    """Ask for a pool's statistics."""

    id: _Id
    pool_id: _Name


class SnapshotRequest(msgspec.Struct, frozen=True, tag="snapshot"):
    """Ask for last messages without touching references."""

    id: _Id
    pool_id: _Name
    keys: _Keys


class Done(msgspec.Struct, frozen=True, tag="done"):
    """It is done and there is nothing to tell."""

    id: int


class WantReplyMessage(msgspec.Struct, frozen=True, tag="want_reply"):
    """Outcomes in the order of the wants; ``snapshots`` are whole bus messages."""

    id: int
    outcomes: Sequence[Outcome]
    snapshots: Sequence[bytes]


class StatsReply(msgspec.Struct, frozen=True, tag="stats_reply"):
    """A pool's statistics."""

    id: int
    stats: PoolStats


class SnapshotReply(msgspec.Struct, frozen=True, tag="snapshot_reply"):
    """Last messages, as they were after beat ``beat`` and before the next."""

    id: int
    beat: int
    snapshots: Sequence[bytes]


class ErrorReply(msgspec.Struct, frozen=True, tag="error"):
    """It was not done; ``message`` is for people and never holds exception text."""

    id: int
    code: ErrorCode
    message: str


class ResyncNotice(msgspec.Struct, frozen=True, tag="resync"):
    """The worker does not know this gateway, or could not tell it something: say hello."""


class EventNotice(msgspec.Struct, frozen=True, tag="event"):
    """Something happened in a pool."""

    event: FeedEvent


Request = Hello | Heartbeat | Bye | WantRequest | ReleaseRequest | StatsRequest | SnapshotRequest
Reply = Done | WantReplyMessage | StatsReply | SnapshotReply | ErrorReply
_FromWorker = Reply | ResyncNotice | EventNotice

_T = TypeVar("_T")
_encoder = msgspec.msgpack.Encoder()
_request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_worker_decoder: msgspec.msgpack.Decoder[_FromWorker] = msgspec.msgpack.Decoder(_FromWorker)
_beat_decoder = msgspec.msgpack.Decoder(Beat)


def encode(message: Request | Reply | ResyncNotice | EventNotice | Beat) -> bytes:
    """Return the bytes of a message.

    Raises:
        MalformedMessageError: an order object holds something that msgpack cannot carry.
    """
    try:
        return _encoder.encode(message)
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedMessageError("message cannot be encoded") from error


def decode_from_gateway(data: bytes) -> Request:
    """Return what a gateway said.

    Raises:
        MalformedMessageError: the bytes are no request.
    """
    return _decode(_request_decoder, data)


def decode_from_worker(data: bytes) -> Reply | ResyncNotice | EventNotice:
    """Return what a worker said.

    Raises:
        MalformedMessageError: the bytes are no reply or notice, or name what no topic can carry.
    """
    message = _decode(_worker_decoder, data)
    try:
        for key in _named_by(message):
            tick_topic("-", key)
    except TopicError as error:
        raise MalformedMessageError(f"a worker names what has no topic: {error}") from error
    return message


def _named_by(message: Reply | ResyncNotice | EventNotice) -> Iterable[InstrumentKey]:
    match message:
        case (
            WantReplyMessage(outcomes=outcomes)
            | EventNotice(event=SubscriptionChange(outcomes=outcomes))
        ):
            return [outcome.key for outcome in outcomes]
        case EventNotice(event=FeedChange(keys=keys)):
            return keys or ()
    return ()


def decode_beat(data: bytes) -> Beat:
    """Return a worker's beat.

    Raises:
        MalformedMessageError: the bytes are no beat.
    """
    return _decode(_beat_decoder, data)


def _decode(decoder: msgspec.msgpack.Decoder[_T], data: bytes) -> _T:
    # RecursionError: deeply nested arrays in a message that no type asks for.
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessageError("message does not follow the control protocol") from error
