"""References, placements and confirmations as one whole."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brokers.pool_service import Holder, OutcomeState, RefusalCode, Want
from brokers.types import FeedMode
from pooling.subscriptions.book import SubscriptionBook
from pooling.subscriptions.capacity import Limits
from pooling.subscriptions.reoffer import reoffer
from pooling.subscriptions.tracker import Level
from pooling.testing import make_adapter_class, make_instrument
from tests.unit.pooling.kit import moving, slot_of

LTP, QUOTE, DEPTH = FeedMode.LTP, FeedMode.QUOTE, FeedMode.DEPTH
ANN, BOB, EVE = Holder("g1", "ann"), Holder("g1", "bob"), Holder("g2", "eve")
ACTIVE, PENDING, REFUSED = OutcomeState.ACTIVE, OutcomeState.PENDING, OutcomeState.REFUSED


def by_mode(instrument, mode):
    return 2 if mode is DEPTH else 1


def make(connections=2, symbols=2, cost=lambda i, m: 1, modes=tuple(FeedMode), depths=(5, 20)):
    return SubscriptionBook(
        limits=Limits(connections, symbols),
        cost=cost,
        modes=modes,
        depth_levels=depths,
        linger_seconds=5,
    )


def key(number):
    return make_instrument(number).key


def want(book, number, mode=QUOTE, holder=ANN, now=0.0, depth=5):
    return book.want(holder, Want(key(number), mode, depth), make_instrument(number), now)


def drain(book, slot=1):
    return book.take_batch(slot, 100)


def test_a_want_is_pending_until_confirmed_then_active():
    book = make()
    assert want(book, 1).state is PENDING
    drain(book)
    (outcome,) = book.confirm(1, [key(1)])
    assert (outcome.key, outcome.state, outcome.mode) == (key(1), ACTIVE, QUOTE)
    assert want(book, 1, LTP, BOB).state is ACTIVE
    assert want(book, 1, DEPTH, BOB).state is PENDING


def test_an_unknown_symbol_is_refused_and_nothing_else():
    book = make()
    outcome = book.want(ANN, Want(key(1), QUOTE), None, 0)
    assert (outcome.state, outcome.code) == (REFUSED, RefusalCode.SYMBOL_NOT_FOUND)
    assert not book.take_actions()


def test_a_depth_that_is_not_offered_is_refused_with_those_that_are():
    outcome = want(make(), 1, DEPTH, depth=7)
    assert outcome.code is RefusalCode.UNSUPPORTED_DEPTH_LEVEL
    assert "5, 20" in outcome.message


def test_a_mode_above_all_offered_is_refused():
    outcome = want(make(modes=(LTP, QUOTE)), 1, DEPTH)
    assert outcome.code is RefusalCode.INVALID_MODE


def test_a_mode_that_is_not_offered_is_carried_by_the_next_that_covers_it():
    book = make(modes=(QUOTE, DEPTH))
    want(book, 1, LTP)
    assert drain(book).subscribe[0].mode is QUOTE


def test_a_full_pool_refuses_with_the_numbers_and_what_to_do():
    book = make(connections=1, symbols=2)
    want(book, 1)
    want(book, 2)
    outcome = want(book, 3)
    assert outcome.code is RefusalCode.MAX_CAPACITY_REACHED
    assert outcome.details == {
        "connections": 1,
        "max_connections": 1,
        "symbols_per_connection": 2,
        "used": 2,
        "capacity": 2,
    }
    assert "raise the limits" in outcome.message
    assert key(3) not in book


def test_what_only_lingers_makes_room_for_what_is_wanted():
    book = make(connections=1, symbols=2)
    want(book, 1)
    want(book, 2)
    drain(book)
    book.release(ANN, [key(1)], 0)
    assert want(book, 3, now=1).state is PENDING
    batch = drain(book)
    assert [s.instrument.key for s in batch.unsubscribe] == [key(1)]
    assert [s.instrument.key for s in batch.subscribe] == [key(3)]
    assert want(book, 4, now=1).state is REFUSED


def test_a_lingering_symbol_may_come_back_dearer_into_a_full_pool():
    book = make(connections=1, symbols=2, cost=by_mode)
    want(book, 1)
    want(book, 2, holder=BOB)
    book.release(ANN, None, 0)
    book.release(BOB, None, 0)
    assert want(book, 1, DEPTH, now=1).state is PENDING
    assert book.used == 2
    assert list(book) == [key(1)]


def test_what_is_evicted_and_comes_back_before_anything_was_sent_is_still_active():
    """Its socket never stopped carrying it, so no confirmation will come again."""
    book = make(connections=1, symbols=1)
    want(book, 1)
    drain(book)
    book.confirm(1, [key(1)])
    book.release(ANN, None, 0)
    want(book, 2, now=1)
    book.release(ANN, None, 1)
    assert want(book, 1, now=1).state is ACTIVE
    assert not drain(book)


def test_a_refused_raise_leaves_everybody_what_they_had():
    book = make(connections=1, symbols=2, cost=by_mode)
    want(book, 1)
    want(book, 2)
    drain(book)
    book.confirm(1, [key(1), key(2)])
    assert want(book, 1, DEPTH, BOB).code is RefusalCode.MAX_CAPACITY_REACHED
    assert not drain(book)
    assert want(book, 1).state is ACTIVE
    assert BOB not in book.get(key(1)).holders


def test_a_reload_within_the_linger_costs_the_broker_nothing():
    book = make()
    want(book, 1)
    drain(book)
    book.confirm(1, [key(1)])
    book.release(ANN, None, 10)
    assert want(book, 1, holder=EVE, now=12).state is ACTIVE
    book.expire(100)
    assert not drain(book)


def test_the_end_of_the_linger_unsubscribes():
    book = make()
    want(book, 1)
    drain(book)
    book.release(ANN, None, 10)
    book.expire(15)
    assert book.take_actions().gone == [key(1)]
    assert drain(book).unsubscribe[0].instrument.key == key(1)


def test_a_downgrade_keeps_the_depth_until_its_linger_ends_and_leaves_no_gap():
    book = make()
    want(book, 1, DEPTH, depth=20)
    want(book, 1, LTP, BOB)
    drain(book)
    book.release(ANN, None, 0)
    assert not drain(book)
    book.expire(5)
    ((old, new),) = drain(book).change_mode
    assert (old.mode, old.depth_levels, new.mode) == (DEPTH, 20, LTP)


def test_a_lost_socket_replays_everything_of_its_own_and_nothing_else():
    book = make()
    for number in range(4):
        want(book, number)
    for slot in (1, 2):
        drain(book, slot)
        book.confirm(slot, book.keys_of(slot))
    assert set(book.restart(1)) == {key(0), key(1)}
    assert {s.instrument.key for s in drain(book, 1).subscribe} == {key(0), key(1)}
    assert not drain(book, 2)
    assert want(book, 0).state is PENDING
    assert want(book, 2).state is ACTIVE


def test_a_symbol_on_the_move_is_live_until_its_old_socket_is_lost():
    book = make(cost=by_mode)
    want(book, 1)
    want(book, 2)
    drain(book)
    book.confirm(1, [key(1), key(2)])
    want(book, 1, DEPTH, BOB)
    assert drain(book, 2).subscribe[0].mode is DEPTH
    assert book.restart(2) == []
    assert want(book, 1).state is ACTIVE
    drain(book, 2)
    assert [o.mode for o in book.confirm(2, [key(1)])] == [DEPTH]
    assert drain(book, 1).unsubscribe[0].instrument.key == key(1)
    assert book.carrier_of(key(1)) == 2


def test_a_connection_to_be_replaced_does_not_move_to_one_that_is_away():
    """Here its symbols are carried, there they would not be."""
    book = make(connections=2, symbols=3)
    for number in range(4):
        want(book, number)
    assert book.moves.evacuate(2, ()) == 0
    book.moves.retire(1)
    assert not moving(book)
    assert len(book.slots[1].items) == 3


def test_a_connection_to_be_replaced_that_is_lost_is_as_good_as_new():
    book = make(connections=2, symbols=3)
    for number in range(4):
        want(book, number)
    book.moves.retire(1)
    assert len(book.slots[1].leaving) == 2
    book.restart(1)
    assert not book.slots[1].is_retiring
    assert len(book.slots[1].items) == 1
    assert len(book.slots[2].items) == 3


def test_a_late_confirmation_of_something_dropped_is_ignored():
    book = make()
    want(book, 1)
    assert book.confirm(1, [key(1)]) == []
    drain(book)
    book.release(ANN, None, 0)
    book.expire(5)
    drain(book)
    assert book.confirm(1, [key(1)]) == []


def test_a_broker_that_does_not_say_which_refuses_what_was_not_confirmed():
    book = make()
    want(book, 1)
    drain(book)
    book.confirm(1, [key(1)])
    want(book, 2)
    drain(book)
    outcomes = book.reject(1, (), RefusalCode.BROKER_ERROR, "no")
    assert [(o.key, o.state, o.code) for o in outcomes] == [
        (key(2), REFUSED, RefusalCode.BROKER_ERROR)
    ]
    assert list(book) == [key(1)]
    assert drain(book).unsubscribe[0].instrument.key == key(2)


def subscribed_once_more(book):
    """Subscribed, ended and subscribed again on one socket, and confirmed by a tick."""
    want(book, 1)
    want(book, 2)
    drain(book)
    book.confirm(1, [key(1), key(2)])
    book.release(ANN, [key(1)], 0)
    book.expire(10)
    drain(book)
    want(book, 1, now=11)
    drain(book)
    book.confirm(1, [key(1)])
    book.take_actions()


def test_a_refusal_of_nobody_may_be_of_what_an_older_tick_has_confirmed():
    """The tick may have been under way since before it was ended: it is asked for again."""
    book = make()
    subscribed_once_more(book)
    assert book.reject(1, (), RefusalCode.BROKER_ERROR, "no") == []
    assert book.verify_again(1) == [key(1)]
    assert book.take_actions().changed == {1}
    assert want(book, 1, now=12).state is PENDING
    batch = drain(book)
    assert [s.instrument.key for s in (*batch.unsubscribe, *batch.subscribe)] == [key(1), key(1)]
    assert [o.state for o in book.confirm(1, [key(1)])] == [ACTIVE]
    assert not drain(book)
    assert not book.verify_again(1), "once is enough"
    assert not drain(book)


def test_a_refusal_that_comes_seconds_later_is_of_something_else():
    book = make()
    subscribed_once_more(book)
    for _ in range(2):
        book.grow_older()
    assert not book.verify_again(1)
    assert not drain(book)


def test_what_is_asked_for_anew_is_refused_by_the_next_refusal():
    book = make()
    subscribed_once_more(book)
    book.verify_again(1)
    drain(book)
    (outcome,) = book.reject(1, (), RefusalCode.BROKER_ERROR, "no")
    assert (outcome.key, outcome.state) == (key(1), REFUSED)
    assert list(book) == [key(2)]


def test_a_named_refusal_of_a_raise_goes_back_to_the_old_mode():
    book = make()
    want(book, 1, LTP)
    drain(book)
    book.confirm(1, [key(1)])
    want(book, 1, DEPTH, BOB)
    drain(book)
    (outcome,) = book.reject(1, [key(1)], RefusalCode.BROKER_ERROR, "no")
    assert outcome.mode is DEPTH
    ((old, new),) = drain(book).change_mode
    assert (old.mode, new.mode) == (DEPTH, LTP)


def test_a_named_refusal_drops_even_what_was_confirmed():
    book = make()
    want(book, 1)
    drain(book)
    book.confirm(1, [key(1)])
    assert [o.state for o in book.reject(1, [key(1)], RefusalCode.BROKER_ERROR, "")] == [REFUSED]
    assert not list(book)


def test_what_waited_and_was_let_go_is_wanted_as_if_it_were_new():
    """It has no place to linger in, and another that lingers makes room for it."""
    book = make(connections=1)
    for number in (1, 2):
        want(book, number)
    book.resize(limits=Limits(1, 1), linger_seconds=5)
    assert list(book.waiting) == [key(2)]
    book.release(ANN, [key(2)], 1)
    book.release(ANN, [key(1)], 2)
    assert want(book, 2, LTP, EVE, now=3).state is PENDING
    assert [s.mode for s in drain(book).subscribe] == [LTP]
    assert book.get(key(2)).upstream.mode is LTP
    assert list(book) == [key(2)]


def test_what_was_accepted_before_waits_for_room_and_is_placed_once_there_is_some():
    """A worker that was started again, or a gateway that was lost, finds lowered limits."""
    book = make(connections=1, symbols=1)
    want(book, 1)
    again = [
        book.want(holder, Want(key(2), QUOTE, stands=True), make_instrument(2), 0)
        for holder in (ANN, EVE)
    ]
    told = {(outcome.state, outcome.code) for outcome in again}
    assert told == {(PENDING, RefusalCode.MAX_CAPACITY_REACHED)}
    assert again[0].details["capacity"] == 1
    assert want(book, 2, holder=BOB).state is REFUSED, "of what is new nothing was promised"
    assert want(book, 2).state is PENDING
    book.take_actions()
    book.resize(limits=Limits(1, 2), linger_seconds=5)
    assert [(o.key, o.state) for o in book.take_actions().outcomes] == [(key(2), PENDING)]
    drain(book)
    assert [outcome.state for outcome in book.confirm(1, [key(2)])] == [ACTIVE]
    assert book.get(key(2)).holders.keys() == {ANN, EVE}


def test_what_waits_goes_on_waiting_when_another_holders_depth_is_not_offered_any_more():
    book = make(connections=1)
    want(book, 1)
    want(book, 2, DEPTH, depth=20)
    want(book, 2, holder=BOB)
    book.resize(limits=Limits(1, 1), linger_seconds=5)
    ended = reoffer(book, make_adapter_class(depth_levels=(5,)).capabilities, 0)
    assert [(each.mode, each.code) for each in ended] == [
        (DEPTH, RefusalCode.UNSUPPORTED_DEPTH_LEVEL)
    ]
    assert list(book.waiting) == [key(2)]
    assert book.get(key(2)).holders.keys() == {BOB}


def test_what_waits_from_before_and_is_let_go_is_forgotten():
    book = make(connections=1, symbols=1)
    want(book, 1)
    book.want(ANN, Want(key(2), QUOTE, stands=True), make_instrument(2), 0)
    book.release(ANN, [key(2)], 1)
    book.expire(7)
    assert not book.waiting
    assert list(book) == [key(1)]


def test_a_refusal_where_it_had_to_move_ends_it_rather_than_the_limit():
    """Lowered limits moved it, and it was raised meanwhile: its old place is no longer there."""
    book = make()
    want(book, 1)
    want(book, 2)
    drain(book)
    book.confirm(1, [key(1), key(2)])
    book.resize(limits=Limits(2, 1), linger_seconds=5)
    want(book, 2, DEPTH, BOB)
    assert drain(book, 2).subscribe
    outcomes = book.reject(2, [key(2)], RefusalCode.BROKER_ERROR, "no")
    assert {(o.mode, o.state) for o in outcomes} == {(QUOTE, REFUSED), (DEPTH, REFUSED)}
    assert [gone.instrument.key for gone in drain(book).unsubscribe] == [key(2)]
    assert list(book.slots[1].items) == [key(1)]


@pytest.mark.parametrize("count", [900, 9_000])
def test_a_subscribe_calls_the_cost_function_once(count):
    calls: list[object] = []

    def counting(instrument, mode):
        calls.append(instrument)
        return 1

    book = make(connections=3, symbols=3_000, cost=counting)
    for number in range(count):
        want(book, number)
        want(book, number, holder=BOB)
    assert len(calls) == count


class BookMachine(RuleBasedStateMachine):
    """A pool in any order of events: nobody is cheated and the broker's limits hold."""

    holders = st.sampled_from([ANN, BOB, EVE])
    numbers = st.integers(0, 7)
    slots = st.integers(1, 3)

    def __init__(self):
        super().__init__()
        self.book = make(connections=3, symbols=3, cost=by_mode)
        self.now = 0.0
        self.held = {}
        self.sockets = {}

    @rule(holder=holders, number=numbers, mode=st.sampled_from(FeedMode))
    def want(self, holder, number, mode):
        outcome = want(self.book, number, mode, holder, self.now)
        if outcome.state is not REFUSED:
            self.held[holder, key(number)] = mode
        again = want(self.book, number, mode, holder, self.now)
        assert again.state is outcome.state

    @rule(holder=holders, number=numbers)
    def release(self, holder, number):
        self.book.release(holder, [key(number)], self.now)
        self.held.pop((holder, key(number)), None)

    @rule(gateway=st.sampled_from(["g1", "g2"]))
    def release_gateway(self, gateway):
        self.book.release_gateway(gateway, self.now)
        self.held = {k: v for k, v in self.held.items() if k[0].gateway != gateway}

    @rule(slot=slots, limit=st.integers(1, 3))
    def send(self, slot, limit):
        batch = self.book.take_batch(slot, limit)
        socket = self.sockets.setdefault(slot, {})
        for gone in batch.unsubscribe:
            assert socket.pop(gone.instrument.key) == gone
        for old, new in batch.change_mode:
            assert socket[old.instrument.key] == old
            socket[old.instrument.key] = new
        for new in batch.subscribe:
            assert new.instrument.key not in socket
            socket[new.instrument.key] = new

    @rule(slot=slots, number=numbers)
    def confirm(self, slot, number):
        for outcome in self.book.confirm(slot, [key(number)]):
            sent = self.sockets[slot][key(number)]
            assert sent.mode >= outcome.mode

    @rule(slot=slots)
    def lose(self, slot):
        self.book.restart(slot)
        self.sockets[slot] = {}

    @rule(slot=slots, number=st.none() | numbers)
    def reject(self, slot, number):
        keys = () if number is None else (key(number),)
        refused = self.book.reject(slot, keys, RefusalCode.BROKER_ERROR, "no")
        gone = {(o.key, o.mode) for o in refused}
        self.held = {(h, k): m for (h, k), m in self.held.items() if (k, m) not in gone}

    @rule(seconds=st.floats(0, 6))
    def pass_time(self, seconds):
        self.now += seconds
        self.book.expire(self.now)

    @rule()
    def settle_down(self):
        """With everything sent, confirmed and lingered out, upstream is exactly what is wanted."""
        for _ in range(3):
            self.now += 5
            self.book.expire(self.now)
            for slot in (1, 2, 3):
                while self.book.take_batch(slot, 3):
                    pass
                sent = self.book.reconciler(slot).sent
                self.sockets[slot] = {
                    key: placement.subscription for key, placement in sent.items()
                }
                self.book.confirm(slot, list(self.sockets[slot]))
        carried = {}
        for socket in self.sockets.values():
            for carried_key, subscription in socket.items():
                assert carried_key not in carried
                carried[carried_key] = subscription.mode
        highest: dict[object, FeedMode] = {}
        for (_, held_key), mode in self.held.items():
            highest[held_key] = max(mode, highest.get(held_key, mode))
        assert carried == highest
        assert self.book.confirmed == len(highest)

    @invariant()
    def every_reference_is_kept_and_placed(self):
        book = self.book
        held = {
            (holder, k): level.mode for k in book for holder, level in book.get(k).holders.items()
        }
        assert held == self.held
        assert {k for slot in book.slots.values() for k in slot.items} == set(book)
        for k in book:
            slot = book.slots[slot_of(book, k)]
            upstream = slot.items[k].subscription
            assert Level.of(upstream.mode, upstream.depth_levels) == book.get(k).upstream

    @invariant()
    def no_connection_is_over_its_limits(self):
        slots = self.book.slots
        assert len(slots) <= 3
        for slot in slots.values():
            assert sum(by_mode(None, p.subscription.mode) for p in slot.items.values()) <= 3
        for socket in self.sockets.values():
            assert sum(by_mode(None, s.mode) for s in socket.values()) <= 3


BookMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
TestBookMachine = BookMachine.TestCase
