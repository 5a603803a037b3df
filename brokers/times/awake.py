"""The clock by which a process notices that it was held up, be it by a machine that slept."""

from __future__ import annotations

import sys
import time

__all__ = ["awake_seconds", "sleep_counting_clock"]


def sleep_counting_clock(platform: str) -> int | None:
    """Return the system's clock that goes on while the machine sleeps; None: none is known.

    Linux: ``CLOCK_BOOTTIME``, as its monotonic clock stands still meanwhile. macOS: its
    ``CLOCK_MONOTONIC_RAW`` goes on, and ``time.monotonic`` reads another that does not.
    """
    names = {"linux": "CLOCK_BOOTTIME", "darwin": "CLOCK_MONOTONIC_RAW"}
    clock: int | None = getattr(time, names.get(platform, ""), None)
    return clock


_CLOCK = sleep_counting_clock(sys.platform)


def awake_seconds() -> float:
    """Return seconds that never go back, those counted in which the machine slept.

    Where no such clock is known they are those of ``time.monotonic``.
    """
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
