"""Steps that a worker takes again and again: supervised, their failures logged now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from brokers.logs.failing import Failing
from brokers.words import one_line
from pooling.clock import Clock
from pooling.connection.pulse import Pulse
from pooling.exceptions import StoreUnavailableError

__all__ = ["PeriodicSteps"]

logger = logging.getLogger("pooling")

LEAST_WAIT_SECONDS = 0.001


class PeriodicSteps:
    """Named tasks of one worker, and its ``pulse``; they live on the loop that starts them.

    Args:
        worker_id: for logs.
        clock: where time is read.
    """

    def __init__(self, *, worker_id: str, clock: Clock) -> None:
        self._worker_id = worker_id
        self._clock = clock
        self.pulse = Pulse(clock=clock)  # tells of hold-ups, from its ``start`` on
        self._tasks: list[asyncio.Task[None]] = []  # one a step, until ``stop``
        # By what failed at some time: a step, or something of one pool.
        self._failing: dict[str, Failing] = {}

    def every(self, name: str, seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        """Run ``step`` again and again, ``seconds`` after it ended."""
        self.after(name, lambda: seconds, step)

    def after(
        self, name: str, wait_seconds: Callable[[], float], step: Callable[[], Awaitable[None]]
    ) -> None:
        """Run ``step`` again and again, each time after what ``wait_seconds`` says then."""

        async def run() -> None:
            while True:
                await asyncio.sleep(max(LEAST_WAIT_SECONDS, wait_seconds()))
                before = self._failures(name)
                try:
                    await step()
                except Exception as error:
                    # Supervision point: the store may be down; pools go on and this is retried.
                    self.log_failure(name, error)
                else:
                    # A step may have logged that one of several things failed under its own name.
                    if self._failures(name) == before:
                        self.log_return(name)

        self._tasks.append(asyncio.create_task(run(), name=f"worker-{name}"))

    def log_failure(self, what: str, error: Exception) -> None:
        """Log a failure of ``what`` at most once a minute, an unforeseen one with its traceback."""
        if self._failing.setdefault(what, Failing()).fails(self._clock.monotonic()):
            is_known = isinstance(error, StoreUnavailableError)
            logger.error(
                "worker %s: %s failed, will be retried%s",
                self._worker_id,
                what,
                f" ({one_line(error)})" if is_known else "",
                exc_info=None if is_known else error,
            )

    def log_return(self, what: str) -> None:
        """Log, once, that ``what`` works again where it was logged that it failed."""
        failing = self._failing.get(what)
        if failing is None:
            return
        if (away := failing.works(self._clock.monotonic())) is not None:
            logger.info("worker %s: %s works again, after %.0f s", self._worker_id, what, away)

    def _failures(self, what: str) -> int:
        failing = self._failing.get(what)
        return 0 if failing is None else failing.failures

    async def stop(self) -> None:
        """End all of them and wait until they have. Idempotent."""
        self.pulse.stop()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
