"""Alerts on their way to their targets: retried, bounded, the latest of a pool first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from brokers.times.doubling import doubled_seconds
from brokers.words import one_line
from pooling.alerts.contracts import AlertKind, Send, Target
from pooling.alerts.message import Alert
from pooling.exceptions import AlertError, AlertRefusedError
from pooling.retry_waits import Randomness

__all__ = ["Deliveries"]

logger = logging.getLogger("pooling.alerts")

MAX_WAITING = 200
AT_ONCE = 8
ATTEMPTS = 6
BASE_SECONDS = 2.0
CAP_SECONDS = 300.0


class Deliveries:
    """At most ``MAX_WAITING`` deliveries, each a task; further ones are dropped and logged.

    An alert that could not be delivered yet gives way to a later one of the same pool to the same
    target: what was is of no use any more. Used on one loop only.

    Args:
        senders: what carries each kind.
        done: told how a delivery ended, as (target id, error; empty: it arrived).
        rng: jitter of the waits, which double from 2 s to 300 s.
        attempts: how often one alert is tried.
    """

    def __init__(
        self,
        *,
        senders: Mapping[AlertKind, Send],
        done: Callable[[int, str], Awaitable[None]],
        rng: Randomness,
        attempts: int = ATTEMPTS,
    ) -> None:
        if attempts < 1:
            raise ValueError("attempts must be at least 1")
        self._senders = senders
        self._done = done
        self._rng = rng
        self._attempts = attempts
        # Deliveries under way, by target and pool; a later one takes the place of an earlier.
        self._tasks: dict[tuple[int, str], asyncio.Task[None]] = {}
        self._lanes = asyncio.Semaphore(AT_ONCE)  # attempts under way at once
        # Targets whose last alert was logged as lost: the next that arrives is worth a line.
        self._lost_at: set[int] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, target: Target, alert: Alert) -> None:
        """Begin to deliver; returns at once."""
        key = (target.id, alert.pool_id)
        earlier = self._tasks.pop(key, None)
        if earlier is not None:
            earlier.cancel()
        if len(self._tasks) >= MAX_WAITING:
            logger.warning(
                "alert %s to target %d dropped: too many wait", alert.event_id, target.id
            )
            return
        task = asyncio.create_task(self._deliver(target, alert), name=f"alert-{target.id}")
        self._tasks[key] = task
        task.add_done_callback(lambda ended: self._forget(key, ended))

    async def close(self, grace_seconds: float) -> None:
        """Give what is under way a moment, then end it. Idempotent."""
        tasks = list(self._tasks.values())
        if not tasks:
            return
        await asyncio.wait(tasks, timeout=grace_seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, target: Target, alert: Alert) -> None:
        error = ""
        for attempt in range(self._attempts):
            if attempt:
                ceiling = doubled_seconds(BASE_SECONDS, attempt - 1, most_seconds=CAP_SECONDS)
                await asyncio.sleep(self._rng.uniform(ceiling / 2, ceiling))
            try:
                async with self._lanes:
                    await self._senders[target.kind](target, alert)
            except AlertRefusedError as refused:
                error = str(refused)
                break
            except AlertError as failed:
                error = str(failed)
            else:
                error = ""
                break
        if error:
            self._lost_at.add(target.id)
            logger.warning("alert %s to target %d: %s", alert.event_id, target.id, one_line(error))
        elif target.id in self._lost_at:
            self._lost_at.discard(target.id)
            logger.info("alert target %d takes alerts again", target.id)
        await self._done(target.id, error)

    def _forget(self, key: tuple[int, str], task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("alert to target %d failed", key[0], exc_info=error)
