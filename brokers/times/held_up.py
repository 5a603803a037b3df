"""Hold-ups of this process, by which what it has yet to read or send has grown old. Pure.

A suspended machine, a paused container, swap or a debugger takes a process its turns. The kernel
keeps what came meanwhile, and the process is given all of it at once, as if it were news.
"""

from __future__ import annotations

__all__ = ["HELD_UP_SECONDS", "HeldUp"]

HELD_UP_SECONDS = 4.0
"""From how long on nothing that waited is shown as live: silence becomes stale about as soon."""


class HeldUp:
    """Counter of the seconds between the turns of a process. Any clock that does not go back.

    ``overdue_at`` is when the next turn comes too late: whoever reads something then asks ``turn``
    first. Infinite before the first turn.

    Args:
        bound_seconds: from how long on a process counts as held up.

    Raises:
        ValueError: the bound is not positive.
    """

    __slots__ = ("_bound", "_last", "overdue_at")

    def __init__(self, *, bound_seconds: float = HELD_UP_SECONDS) -> None:
        if bound_seconds <= 0:
            raise ValueError("bound_seconds must be positive")
        self._bound = bound_seconds
        self._last = 0.0  # the latest turn; means nothing while ``overdue_at`` is infinite
        self.overdue_at = float("inf")

    def turn(self, now: float) -> float:
        """Note a turn; return for how many seconds there was none, 0 within the bound."""
        seconds = now - self._last if now >= self.overdue_at else 0.0
        self._last, self.overdue_at = now, now + self._bound
        return seconds
