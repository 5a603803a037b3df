"""The simulated market: what must hold for every quote at every moment, whatever the seed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.simulator.listing import ListedInstrument, Segment, build_listing
from brokers.simulator.market import Market, Quote, build_market
from brokers.simulator.zerodha.encoder import Mode, encode_packet

U32 = 0xFFFFFFFF
LISTING = build_listing(today=date(2026, 1, 5), size=700)


def check(quote: Quote) -> None:
    """Assert everything that the market promises of one quote."""
    item = quote.instrument
    prices = [quote.last_price, quote.open, quote.high, quote.low, quote.close]
    assert all(0 < price <= U32 and price % item.tick == 0 for price in prices)
    assert quote.low <= quote.last_price <= quote.high
    assert quote.low <= quote.open <= quote.high
    assert quote.close == item.base_price
    if item.is_index:
        assert quote.volume == quote.oi == quote.last_trade_time == 0
        return
    assert quote.low <= quote.average_price <= quote.high
    assert 0 < quote.last_quantity <= quote.volume <= U32
    assert quote.last_quantity % item.lot_size == 0
    bids, asks = quote.bids(), quote.asks()
    assert len(bids) == len(asks) == 5
    ladder = [price for price, _, _ in reversed(bids)] + [price for price, _, _ in asks]
    assert all(lower < higher for lower, higher in pairwise(ladder))
    assert all(0 < price <= U32 and price % item.tick == 0 for price in ladder)
    assert all(0 < quantity <= U32 and 0 < orders <= 0xFFFF for _, quantity, orders in bids + asks)
    check_deep(quote)
    assert quote.last_price in (bids[0][0], asks[0][0])
    assert sum(quantity for _, quantity, _ in bids) <= quote.total_buy_quantity <= U32
    assert sum(quantity for _, quantity, _ in asks) <= quote.total_sell_quantity <= U32
    if item.has_open_interest:
        assert 0 <= quote.oi_day_low <= quote.oi <= quote.oi_day_high <= U32
    else:
        assert quote.oi == quote.oi_day_high == quote.oi_day_low == 0


def check_deep(quote: Quote) -> None:
    """Assert that a deeper book goes on where the five levels end, and never at no price."""
    tick, asks, bids = quote.instrument.tick, quote.asks(30), quote.bids(30)
    assert (bids[:5], asks[:5]) == (quote.bids(), quote.asks())
    assert len(asks) == 30
    assert len(bids) == min(30, 4 + bids[4][0] // tick)
    assert [price for price, _, _ in asks[4:]] == [asks[4][0] + n * tick for n in range(26)]
    lowest = [price for price, _, _ in bids[4:]]
    assert lowest == [bids[4][0] - n * tick for n in range(len(lowest))]
    assert bids[-1][0] > 0


def test_a_deep_book_ends_before_it_gives_things_away():
    quote = next(
        each
        for each in Market(listing=LISTING, rng=Random(1), now_s=1_000).quotes.values()
        if not each.instrument.is_index
    )
    cheap = replace(quote, last_price=20 * quote.instrument.tick)
    check_deep(cheap)
    assert len(cheap.bids(30)) < 30


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_every_quote_of_every_seed_is_consistent_from_the_start(seed: int):
    for quote in Market(listing=LISTING, rng=Random(seed), now_s=1_000).quotes.values():
        check(quote)
        encode_packet(quote, Mode.FULL)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(LISTING))
def test_quotes_stay_consistent_and_volume_never_falls(seed: int, item: ListedInstrument):
    market = Market(listing=[item], rng=Random(seed), now_s=1_000)
    quote = market.quotes[item.instrument_token]
    volume, opened, close = quote.volume, quote.open, quote.close
    for second in range(1_001, 1_301):
        assert market.step(item.instrument_token, second) is quote
        check(quote)
        assert quote.volume >= volume
        assert (quote.open, quote.close) == (opened, close)
        assert quote.exchange_time == second
        volume = quote.volume


def test_prices_do_move_within_the_circuits_of_the_day():
    market = Market(listing=LISTING[:1], rng=Random(3), now_s=0)
    (token,) = market.quotes
    seen = {market.step(token, second).last_price for second in range(20_000)}
    base = market.quotes[token].instrument.base_price
    assert len(seen) > 100
    assert base * 0.79 <= min(seen) < max(seen) <= base * 1.21


def test_a_seed_makes_the_same_market_step_for_step():
    one, same, other = (
        build_market(seed=seed, today=date(2026, 1, 5), now_s=5, size=700) for seed in (1, 1, 2)
    )
    tapes = [
        [encode_packet(market.step(token, 6), Mode.FULL) for token in market.quotes]
        for market in (one, same, other)
    ]
    assert tapes[0] == tapes[1] != tapes[2]


def test_volume_stops_at_what_the_wire_can_say():
    item = next(item for item in LISTING if item.segment is Segment.NFO)
    market = Market(listing=[item], rng=Random(1), now_s=0)
    quote = market.quotes[item.instrument_token]
    quote.turnover, quote.volume = (U32 - 1) * quote.last_price, U32 - 1
    market.step(item.instrument_token, 1)
    assert quote.volume == U32 - 1
    check(quote)


def test_unknown_instrument_cannot_trade():
    with pytest.raises(KeyError):
        Market(listing=LISTING[:1], rng=Random(1), now_s=0).step(1, 1)
