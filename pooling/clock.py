"""Time as it comes into pools: monotonic for durations, wall clock for what is stored or sent."""

from __future__ import annotations

import time
from typing import Protocol

from brokers.times.awake import awake_seconds

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """The time as a pool reads it. Any thread may call it.

    Waiting is the event loop's business; a test that wants waiting to cost nothing runs on
    ``pooling.testing.VirtualTimeLoop``, whose time and this clock's are the same.
    """

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    def time_ms(self) -> int:
        """Return epoch milliseconds."""

    def time_us(self) -> int:
        """Return epoch microseconds, of the same clock."""


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """Return seconds that never go back, those counted in which the machine slept."""
        return awake_seconds()

    def time_ms(self) -> int:
        """Return epoch milliseconds."""
        return time.time_ns() // 1_000_000

    def time_us(self) -> int:
        """Return epoch microseconds."""
        return time.time_ns() // 1000
