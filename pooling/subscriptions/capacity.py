"""Capacity of connections, in the terms in which brokers count. Pure arithmetic.

Brokers count differently: instruments, (token, mode) pairs, streams, keys of a category with lower
limits where categories mix, a few instruments with deep books among thousands. All of it is said in
one form: a subscription *charges* a connection some units of at most one category, and the limits
bound the symbols, the units and the units of each category. Every question costs as much as there
are categories on a connection, however many symbols it carries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from brokers.contract import BrokerCapabilities, CategoryLimit
from brokers.types import FeedMode, Instrument, Subscription

__all__ = ["Category", "Charge", "Cost", "Limits", "Load", "effective_limits"]

Cost = Callable[[Instrument, FeedMode], int]
Category = Callable[[Subscription], str]


class Charge(NamedTuple):
    """Share of a connection that a subscription takes; the category "" is counted nowhere else."""

    units: int
    category: str = ""


class Load:
    """Sum of the charges on a connection."""

    __slots__ = ("categories", "symbols", "units")

    def __init__(self) -> None:
        self.symbols = 0
        self.units = 0
        self.categories: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Load {self.symbols} symbols, {self.units} units, {self.categories}>"

    def add(self, charge: Charge) -> None:
        """Carry one more."""
        self._change(charge, 1)

    def remove(self, charge: Charge) -> None:
        """Carry one less."""
        self._change(charge, -1)

    def plus(self, other: Load) -> Load:
        """Return what both would carry together."""
        both = Load()
        both.symbols = self.symbols + other.symbols
        both.units = self.units + other.units
        for name in {**self.categories, **other.categories}:
            both.categories[name] = self.categories.get(name, 0) + other.categories.get(name, 0)
        return both

    def copy(self) -> Load:
        """Return a load of its own with the same content."""
        return self.plus(Load())

    def _change(self, charge: Charge, sign: int) -> None:
        self.symbols += sign
        self.units += sign * charge.units
        if charge.category:
            units = self.categories.get(charge.category, 0) + sign * charge.units
            if units:
                self.categories[charge.category] = units
            else:
                del self.categories[charge.category]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of an account: how many connections, and what each may carry.

    ``units_per_connection`` None: the broker counts symbols, and one number bounds both.
    ``categories`` bounds the units of each named category; others are bound by the total only.
    ``are_categories_shared``: they bound all connections together, and so each one as well.
    """

    max_connections: int
    symbols_per_connection: int
    units_per_connection: int | None = None
    categories: Mapping[str, CategoryLimit] = field(default_factory=dict)
    are_categories_shared: bool = False

    def __post_init__(self) -> None:
        units = 1 if self.units_per_connection is None else self.units_per_connection
        if min(self.max_connections, self.symbols_per_connection, units) < 1:
            raise ValueError("limits must be at least 1")

    @property
    def units(self) -> int:
        """Capacity of one connection, in the broker's units."""
        if self.units_per_connection is None:
            return self.symbols_per_connection
        return self.units_per_connection

    @property
    def capacity(self) -> int:
        """Capacity of all connections together, in the broker's units."""
        capacity = self.max_connections * self.units
        return capacity if self.shared_cap is None else min(capacity, self.shared_cap)

    @property
    def shared_cap(self) -> int | None:
        """The broker's grant to all connections together, however many there are; None: all."""
        if not (self.are_categories_shared and self.categories):
            return None
        limits = self.categories.values()
        return max(max(each.alone for each in limits), sum(each.mixed for each in limits))

    def has_room(self, load: Load) -> bool:
        """Tell whether a connection with this load may take anything at all."""
        return load.symbols < self.symbols_per_connection and load.units < self.units

    def has_places(self, load: Load, charge: Charge) -> bool:
        """Tell whether a connection with this load has as many places, of whatever kind."""
        return (
            load.symbols < self.symbols_per_connection and load.units + charge.units <= self.units
        )

    def allow(self, load: Load) -> bool:
        """Tell whether a connection may carry this load."""
        return (
            load.symbols <= self.symbols_per_connection
            and load.units <= self.units
            and self._allow_categories(load.categories)
        )

    def fits(self, load: Load, charge: Charge, *, instead_of: Charge | None = None) -> bool:
        """Tell whether a charge fits on a load, possibly in place of one that is part of it."""
        if instead_of is not None:
            load.remove(instead_of)
        load.add(charge)
        try:
            return self.allow(load)
        finally:
            load.remove(charge)
            if instead_of is not None:
                load.add(instead_of)

    def fit_together(
        self, total: Load, charge: Charge, *, instead_of: Charge | None = None
    ) -> bool:
        """Tell whether a charge fits on what all connections carry together; see ``fits``."""
        if not self.are_categories_shared:
            return True
        if instead_of is not None:
            total.remove(instead_of)
        total.add(charge)
        try:
            return self._allow_categories(total.categories)
        finally:
            total.remove(charge)
            if instead_of is not None:
                total.add(instead_of)

    def exceeded_together(self, total: Load) -> frozenset[str]:
        """Return the shared categories of which all connections together carry too much."""
        return frozenset(self._exceeded(total.categories) if self.are_categories_shared else ())

    def _allow_categories(self, categories: Mapping[str, int]) -> bool:
        return not categories or not any(self._exceeded(categories))

    def _exceeded(self, categories: Mapping[str, int]) -> Iterator[str]:
        are_mixed = len(categories) > 1
        for name, units in categories.items():
            limit = self.categories.get(name)
            if limit is not None and units > (limit.mixed if are_mixed else limit.alone):
                yield name


def effective_limits(
    *, symbols_per_connection: int, max_connections: int, capabilities: BrokerCapabilities
) -> Limits:
    """Return the user's limits, in symbols, under the broker's, in its own units."""
    counts_symbols = capabilities.unit == "symbols"
    return Limits(
        max_connections=min(max_connections, capabilities.max_connections),
        symbols_per_connection=min(symbols_per_connection, capabilities.symbols_per_connection),
        units_per_connection=None if counts_symbols else capabilities.symbols_per_connection,
        categories={limit.category: limit for limit in capabilities.category_limits},
        are_categories_shared=capabilities.shares_category_limits,
    )
