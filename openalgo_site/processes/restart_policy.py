"""Decisions about a child that ended. Pure."""

from __future__ import annotations

import signal
from collections import deque

from brokers.times.doubling import doubled_seconds

__all__ = ["CONFIGURATION_EXIT", "RestartPolicy", "describe_exit"]

CONFIGURATION_EXIT = 78


class RestartPolicy:
    """How long one child waits before it is started again.

    Prices stand while a worker is away, so the delay doubles up to ``prompt_cap_seconds`` only, and
    beyond that, up to ``cap_seconds``, only for deaths behind ``prompt_deaths`` others within
    ``window_seconds``: by then starting it again does not help. A life of ``healthy_seconds`` makes
    up for all deaths before it.
    """

    def __init__(
        self,
        *,
        base_seconds: float = 0.5,
        prompt_cap_seconds: float = 2.0,
        prompt_deaths: int = 5,
        window_seconds: float = 300.0,
        cap_seconds: float = 30.0,
        healthy_seconds: float = 20.0,
    ) -> None:
        if not 0 < base_seconds <= prompt_cap_seconds <= cap_seconds:
            raise ValueError("base_seconds must be above 0, and each cap at least what is below it")
        if prompt_deaths < 1 or window_seconds <= 0:
            raise ValueError("prompt_deaths and window_seconds must be positive")
        self._base_seconds = base_seconds
        self._prompt_cap_seconds = prompt_cap_seconds
        self._prompt_deaths = prompt_deaths
        self._window_seconds = window_seconds
        self._cap_seconds = cap_seconds
        self._healthy_seconds = healthy_seconds
        # When it died within the window; further ones than these change nothing any more.
        self._deaths: deque[float] = deque(maxlen=prompt_deaths + 32)
        self.deaths_in_a_row = 0

    def delay_after(self, lived_seconds: float, now: float) -> float:
        """Note a death at ``now`` (monotonic seconds); return the seconds until the next start."""
        if lived_seconds >= self._healthy_seconds:
            self.deaths_in_a_row = 0
            self._deaths.clear()
        while self._deaths and now - self._deaths[0] >= self._window_seconds:
            self._deaths.popleft()
        before = len(self._deaths)
        self._deaths.append(now)
        self.deaths_in_a_row += 1
        if before < self._prompt_deaths:
            return doubled_seconds(
                self._base_seconds, before, most_seconds=self._prompt_cap_seconds
            )
        late = before - self._prompt_deaths + 1
        return doubled_seconds(self._prompt_cap_seconds, late, most_seconds=self._cap_seconds)


def describe_exit(returncode: int) -> str:
    """Say how a process ended, for people."""
    if returncode >= 0:
        return f"ended with code {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"
