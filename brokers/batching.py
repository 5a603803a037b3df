"""Cuts of a request into messages that a broker takes, and of anything long into portions. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from brokers.exceptions import BrokerConfigError

__all__ = ["Bound", "batches", "portions"]

T = TypeVar("T")


class Bound(NamedTuple, Generic[T]):
    """A bound of one message: a unit, the most that its items may add up to, and what one takes."""

    unit: str
    maximum: int
    measure: Callable[[T], int]


def batches(items: Iterable[T], *bounds: Bound[T]) -> list[list[T]]:
    """Cut ``items`` into batches within every bound, in order and as few as the order allows.

    Raises:
        BrokerConfigError: one item alone is over a bound; no message could carry it.
    """
    found: list[list[T]] = []
    sums = [0] * len(bounds)
    for item in items:
        takes = [bound.measure(item) for bound in bounds]
        for bound, amount in zip(bounds, takes, strict=True):
            if amount > bound.maximum:
                raise BrokerConfigError(
                    f"an instrument takes {amount} {bound.unit} of a message, "
                    f"which may have {bound.maximum}"
                )
        sums = [total + amount for total, amount in zip(sums, takes, strict=True)]
        is_over = any(t > bound.maximum for t, bound in zip(sums, bounds, strict=True))
        if is_over or not found:
            found.append([])
            sums = takes
        found[-1].append(item)
    return found


def portions(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Yield ``items`` in order, at most so many at a time; what they were when it began."""
    kept = list(items)
    for start in range(0, len(kept), most):
        yield kept[start : start + most]
