"""Subscriptions of an Upstox user: keys by mode, bounded per mode over all connections. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from enum import StrEnum
from typing import Annotated, NamedTuple

import msgspec

from brokers.simulator.upstox.encoder import UpstoxMode

__all__ = [
    "KEY_LIMITS",
    "BadRequestError",
    "UpstoxBook",
    "UpstoxChange",
    "UpstoxLimits",
    "UpstoxMethod",
    "UpstoxPlan",
    "UpstoxRequest",
    "parse_request",
]


class BadRequestError(ValueError):
    """A client's message is no request."""


class UpstoxMethod(StrEnum):
    """Methods of a request."""

    SUB = "sub"
    CHANGE_MODE = "change_mode"
    UNSUB = "unsub"


class _Data(msgspec.Struct, frozen=True):
    keys: list[str] = msgspec.field(name="instrumentKeys")
    mode: UpstoxMode | None = None


class UpstoxRequest(msgspec.Struct, frozen=True):
    """``{"guid":"…","method":"sub","data":{"mode":"full","instrumentKeys":["NSE_FO|45450"]}}``"""

    guid: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    method: UpstoxMethod
    data: _Data


_DECODER = msgspec.json.Decoder(UpstoxRequest)


def parse_request(message: str | bytes) -> UpstoxRequest:
    """Decode one client message, which must have come as a binary frame. Raises BadRequestError."""
    if isinstance(message, str):
        raise BadRequestError("a text frame")
    try:
        request = _DECODER.decode(message)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadRequestError(str(error)) from None
    if request.method is UpstoxMethod.CHANGE_MODE and request.data.mode is None:
        raise BadRequestError("no mode to change to")
    return request


# Of a user, as long as it is the only mode in use, and where others are, too.
KEY_LIMITS: Mapping[UpstoxMode, tuple[int, int]] = {
    UpstoxMode.LTPC: (5000, 2000),
    UpstoxMode.OPTION_GREEKS: (3000, 2000),
    UpstoxMode.FULL: (2000, 1500),
    UpstoxMode.FULL_D30: (0, 0),
}


class UpstoxPlan(StrEnum):
    """Plans that a user may have paid for."""

    NORMAL = "normal"
    PLUS = "plus"

    @property
    def connections(self) -> int:
        """The most connections of a user."""
        return 5 if self is UpstoxPlan.PLUS else 2

    @property
    def key_limits(self) -> Mapping[UpstoxMode, tuple[int, int]]:
        """The most keys of each mode: alone, and beside other modes."""
        if self is UpstoxPlan.PLUS:
            return {**KEY_LIMITS, UpstoxMode.FULL_D30: (50, 50)}
        return KEY_LIMITS


class UpstoxLimits:
    """The keys that one user holds by mode, on all connections together.

    Args:
        limits: by mode, of it alone and beside others.
    """

    def __init__(self, limits: Mapping[UpstoxMode, tuple[int, int]] = KEY_LIMITS) -> None:
        self._limits = limits
        # Keys of each mode, over all connections of the user.
        self._held: Counter[UpstoxMode] = Counter()

    def take(self, added: Counter[UpstoxMode], ended: Counter[UpstoxMode]) -> bool:
        """Take some keys in place of others, unless any limit would be exceeded."""
        held = self._held.copy()
        held.subtract(ended)
        held.update(added)
        in_use = [mode for mode, count in held.items() if count > 0]
        if added and any(held[mode] > self._limits[mode][len(in_use) > 1] for mode in in_use):
            return False
        self._held = held
        return True

    def __len__(self) -> int:
        return sum(self._held.values())


class UpstoxChange(NamedTuple):
    """The effect of one request: keys to send at once, keys that ended, and violations."""

    added: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    duplicates: int = 0
    unknown: int = 0
    not_subscribed: int = 0
    over_limit: int = 0


class UpstoxBook:
    """The keys of one connection, each in one mode.

    A request that would exceed the user's limits is refused as a whole, and nothing is said of it.
    Subscribing a key again changes nothing, whatever the mode; changing a mode to the same one is
    no fault, and its values are sent again.
    """

    def __init__(self, *, limits: UpstoxLimits, known: Container[str]) -> None:
        self._limits = limits
        self._known = known
        # By key, of this connection alone.
        self._modes: dict[str, UpstoxMode] = {}

    def __len__(self) -> int:
        return len(self._modes)

    @property
    def modes(self) -> Mapping[str, UpstoxMode]:
        """The mode of each key."""
        return self._modes

    def apply(self, request: UpstoxRequest) -> UpstoxChange:
        """Apply one request and say what it changed."""
        keys, mode = request.data.keys, request.data.mode or UpstoxMode.LTPC
        if request.method is UpstoxMethod.SUB:
            return self._subscribe(keys, mode)
        if request.method is UpstoxMethod.CHANGE_MODE:
            return self._change(keys, mode)
        return self._unsubscribe(keys)

    def clear(self) -> None:
        """Give everything up: the connection is gone."""
        self._unsubscribe(list(self._modes))

    def _subscribe(self, keys: Iterable[str], mode: UpstoxMode) -> UpstoxChange:
        named = list(keys)
        unknown = sum(key not in self._known for key in named)
        fresh = dict.fromkeys(k for k in named if k in self._known and k not in self._modes)
        duplicates = len(named) - unknown - len(fresh)
        if not self._limits.take(Counter({mode: len(fresh)}), Counter()):
            return UpstoxChange(duplicates=duplicates, unknown=unknown, over_limit=len(fresh))
        self._modes.update(dict.fromkeys(fresh, mode))
        return UpstoxChange(added=tuple(fresh), duplicates=duplicates, unknown=unknown)

    def _change(self, keys: Iterable[str], mode: UpstoxMode) -> UpstoxChange:
        named = dict.fromkeys(keys)
        held = [key for key in named if key in self._modes]
        strangers = len(named) - len(held)
        before = Counter(self._modes[key] for key in held)
        if not self._limits.take(Counter({mode: len(held)}), before):
            return UpstoxChange(not_subscribed=strangers, over_limit=len(held))
        self._modes.update(dict.fromkeys(held, mode))
        return UpstoxChange(added=tuple(held), not_subscribed=strangers)

    def _unsubscribe(self, keys: Iterable[str]) -> UpstoxChange:
        named = dict.fromkeys(keys)
        ended = {key: self._modes.pop(key) for key in named if key in self._modes}
        self._limits.take(Counter(), Counter(ended.values()))
        return UpstoxChange(ended=tuple(ended), not_subscribed=len(named) - len(ended))
