"""Stamped prices say which exchange, which instrument and which second, and fit the wire."""

from __future__ import annotations

import pytest

from brokers.simulator.angel.encoder import AngelMode
from brokers.simulator.angel.encoder import encode_tick as encode_angel
from brokers.simulator.stamped import (
    MAX_NUMBER,
    WRAP_SECONDS,
    Stamp,
    build_stamped_market,
    read_stamp,
    stamped_price,
)
from brokers.simulator.zerodha.encoder import Mode, encode_packet
from tests.fix_simulator import OPENED_S, TODAY


class Clock:
    now = float(OPENED_S)

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("number", "index", "now_s"),
    [(1, 0, 0), (3, 7, OPENED_S), (MAX_NUMBER, 16_383, WRAP_SECONDS - 1)],
)
def test_a_price_is_read_as_it_was_stamped(number: int, index: int, now_s: int) -> None:
    price = stamped_price(number, index, now_s)
    assert read_stamp(price) == Stamp(number, index, now_s % WRAP_SECONDS)
    assert 0 < price < 2**31
    # As a client gets it: the float nearest to rupees.
    assert round(price / 100 * 100) == price


@pytest.mark.parametrize(("number", "index"), [(0, 1), (MAX_NUMBER + 1, 1), (1, -1), (1, 16_384)])
def test_what_does_not_fit_is_refused(number: int, index: int) -> None:
    with pytest.raises(ValueError, match="must be within"):
        stamped_price(number, index, OPENED_S)


def test_the_age_of_a_price_goes_on_over_the_turn_of_its_seconds() -> None:
    stamp = read_stamp(stamped_price(1, 1, WRAP_SECONDS - 2))
    assert stamp.age(WRAP_SECONDS + 1.5) == 3.5


def test_a_step_stamps_and_so_does_a_look() -> None:
    clock = Clock()
    market = build_stamped_market(number=2, seed=1, today=TODAY, clock=clock, size=1_000)
    tokens = list(market.quotes)
    quote = market.step(tokens[5], OPENED_S + 3)
    assert read_stamp(quote.last_price) == Stamp(2, 5, (OPENED_S + 3) % WRAP_SECONDS)
    clock.now += 100
    quote = market.quotes[tokens[5]]
    assert read_stamp(quote.last_price).age(clock.now) == 0
    assert quote.low <= quote.last_price <= quote.high
    assert tokens[5] in market.quotes
    assert 1 not in market.quotes
    assert len(market.quotes) == 1_000


def test_stamped_quotes_fit_the_wire() -> None:
    market = build_stamped_market(number=31, seed=1, today=TODAY, clock=Clock(), size=1_000)
    for token in market.quotes:
        for mode in Mode:
            assert encode_packet(market.step(token, OPENED_S), mode)
    first = next(iter(market.quotes))
    assert encode_angel(market.step(first, OPENED_S), AngelMode.SNAP_QUOTE)
