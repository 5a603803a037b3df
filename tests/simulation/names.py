"""Names of a simulation's instruments: number N is symbol SN, and N is its token at the broker."""

from __future__ import annotations

from functools import cache

from brokers.types import InstrumentKey
from pooling.testing import make_instrument

__all__ = ["key_of", "token_of"]


@cache
def key_of(token: int) -> InstrumentKey:
    """Return the instrument of a token."""
    return make_instrument(token).key


def token_of(key: InstrumentKey) -> int:
    """Return the token of an instrument."""
    return int(key.symbol[1:])
