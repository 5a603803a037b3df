"""Plans, as an allocator answers: steps of a plan, placements, and connections as it sees them.

Pure values, beside ``Slot``, which only its allocator changes.
"""

from __future__ import annotations

from typing import NamedTuple

from brokers.types import InstrumentKey, Subscription
from pooling.subscriptions.capacity import Charge, Load

__all__ = [
    "ChangeMode",
    "CloseConnection",
    "OpenConnection",
    "Placement",
    "Plan",
    "Slot",
    "Step",
    "Subscribe",
    "Unsubscribe",
]


class OpenConnection(NamedTuple):
    """A further connection is needed; it has not been assigned anything yet."""

    slot: int


class Subscribe(NamedTuple):
    """The connection is to carry the subscription."""

    slot: int
    subscription: Subscription


class Unsubscribe(NamedTuple):
    """The connection is to carry the subscription no longer."""

    slot: int
    subscription: Subscription


class ChangeMode(NamedTuple):
    """The connection is to carry the instrument at another mode, without a gap."""

    slot: int
    old: Subscription
    new: Subscription


class CloseConnection(NamedTuple):
    """The connection carries nothing and is not to be kept."""

    slot: int


Step = OpenConnection | Subscribe | Unsubscribe | ChangeMode | CloseConnection
Plan = tuple[Step, ...]


class Placement(NamedTuple):
    """A subscription on a connection and what it takes of it."""

    subscription: Subscription
    charge: Charge


class Slot:
    """One connection as the allocator sees it: what it carries and how much of it is used.

    ``leaving`` are those of ``items`` that move away, ``staying`` is the load of the others.
    ``fading`` is what is carried under an earlier token of the broker's until the present one of
    ``items`` speaks; it counts in ``load``.
    Nothing new comes to a slot that is surplus (beyond the limit), retiring (to be closed once it
    is empty) or failing (its socket has been away for long), except that a failing one is used
    before anything is refused.
    """

    __slots__ = (
        "fading",
        "is_failing",
        "is_retiring",
        "is_surplus",
        "items",
        "leaving",
        "load",
        "number",
        "staying",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        # As the class says; all of it under the pool's lock.
        self.load = Load()
        self.staying = Load()
        self.items: dict[InstrumentKey, Placement] = {}
        self.leaving: dict[InstrumentKey, None] = {}
        self.fading: dict[InstrumentKey, Placement] = {}
        self.is_surplus = False
        self.is_retiring = False
        self.is_failing = False

    def __repr__(self) -> str:
        return f"<Slot {self.number}: {len(self.items)} subscriptions, {self.used} used>"

    @property
    def used(self) -> int:
        """Units in use."""
        return self.load.units

    @property
    def symbols(self) -> int:
        """Number of instruments that it is to carry."""
        return len(self.items)

    @property
    def is_ending(self) -> bool:
        """Whether it is closed as soon as it is empty."""
        return self.is_surplus or self.is_retiring
