"""Pace of the simulated market: subscribed instruments, round robin, at a bounded rate. Pure."""

from __future__ import annotations

import random
from collections import Counter

__all__ = ["TickPacing"]

_MAX_RATE = 1_000_000


class TickPacing:
    """Turns to tick, dealt out over all subscribed instruments together.

    ``rate`` is ticks per second over all of them, and no instrument gets more than
    ``max(1, rate / 100)`` a second, so a handful of instruments does not get it all. Zero freezes
    the market. Instruments take turns in shuffled order: each ticks once before any ticks twice,
    except that one added meanwhile may wait for the next round. A caller who comes late is owed
    ticks for at most ``catch_up_seconds``; what is older is lost.

    Counts references, because several connections may have one instrument.
    """

    def __init__(self, *, rate: float, rng: random.Random, catch_up_seconds: float = 0.25) -> None:
        self.set_rate(rate)
        self._rng = rng
        self._catch_up_seconds = catch_up_seconds
        # How many connections have each instrument.
        self._references: Counter[int] = Counter()
        # The round, and where each instrument stands in it.
        self._order: list[int] = []
        self._position: dict[int, int] = {}
        # Whose turn it is, counted over rounds.
        self._cursor = 0
        # The part of a tick that is owed beyond those that were dealt.
        self._credit = 0.0
        # When ticks were dealt last; None: never.
        self._last: float | None = None

    def __len__(self) -> int:
        return len(self._order)

    def set_rate(self, rate: float) -> None:
        """Change the rate. Raises ValueError unless it is within 0 and 1,000,000."""
        if not 0 <= rate <= _MAX_RATE:
            raise ValueError(f"rate must be within 0 and {_MAX_RATE:,}, got {rate}")
        self._rate = rate

    def add(self, token: int) -> None:
        """Take one reference to an instrument; it joins the round at a random place. O(1)."""
        self._references[token] += 1
        if self._references[token] > 1:
            return
        place = self._rng.randrange(len(self._order) + 1)
        self._order.append(token)
        self._put(len(self._order) - 1, place)
        self._position[self._order[place]] = place

    def discard(self, token: int) -> None:
        """Give up one reference; without any the instrument leaves the round. O(1)."""
        self._references[token] -= 1
        if self._references[token] > 0:
            return
        del self._references[token]
        place = self._position.pop(token)
        last = self._order.pop()
        if place < len(self._order):
            self._order[place] = last
            self._position[last] = place

    def due(self, now: float) -> list[int]:
        """Return who ticks at ``now``, in monotonic seconds; a token may come more than once."""
        elapsed = 0.0 if self._last is None else now - self._last
        self._last = now
        if not self._order:
            self._credit = 0.0
            return []
        rate = min(self._rate, len(self._order) * max(1.0, self._rate / 100))
        self._credit += min(elapsed, self._catch_up_seconds) * rate
        count = int(self._credit)
        self._credit -= count
        order, start = self._order, self._cursor % len(self._order)
        turns = order[start : start + count]
        while len(turns) < count:
            turns += order[: count - len(turns)]
        self._cursor = (start + count) % len(order)
        return turns

    def _put(self, source: int, target: int) -> None:
        order = self._order
        order[source], order[target] = order[target], order[source]
        self._position[order[source]] = source
