"""Bounds of logins that people begin, by account and by user. Pure.

A broker bars a key, or everything that comes from this machine, when it is asked too often; a PIN
that is refused some times locks the account there. Every attempt counts, however it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

__all__ = ["PER_ACCOUNT", "PER_USER", "UNATTENDED", "Bound"]


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


PER_ACCOUNT: Final = Bound(10, timedelta(minutes=10), "logins and tests of this account")
PER_USER: Final = Bound(30, timedelta(minutes=10), "logins and tests of your accounts")
UNATTENDED: Final = Bound(5, timedelta(hours=1), "logins with PIN and TOTP of this account")
