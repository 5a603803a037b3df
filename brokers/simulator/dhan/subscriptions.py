"""Subscriptions of one Dhan connection: instruments, each under one request code. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import NamedTuple

import msgspec

from brokers.simulator.dhan.encoder import DhanCode, DhanName

__all__ = ["BadRequestError", "DhanBook", "DhanChange", "DhanRequest", "parse_request"]

DISCONNECT = 12
Key = tuple[str, str]


class BadRequestError(ValueError):
    """A client's message is no request."""


class _Named(msgspec.Struct, frozen=True):
    segment: str = msgspec.field(name="ExchangeSegment")
    security_id: str = msgspec.field(name="SecurityId")


class _Message(msgspec.Struct, frozen=True):
    code: int = msgspec.field(name="RequestCode")
    count: int | None = msgspec.field(name="InstrumentCount", default=None)
    instruments: list[_Named] | None = msgspec.field(name="InstrumentList", default=None)
    segment: str | None = msgspec.field(name="ExchangeSegment", default=None)
    security_id: str | None = msgspec.field(name="SecurityId", default=None)


_DECODER = msgspec.json.Decoder(_Message)


class DhanRequest(NamedTuple):
    """A request to subscribe, or to end that, or (``code`` None) to end the connection."""

    code: DhanCode | None
    keys: tuple[Key, ...] = ()
    ends: bool = False


def parse_request(
    message: str | bytes, *, codes: Container[DhanCode], most: int, is_single: bool = False
) -> DhanRequest:
    """Decode one client message of at most ``most`` instruments. Raises BadRequestError.

    Args:
        message: as it came; a request is text.
        codes: what this kind of connection offers.
        most: how many instruments one message may name.
        is_single: the form without a list is wanted, as of 200 levels.
    """
    if isinstance(message, bytes):
        raise BadRequestError("a request is text")
    try:
        decoded = _DECODER.decode(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadRequestError(str(error)) from None
    if decoded.code == DISCONNECT:
        return DhanRequest(None)
    # What ends a subscription has the next number, which is even.
    ends = decoded.code % 2 == 0
    try:
        code = DhanCode(decoded.code - ends)
    except ValueError:
        raise BadRequestError(f"no request has the code {decoded.code}") from None
    if code not in codes:
        raise BadRequestError(f"this connection does not offer {decoded.code}")
    return DhanRequest(code, _keys(decoded, most=most, is_single=is_single), ends)


def _keys(message: _Message, *, most: int, is_single: bool) -> tuple[Key, ...]:
    if is_single:
        if message.segment is None or message.security_id is None:
            raise BadRequestError("one instrument must be named")
        return ((message.segment, message.security_id),)
    named = message.instruments or []
    if not named or message.count != len(named) or len(named) > most:
        raise BadRequestError(f"InstrumentCount must be that of the list, at most {most}")
    return tuple((each.segment, each.security_id) for each in named)


class DhanChange(NamedTuple):
    """The effect of one request: instruments to send at once, such that ended, violations."""

    added: tuple[DhanName, ...] = ()
    ended: tuple[DhanName, ...] = ()
    duplicates: int = 0
    unknown: int = 0
    not_subscribed: int = 0
    over_limit: int = 0


class DhanBook:
    """The instruments of one connection, at most ``limit`` of them.

    What Dhan does with an instrument under two codes is not documented; here the latest one counts,
    and one that is not held ends nothing. A request over the limit is refused as a whole.
    """

    def __init__(self, *, limit: int, known: Mapping[Key, DhanName]) -> None:
        if limit < 1:
            raise ValueError(f"limit must be positive, got {limit}")
        self._limit = limit
        self._known = known
        # By instrument, the request under which it is subscribed.
        self._codes: dict[DhanName, DhanCode] = {}

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def codes(self) -> Mapping[DhanName, DhanCode]:
        """Request codes by the instruments that are subscribed under them."""
        return self._codes

    def apply(self, request: DhanRequest) -> DhanChange:
        """Apply one request and say what it changed."""
        if request.code is None:
            return DhanChange()
        names = [self._known[key] for key in request.keys if key in self._known]
        unknown = len(request.keys) - len(names)
        if request.ends:
            return self._unsubscribe(names, request.code, unknown)
        return self._subscribe(names, request.code, unknown)

    def _subscribe(self, names: list[DhanName], code: DhanCode, unknown: int) -> DhanChange:
        fresh = dict.fromkeys(name for name in names if self._codes.get(name) is not code)
        duplicates = len(names) - len(fresh)
        if len(self._codes.keys() | fresh.keys()) > self._limit:
            return DhanChange(duplicates=duplicates, unknown=unknown, over_limit=len(fresh))
        self._codes.update(dict.fromkeys(fresh, code))
        return DhanChange(added=tuple(fresh), duplicates=duplicates, unknown=unknown)

    def _unsubscribe(self, names: list[DhanName], code: DhanCode, unknown: int) -> DhanChange:
        ended = [name for name in dict.fromkeys(names) if self._codes.get(name) is code]
        for name in ended:
            del self._codes[name]
        return DhanChange(ended=tuple(ended), not_subscribed=len(names) - len(ended) + unknown)
