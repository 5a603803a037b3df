"""The alerts of one worker: from the statistics of its pools to people, programs and own code."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping

from brokers.pool_service import PoolStats
from brokers.words import counted
from pooling.alerts.contracts import AlertKind, AlertStore, Send
from pooling.alerts.debounce import Debouncer, PoolNow, StateChange
from pooling.alerts.delivery import Deliveries
from pooling.alerts.message import Alert
from pooling.clock import Clock
from pooling.operations.pool_state import state_of_feed
from pooling.retry_waits import Randomness

__all__ = ["AlertService", "pool_now"]

logger = logging.getLogger("pooling.alerts")

MAX_CHANGES = 256
CLOSE_SECONDS = 0.5


def pool_now(stats: PoolStats) -> PoolNow:
    """Return the state of the pool that these statistics are of."""
    return PoolNow(
        pool_id=stats.pool_id,
        state=state_of_feed(stats.status, stats.reason, stats.waiting),
        reason=stats.reason,
        since_ms=stats.since_ms,
    )


class AlertService:
    """Takes statistics and tells what changed. Used on one loop; ``observe`` never waits.

    At most ``MAX_CHANGES`` changes wait to be told; beyond, the oldest are dropped and logged. A
    store that fails loses the change that was asked for; it is logged.

    Args:
        store: who is told.
        senders: what carries each kind of alert.
        announce: tells code of one's own, one alert after the other.
        clock: where time is read.
        rng: jitter of retries.
        hold_seconds: how long a change has to last.
    """

    def __init__(
        self,
        *,
        store: AlertStore,
        senders: Mapping[AlertKind, Send],
        announce: Callable[[Alert], Awaitable[None]],
        clock: Clock,
        rng: Randomness,
        hold_seconds: float,
    ) -> None:
        self._store = store
        self._announce = announce
        self._clock = clock
        self._debouncer = Debouncer(hold_seconds=hold_seconds)
        self._changes: deque[StateChange] = deque()  # that nobody was told of yet
        self._dropped = 0  # since the last line that said so
        self._added = asyncio.Event()  # there is a change to tell
        self._tasks: list[asyncio.Task[None]] = []  # from ``open`` until ``close``
        # Code of one's own may be slow; nobody else waits for it.
        self._own_code: asyncio.Queue[Alert] = asyncio.Queue(MAX_CHANGES)
        self._deliveries = Deliveries(senders=senders, done=store.delivered, rng=rng)

    def __repr__(self) -> str:
        return f"<AlertService: {len(self._changes)} waiting, {len(self._deliveries)} under way>"

    def open(self) -> None:
        """Start telling on the running loop. Idempotent."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._run(), name="alerts"),
                asyncio.create_task(self._run_own_code(), name="alerts-own-code"),
            ]

    async def close(self) -> None:
        """Give what is under way half a second, then end. Idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._deliveries.close(CLOSE_SECONDS)

    def observe(self, stats: Iterable[PoolStats]) -> None:
        """Take all pools as they are now."""
        changes = self._debouncer.observe(map(pool_now, stats), self._clock.monotonic())
        for change in changes:
            if len(self._changes) >= MAX_CHANGES:
                self._changes.popleft()
                self._dropped += 1
            self._changes.append(change)
        if changes:
            self._added.set()

    async def _run(self) -> None:
        while True:
            await self._added.wait()
            self._added.clear()
            if self._dropped:
                dropped = counted(self._dropped, "alert")
                logger.warning("%s dropped: too many at once", dropped)
                self._dropped = 0
            while self._changes:
                change = self._changes.popleft()
                try:
                    await self._tell(change)
                except Exception:
                    # Supervision point: the store may be down; the next change is told again.
                    logger.exception("pool %s: its alert is lost", change.pool.pool_id)

    async def _run_own_code(self) -> None:
        while True:
            alert = await self._own_code.get()
            try:
                await self._announce(alert)
            except Exception:
                # Supervision point: it is somebody else's code.
                logger.exception("alert %s: the signal failed", alert.event_id)

    async def _tell(self, change: StateChange) -> None:
        pool = change.pool
        found = await self._store.targets(pool.pool_id)
        if found is None:
            return
        alert = Alert(
            event_id=uuid.uuid4().hex,
            pool_id=pool.pool_id,
            user=found.user,
            broker=found.broker,
            label=found.label,
            state=pool.state,
            previous=change.previous,
            reason=pool.reason,
            since_ms=pool.since_ms,
        )
        logger.info("pool %s is %s: %d told", alert.pool_id, alert.state, len(found.targets))
        for target in found.targets:
            if target.tells_recovery or not alert.is_recovery:
                self._deliveries.start(target, alert)
        try:
            self._own_code.put_nowait(alert)
        except asyncio.QueueFull:
            logger.warning("alert %s dropped: receivers of the signal are behind", alert.event_id)
