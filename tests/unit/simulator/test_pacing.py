"""Round robin over subscribed instruments, at a bounded rate."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.simulator.pacing import TickPacing


def pacing_of(count: int, rate: float, seed: int = 1) -> TickPacing:
    pacing = TickPacing(rate=rate, rng=Random(seed))
    for token in range(count):
        pacing.add(token)
    pacing.due(0.0)
    return pacing


def run(
    pacing: TickPacing, seconds: float, turn: float = 0.015, start: float = 0.0
) -> Counter[int]:
    dealt: Counter[int] = Counter()
    for number in range(1, round(seconds / turn) + 1):
        dealt.update(pacing.due(start + number * turn))
    return dealt


def test_the_rate_is_that_of_all_instruments_together():
    assert run(pacing_of(9_000, 2_000), 10).total() == pytest.approx(20_000, abs=40)


@pytest.mark.parametrize(("rate", "most"), [(2_000, 20), (50, 1)])
def test_one_instrument_gets_at_most_a_hundredth_of_the_rate_or_one_a_second(rate, most):
    assert run(pacing_of(1, rate), 10).total() == pytest.approx(10 * most, abs=1)


def test_all_tick_once_before_any_ticks_twice():
    dealt = run(pacing_of(9_000, 2_000), 4.6)
    assert len(dealt) == 9_000
    assert max(dealt.values()) - min(dealt.values()) <= 1


def test_the_order_is_shuffled_and_the_seeds_own():
    orders = [pacing_of(100, 10_000, seed).due(0.01) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])


def test_zero_freezes_the_market():
    pacing = pacing_of(10, 0)
    assert run(pacing, 5).total() == 0
    pacing.set_rate(100)
    assert run(pacing, 1, start=5.0).total() == pytest.approx(10, abs=1)


def test_a_late_caller_is_owed_a_quarter_of_a_second_at_most():
    assert len(pacing_of(1_000, 1_000).due(60.0)) == 250


def test_an_instrument_stays_until_its_last_reference_is_gone():
    pacing = pacing_of(3, 1_000)
    pacing.add(1)
    pacing.discard(1)
    pacing.discard(0)
    pacing.discard(2)
    assert set(run(pacing, 1)) == {1}
    pacing.discard(1)
    assert len(pacing) == 0
    assert pacing.due(100.0) == []


@pytest.mark.parametrize("rate", [-1, float("nan"), float("inf")])
def test_impossible_rates_are_refused(rate: float):
    with pytest.raises(ValueError, match="rate must be within"):
        TickPacing(rate=rate, rng=Random(1))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**16), st.lists(st.tuples(st.booleans(), st.integers(0, 8)), max_size=60))
def test_who_ticks_is_who_is_held_after_any_adding_and_discarding(seed, moves):
    pacing = TickPacing(rate=100, rng=Random(seed))
    held: Counter[int] = Counter()
    for is_adding, token in moves:
        if is_adding:
            pacing.add(token)
            held[token] += 1
        elif held[token]:
            pacing.discard(token)
            held[token] -= 1
    expected = {token for token, count in held.items() if count}
    pacing.due(0.0)
    assert set(run(pacing, 4)) == expected
    assert len(pacing) == len(expected)
