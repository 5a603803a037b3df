"""Subscriptions that Fyers has not answered yet: which instruments each was about. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

__all__ = ["PendingRequests"]

# Answers come at once; in their time nobody sends this many further requests.
MAX_REMEMBERED: Final = 256


class PendingRequests:
    """The unanswered subscriptions of one socket, the oldest first.

    Answers name no request; they are taken to come in the order of the requests. A refusal can
    come twice, as an answer and as a message of its own: the second time it is about nothing.
    """

    def __init__(self) -> None:
        # The tokens of each request, the oldest first; () of one that a message has refused.
        self._sent: deque[tuple[str, ...]] = deque(maxlen=MAX_REMEMBERED)
        # Those of the request that was answered last, until a message refuses it.
        self._last: tuple[str, ...] = ()

    def add(self, tokens: Iterable[str]) -> None:
        """Remember a request; the oldest beyond 256 is forgotten."""
        self._sent.append(tuple(tokens))

    def answered(self) -> tuple[str, ...]:
        """Take an answer, and return what it is about."""
        self._last = self._sent.popleft() if self._sent else ()
        return self._last

    def refused(self) -> tuple[str, ...]:
        """Take a message of refusal, and return what it is about.

        That is the oldest request without an answer, or else the one that was answered last. Its
        answer, should one come yet, is about nothing any more.
        """
        if self._sent:
            tokens = self._sent[0]
            self._sent[0] = ()
            return tokens
        tokens, self._last = self._last, ()
        return tokens

    def clear(self) -> None:
        """Forget all of them."""
        self._sent.clear()
        self._last = ()
