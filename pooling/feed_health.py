"""The trust that a pool's prices deserve as a whole, decided from its connections. Pure."""

from __future__ import annotations

from collections.abc import Collection

from brokers.pool_service import WAITING_FOR_ROOM, FeedStatus
from pooling.lifecycle import ConnectionState

__all__ = ["CLOSED_REASON", "IDLE_REASON", "PAUSED_REASON", "FeedHealth"]

CLOSED_REASON = "the pool was closed"
PAUSED_REASON = "paused"
IDLE_REASON = "nothing is subscribed"
STARTED_REASON = "just started; setting the subscriptions up again"


class FeedHealth:
    """The status that is shown for a pool, why, and since when.

    Args:
        now_ms: epoch milliseconds of the start.
    """

    def __init__(self, *, now_ms: int) -> None:
        self.status = FeedStatus.STALE
        self.reason = STARTED_REASON
        self.since_ms = now_ms
        self.is_paused = False
        # Gateways have yet to say what they want, or what they want has yet to come.
        self.is_starting = True

    def judge(
        self,
        states: Collection[ConnectionState],
        reason: str,
        now_ms: int,
        waiting: int = 0,
        *,
        is_confirmed: bool = True,
        login: str = "",
    ) -> None:
        """Take the states of all connections that carry something, and what was said last.

        ``waiting`` instruments are held and have no place. ``is_confirmed``: the broker has
        confirmed at least one of those that have; an open socket alone is no feed. ``login`` is why
        no further connection can be had before somebody has logged in; "": it can.

        One live connection makes the pool live: each symbol's own state is told with the symbol.
        """
        live = sum(state is ConnectionState.LIVE for state in states)
        if self.is_paused:
            self._set(FeedStatus.CLOSED, PAUSED_REASON, now_ms)
        elif not states and login:
            self._set(FeedStatus.AUTH_REQUIRED, login, now_ms)
        elif not states and self.is_starting:
            self._set(FeedStatus.STALE, STARTED_REASON, now_ms)
        elif not states:
            self._set(FeedStatus.LIVE, IDLE_REASON, now_ms)
        elif live and self.is_starting:
            self._set(FeedStatus.STALE, "just started; waiting for the first prices", now_ms)
        elif live and not is_confirmed:
            self._set(FeedStatus.STALE, "connected; waiting for the first price", now_ms)
        elif live:
            self._set(FeedStatus.LIVE, _blemishes(len(states) - live, waiting), now_ms)
        elif ConnectionState.AUTH_REQUIRED in states:
            self._set(FeedStatus.AUTH_REQUIRED, reason, now_ms)
        elif login:
            self._set(FeedStatus.AUTH_REQUIRED, login, now_ms)
        else:
            was_stale = self.status is FeedStatus.STALE
            kept = self.reason if was_stale else "connecting"
            self._set(FeedStatus.STALE, reason or kept, now_ms)

    def close(self, now_ms: int) -> None:
        """Note that the pool was closed."""
        self._set(FeedStatus.CLOSED, CLOSED_REASON, now_ms)

    def _set(self, status: FeedStatus, reason: str, now_ms: int) -> None:
        if status is not self.status:
            self.since_ms = now_ms
        self.status, self.reason = status, reason


def _blemishes(down: int, waiting: int) -> str:
    found = [f"{_are(down, 'connection')} not live"] if down else []
    if waiting:
        found.append(f"{_are(waiting, 'symbol')} {WAITING_FOR_ROOM}")
    return "; ".join(found)


def _are(number: int, noun: str) -> str:
    return f"1 {noun} is" if number == 1 else f"{number} {noun}s are"
