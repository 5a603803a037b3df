"""Prices that a wire sends although there are none. Pure."""

from __future__ import annotations

__all__ = ["known_prices"]


def known_prices(*prices: int | None) -> tuple[int | None, ...]:
    """Return scaled prices with None for those of 0, which is how most wires say "there is none".

    A codec asks whether all are there before it calls this: nearly always they are.
    """
    return tuple([price or None for price in prices])
