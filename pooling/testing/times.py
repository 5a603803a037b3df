"""Time that costs nothing, and randomness without any."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable

__all__ = ["FakeClock", "MiddleOfRange", "VirtualClock", "VirtualTimeLoop"]

EPOCH_MS = 1_767_600_000_000


class MiddleOfRange:
    """Randomness without any: always the middle."""

    def uniform(self, a: float, b: float) -> float:
        """Return the middle of the range."""
        return (a + b) / 2


class FakeClock:
    """A clock that a test sets forward by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def monotonic(self) -> float:
        """Return the seconds advanced so far."""
        return self.now

    def time_ms(self) -> int:
        """Return epoch milliseconds, counted from a fixed day."""
        return EPOCH_MS + int(self.now * 1000)

    def time_us(self) -> int:
        """Return epoch microseconds, counted from the same day."""
        return EPOCH_MS * 1000 + int(self.now * 1_000_000)


class _SkippingSelector(selectors.DefaultSelector):
    """Instead of waiting for time to pass, tells how long it would have waited."""

    def __init__(self, skip: Callable[[float], None]) -> None:
        super().__init__()
        self._skip = skip

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout:
            self._skip(timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop on which waiting takes no time: it jumps to whatever is due next.

    Use as ``asyncio.Runner(loop_factory=VirtualTimeLoop)`` with no real sockets. A loop on which
    nothing is due waits for real, for another thread.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        super().__init__(_SkippingSelector(self._pass))

    def time(self) -> float:
        """Return the virtual seconds that have passed."""
        return self._seconds

    def stall(self, seconds: float) -> None:
        """Let time pass in which nothing runs, as on a machine that stands still."""
        self._seconds += seconds

    def _pass(self, seconds: float) -> None:
        self._seconds += seconds


class VirtualClock:
    """The clock of the running ``VirtualTimeLoop``."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def monotonic(self) -> float:
        """Return the loop's time."""
        return self._loop.time()

    def time_ms(self) -> int:
        """Return epoch milliseconds, counted from a fixed day."""
        return EPOCH_MS + int(self._loop.time() * 1000)

    def time_us(self) -> int:
        """Return epoch microseconds, counted from the same day."""
        return EPOCH_MS * 1000 + int(self._loop.time() * 1_000_000)
