"""What lower limits would drop, told beforehand, is what they drop."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brokers.pool_service import Holder, Want
from brokers.types import FeedMode
from pooling.subscriptions.book import SubscriptionBook
from pooling.subscriptions.capacity import Limits
from pooling.subscriptions.preview import LimitsTrial, held_in
from pooling.testing import make_instrument

CLIENTS = [Holder("g1", "ann"), Holder("g1", "bob"), Holder("g2", "eve")]
SIZES = st.integers(1, 4)


def one(instrument, mode):
    return 1


def by_mode(instrument, mode):
    return 3 if mode is FeedMode.DEPTH else 1


def book_with(wants, limits, cost=one):
    book = SubscriptionBook(
        limits=limits, cost=cost, modes=tuple(FeedMode), depth_levels=(5,), linger_seconds=5
    )
    for holder, number, mode in wants:
        instrument = make_instrument(number)
        book.want(holder, Want(instrument.key, mode), instrument, 0.0)
    return book


def preview(book, limits):
    trial = LimitsTrial(allocator=book.emptied(limits))
    trial.add(held_in(book))
    return trial.preview()


WANTS = st.lists(
    st.tuples(st.sampled_from(CLIENTS), st.integers(1, 12), st.just(FeedMode.QUOTE)), max_size=30
)


@given(wants=WANTS, before=st.tuples(SIZES, SIZES), after=st.tuples(SIZES, SIZES))
def test_the_preview_is_what_the_pool_then_does(wants, before, after):
    """Symbols without a place and clients affected, for whatever is held and whatever limits."""
    book = book_with(wants, Limits(*before))
    told = preview(book, Limits(*after))
    book.resize(limits=Limits(*after), linger_seconds=5)
    waiting = book.waiting
    holders = {holder for key in waiting for holder in book.get(key).holders}
    assert (told.dropped, told.clients_affected) == (len(waiting), len(holders))
    assert set(told.newest) <= set(waiting)
    assert told.held == book.held


def test_it_says_how_many_of_whom():
    """The newest go first; who holds only what stays is not affected."""
    ann, bob, eve = CLIENTS
    wants = [(ann, n, FeedMode.LTP) for n in range(1, 7)] + [(bob, 7, FeedMode.LTP)]
    book = book_with([*wants, (eve, 8, FeedMode.LTP), (eve, 1, FeedMode.LTP)], Limits(2, 4))
    told = preview(book, Limits(2, 3))
    assert told.sentence() == (
        "2 x 3 leaves 2 of 8 symbols without a place; the newest are dropped first; "
        "2 of 3 clients are affected."
    )
    assert [key.symbol for key in told.newest] == [
        make_instrument(8).key.symbol,
        make_instrument(7).key.symbol,
    ]


def test_what_lingers_unheld_is_not_missed():
    """Nobody is told of what nobody holds."""
    ann = CLIENTS[0]
    book = book_with([(ann, n, FeedMode.LTP) for n in range(1, 5)], Limits(2, 2))
    book.release(ann, [make_instrument(1).key], 1.0)
    assert preview(book, Limits(1, 3)).dropped == 0
    assert preview(book, Limits(1, 3)).sentence() == "1 x 3 has a place for all 3 symbols."


def test_the_brokers_own_units_count():
    """A depth subscription that costs three takes the place of three."""
    ann = CLIENTS[0]
    wants = [(ann, 1, FeedMode.DEPTH), (ann, 2, FeedMode.QUOTE), (ann, 3, FeedMode.QUOTE)]
    limits = Limits(1, 10, 5)
    book = book_with(wants, limits, by_mode)
    assert preview(book, limits).dropped == 0
    assert preview(book, Limits(1, 10, 4)).dropped == 1
