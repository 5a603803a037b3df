"""Subscriptions of one Kite connection, and what its messages change about them. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import NamedTuple

import msgspec

from brokers.simulator.zerodha.encoder import Mode

__all__ = [
    "Change",
    "MalformedMessageError",
    "SetMode",
    "Subscribe",
    "SubscriptionBook",
    "Unsubscribe",
    "parse_message",
]


class MalformedMessageError(ValueError):
    """A client's message is not one of the three that Kite knows."""


class Subscribe(msgspec.Struct, frozen=True, tag_field="a", tag="subscribe"):
    """``{"a":"subscribe","v":[408065]}``"""

    v: list[int]


class Unsubscribe(msgspec.Struct, frozen=True, tag_field="a", tag="unsubscribe"):
    """``{"a":"unsubscribe","v":[408065]}``"""

    v: list[int]


class SetMode(msgspec.Struct, frozen=True, tag_field="a", tag="mode"):
    """``{"a":"mode","v":["full",[408065]]}``"""

    v: tuple[Mode, list[int]]


_DECODER: msgspec.json.Decoder[Subscribe | Unsubscribe | SetMode] = msgspec.json.Decoder(
    Subscribe | Unsubscribe | SetMode
)


def parse_message(message: str | bytes) -> Subscribe | Unsubscribe | SetMode:
    """Decode one client message. Raises MalformedMessageError."""
    try:
        return _DECODER.decode(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MalformedMessageError(str(error)) from None


class Change(NamedTuple):
    """The effect of one message: tokens to send at once, tokens that ended, and violations."""

    refreshed: tuple[int, ...] = ()
    ended: tuple[int, ...] = ()
    duplicates: int = 0
    unknown: int = 0
    not_subscribed: int = 0
    over_limit: int = 0


class SubscriptionBook:
    """The subscriptions of one connection: token to mode, at most ``limit`` of them.

    Tokens that do not exist are ignored and take no room. A subscribed token that is subscribed
    again keeps its mode. One that exceeds the limit is refused; those before it are not.
    """

    def __init__(self, *, limit: int, known: Container[int]) -> None:
        if limit < 1:
            raise ValueError(f"limit must be positive, got {limit}")
        self._limit = limit
        self._known = known
        # By token; ``len`` of it is what Kite bounds.
        self._modes: dict[int, Mode] = {}

    def __len__(self) -> int:
        return len(self._modes)

    def __iter__(self) -> Iterator[int]:
        return iter(self._modes)

    def mode(self, token: int) -> Mode | None:
        """Return the mode of a token, or None where it is not subscribed."""
        return self._modes.get(token)

    def apply(self, message: Subscribe | Unsubscribe | SetMode) -> Change:
        """Apply one message and say what it changed."""
        if isinstance(message, Subscribe):
            return self._subscribe(message.v)
        if isinstance(message, Unsubscribe):
            return self._unsubscribe(message.v)
        return self._set_mode(*message.v)

    def _subscribe(self, tokens: list[int]) -> Change:
        added: list[int] = []
        duplicates = unknown = over_limit = 0
        for token in tokens:
            if token in self._modes:
                duplicates += 1
            elif token not in self._known:
                unknown += 1
            elif len(self._modes) >= self._limit:
                over_limit += 1
            else:
                self._modes[token] = Mode.QUOTE
                added.append(token)
        return Change(tuple(added), (), duplicates, unknown, 0, over_limit)

    def _unsubscribe(self, tokens: list[int]) -> Change:
        ended = tuple(token for token in tokens if self._modes.pop(token, None) is not None)
        return Change(ended=ended, not_subscribed=len(tokens) - len(ended))

    def _set_mode(self, mode: Mode, tokens: list[int]) -> Change:
        changed = tuple(dict.fromkeys(token for token in tokens if token in self._modes))
        strangers = sum(token not in self._modes for token in tokens)
        for token in changed:
            self._modes[token] = mode
        return Change(refreshed=changed, not_subscribed=strangers)
