"""Places that limits take from subscriptions, and those who wait for one. Pure.

Three rules. What is kept never stops before its new connection carries it, wherever a place for
both exists. What no longer fits is named newest first, and *waits*: its holders keep it, and it is
placed again, oldest first, as soon as there is room. What lingers unheld goes before anything held.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import reduce
from typing import Protocol

from brokers.pool_service import Outcome, RefusalCode
from brokers.types import Instrument, InstrumentKey, Subscription
from pooling.exceptions import PoolCapacityError
from pooling.subscriptions.allocator import Allocator
from pooling.subscriptions.capacity import Load
from pooling.subscriptions.plan import Plan
from pooling.subscriptions.reconciler import Reconciler
from pooling.subscriptions.tracker import Level, Tracker

__all__ = ["Mover", "Rebalancer"]

MAX_MISSES = 32  # how many that do not fit are tried before the rest is left for the next time


class Mover(Protocol):
    """The book, as its rebalancer and its moves see it."""

    def perform(self, plan: Plan) -> None:
        """Take note of a plan."""

    def place(self, instrument: Instrument, level: Level, *, keeps_former: bool = False) -> None:
        """Place an instrument, at the cost of what only lingers. Raises PoolCapacityError."""

    def displaced(self, key: InstrumentKey, error: PoolCapacityError) -> None:
        """Take note that a held instrument lost its place."""

    def replaced(self, key: InstrumentKey) -> None:
        """Take note that an instrument that waited has a place again."""

    def dropped(self, key: InstrumentKey) -> None:
        """Take note that an instrument that only lingered is wanted no more."""

    def refill(self, *, is_room_freed: bool = False) -> None:
        """Place what waits, if anything was freed since the last time."""

    def reconciler(self, slot: int) -> Reconciler:
        """Return what a connection's socket carries."""

    def record(self, plan: Plan) -> None:
        """Take note of a plan that ends nothing of an earlier token unheard; see ``perform``."""

    def expel(
        self, keys: Iterable[InstrumentKey], code: RefusalCode, message: str
    ) -> list[Outcome]:
        """Take instruments from all their holders; returns the wants that end by it."""

    def carried(self) -> list[tuple[int, Subscription]]:
        """Return everything that may tick, with its connection."""

    def changed(self, slot: int) -> None:
        """Take note that there is something to send on a connection."""


class Rebalancer:
    """The list of those who wait. Not thread-safe: the pool holds its lock."""

    def __init__(self, *, allocator: Allocator, tracker: Tracker, mover: Mover) -> None:
        self._allocator = allocator
        self._tracker = tracker
        self._mover = mover
        # Held and without a place; under the pool's lock.
        self._waiting: dict[InstrumentKey, None] = {}

    @property
    def waiting(self) -> Collection[InstrumentKey]:
        """The instruments that are held and have no place."""
        return self._waiting.keys()

    def forget(self, key: InstrumentKey) -> None:
        """Note that an instrument waits no longer: it was placed, or nobody wants it."""
        self._waiting.pop(key, None)

    def wait(self, key: InstrumentKey) -> None:
        """Have an instrument wait that is held and was not placed."""
        self._waiting[key] = None

    def give_up(self, key: InstrumentKey, error: PoolCapacityError) -> None:
        """Have an instrument wait that fits nowhere any more."""
        self.wait(key)
        self._mover.displaced(key, error)

    def fit(self) -> None:
        """Bring everything within the limits, after they were lowered."""
        ranks = {key: rank for rank, key in enumerate(self._tracker)}
        self._shed(ranks)
        newest = list(ranks)
        for key in self._allocator.misplaced(ranks):
            while self._allocator.is_misplaced(key):
                try:
                    self._mover.perform(self._allocator.move(key))
                except PoolCapacityError as error:
                    self._give_up_one(newest, error)
                else:
                    break

    def _shed(self, ranks: Mapping[InstrumentKey, int]) -> None:
        """Give up what is beyond limits that all connections share: lingers, then the newest."""
        if not self._surplus(ranks):
            return
        while (lingering := self._tracker.evict_unheld()) is not None:
            self._mover.dropped(lingering)
        for key in self._surplus(ranks):
            self._waiting[key] = None
            self._mover.displaced(key, self._allocator.no_room())

    def _surplus(self, ranks: Mapping[InstrumentKey, int]) -> list[InstrumentKey]:
        """Return what all connections together carry beyond shared limits, the newest first."""
        slots, limits = self._allocator.slots.values(), self._allocator.limits
        total = reduce(Load.plus, (slot.staying for slot in slots), Load())
        if not limits.exceeded_together(total):
            return []
        charges = {
            key: placement.charge
            for slot in slots
            for key, placement in slot.items.items()
            if key not in slot.leaving
        }
        found: list[InstrumentKey] = []
        for key in sorted(charges, key=ranks.__getitem__, reverse=True):
            exceeded = limits.exceeded_together(total)
            if charges[key].category in exceeded:
                total.remove(charges[key])
                found.append(key)
            elif not exceeded:
                break
        return found

    def place_waiting(self) -> None:
        """Place what waits, as far as there is room."""
        if not (self._allocator.has_room or self._tracker.has_unheld):
            return
        misses = 0
        for key in sorted(self._waiting, key=self._tracker.age_of):
            interest = self._tracker.get(key)
            if interest is None or not interest.holders:
                continue
            try:
                self._mover.place(interest.instrument, interest.upstream)
            except PoolCapacityError:
                misses += 1
                if misses >= MAX_MISSES:
                    return
            else:
                self.forget(key)
                self._mover.replaced(key)

    def _give_up_one(self, newest: list[InstrumentKey], error: PoolCapacityError) -> None:
        lingering = self._tracker.evict_unheld()
        if lingering is not None:
            self._mover.dropped(lingering)
            return
        while self._allocator.slot_of(newest[-1]) is None:
            newest.pop()
        self.give_up(newest.pop(), error)
