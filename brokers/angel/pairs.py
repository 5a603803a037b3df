"""Subscriptions at Angel One: a token, and one mode or two. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from brokers.angel.constants import (
    DEPTH_LEVELS,
    EXCHANGE_DEPTH_20,
    MODE_DEPTH_20,
    MODE_NUMBERS,
    SEGMENTS,
)
from brokers.exceptions import BrokerConfigError
from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription

__all__ = [
    "ALL_MODES",
    "by_segment",
    "checked_token",
    "has_its_levels",
    "is_deep",
    "modes_of",
    "no_deep_book",
]

ALL_MODES: Final = (*MODE_NUMBERS.values(), MODE_DEPTH_20)
_SEGMENT_NAMES: Final = frozenset(map(str, SEGMENTS))


def is_deep(item: Subscription) -> bool:
    """Tell whether a subscription is of a book of 20 levels."""
    return item.mode is FeedMode.DEPTH and item.depth_levels > DEPTH_LEVELS


def has_its_levels(item: Subscription) -> bool:
    """Tell whether there are as many levels of the instrument as are wanted."""
    return not is_deep(item) or item.instrument.key.exchange == EXCHANGE_DEPTH_20


def no_deep_book(key: InstrumentKey) -> BrokerConfigError:
    """Return the error for 20 levels of an instrument that has not so many."""
    return BrokerConfigError(
        f"angel: {key} has no book of 20 levels; shares of {EXCHANGE_DEPTH_20} have"
    )


def modes_of(item: Subscription) -> tuple[int, ...]:
    """Return the numbers of the modes that together are a subscription.

    A book of 20 levels comes without a price, so that five levels are subscribed beside it.
    """
    number = MODE_NUMBERS[item.mode]
    return (number, MODE_DEPTH_20) if is_deep(item) else (number,)


def by_segment(tokens: Iterable[str]) -> dict[int, list[str]]:
    """Return tokens by the number of their segment, as a request names them."""
    found: dict[int, list[str]] = {}
    for token in tokens:
        segment, _, name = token.partition(":")
        found.setdefault(int(segment), []).append(name)
    return found


def checked_token(instrument: Instrument) -> str:
    """Return the instrument's ``exchangeType:token``. Raises BrokerConfigError for another form."""
    token = instrument.broker_token
    segment, _, name = token.partition(":")
    if segment not in _SEGMENT_NAMES or not (name.isascii() and name.isdigit()):
        raise BrokerConfigError(
            f"angel: {instrument.key} has no token of a segment; load the instruments again"
        )
    return token
