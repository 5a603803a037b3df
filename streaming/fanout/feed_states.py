"""What the pools last said about their feeds. Pure."""

from __future__ import annotations

from brokers.pool_service import FeedChange, FeedStatus
from brokers.types import InstrumentKey
from streaming.protocol.held import Feed

__all__ = ["FeedStates"]


class FeedStates:
    """Last known change of each pool, and the instruments that are not live while their pool is."""

    def __init__(self) -> None:
        self._pools: dict[str, FeedChange] = {}
        self._not_live: dict[str, set[InstrumentKey]] = {}

    def take(self, change: FeedChange) -> None:
        """Remember a change; one of a whole pool replaces what was said of its instruments."""
        if change.keys is None:
            self._pools[change.pool_id] = change
            self._not_live.pop(change.pool_id, None)
        elif change.status is FeedStatus.LIVE:
            self._not_live.get(change.pool_id, set()).difference_update(change.keys)
        else:
            self._not_live.setdefault(change.pool_id, set()).update(change.keys)

    def since(self, pool_id: str, status: FeedStatus) -> tuple[int, str] | None:
        """Return since when (epoch milliseconds) and why a pool is in ``status``, if it said so."""
        change = self._pools.get(pool_id)
        if change is None or change.status is not status:
            return None
        return change.since_ms, change.reason

    def is_live(self, feed: Feed, pool_status: FeedStatus) -> bool:
        """Tell whether prices of ``feed`` can be shown as live, given its pool's status."""
        return pool_status is FeedStatus.LIVE and feed.key not in self._not_live.get(
            feed.pool_id, ()
        )
