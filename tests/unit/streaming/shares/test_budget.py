"""What one user may take of a process, all its clients together."""

from __future__ import annotations

from typing import Any

import pytest

from streaming.edge_limits import EdgeLimits
from streaming.protocol.vocabulary import ErrorCode, ProtocolError
from streaming.shares.budget import Cost, UserBudgets

RATES: dict[Cost, dict[str, Any]] = {
    Cost.ITEMS: {"user_items_per_second": 10, "user_item_burst": 100},
    Cost.BYTES: {"user_bytes_per_second": 10, "user_byte_burst": 100},
    Cost.QUERIES: {"user_queries_per_second": 10, "user_query_burst": 100},
}


class Client:
    def __init__(self, wished: int = 0) -> None:
        self.wished = wished


def refusal_of(budgets: UserBudgets, user_id: int, what: Cost, amount: float, now: float) -> Any:
    try:
        budgets.of(user_id).spend(what, amount, now, request_id=7)
    except ProtocolError as refusal:
        return refusal
    return None


@pytest.mark.parametrize("what", Cost)
def test_each_cost_has_a_budget_of_its_own_for_each_user(what: Cost) -> None:
    budgets = UserBudgets(limits=EdgeLimits(**RATES[what]))
    assert refusal_of(budgets, 1, what, 100, 0.0) is None
    refusal = refusal_of(budgets, 1, what, 50, 0.0)
    assert refusal.code is ErrorCode.RATE_LIMITED
    assert (refusal.request_id, refusal.retry_after) == (7, 1)
    assert "wait 1 s" in refusal.message
    assert "10 " in refusal.message
    assert "100 at once" in refusal.message
    assert budgets.refused == {what: 1}
    # Neither another user nor another cost of the same one is concerned.
    assert refusal_of(budgets, 2, what, 100, 0.0) is None
    for other in set(Cost) - {what}:
        assert refusal_of(budgets, 1, other, 1, 0.0) is None
    assert refusal_of(budgets, 1, what, 50, 5.0) is None


def test_what_costs_more_than_there_ever_is_passes_and_is_paid_off() -> None:
    budgets = UserBudgets(limits=EdgeLimits(**RATES[Cost.ITEMS]))
    assert refusal_of(budgets, 1, Cost.ITEMS, 300, 0.0) is None
    assert refusal_of(budgets, 1, Cost.ITEMS, 1, 20.0).retry_after == 1
    assert refusal_of(budgets, 1, Cost.ITEMS, 1, 20.1) is None


def test_what_was_not_known_before_is_paid_off_too() -> None:
    budgets = UserBudgets(limits=EdgeLimits(**RATES[Cost.BYTES]))
    budgets.of(1).charge(Cost.BYTES, 199, 0.0)
    assert refusal_of(budgets, 1, Cost.BYTES, 1, 0.0).retry_after == 10
    assert not budgets.of(1).try_spend(Cost.BYTES, 1, 9.0)
    assert budgets.of(1).try_spend(Cost.BYTES, 1, 10.0)
    assert budgets.refused == {Cost.BYTES: 1}  # what may be left out is no refusal


def test_what_costs_nothing_passes_whatever_was_used() -> None:
    budgets = UserBudgets(limits=EdgeLimits(**RATES[Cost.ITEMS]))
    assert refusal_of(budgets, 1, Cost.ITEMS, 1000, 0.0) is None
    assert refusal_of(budgets, 1, Cost.ITEMS, 0, 0.0) is None


def test_a_user_has_so_many_clients() -> None:
    budgets = UserBudgets(limits=EdgeLimits(max_clients_per_user=2))
    first, second, third = Client(), Client(), Client()
    budgets.enter(1, first)
    budgets.enter(1, second)
    with pytest.raises(ProtocolError, match=r"has 2 connections.*close one"):
        budgets.enter(1, third)
    assert budgets.refused == {"sockets": 1}
    budgets.enter(2, third)
    budgets.leave(1, third)  # it was never let in
    budgets.leave(1, first)
    budgets.enter(1, Client())


def test_the_room_of_a_user_is_what_all_its_clients_leave() -> None:
    budgets = UserBudgets(limits=EdgeLimits(max_instruments_per_user=10))
    budgets.enter(1, Client(4))
    budgets.enter(1, Client(3))
    budgets.enter(2, Client(10))
    assert (budgets.of(1).room(), budgets.of(2).room(), budgets.of(3).room()) == (3, 0, 10)
