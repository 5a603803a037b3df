"""A market whose prices say what they are: of which exchange, which instrument, which second. Pure.

A last price is 28 bits and the exchange's number above them, in the segment's own scale:
``number << 26 | index << 12 | second``, where ``index`` is the instrument's place in the listing
and ``second`` is unix time modulo 4,096. Whoever reads a price can thus tell a foreign one, one of
another instrument and an old one from a right one, whatever lies between. Everything else of the
market is as it is without; prices are off the tick grid.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from brokers.simulator.listing import build_listing
from brokers.simulator.market import Market, Quote

__all__ = [
    "MAX_NUMBER",
    "WRAP_SECONDS",
    "Stamp",
    "StampedMarket",
    "build_stamped_market",
    "read_stamp",
    "stamped_price",
]

_SECOND_BITS = 12
_INDEX_BITS = 14
WRAP_SECONDS = 1 << _SECOND_BITS
_MAX_INDEX = (1 << _INDEX_BITS) - 1
MAX_NUMBER = 31  # a price of more would not fit 31 bits


@dataclass(frozen=True, slots=True)
class Stamp:
    """Facts that a stamped price says."""

    number: int
    index: int
    second: int

    def age(self, now: float) -> float:
        """Seconds from the stamp to unix time ``now``, less than ``WRAP_SECONDS``."""
        return (now - self.second) % WRAP_SECONDS


def stamped_price(number: int, index: int, now_s: int) -> int:
    """Return the price of an instrument at unix second ``now_s``.

    Raises:
        ValueError: ``number`` is not within 1 and ``MAX_NUMBER``, or ``index`` is too large.
    """
    if not 1 <= number <= MAX_NUMBER:
        raise ValueError(f"number must be within 1 and {MAX_NUMBER}, got {number}")
    if not 0 <= index <= _MAX_INDEX:
        raise ValueError(f"index must be within 0 and {_MAX_INDEX}, got {index}")
    return (number << _INDEX_BITS | index) << _SECOND_BITS | now_s % WRAP_SECONDS


def read_stamp(price: int) -> Stamp:
    """Return what a price says, in the scale that it was stamped in."""
    number, rest = divmod(price, 1 << (_INDEX_BITS + _SECOND_BITS))
    return Stamp(number, rest >> _SECOND_BITS, rest & (WRAP_SECONDS - 1))


class StampedMarket(Market):
    """A market that stamps prices whenever they are stepped or looked up.

    Args:
        number: of the exchange, 1 to ``MAX_NUMBER``.
        clock: unix seconds, for prices that are looked up: a broker sends the current value.
    """

    def __init__(self, *, number: int, clock: Callable[[], float], **market: Any) -> None:
        super().__init__(**market)
        stamped_price(number, len(self._quotes) - 1, 0)  # raises for what does not fit
        self._number = number
        self._clock = clock
        self._index = {token: index for index, token in enumerate(self._quotes)}
        self._current = _Current(self._quotes, self._restamped)

    @property
    def quotes(self) -> Mapping[int, Quote]:
        """Every quote by token, stamped with the second in which it is looked up."""
        return self._current

    def step(self, token: int, now_s: int) -> Quote:
        """See ``Market.step``; the last price is stamped."""
        return self._stamped(token, super().step(token, now_s), now_s)

    def _restamped(self, token: int) -> Quote:
        return self._stamped(token, self._quotes[token], int(self._clock()))

    def _stamped(self, token: int, quote: Quote, now_s: int) -> Quote:
        price = stamped_price(self._number, self._index[token], now_s)
        quote.last_price = price
        quote.high = max(quote.high, price)
        quote.low = min(quote.low, price)
        return quote


def build_stamped_market(
    *, number: int, seed: int, today: date, clock: Callable[[], float], size: int = 10_000
) -> StampedMarket:
    """Return the market of a seed with stamped prices, opening now.

    Raises:
        ValueError: ``number`` is not within 1 and ``MAX_NUMBER``.
    """
    return StampedMarket(
        number=number,
        clock=clock,
        listing=build_listing(today=today, size=size),
        rng=random.Random(seed),  # noqa: S311 - no secret
        now_s=int(clock()),
    )


class _Current(Mapping[int, Quote]):
    """Quotes that are brought up to date when they are looked up."""

    def __init__(self, quotes: Mapping[int, Quote], current: Callable[[int], Quote]) -> None:
        self._quotes = quotes
        self._quote = current

    def __getitem__(self, token: int) -> Quote:
        return self._quote(token)

    def __contains__(self, token: object) -> bool:
        return token in self._quotes

    def __iter__(self) -> Iterator[int]:
        return iter(self._quotes)

    def __len__(self) -> int:
        return len(self._quotes)
