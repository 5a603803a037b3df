"""Statistics of a worker's pools with their past, on their way to the store."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from datetime import tzinfo

import msgspec

from brokers.pool_service import PoolStats
from pooling.clock import Clock
from pooling.contracts import AccountSpec, AccountStore, UsageSample
from pooling.history import PoolHistory, next_sample_ms
from pooling.pool.pool import ConnectionPool

__all__ = ["WorkerStatistics"]

MAX_UNSAVED_SAMPLES = 20_000  # while the store is down; the oldest are given up first
PAST_MIDNIGHT_SECONDS = 0.005  # a timer that fires early would cut the day too soon


class WorkerStatistics:
    """Knows each pool's history and saves statistics. Used on the worker's loop only.

    Args:
        store: where statistics go, and where the past is.
        clock: where time is read.
        zone: where midnight is.
        worker_id: who writes the status rows.
        epoch: which life of the worker this is.
        usage_interval_seconds: how often peaks are saved, counted from midnight.
    """

    def __init__(
        self,
        *,
        store: AccountStore,
        clock: Clock,
        zone: tzinfo,
        worker_id: str,
        epoch: int,
        usage_interval_seconds: float,
    ) -> None:
        if usage_interval_seconds <= 0:
            raise ValueError("intervals must be positive")
        self._store = store
        self._clock = clock
        self._zone = zone
        self._worker_id = worker_id
        self._epoch = epoch
        self._usage_interval = usage_interval_seconds
        self._histories: dict[str, PoolHistory] = {}  # of the accounts that it knows
        self._expiry_ms: dict[str, int | None] = {}  # of each one's credential
        # Samples that the store has not taken yet, the oldest first.
        self._unsaved: deque[UsageSample] = deque(maxlen=MAX_UNSAVED_SAMPLES)

    async def follow(self, specs: Collection[AccountSpec]) -> None:
        """Know these accounts; reads the past of those that are new. May raise what stores do."""
        new = [spec.pool_id for spec in specs if spec.pool_id not in self._histories]
        pasts = await self._store.pasts(new) if new else {}
        now_ms = self._clock.time_ms()
        for pool_id in new:
            self._histories[pool_id] = PoolHistory(
                now_ms=now_ms, zone=self._zone, past=pasts.get(pool_id)
            )
        self._expiry_ms = {spec.pool_id: spec.credential_expiry_ms for spec in specs}

    def stats(self, pool: ConnectionPool) -> PoolStats:
        """Return a pool's statistics with its past."""
        return self.with_past(pool.get_stats())

    def with_past(self, stats: PoolStats) -> PoolStats:
        """Return the statistics of an account, whether it has a pool now or not, with its past."""
        if (history := self._histories.get(stats.pool_id)) is not None:
            stats = history.enrich(stats, self._clock.time_ms())
        expiry_ms = self._expiry_ms.get(stats.pool_id)
        return msgspec.structs.replace(stats, credential_expiry_ms=expiry_ms)

    def leave(self, pool: ConnectionPool) -> None:
        """Keep the last sample of a pool that was closed."""
        self._take_sample(pool)

    def keep(self, pool_ids: Collection[str]) -> None:
        """Forget the past of all accounts but these."""
        for pool_id in self._histories.keys() - pool_ids:
            del self._histories[pool_id]

    def until_sample_seconds(self) -> float:
        """Return how long it is until the next sample is due."""
        now_ms = self._clock.time_ms()
        due_ms = next_sample_ms(now_ms, self._usage_interval, self._zone)
        return (due_ms - now_ms) / 1000 + PAST_MIDNIGHT_SECONDS

    async def save_status(self, stats: Sequence[PoolStats]) -> None:
        """Write the status row of each pool."""
        await self._store.save_status(self._worker_id, self._epoch, stats)

    async def save_usage(self, pools: Iterable[ConnectionPool]) -> None:
        """Write the peaks since the last call, and what could not be written then."""
        for pool in pools:
            self._take_sample(pool)
        samples, self._unsaved = self._unsaved, deque(maxlen=MAX_UNSAVED_SAMPLES)
        if not samples:
            return
        try:
            await self._store.save_usage(tuple(samples))
        except BaseException:
            # Behind them stands what came in the meantime.
            self._unsaved = deque((*samples, *self._unsaved), maxlen=MAX_UNSAVED_SAMPLES)
            raise

    def _take_sample(self, pool: ConnectionPool) -> None:
        self.stats(pool)  # takes the peaks into the day before the sample ends them
        self._unsaved.append(pool.take_usage_sample())
