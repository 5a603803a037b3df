"""What a worker stores of a pool, for tests of the store."""

from __future__ import annotations

import time

from brokers.pool_service import FeedStatus, Peak, PoolStats

__all__ = ["NOW", "stats"]

NOW = time.time_ns() // 1_000_000 // 1000 * 1000


def stats(pool_id: str, **changes: object) -> PoolStats:
    zero = Peak(value=0, at_ms=NOW)
    values: dict[str, object] = {
        "pool_id": pool_id,
        "broker": "zerodha",
        "status": FeedStatus.LIVE,
        "reason": "",
        "since_ms": NOW,
        "connections": [],
        "max_connections": 3,
        "symbols_per_connection": 3000,
        "used": 12,
        "capacity": 9000,
        "wanted": 12,
        "confirmed": 12,
        "clients": 2,
        "ticks_received": 100,
        "ticks_per_second": 5.5,
        "frames_malformed": 0,
        "ticks_unknown": 0,
        "reconnects": 0,
        "peak_symbols": zero,
        "peak_connections": zero,
        "peak_clients": zero,
        "peak_ticks_per_second": zero,
        "config_revision": 1,
        **changes,
    }
    return PoolStats(**values)  # type: ignore[arg-type]
