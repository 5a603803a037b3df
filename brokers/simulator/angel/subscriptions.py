"""Subscriptions of one Angel connection: pairs of (token, mode), at most so many. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Annotated, NamedTuple

import msgspec

from brokers.simulator.angel.encoder import AngelMode, AngelName

__all__ = ["AngelBook", "AngelChange", "AngelRequest", "BadRequestError", "parse_request"]


class BadRequestError(ValueError):
    """A client's message is no request; ``correlation_id`` is "" where it could not be read."""

    def __init__(self, message: str, correlation_id: str = "") -> None:
        super().__init__(message)
        self.correlation_id = correlation_id


class _Tokens(msgspec.Struct, frozen=True):
    exchange_type: int = msgspec.field(name="exchangeType")
    tokens: list[str]


class _Params(msgspec.Struct, frozen=True):
    mode: AngelMode
    token_list: list[_Tokens] = msgspec.field(name="tokenList")


class AngelRequest(msgspec.Struct, frozen=True):
    """``{"correlationID":"abcde12345","action":1,"params":{"mode":1,"tokenList":[…]}}``"""

    action: Annotated[int, msgspec.Meta(ge=0, le=1)]
    params: _Params
    correlation_id: Annotated[str, msgspec.Meta(max_length=10, pattern="^[A-Za-z0-9]*$")] = (
        msgspec.field(name="correlationID", default="")
    )

    def names(self) -> list[AngelName]:
        """Return what it names, in its order."""
        return [
            AngelName(group.exchange_type, token)
            for group in self.params.token_list
            for token in group.tokens
        ]


# Of books of 20 levels: how many one request may name, and whose.
MAX_DEPTH_20_TOKENS = 50
NSE_SHARES = 1


class _Correlated(msgspec.Struct, frozen=True):
    correlation_id: str = msgspec.field(name="correlationID", default="")


_DECODER = msgspec.json.Decoder(AngelRequest)
_CORRELATED = msgspec.json.Decoder(_Correlated)


def parse_request(message: str | bytes) -> AngelRequest:
    """Decode one client message. Raises BadRequestError."""
    try:
        request = _DECODER.decode(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadRequestError(str(error), _correlation_id(message)) from None
    if request.params.mode is AngelMode.DEPTH_20:
        names = request.names()
        if len(names) > MAX_DEPTH_20_TOKENS or any(n.exchange_type != NSE_SHARES for n in names):
            raise BadRequestError("20 levels of too many, or of others", request.correlation_id)
    return request


def _correlation_id(message: str | bytes) -> str:
    try:
        return _CORRELATED.decode(message).correlation_id[:10]
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""


class AngelChange(NamedTuple):
    """The effect of one request: pairs to send at once, tokens that ended, and violations."""

    added: tuple[AngelName, ...] = ()
    ended: tuple[AngelName, ...] = ()
    duplicates: int = 0
    unknown: int = 0
    not_subscribed: int = 0
    over_limit: int = 0


class AngelBook:
    """The pairs of one connection, at most ``limit`` of them.

    The same token in three modes is three pairs. Duplicates are ignored and take no room, and so
    are tokens that do not exist. A request that exceeds the limit is refused as a whole; what was
    subscribed before it stays.
    """

    def __init__(self, *, limit: int, known: Container[AngelName]) -> None:
        if limit < 1:
            raise ValueError(f"limit must be positive, got {limit}")
        self._limit = limit
        self._known = known
        # By instrument; none without a mode.
        self._modes: dict[AngelName, set[AngelMode]] = {}
        # The sum of all those modes, which is what Angel bounds.
        self._pairs = 0

    def __len__(self) -> int:
        return self._pairs

    @property
    def modes(self) -> Mapping[AngelName, set[AngelMode]]:
        """The modes of each token that has any."""
        return self._modes

    def apply(self, request: AngelRequest) -> AngelChange:
        """Apply one request and say what it changed."""
        if request.action:
            return self._subscribe(request.names(), request.params.mode)
        return self._unsubscribe(request.names(), request.params.mode)

    def _subscribe(self, names: list[AngelName], mode: AngelMode) -> AngelChange:
        unknown = sum(name not in self._known for name in names)
        fresh = dict.fromkeys(
            name for name in names if name in self._known and mode not in self._modes.get(name, ())
        )
        duplicates = len(names) - unknown - len(fresh)
        if self._pairs + len(fresh) > self._limit:
            return AngelChange(duplicates=duplicates, unknown=unknown, over_limit=len(fresh))
        for name in fresh:
            self._modes.setdefault(name, set()).add(mode)
        self._pairs += len(fresh)
        return AngelChange(added=tuple(fresh), duplicates=duplicates, unknown=unknown)

    def _unsubscribe(self, names: list[AngelName], mode: AngelMode) -> AngelChange:
        ended: list[AngelName] = []
        strangers = 0
        for name in names:
            modes = self._modes.get(name, set())
            if mode not in modes:
                strangers += 1
                continue
            modes.remove(mode)
            self._pairs -= 1
            if not modes:
                del self._modes[name]
                ended.append(name)
        return AngelChange(ended=tuple(ended), not_subscribed=strangers)
