"""What to do when a child ends: decisions without I/O."""

from __future__ import annotations

import signal

__all__ = ["CONFIGURATION_EXIT", "RestartPolicy", "describe_exit"]

CONFIGURATION_EXIT = 78


class RestartPolicy:
    """How long one child waits before it is started again.

    The delay doubles with each death and falls back once the child has lived for
    ``healthy_seconds``.
    """

    def __init__(
        self, *, base_seconds: float = 0.5, cap_seconds: float = 30.0, healthy_seconds: float = 20.0
    ) -> None:
        if not 0 < base_seconds <= cap_seconds:
            raise ValueError("base_seconds must be above 0 and at most cap_seconds")
        self._base_seconds = base_seconds
        self._cap_seconds = cap_seconds
        self._healthy_seconds = healthy_seconds
        self.deaths_in_a_row = 0

    def delay_after(self, lived_seconds: float) -> float:
        """Note a death and return how many seconds to wait before the next start."""
        if lived_seconds >= self._healthy_seconds:
            self.deaths_in_a_row = 0
        delay = min(self._cap_seconds, self._base_seconds * 2.0 ** min(self.deaths_in_a_row, 30))
        self.deaths_in_a_row += 1
        return delay


def describe_exit(returncode: int) -> str:
    """Say how a process ended, for people."""
    if returncode >= 0:
        return f"ended with code {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"
