"""Capacity in the shapes in which real brokers declare it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from brokers.binance.connection import BinanceAdapter
from brokers.contract import BrokerCapabilities, CategoryLimit
from brokers.types import FeedMode, Subscription
from brokers.zerodha.connection import ZerodhaAdapter
from pooling.exceptions import PoolCapacityError
from pooling.subscriptions.allocator import Allocator
from pooling.subscriptions.capacity import Charge, Limits, Load, effective_limits
from pooling.subscriptions.plan import Subscribe
from pooling.testing import make_instrument

LTP, QUOTE, DEPTH = FeedMode.LTP, FeedMode.QUOTE, FeedMode.DEPTH


def declare(**fields: Any) -> BrokerCapabilities:
    defaults: dict[str, Any] = {"name": "x", "label": "X", "exchanges": frozenset({"NSE"})}
    return BrokerCapabilities(**(defaults | fields))


ANGEL = declare(max_connections=3, symbols_per_connection=1000, unit="pairs")
UPSTOX = declare(
    max_connections=2,
    symbols_per_connection=5000,
    category_limits=(
        CategoryLimit("ltpc", 5000, 2000),
        CategoryLimit("greeks", 3000, 2000),
        CategoryLimit("full", 2000, 1500),
    ),
)
UPSTOX_LIMITS = {each.category: each for each in UPSTOX.category_limits}
UPSTOX_SHARED = replace(UPSTOX, shares_category_limits=True)
DHAN = declare(
    max_connections=5,
    symbols_per_connection=5000,
    category_limits=(CategoryLimit("depth20", 50, 50),),
)


def upstox_category(subscription: Subscription) -> str:
    return "ltpc" if subscription.mode is LTP else "full"


def dhan_category(subscription: Subscription) -> str:
    deep = subscription.mode is DEPTH and subscription.depth_levels == 20
    return "depth20" if deep else ""


def one(instrument: object, mode: FeedMode) -> int:
    return 1


def make(
    capabilities: BrokerCapabilities, *, connections: int = 1, cost=one, category=None
) -> Allocator:
    limits = effective_limits(
        symbols_per_connection=10**6, max_connections=connections, capabilities=capabilities
    )
    return Allocator(limits=limits, cost=cost, category=category)


def fill(allocator: Allocator, mode: FeedMode, *, start: int = 0, depth: int = 5) -> int:
    """Assign until it is full; returns how many fitted."""
    for count in range(10**5):
        try:
            allocator.assign(Subscription(make_instrument(start + count), mode, depth))
        except PoolCapacityError:
            return count
    raise AssertionError("it is never full")


def test_zerodha_counts_instruments_whatever_their_mode() -> None:
    for mode in FeedMode:
        allocator = make(ZerodhaAdapter.capabilities, cost=ZerodhaAdapter.cost)
        assert fill(allocator, mode) == 3000


def test_angel_counts_pairs_of_token_and_mode() -> None:
    assert fill(make(ANGEL), QUOTE) == 1000


def test_binance_counts_streams_and_the_user_symbols() -> None:
    assert fill(make(BinanceAdapter.capabilities, cost=BinanceAdapter.cost), LTP) == 1024
    assert fill(make(BinanceAdapter.capabilities, cost=BinanceAdapter.cost), QUOTE) == 341
    limits = effective_limits(
        symbols_per_connection=300, max_connections=1, capabilities=BinanceAdapter.capabilities
    )
    assert fill(Allocator(limits=limits, cost=BinanceAdapter.cost), QUOTE) == 300
    assert limits.capacity == 1024


def test_upstox_grants_each_category_its_own_number_alone() -> None:
    assert fill(make(UPSTOX, category=upstox_category), LTP) == 5000
    assert fill(make(UPSTOX, category=upstox_category), QUOTE) == 2000


def test_upstox_grants_less_where_categories_mix() -> None:
    allocator = make(UPSTOX, category=upstox_category)
    allocator.assign(Subscription(make_instrument(99_999), LTP))
    assert fill(allocator, QUOTE) == 1500
    assert fill(allocator, LTP, start=10_000) == 1999


def test_upstox_refuses_to_mix_what_only_fits_alone_and_opens_another_connection() -> None:
    allocator = make(UPSTOX, connections=2, category=upstox_category)
    for number in range(1800):
        allocator.assign(Subscription(make_instrument(number), QUOTE))
    plan = allocator.assign(Subscription(make_instrument(5000), LTP))
    assert [step.slot for step in plan if isinstance(step, Subscribe)] == [2]
    assert [step.slot for step in allocator.assign(Subscription(make_instrument(1800), QUOTE))] == [
        1
    ]


def test_a_change_of_category_moves_where_it_does_not_fit_in_place() -> None:
    allocator = make(UPSTOX, connections=2, category=upstox_category)
    for number in range(1800):
        allocator.assign(Subscription(make_instrument(number), QUOTE))
    key = make_instrument(7).key
    allocator.assign(Subscription(make_instrument(7), LTP))
    assert (allocator.carrier_of(key), allocator.slot_of(key)) == (1, 2)
    allocator.settle(key)
    assert allocator.slots[1].load.categories == {"full": 1799}
    assert allocator.slots[2].load.categories == {"ltpc": 1}


@pytest.mark.parametrize(("mode", "alone"), [(LTP, 5000), (QUOTE, 2000)])
def test_shared_categories_bound_all_connections_together(mode: FeedMode, alone: int) -> None:
    allocator = make(UPSTOX_SHARED, connections=2, category=upstox_category)
    assert fill(allocator, mode) == alone
    allocator.unassign(make_instrument(0).key)
    assert fill(allocator, mode, start=10_000) == 1


def test_shared_categories_mix_across_connections() -> None:
    """The one on the second connection makes the first one's number the lower one, too."""
    limits = Limits(2, 1600, None, UPSTOX_LIMITS, are_categories_shared=True)
    allocator = Allocator(limits=limits, cost=one, category=upstox_category)
    for number in range(1500):
        allocator.assign(Subscription(make_instrument(number), QUOTE))
    for number in range(1500, 1700):
        allocator.assign(Subscription(make_instrument(number), LTP))
    assert allocator.slots[2].load.categories == {"ltpc": 100}
    with pytest.raises(PoolCapacityError):
        allocator.assign(Subscription(make_instrument(9_000), QUOTE))
    with pytest.raises(PoolCapacityError):
        allocator.assign(Subscription(make_instrument(1_500), QUOTE))
    allocator.assign(Subscription(make_instrument(0), LTP))
    assert allocator.slots[1].load.categories == {"full": 1499, "ltpc": 101}


def test_shared_categories_bound_the_capacity() -> None:
    assert make(UPSTOX_SHARED, connections=2).limits.capacity == 6000 - 500
    assert make(UPSTOX, connections=2).limits.capacity == 10_000


def test_dhan_takes_fifty_deep_books_among_thousands() -> None:
    allocator = make(DHAN, category=dhan_category)
    assert fill(allocator, DEPTH, depth=20) == 50
    assert fill(allocator, DEPTH, start=10_000, depth=5) == 4950


def test_the_smaller_of_the_users_and_the_brokers_limits_counts() -> None:
    limits = effective_limits(symbols_per_connection=10, max_connections=9, capabilities=DHAN)
    assert (limits.symbols_per_connection, limits.max_connections) == (10, 5)
    assert limits.capacity == 50


def test_a_load_adds_up_and_an_answer_leaves_it_as_it_was() -> None:
    load = Load()
    load.add(Charge(2, "a"))
    load.add(Charge(1))
    limits = Limits(1, 3, 4, {"a": CategoryLimit("a", 2, 2)})
    assert limits.fits(load, Charge(1))
    assert not limits.fits(load, Charge(1, "a"))
    assert limits.fits(load, Charge(1, "a"), instead_of=Charge(2, "a"))
    assert (load.symbols, load.units, load.categories) == (2, 3, {"a": 2})
    load.remove(Charge(2, "a"))
    assert (load.symbols, load.units, load.categories) == (1, 1, {})


class CountingCategories(dict):
    """Counts how many categories are looked at."""

    looked_at = 0

    def items(self) -> Any:
        CountingCategories.looked_at += len(self)
        return super().items()


@pytest.mark.parametrize("count", [450, 1_500, 4_500])
def test_work_per_symbol_does_not_grow_with_categories_either(count: int) -> None:
    charged = 0

    def counting(instrument: object, mode: FeedMode) -> int:
        nonlocal charged
        charged += 1
        return 1

    allocator = make(UPSTOX, connections=2, cost=counting, category=upstox_category)
    CountingCategories.looked_at = 0
    for number in range(count):
        allocator.assign(Subscription(make_instrument(number), LTP))
        for slot in allocator.slots.values():
            if not isinstance(slot.load.categories, CountingCategories):
                slot.load.categories = CountingCategories(slot.load.categories)
    for number in range(count):
        allocator.unassign(make_instrument(number).key)
    assert charged == count
    assert CountingCategories.looked_at <= 4 * count
