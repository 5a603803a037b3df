"""What a gateway knows of each pool's feed, from beats and events that may cross. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from brokers.pool_service import FeedChange, FeedStatus
from streaming.wire.control import PoolBeat
from streaming.wire.message import FORMAT_VERSION

__all__ = ["PoolStates", "as_read_here"]


def as_read_here(pool: PoolBeat, bus_format: int) -> PoolBeat:
    """Return how a pool's feed is for this gateway: stale where it cannot read its ticks."""
    if bus_format == FORMAT_VERSION or pool.status not in (FeedStatus.LIVE, FeedStatus.STALE):
        return pool
    reason = (
        f"the worker's ticks have format {bus_format}, this gateway reads {FORMAT_VERSION}: run "
        "the same version of TickPool for both"
    )
    return msgspec.structs.replace(pool, status=FeedStatus.STALE, reason=reason)


class PoolStates:
    """Last known status of each pool; tells what is news.

    Args:
        now_ms: wall clock, for the moment when a worker was given up.
    """

    def __init__(self, *, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._known: dict[str, FeedChange] = {}
        self._lost: set[str] = set()

    def status(self, pool_id: str) -> FeedStatus:
        """Return the pool's status; STALE while nobody answers for it."""
        known = self._known.get(pool_id)
        return FeedStatus.STALE if known is None else known.status

    def reason(self, pool_id: str) -> str:
        """Return why the pool is in its status, as it was told."""
        known = self._known.get(pool_id)
        return "" if known is None else known.reason

    def on_beat(self, pool: PoolBeat, sent_ms: int) -> FeedChange | None:
        """Take what a beat says, and return it if it is news.

        Beats and events travel on different sockets: one that was sent before the last known
        change says nothing new.
        """
        known = self._known.get(pool.pool_id)
        if known is not None and pool.pool_id not in self._lost:
            if (known.status, known.reason) == (pool.status, pool.reason):
                return None
            if sent_ms <= known.since_ms:
                return None
        self._lost.discard(pool.pool_id)
        change = FeedChange(pool.pool_id, pool.status, pool.since_ms, pool.reason)
        self._known[pool.pool_id] = change
        return change

    def on_event(self, change: FeedChange) -> bool:
        """Take an event; False if it says of the whole pool what is known already."""
        if change.keys is not None:
            return True
        known = self._known.get(change.pool_id)
        self._known[change.pool_id] = change
        if change.pool_id in self._lost:
            self._lost.discard(change.pool_id)
            return True
        return known is None or (known.status, known.reason) != (change.status, change.reason)

    def lose(self, pool_id: str, reason: str) -> FeedChange:
        """Note that nobody answers for the pool, and return the change."""
        change = FeedChange(pool_id, FeedStatus.STALE, self._now_ms(), reason)
        self._known[pool_id] = change
        self._lost.add(pool_id)
        return change
