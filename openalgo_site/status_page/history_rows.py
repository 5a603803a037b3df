"""History out of the database: rows of a span for charts, and portions of it for files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from openalgo_site.status_page.history import Row, Span, Step
from pooling.models import PoolRecord, PoolUsage, PoolUsageDay

__all__ = ["PORTION", "day_rows", "records", "rows_of", "usage_portion"]

PORTION = 1000
DAYS_SHOWN = 92
_COLUMNS = Row._fields[1:]
_FULL = (
    "symbols", "symbols_at", "connections", "connections_at", "clients", "clients_at",
    "ticks_per_second", "ticks_per_second_at", "ticks_received", "reconnects", "drops",
    "max_connections", "symbols_per_connection", "capacity",
)  # fmt: skip


def rows_of(account_id: int, span: Span) -> Iterator[Row]:
    """Yield the rows of a span, the oldest first."""
    if span.step is Step.DAY:
        days = _days(account_id, span).order_by("day").values_list("day", *_COLUMNS)
        for day, *rest in days.iterator(PORTION):
            yield Row(_midnight(day), *rest)
        return
    found = _usage(account_id, span).order_by("started").values_list("started", *_COLUMNS)
    yield from map(Row._make, found.iterator(PORTION))


def usage_portion(
    account_id: int, span: Span, after: tuple[Any, ...] | None
) -> Sequence[tuple[Any, ...]]:
    """Return up to ``PORTION`` whole rows, the oldest first, each behind its primary key.

    Args:
        account_id: whose.
        span: of what time, in which steps.
        after: primary key and beginning (or day) of the last row of the portion before; None: the
            first portion.
    """
    rows: QuerySet[Any]
    columns: tuple[str, ...]
    if span.step is Step.DAY:
        rows, columns = _days(account_id, span), ("pk", "day", *_FULL)
    else:
        rows, columns = _usage(account_id, span), ("pk", "started", "ended", *_FULL)
    began = columns[1]
    if after is not None:
        pk, at = after
        rows = rows.filter(Q(**{f"{began}__gt": at}) | Q(**{began: at, "pk__gt": pk}))
    return list(rows.order_by(began, "pk").values_list(*columns)[:PORTION])


def day_rows(account_id: int) -> list[PoolUsageDay]:
    """Return the newest days, the newest first."""
    return list(PoolUsageDay.objects.filter(account_id=account_id).order_by("-day")[:DAYS_SHOWN])


def records(account_id: int) -> PoolRecord | None:
    """Return the highest values ever."""
    return PoolRecord.objects.filter(account_id=account_id).first()


def _usage(account_id: int, span: Span) -> QuerySet[PoolUsage]:
    return PoolUsage.objects.filter(
        account_id=account_id, started__gte=span.start, started__lt=span.end
    )


def _days(account_id: int, span: Span) -> QuerySet[PoolUsageDay]:
    zone = timezone.get_default_timezone()
    first, last = span.start.astimezone(zone).date(), span.end.astimezone(zone).date()
    return PoolUsageDay.objects.filter(account_id=account_id, day__gte=first, day__lte=last)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), timezone.get_default_timezone())
