"""Waits that double from try to try, up to a bound. Pure.

Whoever waits says how much of it is left to chance: connections that were lost together draw from
all of it (``pooling/retry_waits.py``), a single request or an alert from its upper half, and a
process of our own is started again after just that.
"""

from __future__ import annotations

__all__ = ["doubled_seconds"]

_MOST_DOUBLINGS = 30  # keeps the number small however long something is away


def doubled_seconds(base_seconds: float, times: int, *, most_seconds: float) -> float:
    """Return ``base_seconds`` doubled ``times`` times, at most ``most_seconds``."""
    return min(most_seconds, base_seconds * 2.0 ** min(times, _MOST_DOUBLINGS))
