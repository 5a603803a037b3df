"""What the passing of time asks of idle exclusive connections: to be pinged, and to be closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from brokers.exceptions import BrokerError
from pooling.clock import Clock
from pooling.exclusive.ledger import ExclusiveLedger
from pooling.exclusive.link import ExclusiveLink
from pooling.exclusive.options import ExclusiveOptions

__all__ = ["ANSWER_SECONDS", "ExclusiveUpkeep"]

ANSWER_SECONDS = 2.0


class ExclusiveUpkeep:
    """One task of an exclusive pool, from the first ``start`` until ``stop``. On the pool's loop.

    Args:
        name: of the pool, for the task's.
        clock: where time is read.
        options: of the pool.
        ledger: who is idle and since when; idle links that expire are taken out of it.
        links: the pool's table; read only.
        close: closes a link that expired.
        drop: drops an idle link that did not answer.
    """

    def __init__(
        self,
        *,
        name: str,
        clock: Clock,
        options: ExclusiveOptions,
        ledger: ExclusiveLedger,
        links: Mapping[int, ExclusiveLink],
        close: Callable[[int], None],
        drop: Callable[[ExclusiveLink], None],
    ) -> None:
        self._name = name
        self._clock = clock
        self._options = options
        self._ledger = ledger
        self._links = links
        self._close = close
        self._drop = drop
        self._task: asyncio.Task[None] | None = None
        self._parked = asyncio.Event()

    def start(self) -> None:
        """Begin. Idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"exclusive-{self._name}-upkeep")

    async def stop(self) -> None:
        """End for good. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def apply(self, options: ExclusiveOptions) -> None:
        """Follow edited timings from now on."""
        self._options = options
        self._parked.set()

    def parked(self) -> None:
        """Note that a link became idle: there is something to wait for."""
        self._parked.set()

    async def _run(self) -> None:
        checked = self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            for eviction in self._ledger.expire(now - self._options.max_idle_seconds):
                self._close(eviction.number)
            if now >= checked + self._options.health_check_seconds:
                await self._check_idle()
                checked = self._clock.monotonic()
            await self._sleep_until(self._next_due(checked + self._options.health_check_seconds))

    def _next_due(self, next_check: float) -> float | None:
        since = self._ledger.idle_since()
        return None if since is None else min(next_check, since + self._options.max_idle_seconds)

    async def _sleep_until(self, due: float | None) -> None:
        self._parked.clear()
        try:
            wait = None if due is None else max(due - self._clock.monotonic(), 0.001)
            async with asyncio.timeout(wait):
                await self._parked.wait()
        except TimeoutError:
            pass

    async def _check_idle(self) -> None:
        links = [self._links[number] for number in self._ledger.idle]
        answers = await asyncio.gather(*(self._answers(link) for link in links))
        for link, is_alive in zip(links, answers, strict=True):
            # One that was lent meanwhile was checked then.
            if not is_alive and self._ledger.is_idle(link.number):
                self._drop(link)

    async def _answers(self, link: ExclusiveLink) -> bool:
        try:
            return await link.answers(min(ANSWER_SECONDS, self._options.health_check_seconds))
        except BrokerError:
            return False
