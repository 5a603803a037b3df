"""Which of several connections is replaced first when all are about to be ended by the broker."""

from __future__ import annotations

from brokers.types import FeedMode, Subscription
from pooling.subscriptions.allocator import Allocator
from pooling.subscriptions.capacity import Limits
from pooling.subscriptions.upkeep import ConnectionView, Retire, Upkeep
from pooling.testing import make_instrument


class Draws:
    """Draws the latest moment for the first connection and the earliest for the second."""

    def __init__(self) -> None:
        self.shares = [0.95, 0.85]

    def uniform(self, a: float, b: float) -> float:
        return self.shares.pop(0)


def test_the_oldest_connection_is_replaced_first():
    limits = Limits(
        max_connections=3, symbols_per_connection=1, units_per_connection=None, categories={}
    )
    allocator = Allocator(limits=limits, cost=lambda instrument, mode: 1)
    for number in (1, 2):
        allocator.assign(Subscription(make_instrument(number), FeedMode.LTP, 5))
    upkeep = Upkeep(rng=Draws(), max_lifetime_seconds=100.0)
    views = [
        ConnectionView(1, is_live=True, opened_at=0.0, down_since=None),
        ConnectionView(2, is_live=True, opened_at=4.0, down_since=None),
    ]
    tasks = [
        upkeep.review(now, views, allocator, warm=(), max_idle_seconds=300.0)
        for now in (50.0, 96.0)
    ]
    assert tasks == [[], [Retire(1)]]
