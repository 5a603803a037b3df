"""Places for large messages under way: so many of one user at a time, the others wait. Pure.

A message is under way from the header that makes it large until the application has served it:
meanwhile a process holds it whole, once or more. However many clients a user has, they hold no more
than its places; a few wait with what had been read of them, and beyond these one is refused. A
place is for one message: whoever sends one behind the other lets those go first that wait.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from typing import Generic, TypeVar

from streaming.edge_limits import EdgeLimits

__all__ = ["LARGE_BYTES", "LargeMessages", "Place"]

_T = TypeVar("_T")

# What a message may have without a place: more than a page of the site ever sends.
LARGE_BYTES = 64 * 1024


class Place(Enum):
    """The answer to whoever asks for a place."""

    TAKEN = "taken"
    AWAITED = "awaited"
    REFUSED = "refused"


class LargeMessages(Generic[_T]):
    """The places of every user of a process. Not thread-safe.

    Args:
        limits: ``user_large_messages`` and ``user_large_messages_waiting`` are looked at.
    """

    def __init__(self, limits: EdgeLimits) -> None:
        self._limits = limits
        # Users with a message under way only; whoever waits stands in the order of coming.
        self._taken: dict[Hashable, set[_T]] = {}
        self._waiting: dict[Hashable, dict[_T, None]] = {}

    def __repr__(self) -> str:
        taken, waiting = (sum(map(len, each.values())) for each in (self._taken, self._waiting))
        return f"<LargeMessages {taken=} {waiting=}>"

    def ask(self, user: Hashable, who: _T) -> Place:
        """Take a place for a message, or stand in line for one; whoever stands there stays.

        Whoever has one has it for its next message, too, unless others wait: then it stands in line
        behind them, beyond the number that may wait, with the place until ``served``.
        """
        taken, waiting = self._taken.setdefault(user, set()), self._waiting.get(user, {})
        has_one = who in taken
        if not waiting and (has_one or len(taken) < self._limits.user_large_messages):
            taken.add(who)
            return Place.TAKEN
        if who not in waiting:
            if not has_one and len(waiting) >= self._limits.user_large_messages_waiting:
                return Place.REFUSED
            self._waiting.setdefault(user, waiting)[who] = None
        return Place.AWAITED

    def served(self, user: Hashable, who: _T) -> _T | None:
        """Give up a place; return who has it from now on, which may be ``who`` again."""
        taken, waiting = self._taken.get(user, set()), self._waiting.get(user, {})
        heir: _T | None = None
        if who in taken:
            taken.remove(who)
            heir = next(iter(waiting), None)
            if heir is not None:
                del waiting[heir]
                taken.add(heir)
        self._tidy(user)
        return heir

    def leave(self, user: Hashable, who: _T) -> _T | None:
        """Give up a place and the wait for one; return who has it from now on. Idempotent."""
        self._waiting.get(user, {}).pop(who, None)
        return self.served(user, who)

    def _tidy(self, user: Hashable) -> None:
        """Keep nothing of a user without a message."""
        taken, waiting = self._taken.get(user), self._waiting.get(user)
        if not waiting:
            self._waiting.pop(user, None)
        if not taken:
            self._taken.pop(user, None)
