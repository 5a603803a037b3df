"""Pauses between looks at connected clients that notices ask for: clients need time, too. Pure.

Whoever can write to the channel layer can ask for a look at any rate, and a look costs the gateway
its loop and the database a query. So a pause follows each, in which however many notices are one.
"""

from __future__ import annotations

__all__ = ["LookPacing"]

_LEAST_PAUSE_SECONDS = 0.2
_LENGTHS = 4.0  # of a look: a flood of notices takes a fifth of the time, no more


class LookPacing:
    """The pause after the last look. Times are monotonic seconds; for one task."""

    def __init__(self) -> None:
        self._pause_ends_at = float("-inf")  # a notice that comes earlier waits until then

    def __repr__(self) -> str:
        return f"<LookPacing pause_ends_at={self._pause_ends_at}>"

    def looked(self, *, began: float, ended: float) -> None:
        """Note a look that a notice asked for."""
        self._pause_ends_at = ended + max(_LEAST_PAUSE_SECONDS, _LENGTHS * (ended - began))

    def passed_over(self, *, began: float, ended: float) -> None:
        """Note that notices were of nobody here, which took a walk over the clients to say.

        The next may be of somebody: it waits in proportion, and for no least time.
        """
        self._pause_ends_at = ended + _LENGTHS * (ended - began)

    def pause_seconds(self, now: float) -> float:
        """Return for how long a notice that is there ``now`` has to wait; 0.0: not at all."""
        return max(0.0, self._pause_ends_at - now)
