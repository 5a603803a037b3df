"""Moves of what connections carry: away from one that is replaced, merged with another, or dead.

Pure. Moves are make-before-break: what moves is carried on both connections until the new one has
confirmed it, wherever a place for both exists.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from brokers.types import InstrumentKey
from pooling.exceptions import PoolCapacityError
from pooling.subscriptions.allocator import Allocator
from pooling.subscriptions.rebalancer import MAX_MISSES, Mover
from pooling.subscriptions.upkeep import ConnectionView, Task, Upkeep, find_merge

__all__ = ["Drained", "Moves"]


class Drained(NamedTuple):
    """Outcome of draining a connection: how many it carried, and how many have to stay."""

    carried: int
    staying: int


class Moves:
    """The book's moves between connections: a method for each task of ``Upkeep``, and for people.

    Not thread-safe: the pool holds its lock. Unknown connections are ignored.

    Args:
        allocator: the book's.
        mover: the book.
    """

    def __init__(self, *, allocator: Allocator, mover: Mover) -> None:
        self._allocator = allocator
        self._mover = mover
        self._warm = 0  # how many stay open with nothing to carry; under the pool's lock

    def review(
        self,
        upkeep: Upkeep,
        now: float,
        views: Sequence[ConnectionView],
        *,
        max_idle_seconds: float,
    ) -> list[Task]:
        """Return what is to be done now with the connections; see ``Upkeep.review``."""
        warm = [view.slot for view in views if self.is_warm(view.slot)]
        return upkeep.review(
            now, views, self._allocator, warm=warm, max_idle_seconds=max_idle_seconds
        )

    def is_warm(self, slot: int) -> bool:
        """Tell whether a connection is one of those kept open with nothing to carry."""
        staying = (s.number for s in self._allocator.slots.values() if not s.is_ending)
        return slot in islice(staying, self._warm)

    def keep_warm(self, count: int) -> None:
        """Keep so many connections open from now on, or as many as there may be."""
        self._warm = min(count, self._allocator.limits.max_connections)
        while len(self._allocator.slots) < self._warm and self._allocator.may_open:
            self._mover.perform(self._allocator.open())

    def close_idle(self, slot: int) -> None:
        """Close a connection that carries nothing."""
        self._mover.perform(self._allocator.close(slot))

    def retire(self, slot: int) -> None:
        """Have a connection replaced: everything on it moves, and it closes once it is empty."""
        self._mover.perform(self._allocator.retire(slot))
        if slot in self._allocator.slots:
            self._vacate(slot)

    def reinstate(self, slot: int) -> None:
        """Take ``retire`` back, for a connection that could not be emptied."""
        self._mover.perform(self._allocator.retire(slot, is_retiring=False))
        self._mover.refill(is_room_freed=True)

    def drain(self, slot: int) -> Drained:
        """Retire a known connection, unless nothing of what it carries finds room elsewhere."""
        carried = len(self._allocator.slots[slot].items)
        self.retire(slot)
        left = self._allocator.slots.get(slot)
        staying = 0 if left is None else len(left.items) - len(left.leaving)
        if staying and staying == carried:
            self.reinstate(slot)
        return Drained(carried, staying)

    def merge(self, source: int, target: int) -> int:
        """Move what one connection carries to another; returns how many move."""
        return self._vacate(source, (target,))

    def rebalance(self, views: Iterable[ConnectionView]) -> tuple[int, int]:
        """Merge live connections as far as they fit; returns how many are emptied, and moves."""
        known = {view.slot: view for view in views if view.slot in self._allocator.slots}
        merged = moving = 0
        while (merge := find_merge(known, self._allocator, (), fill=1.0)) is not None:
            moving += self.merge(merge.source, merge.target)
            merged += 1
            del known[merge.source]
        return merged, moving

    def evacuate(self, slot: int, among: Collection[int]) -> int:
        """Move what a dead connection should carry to live ones; returns how many moved.

        There is nothing to break there, so the old place is given up at once.
        """
        self._allocator.mark_failing(slot, is_failing=True)
        moved = misses = 0
        for key, was_moving in self._staying(slot):
            if self._try_move(key, among):
                moved += 1
                if not was_moving:
                    self._mover.perform(self._allocator.settle(key))
            elif (misses := misses + 1) == MAX_MISSES:
                break
        self._mover.refill()
        return moved

    def readmit(self, slot: int) -> None:
        """Note that a connection that was dead is back."""
        self._allocator.mark_failing(slot, is_failing=False)

    def settle(self, keys: Iterable[InstrumentKey]) -> None:
        """Finish moves whose new connection has had its time to speak, if it was asked by now.

        What moved to another token has no price until that one speaks. What the new connection may
        have been refused stays where it is until it was asked for once more.
        """
        for key in keys:
            slot = self._allocator.slot_of(key)
            if slot is None:
                continue
            wish = self._allocator.items_on(slot)[key].subscription
            reconciler = self._mover.reconciler(slot)
            is_safe = self._allocator.carries_former(key) or not reconciler.is_doubted(key)
            if reconciler.is_asked(key, wish) and is_safe:
                self._mover.perform(self._allocator.settle(key))
        self._mover.refill()

    def _vacate(self, number: int, among: Collection[int] | None = None) -> int:
        """Move a connection's subscriptions elsewhere, make-before-break; returns how many move.

        None goes where a socket has been away for long: here it is carried, there it would not be.
        """
        return sum(self._try_move(key, among, may_fail=False) for key, _ in self._staying(number))

    def _staying(self, number: int) -> list[tuple[InstrumentKey, bool]]:
        slot, moving = self._allocator.slots.get(number), self._allocator.moving
        if slot is None:
            return []  # closed by what was done just before
        return [(key, key in moving) for key in slot.items if key not in slot.leaving]

    def _try_move(
        self, key: InstrumentKey, among: Collection[int] | None, *, may_fail: bool = True
    ) -> bool:
        try:
            self._mover.perform(self._allocator.move(key, among=among, may_fail=may_fail))
        except PoolCapacityError:
            return False
        return True
