"""The queue and the counts of exclusive connections, step by step and at random."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pooling.exclusive.pool import Evict, ExclusiveLedger, Open, Reuse

URIS = ("a", "b", "c")


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        ExclusiveLedger(max_connections=0)


def test_the_last_used_is_reused_first():
    ledger = ExclusiveLedger(max_connections=2)
    for number in (1, 2):
        ledger.ask("a")
        ledger.decide()
        ledger.opened(number)
    ledger.park(1, "a", 10)
    ledger.park(2, "a", 11)
    assert ledger.idle == (1, 2)
    ticket = ledger.ask("a")
    assert ledger.decide() == [Reuse(ticket, 2)]


def test_a_later_caller_goes_first_only_while_the_earlier_ones_place_is_cleared():
    ledger = ExclusiveLedger(max_connections=2)
    for number, uri in ((1, "a"), (2, "b")):
        ledger.ask(uri)
        ledger.decide()
        ledger.opened(number)
        ledger.park(number, uri, number)
    first, second = ledger.ask("c"), ledger.ask("b")
    assert ledger.decide() == [Evict(1), Reuse(second, 2)]
    assert ledger.waiting == 1
    ledger.closed(1)
    assert ledger.decide() == [Open(first)]


class Seats:
    def __init__(self):
        self.free = 3

    def take(self):
        if self.free:
            self.free -= 1
            return True
        return False

    def give_back(self):
        self.free += 1


class LedgerMachine(RuleBasedStateMachine):
    """Callers, openings, losses and closings in any order."""

    def __init__(self):
        super().__init__()
        self.seats = Seats()
        self.ledger = ExclusiveLedger(max_connections=4, seats=self.seats)
        self.now = 0.0
        self.number = 0
        self.waiting = []
        self.opening = []
        self.uri_of = {}
        self.closing = []

    def apply(self):
        for decision in self.ledger.decide():
            if isinstance(decision, Evict):
                self.closing.append(decision.number)
                continue
            self.waiting.remove(decision.ticket)
            if isinstance(decision, Open):
                self.opening.append(decision.ticket.uri)
            else:
                assert self.uri_of[decision.number] == decision.ticket.uri

    @rule(uri=st.sampled_from(URIS))
    def ask(self, uri):
        self.waiting.append(self.ledger.ask(uri))
        self.apply()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def go_away(self, data):
        ticket = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(ticket)
        self.ledger.withdraw(ticket)
        self.apply()

    @precondition(lambda self: self.opening)
    @rule(succeeds=st.booleans())
    def finish_opening(self, succeeds):
        uri = self.opening.pop(0)
        if succeeds:
            self.number += 1
            self.uri_of[self.number] = uri
            self.ledger.opened(self.number)
        else:
            self.ledger.abandoned()
        self.apply()

    @precondition(lambda self: self.ledger.held)
    @rule(data=st.data(), what=st.sampled_from(["park", "close", "replace"]))
    def give_back(self, data, what):
        number = data.draw(st.sampled_from(self.ledger.held))
        self.now += 1
        if what == "park":
            self.ledger.park(number, self.uri_of[number], self.now)
        elif what == "close":
            self.ledger.start_closing(number)
            self.closing.append(number)
        else:
            self.ledger.replaced(number)
            self.opening.append(self.uri_of[number])
        self.apply()

    @precondition(lambda self: self.ledger.idle)
    @rule(data=st.data())
    def lose_an_idle_one(self, data):
        number = data.draw(st.sampled_from(self.ledger.idle))
        self.ledger.start_closing(number)
        self.closing.append(number)
        self.apply()

    @rule(age=st.integers(0, 5))
    def expire(self, age):
        self.closing += [each.number for each in self.ledger.expire(self.now - age)]
        self.apply()

    @precondition(lambda self: self.closing)
    @rule()
    def finish_closing(self):
        self.ledger.closed(self.closing.pop(0))
        self.apply()

    @rule(limit=st.integers(1, 6))
    def resize(self, limit):
        self.ledger.max_connections = limit
        self.apply()

    @invariant()
    def counts_agree(self):
        ledger = self.ledger
        assert ledger.opening == len(self.opening)
        assert ledger.closing == len(self.closing)
        assert ledger.waiting == len(self.waiting)
        assert ledger.occupied + self.seats.free == 3, "every seat is taken once"

    @invariant()
    def nobody_waits_while_something_could_serve_them(self):
        ledger = self.ledger
        if self.waiting and not ledger.closing:
            assert not ledger.idle
            assert not self.seats.free or ledger.occupied >= ledger.max_connections

    @invariant()
    def idle_ones_are_within_the_limit(self):
        ledger = self.ledger
        assert not ledger.idle or ledger.occupied - ledger.closing <= ledger.max_connections


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
