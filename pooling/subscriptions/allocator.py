"""Allocation of subscriptions to connections. Pure: a request in, a plan out.

The allocator only does arithmetic on costs. It fills the first connection with room, opens a
further one when all are full, and otherwise refuses with the numbers. Its own book is updated when
it returns a plan; whoever performs the plan reports back only what the broker did not accept
(``unassign``). A request that is already in force yields an empty plan, so nothing is done twice.

Every operation costs the same however many symbols there are: room is kept as a sorted list of
connection numbers (a handful), never found by looking through symbols.

Moves are make-before-break: a moving instrument is carried, and counted, on both connections until
``settle``. Lowered limits bind new placements at once; ``misplaced`` names what has to move.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Mapping, Sequence

from brokers.types import InstrumentKey, Subscription
from pooling.exceptions import PoolCapacityError
from pooling.subscriptions.capacity import Category, Charge, Cost, Limits, Load
from pooling.subscriptions.plan import (
    ChangeMode,
    CloseConnection,
    OpenConnection,
    Placement,
    Plan,
    Slot,
    Step,
    Subscribe,
    Unsubscribe,
)

__all__ = ["Allocator"]


class Allocator:
    """Places subscriptions on numbered slots. Not thread-safe: its owner holds the lock.

    Args:
        limits: the user's under the broker's.
        cost: how many units (instrument, mode) takes; at least 1.
        category: which of the limits' categories a subscription is of; None: of none.
    """

    def __init__(self, *, limits: Limits, cost: Cost, category: Category | None = None) -> None:
        self.limits = limits  # in force; ``resize`` replaces them. All of it under the pool's lock
        self._cost = cost
        self._category = category
        self._slots: dict[int, Slot] = {}  # in the order in which they were opened
        # Where each instrument is to be carried, and what carries it until it has moved there.
        self._placed: dict[InstrumentKey, Slot] = {}
        self._moving_from: dict[InstrumentKey, Slot] = {}
        self._roomy: list[int] = []  # the numbers of slots that may take more, sorted
        self._load = Load()  # of all slots together

    def emptied(self, limits: Limits) -> Allocator:
        """Return one that counts in the same way, carries nothing and has these limits."""
        return Allocator(limits=limits, cost=self._cost, category=self._category)

    @property
    def slots(self) -> Mapping[int, Slot]:
        """The slots that exist, by number, the oldest first."""
        return self._slots

    @property
    def used(self) -> int:
        """Units of everything placed."""
        return self._load.units

    @property
    def symbols(self) -> int:
        """Number of instruments placed."""
        return len(self._placed)

    @property
    def moving(self) -> Collection[InstrumentKey]:
        """The instruments that are carried on two connections until ``settle``."""
        return self._moving_from.keys()

    @property
    def may_open(self) -> bool:
        """Whether a further connection may be opened."""
        return len(self._slots) < self.limits.max_connections

    @property
    def has_room(self) -> bool:
        """Whether anything at all may fit somewhere."""
        return bool(self._roomy) or self.may_open

    def items_on(self, number: int) -> Mapping[InstrumentKey, Placement]:
        """Return what a connection is to carry; of an unknown one, nothing."""
        slot = self._slots.get(number)
        return {} if slot is None else slot.items

    def fading_on(self, number: int) -> Mapping[InstrumentKey, Placement]:
        """Return what a connection carries under earlier tokens for as long as it has to."""
        slot = self._slots.get(number)
        return {} if slot is None else slot.fading

    def has_room_on(self, number: int) -> bool:
        """Whether a connection may be given anything at all."""
        return self._has_room(self._slots[number])

    def slot_of(self, key: InstrumentKey) -> int | None:
        """Return which slot carries ``key``: the one it moves to while it moves."""
        slot = self._placed.get(key)
        return None if slot is None else slot.number

    def carrier_of(self, key: InstrumentKey) -> int | None:
        """Return which slot's ticks count for ``key``: the one it moves from while it moves."""
        slot = self._moving_from.get(key) or self._placed.get(key)
        return None if slot is None else slot.number

    def assign(self, subscription: Subscription, *, keeps_former: bool = False) -> Plan:
        """Place a subscription, or change the mode or the token of a placed one.

        A dearer mode that no longer fits on its connection moves: the old connection keeps the
        instrument until ``settle`` says that the new one carries it. With ``keeps_former`` so does
        the subscription of an earlier token, beside the new one if both fit (``carries_former``).

        Raises:
            PoolCapacityError: it fits nowhere; what was placed before stays as it was.
        """
        instrument = subscription.instrument
        slot = self._placed.get(instrument.key)
        if slot is not None and slot.items[instrument.key].subscription == subscription:
            return ()
        category = "" if self._category is None else self._category(subscription)
        charge = Charge(self._cost(instrument, subscription.mode), category)
        placement = Placement(subscription, charge)
        if slot is not None:
            return self._reassign(slot, placement, keeps_former=keeps_former)
        slot, opened = self._find_or_open(charge, may_retire=True)
        self._put(slot, placement)
        return (*opened, Subscribe(slot.number, subscription))

    def unassign(self, key: InstrumentKey) -> Plan:
        """Take an instrument off the connections. Unknown ones yield an empty plan."""
        plan = self.settle(key)
        slot = self._placed.pop(key, None)
        return plan if slot is None else plan + self._take(slot, key)

    def settle(self, key: InstrumentKey) -> Plan:
        """Finish the move of an instrument: its old connection may let go of it."""
        slot = self._moving_from.pop(key, None)
        if slot is not None and (former := slot.fading.pop(key, None)) is not None:
            self._recharge(slot, remove=former.charge)
            return (Unsubscribe(slot.number, former.subscription),)
        return () if slot is None else self._take(slot, key)

    def carries_former(self, key: InstrumentKey) -> bool:
        """Tell whether an instrument's earlier token is carried beside its present one."""
        slot = self._moving_from.get(key)
        return slot is not None and slot is self._placed[key]

    def move(
        self,
        key: InstrumentKey,
        *,
        among: Collection[int] | None = None,
        may_fail: bool = True,
    ) -> Plan:
        """Have another connection carry a placed instrument; the present one keeps it meanwhile.

        One that moves already keeps its first carrier and gets another destination.

        Args:
            key: what moves.
            among: the slots it may move to; None: any, and a further connection may be opened.
            may_fail: whether one whose socket has been away for long will do, if no other does.

        Raises:
            PoolCapacityError: it fits nowhere else; everything stays as it was.
        """
        slot = self._placed[key]
        return self._redirect(slot, slot.items[key], among, may_fail=may_fail)

    def revert(self, key: InstrumentKey) -> Plan:
        """End the move of an instrument where it began: its new connection does not carry it."""
        origin = self._moving_from.pop(key, None)
        if origin is None:
            return ()
        plan = self._take(self._placed[key], key)
        self._placed[key] = origin
        del origin.leaving[key]
        origin.staying.add(origin.items[key].charge)
        return plan

    def resize(self, limits: Limits) -> Plan:
        """Take over new limits; returns the empty connections beyond them to close.

        The newest connections are the ones beyond.
        """
        self.limits = limits
        for rank, slot in enumerate(self._slots.values()):
            slot.is_surplus = rank >= limits.max_connections
        self._roomy = sorted(n for n, slot in self._slots.items() if self._has_room(slot))
        return self._close_ended()

    def misplaced(self, rank: Mapping[InstrumentKey, int]) -> list[InstrumentKey]:
        """Return what the limits want elsewhere, least rank first.

        That is everything on surplus connections, and of each connection that is beyond its limits
        what ranks highest there.
        """
        found: list[InstrumentKey] = []
        for slot in self._slots.values():
            staying = [key for key in slot.items if key not in slot.leaving]
            if slot.is_surplus:
                found += staying
                continue
            load = slot.staying.copy()
            for key in sorted(staying, key=rank.__getitem__, reverse=True):
                if self.limits.allow(load):
                    break
                load.remove(slot.items[key].charge)
                found.append(key)
        return sorted(found, key=rank.__getitem__)

    def is_misplaced(self, key: InstrumentKey) -> bool:
        """Tell whether something of the connection that carries ``key`` has to go elsewhere."""
        slot = self._placed.get(key)
        return slot is not None and (slot.is_surplus or not self.limits.allow(slot.staying))

    def open(self) -> Plan:
        """Open a connection that carries nothing yet; nothing when there may be no further one."""
        return self._open()[1] if self.may_open else ()

    def close(self, number: int) -> Plan:
        """Close a connection that carries nothing; one that does stays."""
        slot = self._slots.get(number)
        return () if slot is None or slot.items else (self._close(slot),)

    def retire(self, number: int, *, is_retiring: bool = True) -> Plan:
        """Have a connection take nothing new and close once it is empty, or take that back."""
        slot = self._slots.get(number)
        if slot is None:
            return ()
        slot.is_retiring = is_retiring
        self._note_room(slot)
        return self._close_ended()

    def mark_failing(self, number: int, *, is_failing: bool) -> None:
        """Note that a connection has been away for long, or is back."""
        if (slot := self._slots.get(number)) is not None:
            slot.is_failing = is_failing

    def _reassign(self, slot: Slot, new: Placement, *, keeps_former: bool) -> Plan:
        key = new.subscription.instrument.key
        old = slot.items[key]
        if keeps_former and key not in self._moving_from and self._fits_beside(slot, new.charge):
            slot.items[key], slot.fading[key] = new, old
            self._moving_from[key] = slot
            slot.staying.remove(old.charge)
            slot.staying.add(new.charge)
            self._recharge(slot, add=new.charge)
            return (Subscribe(slot.number, new.subscription),)
        is_dearer = (
            new.charge.units > old.charge.units or new.charge.category != old.charge.category
        )
        if not is_dearer or (
            not slot.is_ending
            and self.limits.fits(slot.load, new.charge, instead_of=old.charge)
            and self.limits.fit_together(self._load, new.charge, instead_of=old.charge)
        ):
            slot.items[key] = new
            slot.staying.remove(old.charge)
            slot.staying.add(new.charge)
            self._recharge(slot, remove=old.charge, add=new.charge)
            return (ChangeMode(slot.number, old.subscription, new.subscription),)
        return self._redirect(slot, new)

    def _fits_beside(self, slot: Slot, charge: Charge) -> bool:
        fits = self.limits.fits(slot.load, charge)
        return not slot.is_ending and fits and self.limits.fit_together(self._load, charge)

    def _redirect(
        self,
        slot: Slot,
        placement: Placement,
        among: Collection[int] | None = None,
        *,
        may_fail: bool = True,
    ) -> Plan:
        """Have another slot carry what is placed on ``slot``; its present carrier goes on."""
        key = placement.subscription.instrument.key
        origin = self._moving_from.get(key)
        target, opened = self._find_or_open(
            placement.charge, but=(slot, origin), among=among, may_fail=may_fail
        )
        if origin is slot:
            # Only the present token moves: nobody carries three of them.
            left, origin = self.settle(key), None
        else:
            left = () if origin is None else self._take(slot, key)
        if origin is None:
            self._start_leaving(slot, key)
        self._put(target, placement)
        return (*left, *opened, Subscribe(target.number, placement.subscription))

    def _find_or_open(
        self,
        charge: Charge,
        *,
        but: Sequence[Slot | None] = (),
        among: Collection[int] | None = None,
        may_retire: bool = False,
        may_fail: bool = True,
    ) -> tuple[Slot, Plan]:
        failing: Slot | None = None
        limits = self.limits
        if not limits.fit_together(self._load, charge):
            raise self.no_room(charge)
        for number in self._roomy:
            slot = self._slots[number]
            if slot in but or (among is not None and number not in among):
                continue
            if not limits.fits(slot.load, charge):
                continue
            if not slot.is_failing:
                return slot, ()
            failing = failing or slot
        if among is None and self.may_open and limits.fits(Load(), charge):
            return self._open()
        if failing is not None and may_fail:
            return failing, ()
        # Better on a connection that is about to be replaced than refused while there is room.
        retiring = self._retiring(charge) if may_retire else None
        if retiring is None:
            raise self.no_room(charge)
        return retiring, ()

    def _retiring(self, charge: Charge) -> Slot | None:
        for slot in self._slots.values():
            is_kept = slot.is_retiring and not slot.is_surplus
            if is_kept and self.limits.fits(slot.load, charge):
                return slot
        return None

    def no_room(self, charge: Charge | None = None) -> PoolCapacityError:
        """Return the refusal of what fits nowhere, with the numbers as they are now."""
        limits = self.limits
        kind = ""
        if charge is not None and charge.category in limits.categories:
            loads = (slot.load for slot in self._slots.values() if not slot.is_ending)
            if self.may_open or any(limits.has_places(load, charge) for load in loads):
                kind = charge.category
        return PoolCapacityError(
            connections=sum(not slot.is_surplus for slot in self._slots.values()),
            max_connections=limits.max_connections,
            symbols_per_connection=limits.symbols_per_connection,
            used=self.used,
            capacity=limits.capacity,
            kind=kind,
        )

    def _open(self) -> tuple[Slot, Plan]:
        number = next(n for n in range(1, len(self._slots) + 2) if n not in self._slots)
        slot = self._slots[number] = Slot(number)
        insort(self._roomy, number)
        return slot, (OpenConnection(number),)

    def _put(self, slot: Slot, placement: Placement) -> None:
        key = placement.subscription.instrument.key
        slot.items[key] = placement
        self._placed[key] = slot
        slot.staying.add(placement.charge)
        self._recharge(slot, add=placement.charge)

    def _start_leaving(self, slot: Slot, key: InstrumentKey) -> None:
        self._moving_from[key] = slot
        slot.leaving[key] = None
        slot.staying.remove(slot.items[key].charge)

    def _take(self, slot: Slot, key: InstrumentKey) -> Plan:
        gone = slot.items.pop(key)
        if key in slot.leaving:
            del slot.leaving[key]
        else:
            slot.staying.remove(gone.charge)
        self._recharge(slot, remove=gone.charge)
        step = Unsubscribe(slot.number, gone.subscription)
        if slot.is_ending and not slot.items:
            return (step, self._close(slot))
        return (step,)

    def _close_ended(self) -> Plan:
        ended = [slot for slot in self._slots.values() if slot.is_ending and not slot.items]
        return tuple(self._close(slot) for slot in ended)

    def _close(self, slot: Slot) -> Step:
        del self._slots[slot.number]
        self._note_room(slot)
        # A connection less may bring one of those beyond the limit back within it.
        for rank, other in enumerate(self._slots.values()):
            if other.is_surplus and rank < self.limits.max_connections:
                other.is_surplus = False
                self._note_room(other)
        return CloseConnection(slot.number)

    def _recharge(
        self, slot: Slot, *, remove: Charge | None = None, add: Charge | None = None
    ) -> None:
        for load in (slot.load, self._load):
            if remove is not None:
                load.remove(remove)
            if add is not None:
                load.add(add)
        self._note_room(slot)

    def _has_room(self, slot: Slot) -> bool:
        return not slot.is_ending and self.limits.has_room(slot.load)

    def _note_room(self, slot: Slot) -> None:
        has_room = slot.number in self._slots and self._has_room(slot)
        at = bisect_left(self._roomy, slot.number)
        is_listed = at < len(self._roomy) and self._roomy[at] == slot.number
        if has_room and not is_listed:
            self._roomy.insert(at, slot.number)
        elif is_listed and not has_room:
            del self._roomy[at]
