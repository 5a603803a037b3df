"""Fixture: seconds in which the test could run, for what is promised within seconds.

``running_time.seconds`` goes on from the start of the test. A bound that is measured with it says
something of the product, whatever else the machine does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

__all__ = ["RunningTime", "running_time"]

BEAT_SECONDS = 0.01
LATE_SECONDS = 0.05  # what a beat may be late without anything being held up


class RunningTime:
    """A clock that stands still while the machine holds up this process; enter it with ``with``.

    Left out is, from beat to beat, the time in which none of its threads ran, so that the beat came
    late, or the time that the thread which entered it stood in the scheduler's queue (Linux),
    whichever is longer. Time in which the product keeps that thread busy counts.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="running-time", daemon=True)

    def __enter__(self) -> Self:
        self._queue = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._ran, self._queued = self._scheduled()
        self._started = self._beat_at = time.monotonic()
        self._held_up = 0.0
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """Seconds since the start that count. Any thread."""
        with self._lock:
            return self._take_in() - self._started - self._held_up

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with self._lock:
                self._take_in()

    def _take_in(self) -> float:
        """Count what held up the process since the last time; return the time now."""
        now, (ran, queued) = time.monotonic(), self._scheduled()
        late = now - self._beat_at - BEAT_SECONDS
        held_up = max(late if late > LATE_SECONDS else 0.0, queued - self._queued)
        at_rest = now - self._beat_at - (ran - self._ran)
        self._held_up += max(0.0, min(held_up, max(at_rest, queued - self._queued)))
        self._beat_at, self._ran, self._queued = now, ran, queued
        return now

    def _scheduled(self) -> tuple[float, float]:
        """Return the seconds for which the thread ran, and for which it was queued."""
        try:
            ran, queued, _ = self._queue.read_text().split()
        except (OSError, ValueError):
            return 0.0, 0.0  # a system that does not tell
        return int(ran) / 1e9, int(queued) / 1e9


@pytest.fixture
def running_time() -> Iterator[RunningTime]:
    with RunningTime() as running_time:
        yield running_time
