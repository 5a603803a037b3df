"""What limits would drop, before anybody saves them. Pure.

The limits are tried on a copy of what is held, in the order in which a pool keeps it: the oldest
subscription first, so that what finds no place is what was wanted last.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from brokers.types import InstrumentKey, Subscription
from pooling.allocator import Allocator
from pooling.exceptions import PoolCapacityError
from pooling.offer import BrokerOffer
from pooling.tracker import Tracker

__all__ = ["HeldSubscription", "LimitsPreview", "held_in", "preview_limits"]

MAX_NAMED = 5


class HeldSubscription(NamedTuple):
    """One upstream subscription and the clients that hold it."""

    subscription: Subscription
    holders: frozenset[Hashable]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsPreview:
    """What would be without a place under the tried limits.

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


def held_in(tracker: Tracker, offer: BrokerOffer) -> list[HeldSubscription]:
    """Return what clients hold, placed or waiting, as it is wanted upstream; oldest first."""
    interests = (tracker.get(key) for key in tracker)
    return [
        HeldSubscription(
            offer.subscription(interest.instrument, interest.upstream), frozenset(interest.holders)
        )
        for interest in interests
        if interest is not None and interest.holders
    ]


def preview_limits(held: Iterable[HeldSubscription], allocator: Allocator) -> LimitsPreview:
    """Try what is held, oldest first, on an empty allocator with the limits to try.

    Costs as much as there are subscriptions. The allocator is used up.
    """
    limits = allocator.limits
    dropped: list[HeldSubscription] = []
    clients: set[Hashable] = set()
    count = 0
    for each in held:
        count += 1
        clients |= each.holders
        try:
            allocator.assign(each.subscription)
        except PoolCapacityError:
            dropped.append(each)
    affected: set[Hashable] = set()
    for each in dropped:
        affected |= each.holders
    newest = tuple(each.subscription.instrument.key for each in reversed(dropped[-MAX_NAMED:]))
    return LimitsPreview(
        max_connections=limits.max_connections,
        symbols_per_connection=limits.symbols_per_connection,
        held=count,
        clients=len(clients),
        dropped=len(dropped),
        clients_affected=len(affected),
        newest=newest,
    )
