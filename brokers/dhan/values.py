"""Values that Dhan's two feeds have in common: names of instruments, prices out of floats. Pure.

The wire has rupees as binary fractions, and the exchange has whole ticks; a price is the decimal
that the fraction stands for. Of 32 bits that is the nearest paisa below 131,072 rupees (2^17, where
neighbours begin to lie more than a paisa apart), in currencies the nearest hundredth of a paisa
below 1,024. Above, paise can no longer be told apart, and the nearest multiple of the smallest tick
of the exchange (5 paise; a quarter of a paisa) is taken, as long as those can: up to 524,288 and
32,768 rupees. Beyond, and for averages, which are on no tick, it is the nearest decimal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Final, NamedTuple

from brokers.dhan.constants import PRICE_SCALE_CURRENCY, PRICE_SCALE_DEFAULT, SEGMENTS
from brokers.exceptions import BrokerProtocolError
from brokers.types import DepthLevel

__all__ = [
    "Disconnection",
    "named",
    "to_exact_levels",
    "to_levels",
    "to_one_price",
    "to_price",
    "to_prices",
]

MAX_CACHED_NAMES: Final = 16_384
MAX_RUPEES: Final = 10**12
_MAX_SCALED: Final = MAX_RUPEES * PRICE_SCALE_DEFAULT
_CURRENCIES: Final = frozenset({"NSE_CURRENCY", "BSE_CURRENCY"})


class _Precision(NamedTuple):
    """In scaled integers: below ``plain`` every step is told apart, below ``ticked`` each tick."""

    plain: int
    ticked: int
    tick: int


_PRECISION: Final = {
    PRICE_SCALE_DEFAULT: _Precision(2**17 * PRICE_SCALE_DEFAULT, 2**19 * PRICE_SCALE_DEFAULT, 5),
    PRICE_SCALE_CURRENCY: _Precision(
        2**10 * PRICE_SCALE_CURRENCY, 2**15 * PRICE_SCALE_CURRENCY, 25
    ),
}
_PLAIN: Final = {scale: precision.plain for scale, precision in _PRECISION.items()}


class Disconnection(NamedTuple):
    """The broker is about to end the connection; ``reason`` is its number, 0 for none."""

    reason: int


# Bounded, so that a server that makes up security ids cannot fill the memory.
@lru_cache(maxsize=MAX_CACHED_NAMES)
def named(field: bytes) -> tuple[str, int]:
    """Return token and price scale of a packet's five bytes: segment and security id.

    Raises:
        BrokerProtocolError: there is no such segment.
    """
    segment = SEGMENTS.get(field[0])
    if segment is None:
        raise BrokerProtocolError(f"dhan: there is no segment {field[0]}")
    scale = PRICE_SCALE_CURRENCY if segment in _CURRENCIES else PRICE_SCALE_DEFAULT
    return f"{segment}:{int.from_bytes(field[1:], 'little')}", scale


def to_prices(values: Sequence[float], scale: int, *, averages: int = 0) -> list[int]:
    """Return float32 prices as scaled integers; see the module for how.

    Args:
        values: in rupees; the first ``averages`` of them are on no tick.
        scale: of the result.

    Raises:
        BrokerProtocolError: one is not a number, infinite, or beyond any price.
    """
    try:
        prices = [round(value * scale) for value in values]
    except (ValueError, OverflowError) as error:
        raise _bad_price() from error
    plain = _PLAIN[scale]
    if max(prices) < plain and min(prices) > -plain:
        return prices
    coarse = [_coarse(value, scale) for value in values[averages:]]
    return [to_price(value, scale) for value in values[:averages]] + coarse


def to_one_price(value: float, scale: int) -> int:
    """Return a single float32 price, as ``to_prices`` does."""
    plain = _PLAIN[scale]
    if -plain < value * scale < plain:  # not so for NaN
        return round(value * scale)
    return _coarse(value, scale)


def to_price(value: float, scale: int) -> int:
    """Return the nearest scaled integer of an average.

    Raises:
        BrokerProtocolError: it is not a number, infinite, or beyond any price.
    """
    if not -MAX_RUPEES < value < MAX_RUPEES:  # nor is NaN
        raise _bad_price()
    return round(value * scale)


def to_exact_levels(rows: Iterable[tuple[float, int, int]], scale: int) -> tuple[DepthLevel, ...]:
    """Return the levels of rows of float64 price, quantity and orders that have a price.

    Raises:
        BrokerProtocolError: a price is not a number, infinite, or beyond any price.
    """
    try:
        levels = tuple(
            [
                _as_level((round(price * scale), quantity, orders))
                for price, quantity, orders in rows
                if price
            ]
        )
    except (ValueError, OverflowError) as error:
        raise _bad_price() from error
    if levels:
        least, most = min(levels)[0], max(levels)[0]
        if least <= -_MAX_SCALED or most >= _MAX_SCALED:
            raise _bad_price()
        if least <= 0 <= most:  # one may have been less than half of the smallest step
            return tuple(level for level in levels if level.price)
    return levels


def to_levels(
    prices: Sequence[int], quantities: Sequence[int], orders: Sequence[int]
) -> tuple[DepthLevel, ...]:
    """Return the levels of one side; those without a price are left out."""
    levels = tuple(map(_as_level, zip(prices, quantities, orders, strict=True)))
    if 0 in prices:
        return tuple(level for level in levels if level.price)
    return levels


def _bad_price() -> BrokerProtocolError:
    """Return the error for what is no price."""
    return BrokerProtocolError("dhan: a price is not a number of rupees")


def _coarse(value: float, scale: int) -> int:
    price = to_price(value, scale)
    precision = _PRECISION[scale]
    if precision.plain <= abs(price) < precision.ticked:
        return round(value * scale / precision.tick) * precision.tick
    return price


# What DepthLevel._make does, without a Python frame for each of a packet's ten levels.
_as_level: Final[Callable[[tuple[int, ...]], DepthLevel]] = partial(tuple.__new__, DepthLevel)
