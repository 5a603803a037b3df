"""Failures of what is tried again and again: when one is logged, and when that it works again.

A database that is away fails every second: one line a minute says so, and one line its end. Pure.
"""

from __future__ import annotations

__all__ = ["FAILURE_LOG_SECONDS", "Failing"]

FAILURE_LOG_SECONDS = 60.0


class Failing:
    """The failures of one thing that is tried again and again. Times are monotonic seconds."""

    def __init__(self) -> None:
        # All there were, those that nobody was told of included.
        self.failures = 0
        # When the first of the failures came that nothing has ended yet; None: it works.
        self._since: float | None = None
        # When a failure was logged last; kept while it works, as it may come and go.
        self._logged_at: float | None = None
        # Whether one of the failures since then was logged, so that their end is worth a line.
        self._is_told = False

    def fails(self, now: float) -> bool:
        """Note a failure; True when it is to be logged, which is once a minute."""
        self.failures += 1
        if self._since is None:
            self._since = now
        if self._logged_at is not None and now - self._logged_at < FAILURE_LOG_SECONDS:
            return False
        self._logged_at, self._is_told = now, True
        return True

    def works(self, now: float) -> float | None:
        """Note a success; how long it failed when that end is to be logged, otherwise None."""
        if self._since is None:
            return None
        away, is_told = now - self._since, self._is_told
        self._since, self._is_told = None, False
        return away if is_told else None
