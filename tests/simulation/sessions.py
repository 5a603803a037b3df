"""Sessions that a broker still counts after their socket is gone, and what it does at its limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tests.simulation.link import SimulatedLink

__all__ = ["OverLimit", "Sessions"]


class OverLimit(NamedTuple):
    """One session too many: ``victim`` has to go, or (None) the new one is refused."""

    victim: SimulatedLink | None
    retry_after: int | None


class Sessions:
    """The ghosts of dropped links.

    Every link that was not closed with a close frame counts for ``linger_seconds`` more. At the
    limit, ``ends_oldest`` says that a newer session ends the oldest one, as Dhan does; otherwise
    the newer one is refused with 429 and ``retry_after``.
    """

    def __init__(self, limit: int) -> None:
        self.linger_seconds = 0.0
        self.ends_oldest = False
        self.retry_after: int | None = None
        self._limit = limit
        self._ghosts: dict[int, float] = {}

    def linger(self, number: int, now: float) -> None:
        """Note that a link ended without a close frame."""
        if self.linger_seconds:
            self._ghosts[number] = now + self.linger_seconds

    def over_limit(self, links: Mapping[int, SimulatedLink], now: float) -> OverLimit | None:
        """Say what happens to one session more; None: there is room for it."""
        self._ghosts = {number: until for number, until in self._ghosts.items() if until > now}
        if len(links) + len(self._ghosts) < self._limit:
            return None
        if not self.ends_oldest:
            return OverLimit(None, self.retry_after)
        oldest = min([*links, *self._ghosts])
        if self._ghosts.pop(oldest, None) is not None:
            return self.over_limit(links, now)
        return OverLimit(links[oldest], None)
