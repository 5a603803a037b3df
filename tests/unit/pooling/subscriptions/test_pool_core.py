"""The pool's pure core in any order of events: references, placements, limits, sockets, time.

The machine is the shell and the broker: it sends what the book asks for, keeps what each socket
carries, and lets sockets open, drop, refuse and be replaced. After every step the broker's limits
hold, nobody is cheated, and what has no place is named as waiting.

The file is long because the rules and invariants of a machine share its state, in one class.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brokers.contract import CategoryLimit
from brokers.pool_service import Outcome, RefusalCode, Want
from brokers.types import FeedMode, InstrumentKey, Subscription
from pooling.subscriptions.book import SubscriptionBook
from pooling.subscriptions.capacity import Charge, Limits, Load
from pooling.subscriptions.tracker import Interest, Level
from pooling.subscriptions.upkeep import (
    CloseIdle,
    ConnectionView,
    Evacuate,
    Merge,
    Readmit,
    Reopen,
    Retire,
    SettleMoves,
    Upkeep,
)
from pooling.testing import MiddleOfRange, make_instrument
from tests.unit.pooling.kit import ANN, BOB, EVE, PENDING, REFUSED, key, moving, slot_of

LINGER = 5.0
BROKER_CONNECTIONS, BROKER_UNITS = 3, 5
NUMBERS = st.integers(0, 11)
SLOTS = st.integers(1, BROKER_CONNECTIONS)


class Socket:
    """What a broker knows of one connection."""

    def __init__(self, now: float) -> None:
        self.opened_at = now
        self.carries: dict[InstrumentKey, Subscription] = {}
        self.confirmed: dict[InstrumentKey, Subscription] = {}


class PoolMachine(RuleBasedStateMachine):
    """Depth costs two units; a symbol costs one."""

    categories: dict[str, CategoryLimit] = {}

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.limits = Limits(3, 4, BROKER_UNITS, self.categories)
        self.book = SubscriptionBook(
            limits=self.limits,
            cost=self.cost,
            modes=tuple(FeedMode),
            depth_levels=(5,),
            linger_seconds=LINGER,
            category=self.category if self.categories else None,
        )
        self.upkeep = Upkeep(rng=MiddleOfRange(), max_lifetime_seconds=600.0)
        self.held: dict[Any, FeedMode] = {}
        self.sockets: dict[int, Socket | None] = {}  # None: the connection is down
        self.down_since: dict[int, float] = {}
        self.told: dict[tuple[InstrumentKey, FeedMode], Outcome] = {}

    @staticmethod
    def cost(instrument: object, mode: FeedMode) -> int:
        return 2 if mode is FeedMode.DEPTH else 1

    @staticmethod
    def category(subscription: Subscription) -> str:
        return ""

    def interest(self, k: InstrumentKey) -> Interest:
        found = self.book.get(k)
        assert found is not None
        return found

    def load(self, subscriptions: Any) -> Load:
        total = Load()
        for one in subscriptions:
            name = self.category(one) if self.categories else ""
            total.add(Charge(self.cost(one.instrument, one.mode), name))
        return total

    # -- The shell ----------------------------------------------------------------------------

    def act(self) -> None:
        """Do what the book asks for: close and open connections, and tell outcomes."""
        actions = self.book.take_actions()
        for slot in set(actions.closed):
            self.sockets.pop(slot, None)
            self.down_since.pop(slot, None)
        for slot in self.book.slots:
            if slot not in self.sockets:
                self.sockets[slot] = None
                self.down_since[slot] = self.now
        for outcome in actions.outcomes:
            self.told[outcome.key, outcome.mode] = outcome
        for displaced in actions.displaced:
            if displaced in self.book.waiting:
                code = {o.code for (k, _), o in self.told.items() if k == displaced}
                assert RefusalCode.MAX_CAPACITY_REACHED in code

    @rule(holder=st.sampled_from([ANN, BOB, EVE]), number=NUMBERS, mode=st.sampled_from(FeedMode))
    def subscribe(self, holder: Any, number: int, mode: FeedMode) -> None:
        want = Want(key(number), mode)
        outcome = self.book.want(holder, want, make_instrument(number), self.now)
        if outcome.state is not REFUSED:
            self.held[holder, key(number)] = mode
        else:
            assert outcome.code is RefusalCode.MAX_CAPACITY_REACHED
            assert outcome.details["capacity"] == self.limits.capacity
        self.act()
        before = self.placements()
        again = self.book.want(holder, want, make_instrument(number), self.now)
        assert (again.state, again.code) == (outcome.state, outcome.code)
        assert self.placements() == before, "what is asked twice is placed once"
        assert not self.book.take_actions().changed, "and nothing is sent for it"

    @rule(holder=st.sampled_from([ANN, BOB, EVE]), number=NUMBERS)
    def unsubscribe(self, holder: Any, number: int) -> None:
        self.book.release(holder, [key(number)], self.now)
        self.held.pop((holder, key(number)), None)

    @rule(gateway=st.sampled_from(["g1", "g2"]))
    def lose_gateway(self, gateway: str) -> None:
        self.book.release_gateway(gateway, self.now)
        self.held = {who: mode for who, mode in self.held.items() if who[0].gateway != gateway}

    @rule(connections=st.integers(1, 3), symbols=st.integers(1, 5))
    def edit_limits(self, connections: int, symbols: int) -> None:
        waited = set(self.book.waiting)
        order = list(self.book)
        upstream = {k: self.interest(k).upstream.mode for k in order}
        was_moving = bool(moving(self.book))
        self.limits = Limits(connections, symbols, BROKER_UNITS, self.categories)
        self.book.resize(limits=self.limits, linger_seconds=LINGER)
        lost = [k for k in order if k in set(self.book.waiting) - waited]
        placed = [k for k in order if slot_of(self.book, k) and self.interest(k).holders]
        is_even = FeedMode.DEPTH not in upstream.values() and not self.categories
        if lost and is_even and not waited and not was_moving:
            # Where all cost the same, exactly the newest lose their places.
            assert min(map(order.index, lost)) > max(map(order.index, placed), default=-1)
        snapshot = self.placements()
        self.book.resize(limits=self.limits, linger_seconds=LINGER)
        assert self.placements() == snapshot, "limits in force already change nothing"

    @rule(slot=SLOTS)
    def connect(self, slot: int) -> None:
        if slot in self.sockets and self.sockets[slot] is None:
            self.book.restart(slot)
            self.act()
        if slot in self.sockets and self.sockets[slot] is None:
            self.sockets[slot] = Socket(self.now)
            self.down_since.pop(slot, None)

    @rule(slot=SLOTS)
    def drop(self, slot: int) -> None:
        if self.sockets.get(slot) is not None:
            self.sockets[slot] = None
            self.down_since[slot] = self.now
            self.book.restart(slot)

    @rule()
    def roll_over_token(self) -> None:
        """Every socket is cut at once."""
        for slot in list(self.sockets):
            self.drop(slot)

    @rule(slot=SLOTS)
    def rotate(self, slot: int) -> None:
        """A connection is to be replaced before the broker ends it."""
        if self.sockets.get(slot) is None:
            return
        kept = {k: self.book.carrier_of(k) for k in self.book.keys_of(slot)}
        self.book.moves.retire(slot)
        for k, carrier in kept.items():
            assert self.book.carrier_of(k) == carrier, "nothing is let go of at once"
        before = self.placements()
        self.book.moves.retire(slot)
        assert self.placements() == before, "a plan applied twice changes nothing"

    @rule(slot=SLOTS, limit=st.integers(1, 4))
    def send(self, slot: int, limit: int) -> None:
        socket = self.sockets.get(slot)
        if socket is None:
            return
        batch = self.book.take_batch(slot, limit)
        for gone in batch.unsubscribe:
            assert socket.carries.pop(gone.instrument.key) == gone
            socket.confirmed.pop(gone.instrument.key, None)
        for old, new in batch.change_mode:
            assert socket.carries[old.instrument.key] == old
            socket.carries[old.instrument.key] = new
        for new in batch.subscribe:
            assert new.instrument.key not in socket.carries
            socket.carries[new.instrument.key] = new

    @rule(slot=SLOTS, number=NUMBERS)
    def confirm(self, slot: int, number: int) -> None:
        socket = self.sockets.get(slot)
        if socket is not None and key(number) in socket.carries:
            socket.confirmed[key(number)] = socket.carries[key(number)]
            self.book.confirm(slot, [key(number)])

    @rule(slot=SLOTS, number=NUMBERS)
    def refuse(self, slot: int, number: int) -> None:
        if self.sockets.get(slot) is None:
            return
        refused = self.book.reject(slot, [key(number)], RefusalCode.BROKER_ERROR, "no")
        gone = {(o.key, o.mode) for o in refused}
        self.held = {(h, k): m for (h, k), m in self.held.items() if (k, m) not in gone}

    @rule(seconds=st.sampled_from([0.5, 6.0, 16.0, 61.0, 400.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.book.expire(self.now)
        self.keep_up()

    @rule(warm=st.integers(0, 2))
    def keep_warm(self, warm: int) -> None:
        self.book.moves.keep_warm(warm)

    def keep_up(self) -> None:
        self.act()
        views = [
            ConnectionView(
                slot,
                socket is not None,
                None if socket is None else socket.opened_at,
                self.down_since.get(slot),
            )
            for slot, socket in self.sockets.items()
        ]
        book = self.book
        for task in book.moves.review(self.upkeep, self.now, views, max_idle_seconds=300.0):
            match task:
                case Evacuate(slot, among):
                    book.moves.evacuate(slot, among)
                case Readmit(slot):
                    book.moves.readmit(slot)
                case CloseIdle(slot):
                    book.moves.close_idle(slot)
                case Merge(source, target):
                    book.moves.merge(source, target)
                case Retire(slot):
                    book.moves.retire(slot)
                case Reopen(slot):
                    book.moves.reinstate(slot)
                    self.drop(slot)
                case SettleMoves(keys):
                    book.moves.settle(keys)

    @rule()
    def settle_down(self) -> None:
        """With everything open, sent and confirmed, upstream is exactly what is wanted."""
        for _ in range(6):
            self.now += LINGER
            self.book.expire(self.now)
            self.act()
            for slot in list(self.sockets):
                self.connect(slot)
                while self.book.has_actions or self.more(slot):
                    self.act()
                socket = self.sockets.get(slot)
                for carried in list(socket.carries) if socket else ():
                    self.book.confirm(slot, [carried])
            self.act()
        carried_modes: dict[InstrumentKey, FeedMode] = {}
        for socket in self.sockets.values():
            for k, subscription in socket.carries.items() if socket else ():
                assert k not in carried_modes, f"{k} is carried twice"
                carried_modes[k] = subscription.mode
        highest = self.highest()
        waiting = set(self.book.waiting)
        assert carried_modes.keys() == highest.keys() - waiting
        for k, mode in carried_modes.items():
            assert mode is highest[k] or (self.categories and mode > highest[k])
        assert not moving(self.book)
        for k in waiting:
            assert self.told[k, highest[k]].code is RefusalCode.MAX_CAPACITY_REACHED
            assert self.told[k, highest[k]].state is PENDING

    def more(self, slot: int) -> bool:
        socket = self.sockets.get(slot)
        if socket is None:
            return False
        before = dict(socket.carries)
        self.send(slot, 100)
        return socket.carries != before

    def highest(self) -> dict[InstrumentKey, FeedMode]:
        found: dict[InstrumentKey, FeedMode] = {}
        for (_, k), mode in self.held.items():
            found[k] = max(mode, found.get(k, mode))
        return found

    def placements(self) -> dict[int, dict[InstrumentKey, Subscription]]:
        return {
            number: {k: placement.subscription for k, placement in slot.items.items()}
            for number, slot in self.book.slots.items()
        }

    # -- What always holds --------------------------------------------------------------------

    @invariant()
    def the_shell_has_acted(self) -> None:
        self.act()
        assert self.sockets.keys() == self.book.slots.keys()
        assert len(self.sockets) <= BROKER_CONNECTIONS

    @invariant()
    def no_connection_is_over_its_limits(self) -> None:
        broker = Limits(BROKER_CONNECTIONS, 10**6, BROKER_UNITS, self.categories)
        for slot in self.book.slots.values():
            load = self.load(placement.subscription for placement in slot.items.values())
            assert broker.allow(load), "the broker's caps hold even while things move"
            staying = self.load(
                p.subscription for k, p in slot.items.items() if k not in slot.leaving
            )
            assert slot.is_surplus or self.limits.allow(staying)
            assert (load.symbols, load.units, load.categories) == (
                slot.load.symbols,
                slot.load.units,
                slot.load.categories,
            )
            assert (staying.symbols, staying.units) == (slot.staying.symbols, slot.staying.units)
        if not self.categories:  # a mode that was lowered at once frees what another is given
            for socket in self.sockets.values():
                carried = socket.carries.values() if socket else ()
                assert broker.allow(self.load(carried))

    @invariant()
    def every_wanted_symbol_has_one_place_or_waits(self) -> None:
        book = self.book
        held = {
            (holder, k): level.mode
            for k in book
            for holder, level in self.interest(k).holders.items()
        }
        assert held == self.held
        waiting = set(self.book.waiting)
        for k in book:
            places = [n for n, slot in book.slots.items() if k in slot.items]
            if k in waiting:
                assert not places
                continue
            assert set(places) == {slot_of(book, k), book.carrier_of(k)}
            assert len(places) == (2 if k in moving(book) else 1)
            upstream = book.slots[slot_of(book, k) or 0].items[k].subscription
            assert Level.of(upstream.mode, upstream.depth_levels) == self.interest(k).upstream

    @invariant()
    def nothing_is_subscribed_that_nobody_wants(self) -> None:
        for slot in self.book.slots.values():
            assert slot.items.keys() <= set(self.book)
        for k in self.book:
            interest = self.interest(k)
            highest = interest.highest
            if highest != interest.upstream and not self.categories:
                assert interest.lower_at is not None
                assert interest.lower_at <= self.now + LINGER

    @invariant()
    def nothing_waits_that_fits(self) -> None:
        slots = self.book.slots
        for k in self.book.waiting:
            interest = self.interest(k)
            if not interest.holders:
                continue
            charge = Charge(self.cost(None, interest.upstream.mode))
            for slot in slots.values():
                if not self.categories and not slot.is_ending:
                    assert not self.limits.fits(slot.load, charge), f"{k} waits beside {slot}"
            assert len(slots) >= self.limits.max_connections or self.limits.units < charge.units

    @invariant()
    def confirmed_is_carried(self) -> None:
        """Nothing counts as active that no open socket carries."""
        for k in self.book:
            interest = self.interest(k)
            if interest.confirmed is not None:
                sockets = [s for s in self.sockets.values() if s is not None]
                assert any(k in s.carries for s in sockets)


class MixedPoolMachine(PoolMachine):
    """A broker that grants less where categories mix."""

    categories = {"ltp": CategoryLimit("ltp", 4, 2), "full": CategoryLimit("full", 5, 3)}

    @staticmethod
    def cost(instrument: object, mode: FeedMode) -> int:
        return 1

    @staticmethod
    def category(subscription: Subscription) -> str:
        return "ltp" if subscription.mode is FeedMode.LTP else "full"


PoolMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
MixedPoolMachine.TestCase.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None
)
TestPoolMachine = PoolMachine.TestCase
TestMixedPoolMachine = MixedPoolMachine.TestCase


def test_a_move_waits_for_a_request_that_the_pace_holds_back() -> None:
    """Its old connection carries the symbol for as long as the new one was not even asked."""
    machine = MixedPoolMachine()
    machine.subscribe(ANN, 0, FeedMode.LTP)
    for _ in range(5):
        machine.settle_down()
    machine.pass_time(400.0)
    machine.act()
    assert moving(machine.book), "it is to be replaced"
    machine.connect(2)
    machine.pass_time(0.5)
    machine.pass_time(16.0)
    machine.act()
    machine.confirmed_is_carried()
    machine.settle_down()
    assert not moving(machine.book)
