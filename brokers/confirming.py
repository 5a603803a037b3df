"""Tokens that one socket holds: whose each is, which wait for confirmation, which ended. Pure.

Most brokers acknowledge nothing: what was asked for is confirmed by the first tick that brings as
much. What ends still ticks for a moment, and that is nothing unknown.
"""

from __future__ import annotations

from typing import TypeAlias

from brokers.types import Instrument, InstrumentKey

__all__ = ["HeldTokens", "Token"]

Token: TypeAlias = str | int
"""A broker's name of an instrument, as ``Tick.broker_token`` has it."""


class HeldTokens:
    """An adapter's knowledge of its socket's tokens. Loop only, as its adapter.

    The two dictionaries are there to be read, for the tick path has no call to spare; only the
    methods change them.

    Attributes:
        instruments: of every token that is held.
        awaiting: of those that nothing has confirmed yet, how much has to come: a ``FeedMode``, or
            a number of the broker's own. Empty in the steady state, so that a tick asks no more.
    """

    __slots__ = ("_ended", "awaiting", "instruments")

    def __init__(self) -> None:
        self.instruments: dict[Token, Instrument] = {}
        self.awaiting: dict[Token, int] = {}
        # Tokens whose subscription ended on this socket, once at least: their last ticks are
        # nothing unknown.
        self._ended: set[Token] = set()

    def take(self, token: Token, instrument: Instrument, level: int) -> None:
        """Hold a token from now on, which waits until ``level`` has come."""
        self.instruments[token] = instrument
        self.awaiting[token] = level

    def end(self, token: Token) -> None:
        """Hold a token no longer; one that never was held is expected to end all the same."""
        self.instruments.pop(token, None)
        self.awaiting.pop(token, None)
        self._ended.add(token)

    def end_awaited(self) -> list[Instrument]:
        """End every token that still waits, and return whose they were."""
        ended = [self.instruments[token] for token in self.awaiting]
        for token in list(self.awaiting):
            self.end(token)
        return ended

    def confirm(self, token: Token, level: int) -> InstrumentKey | None:
        """Take what came of a token; returns the instrument if that is what was waited for."""
        awaited = self.awaiting.get(token)
        if awaited is None or level < awaited:
            return None
        del self.awaiting[token]
        return self.instruments[token].key

    def is_unknown(self, token: Token) -> bool:
        """Tell whether a token was never held on this socket."""
        return token not in self.instruments and token not in self._ended

    def clear(self) -> None:
        """Forget all of it: the socket is gone."""
        self.instruments.clear()
        self.awaiting.clear()
        self._ended.clear()
