"""Instruments whose prices are not live although their pool is. Pure."""

from __future__ import annotations

from brokers.pool_service import FeedChange, FeedStatus
from brokers.types import InstrumentKey
from streaming.protocol.held import Feed

__all__ = ["StaleInstruments"]


class StaleInstruments:
    """Instruments that a pool named as not live. How the pool itself is, the link knows."""

    def __init__(self) -> None:
        self._named: dict[str, set[InstrumentKey]] = {}  # by pool

    def take(self, change: FeedChange) -> None:
        """Note a change; one of a whole pool replaces what was said of its instruments."""
        if change.keys is None:
            self._named.pop(change.pool_id, None)
        elif change.status is FeedStatus.LIVE:
            self._named.get(change.pool_id, set()).difference_update(change.keys)
        else:
            self._named.setdefault(change.pool_id, set()).update(change.keys)

    def is_live(self, feed: Feed, pool_status: FeedStatus) -> bool:
        """Tell whether prices of ``feed`` can be shown as live, given its pool's status."""
        return pool_status is FeedStatus.LIVE and feed.key not in self._named.get(feed.pool_id, ())
