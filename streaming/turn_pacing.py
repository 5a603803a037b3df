"""Waits of ticks for each other, where their turns fill the core. Pure.

A turn with a single tick costs one write for each client that reads it, and two ticks in a turn
cost hardly more. So a gateway that spends most of its time on short turns does the same work in a
fraction of it by reading the bus a moment later. One that has time left reads at once.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["TickRate", "TurnPacing"]

# At most: where ticks come faster, less is worth it.
_PATIENCE_SECONDS = 0.002
_WINDOW_SECONDS = 0.05
# Of the core, without patience: from here on ticks begin to queue behind each other.
_BUSY_SHARE = 0.5
# What patience saves cannot be told from having less to do, so it is left off for a window now and
# then, to look.
_WINDOWS_BETWEEN_LOOKS = 40
# Times between ticks: with what comes while a wait begins and ends, turns of about two ticks or
# three. Half as much again costs a fifth of a millisecond of the latest hundredth of all ticks.
_INTERVALS_WORTH_A_TURN = 1.0
_READ_KEEPS = 0.9
# A longer time between two reads was no wait for ticks: there was no patience then.
_LONGEST_GAP_SECONDS = 0.02


class TickRate:
    """How fast ticks come, over about the last ten reads: they come in lumps as well as singly."""

    def __init__(self) -> None:
        # Sums in which each read counts a tenth less than the one after it.
        self._seconds = 0.0
        self._ticks = 0.0  # as ``_seconds``

    def worthwhile_wait(self, since_last_seconds: float, ticks: int) -> float:
        """Note a read, and return after how long the next one is worth its writes.

        Args:
            since_last_seconds: between the last two reads.
            ticks: that the later one of them brought; at least 1.
        """
        self._seconds = self._seconds * _READ_KEEPS + min(since_last_seconds, _LONGEST_GAP_SECONDS)
        self._ticks = self._ticks * _READ_KEEPS + ticks
        return self._seconds / self._ticks * _INTERVALS_WORTH_A_TURN


class TurnPacing:
    """Measures turns over windows of 50 ms. Belongs to the loop that the turns are on.

    Args:
        cpu_clock: seconds of CPU that the loop's thread has taken.
    """

    def __init__(self, *, cpu_clock: Callable[[], float]) -> None:
        self._cpu_clock = cpu_clock
        self._began: float | None = None  # when the present window did
        self._cpu_began = 0.0  # the CPU clock at that time
        self._windows_left = 0  # until patience is left off, to look
        self.patience_seconds = 0.0  # how long ticks may wait for each other now

    def __repr__(self) -> str:
        return f"<TurnPacing patience={self.patience_seconds}>"

    def note(self, now: float) -> None:
        """Take note of a turn that begins ``now``, in monotonic seconds."""
        if self._began is None or now - self._began >= _WINDOW_SECONDS:
            self._judge(now)

    def _judge(self, now: float) -> None:
        cpu_now = self._cpu_clock()
        if self._began is not None:
            seconds = now - self._began
            is_busy = (cpu_now - self._cpu_began) / seconds >= _BUSY_SHARE
            if is_busy and not self.patience_seconds:
                self._windows_left = _WINDOWS_BETWEEN_LOOKS
            elif seconds >= 2 * _WINDOW_SECONDS:
                self._windows_left = 0  # hardly a turn: nothing has to share one
            else:
                self._windows_left = max(0, self._windows_left - 1)
            self.patience_seconds = _PATIENCE_SECONDS if self._windows_left else 0.0
        self._began, self._cpu_began = now, cpu_now
