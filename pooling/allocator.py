"""Which connection carries which subscription. Pure: a request in, a plan out.

The allocator only does arithmetic on costs. It fills the first connection with room, opens a
further one when all are full, and otherwise refuses with the numbers. Its own book is updated when
it returns a plan; whoever performs the plan reports back only what the broker did not accept
(``unassign``). A request that is already in force yields an empty plan, so nothing is done twice.

Every operation costs the same however many symbols there are: room is kept as a sorted list of
connection numbers (a handful), never found by looking through symbols.

Lowered limits bind new placements at once and leave existing ones where they are.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription
from pooling.exceptions import PoolCapacityError

__all__ = [
    "Allocator",
    "ChangeMode",
    "CloseConnection",
    "Cost",
    "Limits",
    "OpenConnection",
    "Placement",
    "Plan",
    "Slot",
    "Step",
    "Subscribe",
    "Unsubscribe",
]

Cost = Callable[[Instrument, FeedMode], int]


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections, and how much cost each may carry."""

    max_connections: int
    symbols_per_connection: int

    def __post_init__(self) -> None:
        if self.max_connections < 1 or self.symbols_per_connection < 1:
            raise ValueError("limits must be at least 1")

    @property
    def capacity(self) -> int:
        """What all connections together may carry."""
        return self.max_connections * self.symbols_per_connection


class OpenConnection(NamedTuple):
    """A further connection is needed; it has not been assigned anything yet."""

    slot: int


class Subscribe(NamedTuple):
    """The connection shall carry the subscription."""

    slot: int
    subscription: Subscription


class Unsubscribe(NamedTuple):
    """The connection shall carry the subscription no longer."""

    slot: int
    subscription: Subscription


class ChangeMode(NamedTuple):
    """The connection shall carry the instrument at another mode, without a gap."""

    slot: int
    old: Subscription
    new: Subscription


class CloseConnection(NamedTuple):
    """The connection carries nothing and is beyond the limit."""

    slot: int


Step = OpenConnection | Subscribe | Unsubscribe | ChangeMode | CloseConnection
Plan = tuple[Step, ...]


class Placement(NamedTuple):
    """A subscription on a connection and what it costs there."""

    subscription: Subscription
    cost: int


class Slot:
    """One connection as the allocator sees it: what it carries and how much of it is used."""

    __slots__ = ("is_surplus", "items", "number", "used")

    def __init__(self, number: int) -> None:
        self.number = number
        self.used = 0
        self.items: dict[InstrumentKey, Placement] = {}
        self.is_surplus = False

    def __repr__(self) -> str:
        return f"<Slot {self.number}: {len(self.items)} subscriptions, {self.used} used>"


class Allocator:
    """Places subscriptions on numbered slots. Not thread-safe: its owner holds the lock.

    Args:
        limits: the smaller of the user's and the broker's.
        cost: what (instrument, mode) takes of a connection's capacity; at least 1.
    """

    def __init__(self, *, limits: Limits, cost: Cost) -> None:
        self.limits = limits
        self._cost = cost
        self._slots: dict[int, Slot] = {}
        self._placed: dict[InstrumentKey, Slot] = {}
        self._moving_from: dict[InstrumentKey, Slot] = {}
        self._roomy: list[int] = []
        self._used = 0

    @property
    def slots(self) -> Mapping[int, Slot]:
        """The slots that exist, by number."""
        return self._slots

    @property
    def used(self) -> int:
        """Cost of everything placed."""
        return self._used

    @property
    def symbols(self) -> int:
        """Number of instruments placed."""
        return len(self._placed)

    def slot_of(self, key: InstrumentKey) -> int | None:
        """Return which slot carries ``key``: the one it moves to while it moves."""
        slot = self._placed.get(key)
        return None if slot is None else slot.number

    def carrier_of(self, key: InstrumentKey) -> int | None:
        """Return which slot's ticks count for ``key``: the one it moves from while it moves."""
        slot = self._moving_from.get(key) or self._placed.get(key)
        return None if slot is None else slot.number

    def assign(self, subscription: Subscription) -> Plan:
        """Place a subscription, or change the mode of a placed one.

        A dearer mode that no longer fits on its connection moves: the old connection keeps the
        instrument until ``settle`` says that the new one carries it.

        Raises:
            PoolCapacityError: it fits nowhere; what was placed before stays as it was.
        """
        instrument = subscription.instrument
        slot = self._placed.get(instrument.key)
        if slot is not None and slot.items[instrument.key].subscription == subscription:
            return ()
        cost = self._cost(instrument, subscription.mode)
        if slot is not None:
            return self._reassign(slot, subscription, cost)
        slot, opened = self._find_or_open(cost)
        self._put(slot, subscription, cost)
        return (*opened, Subscribe(slot.number, subscription))

    def unassign(self, key: InstrumentKey) -> Plan:
        """Take an instrument off the connections. Unknown ones yield an empty plan."""
        plan = self.settle(key)
        slot = self._placed.pop(key, None)
        return plan if slot is None else plan + self._take(slot, key)

    def settle(self, key: InstrumentKey) -> Plan:
        """Finish the move of an instrument: its old connection may let go of it."""
        slot = self._moving_from.pop(key, None)
        return () if slot is None else self._take(slot, key)

    def resize(self, limits: Limits) -> Plan:
        """Take over new limits; returns the empty connections beyond them to close."""
        self.limits = limits
        for rank, number in enumerate(sorted(self._slots)):
            self._slots[number].is_surplus = rank >= limits.max_connections
        self._roomy = sorted(n for n, slot in self._slots.items() if self._free(slot) > 0)
        surplus = [slot for slot in self._slots.values() if slot.is_surplus and not slot.items]
        return tuple(self._close(slot) for slot in surplus)

    def _reassign(self, slot: Slot, subscription: Subscription, cost: int) -> Plan:
        key = subscription.instrument.key
        old = slot.items[key]
        more = cost - old.cost
        if more <= max(self._free(slot), 0):
            slot.items[key] = Placement(subscription, cost)
            self._add_used(slot, more)
            return (ChangeMode(slot.number, old.subscription, subscription),)
        target, opened = self._find_or_open(cost)
        settled = self.settle(key)
        self._moving_from[key] = slot
        self._put(target, subscription, cost)
        return (*settled, *opened, Subscribe(target.number, subscription))

    def _find_or_open(self, cost: int) -> tuple[Slot, Plan]:
        for number in self._roomy:
            slot = self._slots[number]
            if self._free(slot) >= cost:
                return slot, ()
        limits = self.limits
        if len(self._slots) >= limits.max_connections or cost > limits.symbols_per_connection:
            raise PoolCapacityError(
                connections=len(self._slots),
                max_connections=limits.max_connections,
                symbols_per_connection=limits.symbols_per_connection,
                used=self._used,
                capacity=limits.capacity,
            )
        number = next(n for n in range(1, len(self._slots) + 2) if n not in self._slots)
        slot = self._slots[number] = Slot(number)
        insort(self._roomy, number)
        return slot, (OpenConnection(number),)

    def _free(self, slot: Slot) -> int:
        return 0 if slot.is_surplus else self.limits.symbols_per_connection - slot.used

    def _put(self, slot: Slot, subscription: Subscription, cost: int) -> None:
        key = subscription.instrument.key
        slot.items[key] = Placement(subscription, cost)
        self._placed[key] = slot
        self._add_used(slot, cost)

    def _take(self, slot: Slot, key: InstrumentKey) -> Plan:
        gone = slot.items.pop(key)
        self._add_used(slot, -gone.cost)
        step = Unsubscribe(slot.number, gone.subscription)
        if slot.is_surplus and not slot.items:
            return (step, self._close(slot))
        return (step,)

    def _close(self, slot: Slot) -> Step:
        del self._slots[slot.number]
        self._note_room(slot, has_room=False)
        return CloseConnection(slot.number)

    def _add_used(self, slot: Slot, cost: int) -> None:
        slot.used += cost
        self._used += cost
        self._note_room(slot, has_room=self._free(slot) > 0)

    def _note_room(self, slot: Slot, *, has_room: bool) -> None:
        at = bisect_left(self._roomy, slot.number)
        is_listed = at < len(self._roomy) and self._roomy[at] == slot.number
        if has_room and not is_listed:
            self._roomy.insert(at, slot.number)
        elif is_listed and not has_room:
            del self._roomy[at]
