"""Limits that bound all connections together: kept on the sockets, whichever speaks first."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from brokers.contract import CategoryLimit
from brokers.pool_service import Holder, RefusalCode, Want
from brokers.types import FeedMode
from pooling.subscriptions.book import SubscriptionBook
from pooling.subscriptions.capacity import Limits
from pooling.testing import make_instrument
from tests.unit.pooling.kit import slot_of

LTP, DEPTH = FeedMode.LTP, FeedMode.DEPTH
HOLDERS = [Holder("g1", name) for name in ("ann", "bob", "eve")]
CAPS = (CategoryLimit("ltpc", alone=8, mixed=5), CategoryLimit("full", alone=5, mixed=3))


def limits(connections):
    caps = {cap.category: cap for cap in CAPS}
    return Limits(connections, 4, categories=caps, are_categories_shared=True)


def make(connections=3):
    return SubscriptionBook(
        limits=limits(connections),
        cost=lambda instrument, mode: 1,
        category=lambda subscription: category_of(subscription.mode),
        modes=(LTP, DEPTH),
        depth_levels=(5,),
        linger_seconds=0,
    )


def category_of(mode):
    return "ltpc" if mode is LTP else "full"


class Exchange:
    """What the broker carries for the account, socket by socket, and whether that is too much."""

    def __init__(self, book):
        self.book = book
        self.sockets: dict[int, dict[object, FeedMode]] = {}

    def send(self, slot, limit):
        """Send the next changes of a connection; returns whether there were any."""
        batch = self.book.take_batch(slot, limit)
        carried = self.sockets.setdefault(slot, {})
        for item in batch.unsubscribe:
            del carried[item.instrument.key]
        for old, new in batch.change_mode:
            assert carried[old.instrument.key] is old.mode
            carried[new.instrument.key] = new.mode
        for item in batch.subscribe:
            assert item.instrument.key not in carried
            carried[item.instrument.key] = item.mode
        self.check()
        return bool(batch)

    def check(self):
        modes = [mode for carried in self.sockets.values() for mode in carried.values()]
        counts = Counter(map(category_of, modes))
        for cap in CAPS:
            assert counts[cap.category] <= (cap.mixed if len(counts) > 1 else cap.alone)

    def drop(self, slot):
        self.sockets[slot] = {}
        self.book.restart(slot)

    def forget_closed(self):
        self.sockets = {n: c for n, c in self.sockets.items() if n in self.book.slots}


def key(number):
    return make_instrument(number).key


def want(book, holder, number, mode):
    return book.want(holder, Want(key(number), mode), make_instrument(number), 0.0)


def carrying_three_books():
    """Books 0 to 2 and a price on the first connection, which is full, a price on the second."""
    book = make(connections=2)
    exchange = Exchange(book)
    for number, mode in enumerate((DEPTH, DEPTH, DEPTH, LTP, LTP)):
        want(book, HOLDERS[0], number, mode)
    assert exchange.send(1, 10)
    assert exchange.send(2, 10)
    return book, exchange


def test_a_place_is_taken_on_one_connection_once_it_was_left_on_another():
    book, exchange = carrying_three_books()
    book.release(HOLDERS[0], [key(0)], 0.0)
    book.expire(1.0)
    want(book, HOLDERS[0], 5, LTP)
    want(book, HOLDERS[0], 6, DEPTH)
    assert (slot_of(book, key(5)), slot_of(book, key(6))) == (1, 2)
    assert not exchange.send(2, 10)
    assert book.has_changes(2)
    assert exchange.send(1, 10)
    assert exchange.send(2, 10)
    assert exchange.sockets[2][key(6)] is DEPTH


def test_a_lost_socket_and_a_closed_connection_leave_their_places():
    book, exchange = carrying_three_books()
    exchange.drop(1)
    book.release(HOLDERS[0], [key(0), key(4)], 0.0)
    book.expire(1.0)
    want(book, HOLDERS[0], 6, DEPTH)
    while exchange.send(2, 10):
        pass
    book.moves.close_idle(2)
    exchange.forget_closed()
    assert exchange.send(1, 10)
    assert len(exchange.sockets[1]) == 4


def test_what_is_full_is_named():
    """Raising limits would not help where the broker's own are the narrower ones."""
    book, _ = carrying_three_books()
    refused = want(book, HOLDERS[0], 6, DEPTH)
    assert refused.code is RefusalCode.MAX_CAPACITY_REACHED
    assert "no more subscriptions of the kind 'full'" in refused.message
    book.resize(limits=limits(1), linger_seconds=0)
    refused = want(book, HOLDERS[0], 6, LTP)
    assert "raise the limits" in refused.message


@pytest.mark.parametrize("first", [1, 2])
def test_two_that_wait_for_each_others_place_change_one_after_the_other(first):
    """All places of both kinds are taken, and two instruments are to change kinds."""
    book, exchange = carrying_three_books()
    for number in (5, 6, 7):
        want(book, HOLDERS[0], number, LTP)
    assert exchange.send(2, 10)
    book.release(HOLDERS[0], [key(0)], 0.0)
    book.expire(1.0)
    want(book, HOLDERS[0], 4, DEPTH)
    want(book, HOLDERS[0], 0, LTP)
    for slot in (first, 3 - first) * 3:
        exchange.send(slot, 10)
    assert not book.has_changes(1)
    assert not book.has_changes(2)
    assert (exchange.sockets[1][key(0)], exchange.sockets[2][key(4)]) == (LTP, DEPTH)


def test_what_a_closing_connection_carried_leaves_its_place():
    book, exchange = carrying_three_books()
    book.release(HOLDERS[0], [key(3)], 0.0)
    book.expire(1.0)
    book.resize(limits=limits(1), linger_seconds=0)
    assert exchange.send(1, 10)
    book.confirm(1, [key(4)])
    exchange.forget_closed()
    assert list(exchange.sockets) == [1]
    book.resize(limits=limits(3), linger_seconds=0)
    for number in (5, 6, 7, 8):
        want(book, HOLDERS[0], number, LTP)
    book.release(HOLDERS[0], [key(0)], 0.0)
    book.expire(2.0)
    exchange.send(2, 10)  # does not wait for what the first is about to end
    assert list(exchange.sockets[2]) == [key(5), key(6), key(7), key(8)]


@pytest.mark.parametrize("seed", range(60))
def test_whoever_speaks_first_no_message_asks_for_more_than_all_may_have(seed):
    """And in the end everything is carried as it is wanted: nobody waits for ever."""
    rng = random.Random(seed)
    book = make()
    exchange = Exchange(book)
    for step in range(150):
        slots = list(book.slots)
        match rng.choice(
            ("want", "want", "release", "send", "send", "send", "confirm", "drop", "limit")
        ):
            case "want":
                want(book, rng.choice(HOLDERS), rng.randrange(14), rng.choice((LTP, DEPTH)))
            case "release":
                book.release(rng.choice(HOLDERS), [key(n) for n in rng.sample(range(14), 4)], step)
                book.expire(step + 1)
            case "send" if slots:
                exchange.send(rng.choice(slots), rng.choice((1, 3)))
            case "confirm" if slots:
                slot = rng.choice(slots)
                book.confirm(slot, list(exchange.sockets.get(slot, ())))
            case "drop" if slots and rng.random() < 0.2:
                exchange.drop(rng.choice(slots))
            case "limit" if rng.random() < 0.3:
                book.resize(limits=limits(rng.choice((2, 3))), linger_seconds=0)
        exchange.forget_closed()
    for _ in range(100):
        for slot in list(book.slots):
            exchange.send(slot, 1)
            book.confirm(slot, list(exchange.sockets.get(slot, ())))
            exchange.forget_closed()
    carried = {k: mode for socket in exchange.sockets.values() for k, mode in socket.items()}
    assert carried == {k: book.get(k).upstream.mode for k in book}
