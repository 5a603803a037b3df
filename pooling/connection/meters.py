"""Meters of one connection over all its sockets, and their statistics. Pure."""

from __future__ import annotations

from collections import Counter

from brokers.logs.failing import Failing
from brokers.pool_service import ConnectionStats
from pooling.connection.losses import loss_reason
from pooling.exceptions import ConnectionLostError
from pooling.lifecycle import ConnectionState

__all__ = ["ConnectionMeters"]


class ConnectionMeters:
    """Counters and times of one connection; it alone writes them, any thread may read.

    Times are monotonic seconds, except those in ``_ms``: epoch milliseconds.
    """

    __slots__ = (
        "connects",
        "frames",
        "last_close",
        "last_close_code",
        "last_close_ms",
        "last_frame",
        "last_tick",
        "losses",
        "malformed",
        "malformed_told",
        "next_retry_ms",
        "reason",
        "sent",
        "since_ms",
        "ticks",
    )

    def __init__(self, *, now_ms: int) -> None:
        self.connects = self.frames = self.ticks = self.sent = self.malformed = 0
        self.malformed_told = Failing()  # what the log has heard of them
        self.losses: Counter[str] = Counter()  # sockets and attempts that ended, by reason
        self.last_frame: float | None = None
        self.last_tick: float | None = None
        self.last_close = ""
        self.last_close_code: int | None = None
        self.last_close_ms: int | None = None
        self.next_retry_ms: int | None = None
        self.since_ms = now_ms
        self.reason = ""  # why the connection is in its state

    @property
    def reconnects(self) -> int:
        """Number of times that the connection was opened again."""
        return max(0, self.connects - 1)

    def is_malformed_news(self, now: float) -> bool:
        """Count a malformed frame; tells whether the log is to hear of it, once a minute."""
        self.malformed += 1
        return self.malformed_told.fails(now)

    def closed(self, failure: Exception, reason: str, now_ms: int) -> None:
        """Note why an attempt or a socket ended."""
        self.losses[loss_reason(failure).value] += 1
        self.last_close = reason
        self.last_close_code = failure.code if isinstance(failure, ConnectionLostError) else None
        self.last_close_ms = now_ms

    def to_stats(
        self,
        slot: int,
        state: ConnectionState,
        *,
        used: int,
        capacity: int,
        symbols: int,
        now: float,
    ) -> ConnectionStats:
        """Return the connection as it is now, with its fill."""
        return ConnectionStats(
            slot=slot,
            state=state.value,
            since_ms=self.since_ms,
            used=used,
            capacity=capacity,
            frames_received=self.frames,
            ticks_received=self.ticks,
            messages_sent=self.sent,
            frames_malformed=self.malformed,
            reconnects=self.reconnects,
            last_frame_age_ms=_age_ms(self.last_frame, now),
            last_tick_age_ms=_age_ms(self.last_tick, now),
            last_close=self.last_close,
            next_retry_ms=self.next_retry_ms,
            symbols=symbols,
            last_close_code=self.last_close_code,
            last_close_ms=self.last_close_ms,
            reason=self.reason,
        )


def _age_ms(at: float | None, now: float) -> int | None:
    return None if at is None else max(0, int((now - at) * 1000))
