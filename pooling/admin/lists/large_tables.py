"""Lists over millions of rows that open as fast as lists over a few.

Three things of Django's own lists read the whole table: the count of the rows, the first and last
day, and the days that have rows. Here the count stops at a bound, first and last come from the
index, and every day between them is offered, rows or none.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.formats import date_format

from pooling.admin.lists.numbers import whole_number

if TYPE_CHECKING:
    PaginatorBase = Paginator[Any]
else:
    PaginatorBase = Paginator

__all__ = ["BOUND", "BoundedPaginator", "DateLevel", "date_level", "date_range"]

BOUND = 10_000


class BoundedPaginator(PaginatorBase):
    """A paginator that counts up to ``BOUND`` rows; those behind are found by narrowing down."""

    @cached_property
    def count(self) -> int:
        """Number of rows that can be paged through."""
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows[:BOUND].count()


class DateLevel:
    """Place of a list in years, months and days.

    Args:
        year: chosen year, or None.
        month: chosen month, or None; needs a year.
        day: chosen day, or None; needs a month.
    """

    def __init__(self, *, year: int | None, month: int | None, day: int | None) -> None:
        self.year, self.month, self.day = year, month, day

    def choices(self, first: date, last: date) -> Iterator[tuple[str, dict[str, int]]]:
        """Yield (title, parts) of the next finer level, within ``first`` and ``last``."""
        if self.year is None:
            for year in range(first.year, last.year + 1):
                yield str(year), {"year": year}
        elif self.month is None:
            for month in range(1, 13):
                if _overlaps(self.year, month, first, last):
                    title = date_format(date(self.year, month, 1), "YEAR_MONTH_FORMAT")
                    yield title, {"year": self.year, "month": month}
        elif self.day is None:
            for number in range(1, calendar.monthrange(self.year, self.month)[1] + 1):
                day = date(self.year, self.month, number)
                if first <= day <= last:
                    parts = {"year": self.year, "month": self.month, "day": number}
                    yield date_format(day, "MONTH_DAY_FORMAT"), parts

    def parent(self) -> dict[str, int]:
        """Return the parts of the level above the chosen one; empty for all dates."""
        if self.day is not None and self.year is not None and self.month is not None:
            return {"year": self.year, "month": self.month}
        return {"year": self.year} if self.month is not None and self.year is not None else {}

    def parent_title(self) -> str:
        """Return how the level above the chosen one reads."""
        parts = self.parent()
        if "month" in parts:
            return date_format(date(parts["year"], parts["month"], 1), "YEAR_MONTH_FORMAT")
        return str(parts["year"]) if parts else "All dates"

    def title(self) -> str:
        """Return how the chosen day reads."""
        chosen = date(self.year or 1, self.month or 1, self.day or 1)
        return date_format(chosen, "MONTH_DAY_FORMAT")

    def narrowed(self, first: date, last: date) -> DateLevel:
        """Return the coarsest level that offers a choice, where none is chosen yet."""
        if self.year is not None or first.year != last.year:
            return self
        month = first.month if first.month == last.month else None
        return DateLevel(year=first.year, month=month, day=None)


def date_level(parameters: dict[str, str], field: str) -> DateLevel:
    """Read the level from a list's query parameters."""
    parts = {
        part: whole_number(parameters.get(f"{field}__{part}")) for part in ("year", "month", "day")
    }
    return DateLevel(**parts)


def date_range(
    rows: QuerySet[Any], field: str, index: str | None = None
) -> tuple[date, date] | None:
    """Return the first and the last day of ``rows`` in the site's zone; None without rows.

    Args:
        rows: what the list shows.
        field: the date or time.
        index: an indexed field of the same order; None: ``field`` is indexed itself.
    """
    order = index or field
    first = rows.order_by(order).values_list(field, flat=True).first()
    last = rows.order_by(f"-{order}").values_list(field, flat=True).first()
    return None if first is None or last is None else (_day(first), _day(last))


def _day(value: date | datetime) -> date:
    return timezone.localtime(value).date() if isinstance(value, datetime) else value


def _overlaps(year: int, month: int, first: date, last: date) -> bool:
    return (first.year, first.month) <= (year, month) <= (last.year, last.month)
