"""What a worker does again and again: each step supervised, its failures logged now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pooling.clock import Clock
from pooling.exceptions import StoreUnavailableError

__all__ = ["Chores"]

logger = logging.getLogger("pooling")

FAILURE_LOG_SECONDS = 60.0
LEAST_WAIT_SECONDS = 0.001


class Chores:
    """Named tasks of one worker; they live on the loop that starts them.

    Args:
        worker_id: for logs.
        clock: where time is read.
    """

    def __init__(self, *, worker_id: str, clock: Clock) -> None:
        self._worker_id = worker_id
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []
        self._last_failure_log: dict[str, float] = {}

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
                try:
                    await step()
                except Exception as error:
                    # Supervision point: the store may be down; pools go on and this is retried.
                    self.log_failure(name, error)

        self._tasks.append(asyncio.create_task(run(), name=f"worker-{name}"))

    def log_failure(self, what: str, error: Exception) -> None:
        """Log a failure of ``what`` at most once a minute, an unforeseen one with its traceback."""
        now = self._clock.monotonic()
        last = self._last_failure_log.get(what)
        if last is None or now - last >= FAILURE_LOG_SECONDS:
            self._last_failure_log[what] = now
            is_known = isinstance(error, StoreUnavailableError)
            logger.error(
                "worker %s: %s failed, will be retried%s",
                self._worker_id,
                what,
                f" ({error})" if is_known else "",
                exc_info=None if is_known else error,
            )

    async def stop(self) -> None:
        """End all of them and wait until they have. Idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
