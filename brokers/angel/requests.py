"""Requests that Angel One may still refuse: which pairs each of them was about. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

__all__ = ["ID_CHARACTERS", "Pair", "SentRequests"]

Pair = tuple[int, str]  # a mode and a token, of which Angel counts the subscriptions

# Angel acknowledges nothing, so nothing says when a request can be forgotten. A refusal comes
# within moments, in which nobody sends this many further ones.
MAX_REMEMBERED: Final = 256
ID_CHARACTERS: Final = 10  # alphanumeric, as the documents ask for


class SentRequests:
    """The latest requests of one socket, by correlation id; of those that end pairs, none.

    A refusal concerns a pair only while no later request has named it.
    """

    def __init__(self) -> None:
        # The pairs of each request by its correlation id, the oldest first; at most 256.
        self._sent: OrderedDict[str, tuple[Pair, ...]] = OrderedDict()
        # The id of the latest request that named a pair: only that one may refuse it.
        self._latest: dict[Pair, str] = {}
        # How many ids there were, over all sockets of the connection.
        self._next = 0

    def _new_id(self) -> str:
        """Return a correlation id that none of the remembered requests has."""
        self._next += 1
        return f"{self._next % 10**ID_CHARACTERS:0{ID_CHARACTERS}d}"

    def add(self, pairs: Iterable[Pair]) -> str:
        """Remember a request and return its correlation id; the oldest beyond 256 is forgotten."""
        correlation_id = self._new_id()
        named = tuple(pairs)
        self._sent[correlation_id] = named
        self._latest.update(dict.fromkeys(named, correlation_id))
        if len(self._sent) > MAX_REMEMBERED:
            self._sent.popitem(last=False)
        return correlation_id

    def forget(self, pairs: Iterable[Pair]) -> None:
        """Take it that no refusal can concern these pairs any more."""
        for pair in pairs:
            self._latest.pop(pair, None)

    def refused(self, correlation_id: str) -> list[Pair] | None:
        """Return the pairs that a refusal concerns, once; None where nobody knows."""
        pairs = self._sent.pop(correlation_id, None)
        if pairs is None:
            return None
        concerned = [pair for pair in pairs if self._latest.get(pair) == correlation_id]
        self.forget(concerned)
        return concerned

    def clear(self) -> None:
        """Forget all of them; ids go on, so that a late refusal cannot hit another request."""
        self._sent.clear()
        self._latest.clear()
