"""Who wants what, lingering, and confirmations."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brokers.pool_service import Holder
from brokers.types import FeedMode, InstrumentKey
from pooling.subscriptions.tracker import Level, SubscriptionState, Tracker
from pooling.testing import make_instrument

LTP, QUOTE = Level(FeedMode.LTP), Level(FeedMode.QUOTE)
DEPTH5, DEPTH20 = Level(FeedMode.DEPTH, 5), Level(FeedMode.DEPTH, 20)
ANN, BOB, EVE = Holder("g1", "ann"), Holder("g1", "bob"), Holder("g2", "eve")
RELIANCE = make_instrument(1)
KEY = RELIANCE.key


@pytest.fixture
def tracker():
    return Tracker(linger_seconds=5)


def test_the_upstream_level_is_the_highest_wanted(tracker):
    tracker.hold(ANN, RELIANCE, LTP, 0)
    tracker.hold(BOB, RELIANCE, DEPTH5, 0)
    assert tracker.get(KEY).upstream == DEPTH5


def test_levels_compare_by_mode_then_depth():
    assert LTP < QUOTE < DEPTH5 < DEPTH20
    assert Level.of(FeedMode.QUOTE, 20) == QUOTE


def test_a_release_lingers(tracker):
    tracker.hold(ANN, RELIANCE, QUOTE, 0)
    assert tracker.release(ANN, None, 10) == [KEY]
    assert tracker.next_deadline() == 15
    assert tracker.expire(14.9) == []
    assert KEY in tracker
    assert tracker.expire(15) == [(KEY, None)]
    assert KEY not in tracker
    assert tracker.next_deadline() is None


def test_coming_back_within_the_linger_costs_nothing(tracker):
    tracker.hold(ANN, RELIANCE, QUOTE, 0)
    tracker.confirm(KEY, QUOTE)
    tracker.release(ANN, None, 10)
    interest = tracker.hold(BOB, RELIANCE, QUOTE, 12)
    assert interest.is_active(QUOTE)
    assert tracker.next_deadline() is None
    assert tracker.expire(100) == []


def test_lowering_lingers_and_keeps_the_depth_until_then(tracker):
    tracker.hold(ANN, RELIANCE, DEPTH20, 0)
    tracker.hold(BOB, RELIANCE, LTP, 0)
    tracker.confirm(KEY, DEPTH20)
    tracker.release(ANN, [KEY], 0)
    assert tracker.get(KEY).upstream == DEPTH20
    assert tracker.expire(5) == [(KEY, LTP)]
    assert tracker.get(KEY).confirmed == LTP


def test_a_holder_that_lowers_its_own_wish_lingers_too(tracker):
    tracker.hold(ANN, RELIANCE, DEPTH5, 0)
    tracker.hold(ANN, RELIANCE, LTP, 1)
    assert tracker.get(KEY).upstream == DEPTH5
    assert tracker.expire(6) == [(KEY, LTP)]


def test_a_client_that_comes_and_goes_cannot_keep_a_higher_mode_alive(tracker):
    tracker.hold(ANN, RELIANCE, DEPTH5, 0)
    tracker.hold(BOB, RELIANCE, LTP, 0)
    tracker.release(ANN, None, 0)
    for moment in range(1, 5):
        tracker.hold(EVE, RELIANCE, LTP, moment)
        tracker.release(EVE, None, moment)
    assert tracker.expire(5) == [(KEY, LTP)]


def test_references_are_counted_by_holder(tracker):
    tracker.hold(ANN, RELIANCE, QUOTE, 0)
    tracker.hold(ANN, RELIANCE, QUOTE, 0)
    tracker.hold(EVE, RELIANCE, QUOTE, 0)
    tracker.release(ANN, None, 0)
    assert tracker.get(KEY).highest == QUOTE
    assert tracker.release(ANN, None, 0) == []
    assert tracker.clients == 1


def test_releasing_what_is_not_held_is_ignored(tracker):
    tracker.hold(ANN, RELIANCE, QUOTE, 0)
    assert tracker.release(ANN, [make_instrument(9).key, KEY, KEY], 0) == [KEY]
    assert tracker.release(BOB, [KEY], 0) == []


def test_a_gateway_takes_its_clients_with_it_and_no_others(tracker):
    for holder in (ANN, BOB, EVE):
        tracker.hold(holder, RELIANCE, QUOTE, 0)
    assert set(tracker.release_gateway("g1", 0)) == {ANN, BOB}
    assert tracker.clients == 1
    assert tracker.release_gateway("g1", 0) == []
    assert tracker.get(KEY).highest == QUOTE


def test_releasing_a_client_touches_only_what_it_held(tracker):
    """The cost of a client's leaving is that of its own symbols, however many there are."""
    for number in range(1000):
        tracker.hold(ANN, make_instrument(number), QUOTE, 0)
    tracker.hold(EVE, RELIANCE, QUOTE, 0)
    touched = []

    class Counting(dict):
        def __getitem__(self, wanted):
            touched.append(wanted)
            return super().__getitem__(wanted)

    tracker._interests = Counting(tracker._interests)
    tracker.release(EVE, None, 0)
    assert touched == [KEY]


def test_confirming_makes_covered_levels_active_once(tracker):
    tracker.hold(ANN, RELIANCE, LTP, 0)
    assert tracker.get(KEY).state is SubscriptionState.WANTED
    assert tracker.confirm(KEY, LTP) == [LTP]
    assert tracker.confirm(KEY, LTP) == []
    tracker.hold(BOB, RELIANCE, DEPTH5, 0)
    assert tracker.get(KEY).state is SubscriptionState.PENDING
    assert tracker.get(KEY).is_active(LTP)
    assert tracker.confirm(KEY, DEPTH5) == [DEPTH5]
    assert tracker.get(KEY).state is SubscriptionState.CONFIRMED


def test_a_confirmation_of_nothing_wanted_is_ignored(tracker):
    assert tracker.confirm(KEY, LTP) == []
    assert tracker.confirmed == 0


def test_a_lost_connection_takes_confirmations_but_not_wishes(tracker):
    tracker.hold(ANN, RELIANCE, QUOTE, 0)
    tracker.confirm(KEY, QUOTE)
    assert tracker.unconfirm([KEY, make_instrument(5).key]) == [KEY]
    assert tracker.unconfirm([KEY]) == []
    assert tracker.get(KEY).state is SubscriptionState.WANTED
    assert tracker.confirm(KEY, QUOTE) == [QUOTE]


def test_a_refused_raise_keeps_the_mode_of_the_others(tracker):
    tracker.hold(ANN, RELIANCE, LTP, 0)
    tracker.confirm(KEY, LTP)
    tracker.hold(BOB, RELIANCE, DEPTH5, 0)
    assert tracker.reject(KEY) == ([DEPTH5], LTP)
    assert tracker.get(KEY).upstream == LTP
    assert list(tracker.get(KEY).holders) == [ANN]
    assert tracker.clients == 1


def test_a_refused_subscription_is_gone_at_once(tracker):
    tracker.hold(ANN, RELIANCE, LTP, 0)
    assert tracker.reject(KEY) == ([LTP], None)
    assert KEY not in tracker
    assert tracker.reject(KEY) == ((), None)
    assert tracker.expire(100) == []


def test_the_longest_unheld_is_evicted_first(tracker):
    first, second = make_instrument(1), make_instrument(2)
    for instrument in (first, second):
        tracker.hold(ANN, instrument, LTP, 0)
    tracker.release(ANN, [second.key], 1)
    tracker.release(ANN, [first.key], 2)
    assert tracker.evict_unheld() == second.key
    tracker.hold(BOB, first, LTP, 3)
    assert tracker.evict_unheld() is None
    assert tracker.held == len(tracker) == 1


def test_a_negative_linger_is_refused():
    with pytest.raises(ValueError, match="linger_seconds"):
        Tracker(linger_seconds=-1)


class TrackerMachine(RuleBasedStateMachine):
    """Against a plain model: who holds what, and what the broker has confirmed."""

    holders = st.sampled_from([ANN, BOB, EVE])
    numbers = st.integers(0, 3)
    levels = st.sampled_from([LTP, QUOTE, DEPTH5, DEPTH20])

    def __init__(self):
        super().__init__()
        self.tracker = Tracker(linger_seconds=5)
        self.now = 0.0
        self.held = {}  # (holder, key) -> level
        self.fell_at = {}

    def interest(self, key):
        found = self.tracker.get(key)
        assert found is not None
        return found

    def confirmed(self, key):
        found = self.tracker.get(key)
        return None if found is None else found.confirmed

    @rule(holder=holders, number=numbers, level=levels)
    def hold(self, holder, number, level):
        instrument = make_instrument(number)
        target = self.tracker.target(instrument.key, level)
        self.tracker.hold(holder, instrument, level, self.now)
        assert self.interest(instrument.key).upstream == target
        self.held[holder, instrument.key] = level

    @rule(holder=holders, number=numbers)
    def release(self, holder, number):
        key = make_instrument(number).key
        gone = self.tracker.release(holder, [key], self.now)
        assert gone == ([key] if self.held.pop((holder, key), None) else [])

    @rule(gateway=st.sampled_from(["g1", "g2"]))
    def release_gateway(self, gateway):
        self.tracker.release_gateway(gateway, self.now)
        self.held = {k: v for k, v in self.held.items() if k[0].gateway != gateway}

    @rule(number=numbers, level=levels)
    def confirm(self, number, level):
        key = make_instrument(number).key
        was = self.confirmed(key)
        active = self.tracker.confirm(key, level)
        mine = {v for (_, k), v in self.held.items() if k == key}
        for became in active:
            assert became in mine
            assert was is None or became > was

    @rule(number=numbers)
    def lose(self, number):
        self.tracker.unconfirm([make_instrument(number).key])

    @rule(number=numbers)
    def reject(self, number):
        key = make_instrument(number).key
        confirmed = self.confirmed(key)
        refused, remains = self.tracker.reject(key)
        self.held = {
            (h, k): v
            for (h, k), v in self.held.items()
            if k != key or (confirmed is not None and v <= confirmed)
        }
        assert all(confirmed is None or level > confirmed for level in refused)
        rest = [v for (_, k), v in self.held.items() if k == key]
        assert remains == (max(rest) if rest else None)

    @rule(seconds=st.floats(0, 7))
    def pass_time(self, seconds):
        self.now += seconds
        self.tracker.expire(self.now)

    @rule()
    def pass_the_linger(self):
        """Once the linger is over, upstream is exactly the highest wanted."""
        self.now += 5
        self.tracker.expire(self.now)
        highest: dict[InstrumentKey, Level] = {}
        for (_, key), level in self.held.items():
            highest[key] = max(level, highest.get(key, level))
        assert {key: self.interest(key).upstream for key in self.tracker} == highest
        assert self.tracker.next_deadline() is None

    @invariant()
    def counts_are_right(self):
        tracker = self.tracker
        assert tracker.clients == len({holder for holder, _ in self.held})
        assert tracker.held == len({key for _, key in self.held})
        assert tracker.confirmed == sum(self.confirmed(k) is not None for k in tracker)
        for key in tracker:
            interest = self.interest(key)
            mine = {h: v for (h, k), v in self.held.items() if k == key}
            assert interest.holders == mine
            assert sum(interest.levels.values()) == len(mine)
            assert not mine or interest.upstream >= max(mine.values())
            assert interest.confirmed is None or interest.confirmed <= interest.upstream
        deadline = tracker.next_deadline()
        assert deadline is None or deadline <= self.now + 5


TrackerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTrackerMachine = TrackerMachine.TestCase


def test_a_gateway_may_be_released_a_part_at_a_time():
    tracker = Tracker(linger_seconds=0)
    for number in range(5):
        tracker.hold(ANN, make_instrument(number), QUOTE, 0)
    tracker.hold(BOB, make_instrument(0), QUOTE, 0)
    tracker.hold(EVE, make_instrument(0), QUOTE, 0)
    assert len(tracker.held_by(ANN)) == 5
    done = []
    while tracker.knows_gateway("g1"):
        done.append(tracker.release_gateway("g1", 0, 2))
    assert done == [[], [], [ANN, BOB]]
    assert tracker.held_by(ANN) == []
    assert tracker.held_by(EVE) == [make_instrument(0).key]
    assert tracker.release_gateway("g1", 0, 2) == []
