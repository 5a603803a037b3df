"""What one socket still has to be told."""

from __future__ import annotations

from brokers.types import FeedMode, Subscription
from pooling.subscriptions.capacity import Charge
from pooling.subscriptions.plan import Placement
from pooling.subscriptions.reconciler import Reconciler
from pooling.testing import make_instrument

LTP, DEPTH = FeedMode.LTP, FeedMode.DEPTH


def sub(number, mode=LTP):
    return Subscription(make_instrument(number), mode)


def wanted(*subscriptions):
    """Depth takes two places."""
    return {
        s.instrument.key: Placement(s, Charge(2 if s.mode is DEPTH else 1)) for s in subscriptions
    }


def key(number):
    return make_instrument(number).key


def carrying(*subscriptions):
    reconciler = Reconciler()
    reconciler.restart([s.instrument.key for s in subscriptions])
    reconciler.take(wanted(*subscriptions), 100)
    return reconciler


def test_a_new_socket_is_told_everything_in_batches():
    reconciler = Reconciler()
    items = wanted(*(sub(n) for n in range(5)))
    reconciler.restart(items)
    sizes = [len(reconciler.take(items, 2).subscribe) for _ in range(4)]
    assert sizes == [2, 2, 1, 0]
    assert not reconciler.has_work


def test_a_change_performed_twice_says_nothing_the_second_time():
    reconciler = carrying(sub(1))
    reconciler.mark(key(1))
    assert not reconciler.take(wanted(sub(1)), 10)


def test_wishes_that_come_and_go_unsent_are_never_said():
    reconciler = Reconciler()
    reconciler.mark(key(1))
    assert not reconciler.take({}, 10)


def test_a_mode_is_changed_from_what_was_sent_last():
    reconciler = carrying(sub(1))
    reconciler.mark(key(1))
    assert reconciler.take(wanted(sub(1, DEPTH)), 10).change_mode == ((sub(1), sub(1, DEPTH)),)


def test_what_nobody_wants_is_unsubscribed_as_it_was_sent():
    reconciler = carrying(sub(1, DEPTH))
    reconciler.mark(key(1))
    assert reconciler.take({}, 10).unsubscribe == (sub(1, DEPTH),)
    assert not reconciler.sent


def test_room_is_made_before_it_is_taken():
    """With a full connection, what freed a place goes out before what took it."""
    reconciler = carrying(sub(1))
    reconciler.mark(key(2))
    reconciler.mark(key(1))
    reconciler.mark(key(2))
    batch = reconciler.take(wanted(sub(2)), 1)
    assert batch.unsubscribe == (sub(1),)
    assert not batch.subscribe
    assert reconciler.take(wanted(sub(2)), 1).subscribe == (sub(2),)


def test_a_lower_mode_is_said_before_a_raise_that_was_wished_earlier():
    """Each in a batch of its own: an adapter may turn the changes of one around."""
    reconciler = carrying(sub(1, DEPTH), sub(2))
    reconciler.mark(key(2))
    reconciler.mark(key(3))
    reconciler.mark(key(1))
    items = wanted(sub(1), sub(2, DEPTH), sub(3))
    first, second = reconciler.take(items, 10), reconciler.take(items, 10)
    assert first.change_mode == ((sub(1, DEPTH), sub(1)),)
    assert not first.subscribe
    assert second.change_mode == ((sub(2), sub(2, DEPTH)),)
    assert second.subscribe == (sub(3),)
    assert not reconciler.has_work


def test_modes_that_cost_the_same_are_changed_in_one_batch():
    reconciler = carrying(sub(1), sub(2, FeedMode.QUOTE))
    reconciler.mark(key(1))
    reconciler.mark(key(2))
    assert len(reconciler.take(wanted(sub(1, FeedMode.QUOTE), sub(2)), 10).change_mode) == 2


def test_a_restart_forgets_what_the_old_socket_carried():
    reconciler = carrying(sub(1), sub(2))
    reconciler.restart([key(2)])
    batch = reconciler.take(wanted(sub(2)), 10)
    assert (batch.unsubscribe, batch.subscribe) == ((), (sub(2),))
