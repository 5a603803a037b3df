"""Bounds of logins that people begin, by account and by user. Pure.

A broker bars a key, or everything that comes from this machine, when it is asked too often; a PIN
that is refused some times locks the account there. Every attempt counts, however it ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

__all__ = [
    "AT_ONCE_PER_USER",
    "PER_ACCOUNT",
    "PER_USER",
    "PER_WORKER",
    "UNATTENDED",
    "Bound",
    "Pace",
]


@dataclass(frozen=True, slots=True)
class Bound:
    """The most attempts within a time, and what they are called."""

    most: int
    within: timedelta
    words: str

    def room_at(self, begun: Sequence[datetime], now: datetime) -> datetime | None:
        """Return when one more may begin; None: now.

        Args:
            begun: when the last ``most`` attempts or more began, the newest first, aware.
            now: by the same clock.
        """
        if len(begun) < self.most:
            return None
        room = begun[self.most - 1] + self.within
        # One that lies far ahead was written by a clock that has been set right since.
        return room if now < room <= now + self.within else None

    def sentence(self, at: str) -> str:
        """Return what is said to whoever has to wait until ``at``."""
        minutes = int(self.within.total_seconds() // 60)
        return (
            f"There were {self.most} {self.words} within {minutes} minutes, and a broker bars who "
            f"asks so often: wait until {at}. Nothing was sent."
        )


AT_ONCE_PER_USER: Final = 4  # that a worker has, or that wait for one
PER_ACCOUNT: Final = Bound(10, timedelta(minutes=10), "logins and tests of this account")
PER_USER: Final = Bound(30, timedelta(minutes=10), "logins and tests of your accounts")
# Of one user's attempts at one worker, which remembers them when the account is removed and made
# again; those of two steps count twice.
PER_WORKER: Final = Bound(60, timedelta(minutes=10), "logins and tests of your accounts")
UNATTENDED: Final = Bound(5, timedelta(hours=1), "logins with PIN and TOTP of this account")


class Pace:
    """Attempts of each user that one worker has taken of late. Loop only.

    Args:
        bound: of one user.
    """

    def __init__(self, bound: Bound) -> None:
        self._bound = bound
        self._taken: dict[int, deque[float]] = {}  # by user, monotonic, the oldest first

    def may(self, user_id: int, now: float) -> bool:
        """Count an attempt, unless it is one too many.

        Args:
            user_id: whose it is.
            now: monotonic, in seconds.
        """
        past = now - self._bound.within.total_seconds()
        for user, times in list(self._taken.items()):
            while times and times[0] <= past:
                times.popleft()
            if not times:
                del self._taken[user]
        mine = self._taken.setdefault(user_id, deque())
        if len(mine) >= self._bound.most:
            return False
        mine.append(now)
        return True
