"""Events for a pool's listeners, gathered so that thousands of symbols cost a few of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from brokers.pool_service import FeedChange, FeedEvent, FeedStatus, Outcome, SubscriptionChange
from brokers.types import InstrumentKey
from pooling.clock import Clock

__all__ = ["FeedAnnouncer"]

LIVE_DELAY_SECONDS = 0.1


class FeedAnnouncer:
    """Emits a pool's events in an order that is never more hopeful than the truth.

    Bad news goes out at once. Instruments that are live again are gathered for 100 ms, outcomes for
    one turn of the loop. Used on the worker's loop only.

    Args:
        pool_id: whose events they are.
        clock: stamps them.
        emit: takes each event; must not raise.
    """

    def __init__(self, *, pool_id: str, clock: Clock, emit: Callable[[FeedEvent], None]) -> None:
        self._pool_id = pool_id
        self._clock = clock
        self._emit = emit
        # Gathered and not told yet, with the timers that tell them: loop only.
        self._live: dict[InstrumentKey, None] = {}
        self._live_timer: asyncio.TimerHandle | None = None
        self._outcomes: list[Outcome] = []
        self._outcomes_timer: asyncio.Handle | None = None

    def stale(self, keys: Sequence[InstrumentKey], reason: str) -> None:
        """Tell at once that prices of ``keys`` are not to be trusted any more."""
        for key in keys:
            self._live.pop(key, None)
        if keys:
            self._change(FeedStatus.STALE, reason, keys)

    def live(self, keys: Iterable[InstrumentKey]) -> None:
        """Tell soon that ``keys`` have fresh prices again."""
        self._live.update(dict.fromkeys(keys))
        if self._live and self._live_timer is None:
            loop = asyncio.get_running_loop()
            self._live_timer = loop.call_later(LIVE_DELAY_SECONDS, self._flush_live)

    def withdraw(self, keys: Iterable[InstrumentKey]) -> list[InstrumentKey]:
        """Tell no more that these of ``keys`` are live; returns those that were to be told."""
        found = [key for key in dict.fromkeys(keys) if key in self._live]
        for key in found:
            del self._live[key]
        return found

    def auth_required(self, keys: Sequence[InstrumentKey] | None, reason: str) -> None:
        """Tell at once that only a new credential brings ``keys`` (None: everything) back."""
        self._change(FeedStatus.AUTH_REQUIRED, reason, keys)

    def pool(self, status: FeedStatus, reason: str) -> None:
        """Tell at once how the pool as a whole is."""
        self._change(status, reason, None)

    def outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Tell at the end of this turn of the loop what became of pending wants."""
        self._outcomes.extend(outcomes)
        if self._outcomes and self._outcomes_timer is None:
            loop = asyncio.get_running_loop()
            self._outcomes_timer = loop.call_soon(self._flush_outcomes)

    def event(self, event: FeedEvent) -> None:
        """Tell something that is neither gathered nor ordered."""
        self._emit(event)

    def close(self) -> None:
        """Tell what is gathered and stop the timers."""
        self._flush_outcomes()
        self._flush_live()

    def _change(
        self, status: FeedStatus, reason: str, keys: Sequence[InstrumentKey] | None
    ) -> None:
        self._emit(FeedChange(self._pool_id, status, self._clock.time_ms(), reason, keys))

    def _flush_live(self) -> None:
        if self._live_timer is not None:
            self._live_timer.cancel()
            self._live_timer = None
        if self._live:
            keys, self._live = tuple(self._live), {}
            self._change(FeedStatus.LIVE, "prices arrive again", keys)

    def _flush_outcomes(self) -> None:
        if self._outcomes_timer is not None:
            self._outcomes_timer.cancel()
            self._outcomes_timer = None
        if self._outcomes:
            outcomes, self._outcomes = tuple(self._outcomes), []
            self._emit(SubscriptionChange(self._pool_id, outcomes))
