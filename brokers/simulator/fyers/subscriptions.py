"""Requests of a Fyers client, and subscriptions of one connection by them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Container
from enum import IntEnum
from typing import NamedTuple

__all__ = [
    "BadRequestError",
    "FyersBook",
    "FyersChange",
    "FyersRequest",
    "RequestKind",
    "parse_request",
    "symbol_of",
]


class RequestKind(IntEnum):
    """The types of a client's frames."""

    AUTH = 1
    ACK = 3
    SUBSCRIBE = 4
    UNSUBSCRIBE = 5
    PAUSE = 7
    RESUME = 8
    PING = 11
    MODE = 12


class BadRequestError(ValueError):
    """A client's frame is no request."""


class FyersRequest(NamedTuple):
    """One request, as far as its kind has it; ``channels`` are numbers from 1 to 63."""

    kind: RequestKind
    key: str = ""
    topics: tuple[str, ...] = ()
    channels: tuple[int, ...] = ()
    is_lite: bool = False
    number: int = 0


def parse_request(frame: str | bytes) -> FyersRequest:
    """Read one client frame. Its length is not looked at: the official client writes wrong ones.

    Raises:
        BadRequestError: text, an unknown type, or fields that are cut short or missing.
    """
    if isinstance(frame, str) or len(frame) < 3:
        raise BadRequestError("neither a ping nor a frame of fields")
    try:
        kind = RequestKind(frame[2])
        if kind is RequestKind.PING:
            return FyersRequest(kind)
        return _request(kind, _fields(frame))
    except (ValueError, IndexError, KeyError) as error:
        raise BadRequestError(str(error)) from None


def _request(kind: RequestKind, fields: dict[int, bytes]) -> FyersRequest:
    first = fields[1]
    if kind is RequestKind.AUTH:
        return FyersRequest(kind, key=first.decode("ascii"))
    if kind is RequestKind.ACK:
        return FyersRequest(kind, number=int.from_bytes(_sized(first, 4), "big"))
    if kind in (RequestKind.SUBSCRIBE, RequestKind.UNSUBSCRIBE):
        return FyersRequest(kind, topics=_topics(first), channels=(_channel(fields[2]),))
    mask = int.from_bytes(_sized(first, 8), "big")
    channels = tuple(at for at in range(1, 64) if mask >> at & 1)
    if kind is not RequestKind.MODE:
        return FyersRequest(kind, channels=channels)
    if fields[2] not in (b"F", b"L"):
        raise BadRequestError(f"mode {fields[2][:8]!r}")
    return FyersRequest(kind, channels=channels, is_lite=fields[2] == b"L")


def _fields(frame: bytes) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    at = 4
    for _ in range(frame[3]):
        size = int.from_bytes(_sized(frame[at + 1 : at + 3], 2), "big")
        fields[frame[at]] = _sized(frame[at + 3 : at + 3 + size], size)
        at += 3 + size
    return fields


def _topics(field: bytes) -> tuple[str, ...]:
    topics: list[str] = []
    at = 2
    for _ in range(int.from_bytes(_sized(field[:2], 2), "big")):
        size = field[at]
        topics.append(_sized(field[at + 1 : at + 1 + size], size).decode("ascii"))
        at += 1 + size
    return tuple(topics)


def _channel(field: bytes) -> int:
    channel = _sized(field, 1)[0]
    if not 1 <= channel <= 63:
        raise BadRequestError(f"channel {channel}")
    return channel


def _sized(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise BadRequestError("cut short")
    return value


def symbol_of(topic: str) -> str:
    """Return what counts towards the limit: a symbol, however many topics it has."""
    return topic.partition("|")[2]


class FyersChange(NamedTuple):
    """The effect of one request: topics that began and ended, and violations."""

    added: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    duplicates: int = 0
    unknown: int = 0
    not_subscribed: int = 0
    over_limit: int = 0


class FyersBook:
    """The topics of one connection by channel, with at most ``limit`` different symbols.

    Duplicates are ignored, and so are topics that do not exist. A symbol beyond the limit is
    refused; those before it are not. A channel is full and running until it is told otherwise.
    """

    def __init__(self, *, limit: int, known: Container[str]) -> None:
        if limit < 1:
            raise ValueError(f"limit must be positive, got {limit}")
        self._limit = limit
        self._known = known
        # Topics of each channel, in the order of their coming.
        self._channels: dict[int, dict[str, None]] = {}
        # Channels that send last prices only, and such that send nothing until they are resumed.
        self._lite: set[int] = set()
        self._paused: set[int] = set()

    @property
    def symbols(self) -> set[str]:
        """The symbols of all topics on all channels."""
        return {symbol_of(topic) for topics in self._channels.values() for topic in topics}

    def is_full(self, topic: str) -> bool:
        """Tell whether a topic is on a channel that runs in full mode."""
        return any(topic in self._channels[at] for at in self._running() if at not in self._lite)

    def is_lite(self, topic: str) -> bool:
        """Tell whether a topic is on a channel that runs in lite mode."""
        return any(topic in self._channels[at] for at in self._running() if at in self._lite)

    def has(self, topic: str) -> bool:
        """Tell whether a topic is on any channel."""
        return any(topic in topics for topics in self._channels.values())

    def apply(self, request: FyersRequest, others: Collection[str] = ()) -> FyersChange:
        """Apply a request and say what it changed.

        Args:
            request: of any kind but the credential's.
            others: symbols that further connections of the same key have.
        """
        channels = set(request.channels)
        match request.kind:
            case RequestKind.SUBSCRIBE:
                return self._subscribe(request.topics, request.channels[0], others)
            case RequestKind.UNSUBSCRIBE:
                return self._unsubscribe(request.topics, request.channels[0])
            case RequestKind.MODE:
                self._lite = self._lite | channels if request.is_lite else self._lite - channels
            case RequestKind.PAUSE:
                self._paused |= channels
            case RequestKind.RESUME:
                self._paused -= channels
            case _:
                pass
        return FyersChange()

    def _running(self) -> list[int]:
        return [at for at in self._channels if at not in self._paused]

    def _subscribe(
        self, topics: tuple[str, ...], channel: int, others: Collection[str]
    ) -> FyersChange:
        here = self._channels.setdefault(channel, {})
        held = {*others, *self.symbols}
        added: list[str] = []
        duplicates = unknown = over_limit = 0
        for topic in topics:
            symbol = symbol_of(topic)
            if topic in here:
                duplicates += 1
            elif topic not in self._known:
                unknown += 1
            elif symbol not in held and len(held) >= self._limit:
                over_limit += 1
            else:
                held.add(symbol)
                here[topic] = None
                added.append(topic)
        return FyersChange(tuple(added), (), duplicates, unknown, 0, over_limit)

    def _unsubscribe(self, topics: tuple[str, ...], channel: int) -> FyersChange:
        here = self._channels.get(channel, {})
        gone = [topic for topic in dict.fromkeys(topics) if topic in here]
        for topic in gone:
            del here[topic]
        ended = tuple(topic for topic in gone if not self.has(topic))
        return FyersChange(ended=ended, not_subscribed=len(topics) - len(gone))
