"""Feed statuses as a gateway knows them, from beats and events that may cross. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from brokers.pool_service import FeedChange, FeedStatus
from streaming.wire.control import PoolBeat
from streaming.wire.message import FORMAT_VERSION

__all__ = ["FeedStatuses", "as_read_here"]


def as_read_here(pool: PoolBeat, bus_format: int) -> PoolBeat:
    """Return how a pool's feed is for this gateway: stale where it cannot read its ticks."""
    if bus_format == FORMAT_VERSION or pool.status not in (FeedStatus.LIVE, FeedStatus.STALE):
        return pool
    reason = (
        f"the worker's ticks have format {bus_format}, this gateway reads {FORMAT_VERSION}: run "
        "the same version of TickPool for both"
    )
    return msgspec.structs.replace(pool, status=FeedStatus.STALE, reason=reason)


class FeedStatuses:
    """Feed status of each pool: the last word of its workers, and the last that clients were told.

    They differ while a pool that came back waits for its prices, and after that in reason and time.
    A worker's word is news beside its own last one, never beside what was told.

    Args:
        now_ms: wall clock, for the moment when a worker was given up.
    """

    def __init__(self, *, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._said: dict[str, FeedChange] = {}  # of each pool, the last word of it as a whole
        self._told: dict[str, FeedChange] = {}  # the same, as this gateway passed it on
        self._lost: set[str] = set()  # pools that nobody answers for: the next word is news

    def feed(self, pool_id: str, *, is_held: bool = False) -> FeedChange:
        """Return how the pool's feed is now, since when and why, as clients were told it.

        STALE while nobody answers for it, and while ``is_held``, whatever its worker says. What
        clients were not told has no reason, and is so since now.
        """
        said, told = self._said.get(pool_id), self._told.get(pool_id)
        status = FeedStatus.STALE if said is None else said.status
        if is_held and status is FeedStatus.LIVE:
            status = FeedStatus.STALE
        if told is not None and told.status is status:
            return told
        return FeedChange(pool_id, status, self._now_ms(), "")

    def note_told(self, change: FeedChange) -> None:
        """Note what clients are told; of some instruments it says nothing of the pool."""
        if change.keys is None:
            self._told[change.pool_id] = change

    def reason(self, pool_id: str) -> str:
        """Return why the pool is in its status, as its worker said."""
        said = self._said.get(pool_id)
        return "" if said is None else said.reason

    def on_beat(self, pool: PoolBeat, sent_ms: int) -> FeedChange | None:
        """Take what a beat says, and return it if it is news.

        Beats and events travel on different sockets: one that was sent before the last known
        change says nothing new.
        """
        said = self._said.get(pool.pool_id)
        if said is not None and pool.pool_id not in self._lost:
            if (said.status, said.reason) == (pool.status, pool.reason):
                return None
            if sent_ms <= said.since_ms:
                return None
        self._lost.discard(pool.pool_id)
        change = FeedChange(pool.pool_id, pool.status, pool.since_ms, pool.reason)
        self._said[pool.pool_id] = change
        return change

    def on_event(self, change: FeedChange) -> bool:
        """Take an event; False if it says of the whole pool what is known already."""
        if change.keys is not None:
            return True
        said = self._said.get(change.pool_id)
        self._said[change.pool_id] = change
        if change.pool_id in self._lost:
            self._lost.discard(change.pool_id)
            return True
        return said is None or (said.status, said.reason) != (change.status, change.reason)

    def lose(self, pool_id: str, reason: str) -> FeedChange:
        """Note that nobody answers for the pool, and return the change."""
        change = FeedChange(pool_id, FeedStatus.STALE, self._now_ms(), reason)
        self._said[pool_id] = change
        self._lost.add(pool_id)
        return change
