"""The local exchange's market: a seeded random walk with consistent trades and a book. Pure.

For every instrument at every moment: ``low <= ltp <= high`` and so for open and average price;
volume never falls; close is the previous close and never moves; every price is on the tick grid
and fits 32 bits; five bids fall away below five asks, and the last price is the best bid or the
best ask. A deeper book goes on below and above those, a tick at a time. Prices are scaled integers
of the segment's own scale.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from brokers.simulator.listing import ListedInstrument, build_listing

__all__ = ["Level", "Market", "Quote", "build_market"]

_U32 = 0xFFFFFFFF
_BOOK_SHAPES = 256
_DEEPEST_TICKS = 12  # more than any level of a book shape lies below the last price
_MOVES = (-2, -1, -1, 0, 0, 1, 1, 2)


class Level(NamedTuple):
    """One level of a book shape: distance from the last price in ticks, size in lots, orders."""

    offset_ticks: int
    lots: int
    orders: int


@dataclass(slots=True, kw_only=True, eq=False)
class Quote:
    """Everything that is known of one instrument now. ``levels`` is five bids, then five asks.

    Times are unix seconds. Open interest is in units; zero where the instrument has none.
    """

    instrument: ListedInstrument
    last_price: int
    open: int
    high: int
    low: int
    close: int
    last_quantity: int = 0
    average_price: int = 0
    volume: int = 0
    total_buy_quantity: int = 0
    total_sell_quantity: int = 0
    last_trade_time: int = 0
    exchange_time: int = 0
    oi: int = 0
    oi_day_high: int = 0
    oi_day_low: int = 0
    levels: tuple[Level, ...] = (Level(0, 0, 0),) * 10
    turnover: int = 0

    def bids(self, count: int = 5) -> list[tuple[int, int, int]]:
        """Return (price, quantity, orders) of the best bids, best first.

        There are fewer than ``count`` where the price would fall to zero.
        """
        return self._side(self.levels[:5], count, step=-1)

    def asks(self, count: int = 5) -> list[tuple[int, int, int]]:
        """Return (price, quantity, orders) of the best asks, best first."""
        return self._side(self.levels[5:], count, step=1)

    def _side(self, levels: Sequence[Level], count: int, step: int) -> list[tuple[int, int, int]]:
        tick, lot_size = self.instrument.tick, self.instrument.lot_size
        side = [
            (self.last_price + level.offset_ticks * tick, level.lots * lot_size, level.orders)
            for level in levels
        ]
        for number in range(5, count):
            price = side[-1][0] + step * tick
            if not price:
                break
            side.append((price, *side[number % 5][1:]))
        return side


class Market:
    """All quotes, and the one way in which they change: ``step``.

    Args:
        listing: what is traded.
        rng: the only source of randomness, so that a seed makes a market.
        now_s: unix seconds, the time of the quotes as they are at first.
    """

    def __init__(
        self, *, listing: Iterable[ListedInstrument], rng: random.Random, now_s: int
    ) -> None:
        self._rng = rng
        self._shapes = [_book_shape(rng) for _ in range(_BOOK_SHAPES)]
        # By token; each is changed in place, by ``step`` alone.
        self._quotes = {item.instrument_token: self._opened(item, now_s) for item in listing}

    @property
    def quotes(self) -> Mapping[int, Quote]:
        """Every quote by instrument token; they are live: ``step`` changes them in place."""
        return self._quotes

    def instruments(self) -> list[ListedInstrument]:
        """Return the listing, in its order."""
        return [quote.instrument for quote in self._quotes.values()]

    def step(self, token: int, now_s: int) -> Quote:
        """Let one instrument trade once at unix second ``now_s`` and return its quote.

        Raises:
            KeyError: no instrument has that token.
        """
        quote = self._quotes[token]
        # One draw feeds every decision of the step: calls to the generator are what a step costs.
        bits = self._rng.getrandbits(40)
        instrument = quote.instrument
        base, tick = instrument.base_price, instrument.tick
        move = _MOVES[bits & 7] * max(1, base // tick // 20_000) * tick
        price = quote.last_price + move
        if not _lower(base, tick) <= price <= _upper(base, tick):
            price = quote.last_price - move
        quote.last_price = price
        if price > quote.high:
            quote.high = price
        elif price < quote.low:
            quote.low = price
        quote.exchange_time = now_s
        if instrument.is_index:
            return quote
        quote.last_trade_time = now_s
        self._trade(quote, price, 1 + (bits >> 3 & 15))
        self._rest(quote, self._shapes[bits >> 7 & 255], bits >> 15 & 1023)
        if instrument.has_open_interest:
            self._hold(quote, (bits >> 25 & 7) - 3)
        return quote

    def _opened(self, instrument: ListedInstrument, now_s: int) -> Quote:
        """Return the quote of an instrument whose day is already some trades old."""
        rng, tick = self._rng, instrument.tick
        close = instrument.base_price
        step = max(1, close // tick // 2_000) * tick
        opened = max(close + rng.randint(-2, 2) * step, _lower(close, tick))
        price = max(opened + rng.randint(-2, 2) * step, _lower(close, tick))
        quote = Quote(
            instrument=instrument,
            last_price=price,
            open=opened,
            high=max(opened, price) + step,
            low=max(min(opened, price) - step, _lower(close, tick)),
            close=close,
            exchange_time=now_s,
        )
        if instrument.is_index:
            return quote
        quote.last_trade_time = now_s - rng.randint(0, 30)
        self._trade(quote, opened, rng.randint(100, 20_000))
        self._trade(quote, price, rng.randint(1, 50))
        self._rest(quote, rng.choice(self._shapes), rng.randint(0, 1023))
        if instrument.has_open_interest:
            quote.oi = rng.randint(1_000, 20_000) * instrument.lot_size
            quote.oi_day_high = quote.oi + rng.randint(0, 500) * instrument.lot_size
            quote.oi_day_low = quote.oi - rng.randint(0, 500) * instrument.lot_size
        return quote

    @staticmethod
    def _trade(quote: Quote, price: int, lots: int) -> None:
        quantity = lots * quote.instrument.lot_size
        quote.last_quantity = quantity
        # The wire has 32 bits for the volume; a simulation left running for days stops counting.
        if quote.volume + quantity <= _U32:
            quote.volume += quantity
            quote.turnover += price * quantity
            quote.average_price = quote.turnover // quote.volume

    @staticmethod
    def _rest(quote: Quote, levels: tuple[Level, ...], further_lots: int) -> None:
        lot_size = quote.instrument.lot_size
        quote.levels = levels
        bought = sum([level.lots for level in levels[:5]])
        sold = sum([level.lots for level in levels[5:]])
        quote.total_buy_quantity = (bought + further_lots) * lot_size
        quote.total_sell_quantity = (sold + 1023 - further_lots) * lot_size

    @staticmethod
    def _hold(quote: Quote, lots: int) -> None:
        oi = quote.oi + lots * quote.instrument.lot_size
        if 0 <= oi <= _U32:
            quote.oi = oi
            quote.oi_day_high = max(quote.oi_day_high, oi)
            quote.oi_day_low = min(quote.oi_day_low, oi)


def build_market(*, seed: int, today: date, now_s: int, size: int = 10_000) -> Market:
    """Return the market of a seed: the same arguments give the same quotes, step for step."""
    listing = build_listing(today=today, size=size)
    return Market(listing=listing, rng=random.Random(seed), now_s=now_s)  # noqa: S311 - no secret


def _lower(base: int, tick: int) -> int:
    """Return the lower circuit: four fifths of the close, with room for the book below it."""
    return max(base * 4 // 5 // tick, _DEEPEST_TICKS) * tick


def _upper(base: int, tick: int) -> int:
    return max(base * 6 // 5 // tick, base // tick + 2 * _DEEPEST_TICKS) * tick


def _book_shape(rng: random.Random) -> tuple[Level, ...]:
    spread = rng.randint(1, 3)
    best_bid = rng.choice((0, -spread))
    below = _ladder(rng)
    above = _ladder(rng)
    offsets = [best_bid - gap for gap in below] + [best_bid + spread + gap for gap in above]
    return tuple(Level(offset, rng.randint(1, 400), rng.randint(1, 40)) for offset in offsets)


def _ladder(rng: random.Random) -> list[int]:
    gaps = [0]
    for _ in range(4):
        gaps.append(gaps[-1] + rng.randint(1, 2))
    return gaps
