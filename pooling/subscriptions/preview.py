"""Preview of what limits would drop, before anybody saves them. Pure.

The limits are tried on a copy of what is held, in the order in which a pool keeps it: the oldest
subscription first, so that what finds no place is what was wanted last.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from brokers.types import InstrumentKey, Subscription
from pooling.exceptions import PoolCapacityError
from pooling.subscriptions.allocator import Allocator
from pooling.subscriptions.book import SubscriptionBook

__all__ = ["HeldSubscription", "LimitsPreview", "LimitsTrial", "held_in"]

MAX_NAMED = 5


class HeldSubscription(NamedTuple):
    """One upstream subscription and the clients that hold it."""

    subscription: Subscription
    holders: frozenset[Hashable]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsPreview:
    """Subscriptions that would be without a place under the tried limits.

    ``held`` symbols of ``clients`` clients are there now; ``dropped`` of them would have no place,
    which ``clients_affected`` clients would notice. ``newest`` names the first few to go.
    """

    max_connections: int
    symbols_per_connection: int
    held: int
    clients: int
    dropped: int
    clients_affected: int
    newest: tuple[InstrumentKey, ...] = ()

    def sentence(self) -> str:
        """Return it for people."""
        what = f"{self.max_connections:,} x {self.symbols_per_connection:,}"
        if not self.dropped:
            return f"{what} has a place for all {self.held:,} symbols."
        return (
            f"{what} leaves {self.dropped:,} of {self.held:,} symbols without a place; "
            "the newest are dropped first; "
            f"{self.clients_affected:,} of {self.clients:,} clients are affected."
        )


def held_in(book: SubscriptionBook) -> list[HeldSubscription]:
    """Return what clients hold, placed or waiting, as it is wanted upstream; oldest first."""
    interests = (book.get(key) for key in book)
    return [
        HeldSubscription(
            book.offer.subscription(interest.instrument, interest.upstream),
            frozenset(interest.holders),
        )
        for interest in interests
        if interest is not None and interest.holders
    ]


class LimitsTrial:
    """Tries what is held, oldest first, on an empty allocator with the limits to try.

    Args:
        allocator: an empty one; it is used up.
    """

    def __init__(self, *, allocator: Allocator) -> None:
        self._allocator = allocator
        # What was tried so far, whose it is, and what of it found no place.
        self._held = 0
        self._clients: set[Hashable] = set()
        self._affected: set[Hashable] = set()
        self._dropped: list[InstrumentKey] = []

    def add(self, held: Iterable[HeldSubscription]) -> None:
        """Try the next ones; some microseconds each."""
        for subscription, holders in held:
            self._held += 1
            self._clients |= holders
            try:
                self._allocator.assign(subscription)
            except PoolCapacityError:
                self._dropped.append(subscription.instrument.key)
                self._affected |= holders

    def preview(self) -> LimitsPreview:
        """Return what has found no place so far."""
        limits = self._allocator.limits
        return LimitsPreview(
            max_connections=limits.max_connections,
            symbols_per_connection=limits.symbols_per_connection,
            held=self._held,
            clients=len(self._clients),
            dropped=len(self._dropped),
            clients_affected=len(self._affected),
            newest=tuple(reversed(self._dropped[-MAX_NAMED:])),
        )
