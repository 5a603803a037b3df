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

    Left out is the time in which none of its threads ran, so that a beat came late, or the time
    that the thread which entered it stood in the scheduler's queue (Linux), whichever is longer.
    Time in which the product keeps that thread busy counts.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="running-time", daemon=True)

    def __enter__(self) -> Self:
        self._queue = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._queued_before = self._queued_seconds()
        self._started = self._beat_at = time.monotonic()
        self._late = 0.0
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """Seconds since the start that count. Any thread."""
        queued = self._queued_seconds() - self._queued_before
        with self._lock:
            now = time.monotonic()
            late = self._late + self._lateness(now)
        return now - self._started - max(late, queued)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with self._lock:
                now = time.monotonic()
                self._late += self._lateness(now)
                self._beat_at = now

    def _lateness(self, now: float) -> float:
        late = now - self._beat_at - BEAT_SECONDS
        return late if late > LATE_SECONDS else 0.0

    def _queued_seconds(self) -> float:
        try:
            return int(self._queue.read_text().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0  # a system that does not tell


@pytest.fixture
def running_time() -> Iterator[RunningTime]:
    with RunningTime() as running_time:
        yield running_time
