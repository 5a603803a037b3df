"""When ticks shall wait for each other because their turns fill the core. Pure.

A turn with a single tick costs one write for each client that reads it, and two ticks in a turn
cost hardly more. So a gateway that spends most of its time on short turns does the same work in a
fraction of it by reading the bus a moment later. One that has time left reads at once.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["TurnPacing"]

# At most; a few ticks end the wait sooner (``BusStream``).
_PATIENCE_SECONDS = 0.002
_WINDOW_SECONDS = 0.05
# Of the core, without patience: from here on ticks begin to queue behind each other.
_BUSY_SHARE = 0.5
# Of the core, if each tick were a turn of its own: below this nothing queues even so.
_CALM_SHARE = 0.35


class TurnPacing:
    """Measures turns over windows of 50 ms. Belongs to the loop that the turns are on.

    Args:
        cpu_clock: seconds of CPU that the loop's thread has taken.
    """

    def __init__(self, *, cpu_clock: Callable[[], float]) -> None:
        self._cpu_clock = cpu_clock
        self._turns = 0
        self._ticks = 0
        self._began: float | None = None
        self._cpu_began = 0.0
        self.patience_seconds = 0.0

    def __repr__(self) -> str:
        return f"<TurnPacing patience={self.patience_seconds}>"

    def note(self, ticks: int, now: float) -> None:
        """Take note of a turn with ``ticks`` that begins ``now``, in monotonic seconds."""
        if self._began is None or now - self._began >= _WINDOW_SECONDS:
            self._judge(now)
        self._turns += 1
        self._ticks += ticks

    def _judge(self, now: float) -> None:
        cpu_now = self._cpu_clock()
        if self._began is not None:
            share = (cpu_now - self._cpu_began) / (now - self._began)
            if not self.patience_seconds:
                is_due = share >= _BUSY_SHARE
            else:
                is_due = share * self._ticks / self._turns >= _CALM_SHARE
            self.patience_seconds = _PATIENCE_SECONDS if is_due else 0.0
        self._began, self._cpu_began = now, cpu_now
        self._turns = self._ticks = 0
