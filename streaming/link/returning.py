"""Pools that came back, and whose clients' wants are on their way to being live again. Pure.

A worker that was started again, a pool that was opened again or that another worker took over,
and a gateway that was held up: each time what clients hold is wanted again, and their prices are of
before until it ticks. A pool is as stale as that, whatever its worker says of it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from brokers.pool_service import FeedChange, FeedStatus, Outcome, OutcomeState
from brokers.types import InstrumentKey
from streaming.ports.link import TickMessage
from streaming.wire.topics import tick_topic

__all__ = ["Returns"]


class _Return:
    """The prices that are still waited for in one pool."""

    def __init__(self, waiting: Mapping[bytes, InstrumentKey]) -> None:
        self.waiting = dict(waiting)  # by topic: has had no price since
        self.done: dict[bytes, InstrumentKey] = {}  # has had one
        self.acked: set[bytes] = set()  # of these: the broker has confirmed them
        self.live: FeedChange | None = None  # the worker's word that has not been passed on
        self.live_at = 0.0  # when it came
        self.is_told = False  # clients heard that the pool is live; stragglers are told by name
        self.fresh: list[InstrumentKey] = []  # stragglers to be told


class Returns:
    """Holds back that a pool is live until what is wanted of it here has a price.

    A price is a tick, or a snapshot for which the worker vouches. What the broker confirmed and
    does not tick is taken for live ``settle_seconds`` after the worker's word, and what is not even
    confirmed ``give_up_seconds`` after it is told to be stale, by name, beside the others.

    Args:
        now_ms: wall clock, for the moments that are told.
    """

    def __init__(
        self,
        *,
        now_ms: Callable[[], int],
        settle_seconds: float = 3.0,
        give_up_seconds: float = 10.0,
    ) -> None:
        if not 0 <= settle_seconds <= give_up_seconds:
            raise ValueError("settle_seconds must be at most give_up_seconds")
        self._now_ms = now_ms
        self._settle_seconds = settle_seconds
        self._give_up_seconds = give_up_seconds
        self._pools: dict[str, _Return] = {}  # those that are waited for
        self._pool_of: dict[bytes, str] = {}  # the topics that are waited for

    def __bool__(self) -> bool:
        return bool(self._pools)

    def begin(self, pool_id: str, topics: Mapping[bytes, InstrumentKey]) -> None:
        """Wait for these topics of a pool; with none there is nothing to hold back."""
        self.end(pool_id)
        if topics:
            self._pools[pool_id] = _Return(topics)
            self._pool_of.update(dict.fromkeys(topics, pool_id))

    def end(self, pool_id: str) -> None:
        """Wait for nothing of a pool any more: nobody answers for it."""
        known = self._pools.pop(pool_id, None)
        if known is not None:
            for topic in known.waiting:
                self._pool_of.pop(topic, None)

    def holds(self, pool_id: str) -> bool:
        """Tell whether clients must not take the pool for live, whatever its worker says."""
        known = self._pools.get(pool_id)
        return known is not None and not known.is_told

    def passes(self, change: FeedChange, now: float) -> bool:
        """Note what a worker says; True when clients may hear it now."""
        known = self._pools.get(change.pool_id)
        if known is None:
            return True
        is_live = change.status is FeedStatus.LIVE
        if change.keys is not None:
            self._note_named(known, change.pool_id, change.keys, is_live=is_live)
            return True
        if known.is_told:
            return True
        if not is_live:
            known.live = None
            return True
        if known.live is None:
            known.live_at = now
        known.live = change
        return False

    def _note_named(
        self, known: _Return, pool_id: str, keys: Sequence[InstrumentKey], *, is_live: bool
    ) -> None:
        topics = [tick_topic(pool_id, key) for key in keys]
        if is_live:
            for topic in topics:
                self._arrive(topic)
            known.fresh.clear()  # the worker has just said so itself
        elif not known.is_told:
            # What ticked already and fell silent again must not become live with the pool.
            again = {topic: known.done.pop(topic) for topic in topics if topic in known.done}
            known.waiting.update(again)
            known.acked.difference_update(topics)
            self._pool_of.update(dict.fromkeys(again, pool_id))

    def ticked(self, messages: Iterable[TickMessage]) -> None:
        """Note ticks."""
        for message in messages:
            if message.topic in self._pool_of:
                self._arrive(message.topic)

    def priced(self, topics: Iterable[bytes]) -> None:
        """Note topics whose last value the worker vouches for."""
        for topic in topics:
            self._arrive(topic)

    def settle(self, pool_id: str, outcomes: Iterable[Outcome]) -> None:
        """Note what became of wants: confirmed ones may tick soon, for others nothing comes."""
        known = self._pools.get(pool_id)
        if known is None:
            return
        for outcome in outcomes:
            topic = tick_topic(pool_id, outcome.key)
            if outcome.state is OutcomeState.ACTIVE:
                known.acked.add(topic)
                if known.is_told:
                    self._arrive(topic)
            elif outcome.state is OutcomeState.REFUSED or outcome.code is not None:
                self._strike(topic)

    def release(self, topics: Iterable[bytes]) -> None:
        """Note that nobody here wants these any more."""
        for topic in topics:
            self._strike(topic)
            for known in self._pools.values():
                known.done.pop(topic, None)

    def due(self, now: float) -> list[FeedChange]:
        """Return what clients are to be told by now, in its order."""
        changes: list[FeedChange] = []
        for pool_id, known in list(self._pools.items()):
            if not known.is_told and known.live is not None and self._is_over(known, now):
                changes += self._tell(pool_id, known, known.live)
            if known.fresh:
                keys, known.fresh = tuple(known.fresh), []
                changes.append(
                    FeedChange(
                        pool_id, FeedStatus.LIVE, self._now_ms(), "prices arrive again", keys
                    )
                )
            if not known.waiting and (known.is_told or known.live is None):
                del self._pools[pool_id]
        return changes

    def _is_over(self, known: _Return, now: float) -> bool:
        seconds = now - known.live_at
        if not known.waiting or seconds >= self._give_up_seconds:
            return True
        return seconds >= self._settle_seconds and known.acked.issuperset(known.waiting)

    def _tell(self, pool_id: str, known: _Return, live: FeedChange) -> list[FeedChange]:
        known.is_told = True
        for topic in known.acked.intersection(known.waiting):
            self._strike(topic)
        now_ms = self._now_ms()
        changes = [msgspec.structs.replace(live, since_ms=now_ms, reason="prices arrive again")]
        if known.waiting:
            keys = tuple(known.waiting.values())
            reason = "waiting for the first price"
            changes.append(FeedChange(pool_id, FeedStatus.STALE, now_ms, reason, keys))
        return changes

    def _arrive(self, topic: bytes) -> None:
        pool_id = self._pool_of.get(topic)
        if pool_id is not None:
            known = self._pools[pool_id]
            known.done[topic] = known.waiting[topic]
            if known.is_told:
                known.fresh.append(known.waiting[topic])
            self._strike(topic)

    def _strike(self, topic: bytes) -> None:
        pool_id = self._pool_of.pop(topic, None)
        if pool_id is not None:
            self._pools[pool_id].waiting.pop(topic, None)
