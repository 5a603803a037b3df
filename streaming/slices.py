"""A long request in parts, so that one client's thousands of symbols hold up nobody's frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

__all__ = ["SLICE", "slices"]

T = TypeVar("T")

# Items that are served in one turn of the loop: two to four milliseconds at most. A request that is
# no longer is served without a turn in between.
SLICE = 500


def slices(items: Sequence[T]) -> Iterator[tuple[int, Sequence[T]]]:
    """Yield where each part begins, and the part. Who takes them lets the loop turn in between."""
    for start in range(0, len(items), SLICE):
        yield start, items[start : start + SLICE]
