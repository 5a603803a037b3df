"""Wants that wait until their names can be looked up, and the bound of them."""

from __future__ import annotations

from brokers.pool_service import Holder, Want
from brokers.types import FeedMode, InstrumentKey
from pooling.worker.untold import UntoldWants

ANN, BOB = Holder("g1", "ann"), Holder("g2", "bob")
ONE, TWO = InstrumentKey("NSE", "ONE"), InstrumentKey("NSE", "TWO")


def want(key: InstrumentKey, mode: FeedMode = FeedMode.QUOTE) -> Want:
    return Want(key, mode)


def test_the_latest_want_of_a_name_is_the_one_that_is_taken() -> None:
    untold = UntoldWants()
    assert untold.keep("7", ANN, want(ONE, FeedMode.LTP))
    assert untold.keep("7", ANN, want(ONE, FeedMode.DEPTH))
    assert len(untold) == 1
    assert untold.take("7", ANN, [TWO, ONE]) == [want(ONE, FeedMode.DEPTH)]
    assert untold.take("7", ANN, [ONE]) == []
    assert (len(untold), untold.holders()) == (0, [])


def test_beyond_the_bound_nothing_more_is_kept() -> None:
    untold = UntoldWants(max_wants=1)
    assert untold.keep("7", ANN, want(ONE))
    assert not untold.keep("7", BOB, want(TWO))
    assert untold.keep("7", ANN, want(ONE, FeedMode.LTP)), "it takes no further place"
    assert untold.holders() == [("7", ANN)]
    untold.release("7", ANN, [ONE])
    assert untold.keep("7", BOB, want(TWO))


def test_what_is_released_is_not_waited_for() -> None:
    untold = UntoldWants()
    for pool_id in ("7", "8"):
        for holder in (ANN, BOB):
            untold.keep(pool_id, holder, want(ONE))
            untold.keep(pool_id, holder, want(TWO))
    untold.release("7", ANN, [ONE])
    assert untold.keys("7", ANN) == [TWO]
    untold.release("7", ANN, None)
    assert untold.keys("7", ANN) == []
    untold.release_gateway("g2")
    assert untold.holders() == [("8", ANN)]
    untold.release_pool("8")
    untold.release_pool("9")
    assert len(untold) == 0
