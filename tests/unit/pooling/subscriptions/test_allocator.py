"""Which connection carries which subscription."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from brokers.types import FeedMode, InstrumentKey, Subscription
from pooling.exceptions import PoolCapacityError
from pooling.subscriptions.allocator import Allocator
from pooling.subscriptions.capacity import Limits
from pooling.subscriptions.plan import (
    ChangeMode,
    CloseConnection,
    OpenConnection,
    Subscribe,
    Unsubscribe,
)
from pooling.testing import make_instrument

LTP, QUOTE, DEPTH = FeedMode.LTP, FeedMode.QUOTE, FeedMode.DEPTH


def one(instrument, mode):
    return 1


def by_mode(instrument, mode):
    return 2 if mode is DEPTH else 1


def sub(number, mode=QUOTE):
    return Subscription(make_instrument(number), mode)


def make(connections=3, symbols=3, cost=one):
    return Allocator(limits=Limits(connections, symbols), cost=cost)


def key(number):
    return make_instrument(number).key


def test_the_first_connection_is_opened_for_the_first_symbol():
    assert make().assign(sub(1)) == (OpenConnection(1), Subscribe(1, sub(1)))


def test_a_connection_is_filled_before_the_next_is_opened():
    allocator = make(symbols=2)
    plans = [allocator.assign(sub(n)) for n in range(4)]
    assert [step.slot for plan in plans for step in plan if isinstance(step, Subscribe)] == [
        1,
        1,
        2,
        2,
    ]
    assert sum(isinstance(step, OpenConnection) for plan in plans for step in plan) == 2


def test_room_on_an_earlier_connection_is_used_first():
    allocator = make(symbols=1)
    for number in range(3):
        allocator.assign(sub(number))
    allocator.unassign(key(0))
    allocator.unassign(key(1))
    assert allocator.assign(sub(7)) == (Subscribe(1, sub(7)),)


def test_a_full_pool_refuses_with_the_numbers():
    allocator = make(connections=2, symbols=2)
    for number in range(4):
        allocator.assign(sub(number))
    with pytest.raises(PoolCapacityError) as caught:
        allocator.assign(sub(4))
    assert caught.value.details() == {
        "connections": 2,
        "max_connections": 2,
        "symbols_per_connection": 2,
        "used": 4,
        "capacity": 4,
    }
    assert allocator.slot_of(key(4)) is None


def test_the_same_wish_twice_changes_nothing():
    allocator = make()
    allocator.assign(sub(1))
    assert allocator.assign(sub(1)) == ()
    allocator.unassign(key(1))
    assert allocator.unassign(key(1)) == ()


def test_a_mode_that_fits_is_changed_in_place():
    allocator = make(cost=by_mode)
    allocator.assign(sub(1))
    assert allocator.assign(sub(1, DEPTH)) == (ChangeMode(1, sub(1), sub(1, DEPTH)),)
    assert allocator.used == 2


def test_a_dearer_mode_that_does_not_fit_moves_and_keeps_its_old_place_until_settled():
    """Make before break: the old connection carries it until the new one does."""
    allocator = make(connections=2, symbols=2, cost=by_mode)
    allocator.assign(sub(1))
    allocator.assign(sub(2))
    assert allocator.assign(sub(1, DEPTH)) == (OpenConnection(2), Subscribe(2, sub(1, DEPTH)))
    assert allocator.carrier_of(key(1)) == 1
    assert allocator.slot_of(key(1)) == 2
    assert allocator.settle(key(1)) == (Unsubscribe(1, sub(1)),)
    assert allocator.carrier_of(key(1)) == 2
    assert allocator.settle(key(1)) == ()
    assert allocator.used == 3


def test_a_dearer_mode_that_fits_nowhere_is_refused_and_the_old_one_stays():
    allocator = make(connections=1, symbols=2, cost=by_mode)
    allocator.assign(sub(1))
    allocator.assign(sub(2))
    with pytest.raises(PoolCapacityError):
        allocator.assign(sub(1, DEPTH))
    assert allocator.slots[1].items[key(1)].subscription == sub(1)
    assert allocator.used == 2


def test_a_symbol_raised_twice_stays_where_it_is_carried_and_leaves_the_place_between():
    allocator = make(connections=3, symbols=3, cost=lambda i, mode: int(mode))
    allocator.assign(sub(1, LTP))
    allocator.assign(sub(2, QUOTE))
    allocator.assign(sub(1, QUOTE))
    allocator.assign(sub(3, LTP))
    plan = allocator.assign(sub(1, DEPTH))
    assert Unsubscribe(2, sub(1, QUOTE)) in plan
    assert allocator.carrier_of(key(1)) == 1
    assert allocator.slot_of(key(1)) == 3
    assert allocator.unassign(key(1)) == (
        Unsubscribe(1, sub(1, LTP)),
        Unsubscribe(3, sub(1, DEPTH)),
    )
    assert allocator.used == 3


def test_something_dearer_than_a_whole_connection_opens_none():
    allocator = make(symbols=1, cost=by_mode)
    with pytest.raises(PoolCapacityError):
        allocator.assign(sub(1, DEPTH))
    assert not allocator.slots


def test_lowered_limits_leave_what_is_there_and_bind_what_comes():
    allocator = make(connections=2, symbols=2)
    for number in range(4):
        allocator.assign(sub(number))
    assert allocator.resize(Limits(1, 1)) == ()
    assert allocator.symbols == 4
    with pytest.raises(PoolCapacityError) as caught:
        allocator.assign(sub(9))
    assert (caught.value.connections, caught.value.max_connections) == (1, 1)
    assert allocator.unassign(key(2)) == (Unsubscribe(2, sub(2)),)
    assert allocator.unassign(key(3)) == (Unsubscribe(2, sub(3)), CloseConnection(2))


def test_raised_limits_count_at_once():
    allocator = make(connections=1, symbols=1)
    allocator.assign(sub(1))
    allocator.resize(Limits(1, 2))
    assert allocator.assign(sub(2)) == (Subscribe(1, sub(2)),)


@pytest.mark.parametrize("limits", [(0, 1), (1, 0)])
def test_limits_below_one_are_refused(limits):
    with pytest.raises(ValueError, match="at least 1"):
        Limits(*limits)


class CountingDict(dict):
    """Counts every look at it, and every walk over it by its length."""

    touched = 0

    def __iter__(self):
        CountingDict.touched += len(self)
        return super().__iter__()

    def items(self):
        CountingDict.touched += len(self)
        return super().items()

    def values(self):
        CountingDict.touched += len(self)
        return super().values()

    def get(self, *args):
        CountingDict.touched += 1
        return super().get(*args)

    def __getitem__(self, wanted):
        CountingDict.touched += 1
        return super().__getitem__(wanted)


@pytest.mark.parametrize("count", [900, 3_000, 9_000])
def test_work_per_symbol_does_not_grow(count):
    """9,000 symbols cost no more each than 900, counted in operations, not in time."""
    calls = 0

    def counting_cost(instrument, mode):
        nonlocal calls
        calls += 1
        return 1

    allocator = make(connections=3, symbols=3_000, cost=counting_cost)
    allocator._placed = CountingDict()
    CountingDict.touched = 0
    for number in range(count):
        allocator.assign(sub(number))
        for slot in allocator.slots.values():
            if not isinstance(slot.items, CountingDict):
                slot.items = CountingDict(slot.items)
    for number in range(count):
        allocator.unassign(key(number))
    assert calls == count
    assert CountingDict.touched <= 4 * count
    assert allocator.used == 0


class AllocatorMachine(RuleBasedStateMachine):
    """Any order of requests and limits keeps the book right."""

    numbers = st.integers(0, 11)

    def __init__(self):
        super().__init__()
        self.allocator = make(cost=by_mode)
        self.wanted = {}
        self.performed = {}  # slot -> key -> subscription: what a shell would carry
        self.was_lowered = False

    def perform(self, plan):
        for step in plan:
            if isinstance(step, OpenConnection):
                assert step.slot not in self.performed
                self.performed[step.slot] = {}
            elif isinstance(step, CloseConnection):
                assert not self.performed.pop(step.slot)
            elif isinstance(step, Subscribe):
                carried = self.performed[step.slot]
                assert step.subscription.instrument.key not in carried
                carried[step.subscription.instrument.key] = step.subscription
            elif isinstance(step, ChangeMode):
                carried = self.performed[step.slot]
                assert carried[step.old.instrument.key] == step.old
                carried[step.new.instrument.key] = step.new
            else:
                gone = self.performed[step.slot].pop(step.subscription.instrument.key)
                assert gone == step.subscription

    @rule(number=numbers, mode=st.sampled_from(FeedMode))
    def assign(self, number, mode):
        wish = sub(number, mode)
        try:
            plan = self.allocator.assign(wish)
        except PoolCapacityError:
            free = [
                self.allocator.limits.symbols_per_connection - slot.used
                for slot in self.allocator.slots.values()
                if not slot.is_surplus
            ]
            limits = self.allocator.limits
            cost = by_mode(None, mode)
            assert all(room < cost for room in free)
            assert (
                len(self.allocator.slots) >= limits.max_connections
                or cost > limits.symbols_per_connection
            )
            return
        self.perform(plan)
        self.wanted[wish.instrument.key] = wish
        assert self.allocator.assign(wish) == ()

    @rule(number=numbers)
    def unassign(self, number):
        self.perform(self.allocator.unassign(key(number)))
        self.wanted.pop(key(number), None)

    @rule(number=numbers)
    def settle(self, number):
        self.perform(self.allocator.settle(key(number)))

    @rule(connections=st.integers(1, 4), symbols=st.integers(1, 4))
    def resize(self, connections, symbols):
        before = self.allocator.limits
        self.was_lowered |= (
            connections < before.max_connections or symbols < before.symbols_per_connection
        )
        self.perform(self.allocator.resize(Limits(connections, symbols)))

    @invariant()
    def everything_wanted_is_placed_once(self):
        for wanted_key, wish in self.wanted.items():
            slot = self.allocator.slot_of(wanted_key)
            assert self.performed[slot][wanted_key] == wish
            others = [
                s for s, carried in self.performed.items() if s != slot and wanted_key in carried
            ]
            carrier = self.allocator.carrier_of(wanted_key)
            assert others == ([] if carrier == slot else [carrier])
        for carried in self.performed.values():
            assert carried.keys() <= self.wanted.keys()

    @invariant()
    def costs_add_up(self):
        total = 0
        for number, slot in self.allocator.slots.items():
            used = sum(by_mode(None, s.mode) for s in self.performed[number].values())
            assert slot.used == used
            total += used
        assert self.allocator.used == total
        assert self.allocator.slots.keys() == self.performed.keys()

    @precondition(lambda self: not self.was_lowered)
    @invariant()
    def no_connection_is_over_its_capacity(self):
        limits = self.allocator.limits
        assert len(self.allocator.slots) <= limits.max_connections
        for slot in self.allocator.slots.values():
            assert slot.used <= limits.symbols_per_connection


AllocatorMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
TestAllocatorMachine = AllocatorMachine.TestCase


def test_keys_are_typed_and_not_joined_text():
    """``NSE_X`` + ``Y`` and ``NSE`` + ``X_Y`` are two instruments."""
    allocator = make()
    first = Subscription(make_instrument(1), LTP)
    assert isinstance(first.instrument.key, InstrumentKey)
    allocator.assign(first)
    assert allocator.slot_of(InstrumentKey("NSE:S1", "")) is None
