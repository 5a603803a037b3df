"""The pulse of a worker: who listens is told, before anything else runs, that it was held up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from brokers.times.held_up import HeldUp
from pooling.clock import Clock

__all__ = ["Pulse"]

logger = logging.getLogger("pooling")

BEAT_SECONDS = 1.0

Listener = Callable[[str], None]


class Pulse:
    """Beats while its loop runs, and tells its listeners of each time that it did not.

    A timer alone would be late: what the kernel kept may be read in the same turn, ahead of it. So
    whoever reads compares its time with ``held_up.overdue_at`` and calls ``look`` from there on.
    Before ``start`` it tells nobody anything. On one loop.

    Args:
        clock: where time is read; it counts the seconds in which the machine slept.
    """

    def __init__(self, *, clock: Clock) -> None:
        self.held_up = HeldUp()  # since the last turn; a new one after ``stop``
        self._clock = clock
        self._listeners: set[Listener] = set()  # told of every hold-up
        self._timer: asyncio.TimerHandle | None = None  # the next beat, from ``start`` to ``stop``

    def start(self) -> None:
        """Begin to beat on the running loop. Idempotent."""
        if self._timer is None:
            self.held_up.turn(self._clock.monotonic())
            self._arm()

    def stop(self) -> None:
        """Beat no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self.held_up = None, HeldUp()

    def follow(self, listener: Listener) -> None:
        """Call ``listener`` with the reason in words, at once, whenever there was a hold-up."""
        self._listeners.add(listener)

    def leave(self, listener: Listener) -> None:
        """Call it no more. Unknown ones are ignored."""
        self._listeners.discard(listener)

    def look(self) -> None:
        """Note a turn, and tell the listeners if it comes too late."""
        if self._timer is None:
            return
        seconds = self.held_up.turn(self._clock.monotonic())
        if seconds:
            logger.warning(
                "this worker was held up for %.1f s; what its broker sockets kept is dropped",
                seconds,
                extra={"action": "held_up", "seconds": round(seconds, 1)},
            )
            for listener in tuple(self._listeners):
                listener(f"the worker was held up for {seconds:.0f} s")

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)

    def _beat(self) -> None:
        self._arm()
        self.look()
