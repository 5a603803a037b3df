"""The clock by which a process notices that it was held up, be it by a machine that slept."""

from __future__ import annotations

import time

__all__ = ["awake_seconds"]

_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def awake_seconds() -> float:
    """Return seconds that never go back, those counted in which the machine slept.

    ``time.monotonic`` leaves these out on Linux. Elsewhere it is all there is.
    """
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)
