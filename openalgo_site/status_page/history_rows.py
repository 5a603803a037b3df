"""History out of the database: rows of a span for charts, and portions of it for files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet
from django.utils import timezone

from openalgo_site.status_page.history import Row, Span, Step
from pooling.models import BrokerAccount, PoolEvent, PoolRecord, PoolUsage, PoolUsageDay
from pooling.operations.outages import states_of
from pooling.outages import Outages, Stretch

__all__ = [
    "PORTION",
    "EventsShown",
    "day_rows",
    "day_span",
    "event_portion",
    "newest_events",
    "outages_of",
    "records",
    "rows_of",
    "states_shown",
    "usage_portion",
]

PORTION = 1000
DAYS_SHOWN = 92
EVENTS_SHOWN = 100
_COLUMNS = Row._fields[1:]
_FULL = (
    "symbols", "symbols_at", "connections", "connections_at", "clients", "clients_at",
    "ticks_per_second", "ticks_per_second_at", "ticks_received", "reconnects", "drops",
    "max_connections", "symbols_per_connection", "capacity",
)  # fmt: skip


class EventsShown(NamedTuple):
    """The newest events of a span, the newest first, and how many there are in all."""

    rows: Sequence[tuple[datetime, str, str]]
    total: int


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


def day_rows(account: BrokerAccount) -> list[tuple[PoolUsageDay, float | None]]:
    """Return the newest days with the minutes of outage of each, the newest first."""
    days = list(PoolUsageDay.objects.filter(account=account).order_by("-day")[:DAYS_SHOWN])
    if not days:
        return []
    now = timezone.now()
    outages = Outages(states_of(account, _midnight(days[-1].day), now, now))
    return [(day, outages.minutes(*day_span(day.day))) for day in days]


def outages_of(account: BrokerAccount, span: Span) -> Outages:
    """Return the outages of a span; by day: of all of its days."""
    return Outages(states_shown(account, span))


def states_shown(account: BrokerAccount, span: Span) -> list[Stretch]:
    """Return the states of a span; by day: of all of its days, the first from its midnight on."""
    start = span.start
    if span.step is Step.DAY:
        start = _midnight(start.astimezone(timezone.get_default_timezone()).date())
    return states_of(account, start, span.end, timezone.now())


def newest_events(account_id: int, span: Span) -> EventsShown:
    """Return what happened in a span, as far as a page shows it."""
    rows = _events(account_id, span)
    newest = rows.order_by("-at", "-pk").values_list("at", "kind", "message")[:EVENTS_SHOWN]
    return EventsShown(list(newest), rows.count())


def event_portion(
    account_id: int, span: Span, after: tuple[Any, ...] | None
) -> Sequence[tuple[Any, ...]]:
    """Return up to ``PORTION`` events as ``usage_portion`` returns rows."""
    rows = _events(account_id, span)
    if after is not None:
        pk, at = after
        rows = rows.filter(Q(at__gt=at) | Q(at=at, pk__gt=pk))
    return list(rows.order_by("at", "pk").values_list("pk", "at", "kind", "message")[:PORTION])


def day_span(day: date) -> tuple[datetime, datetime]:
    """Return the two midnights of a day of the site's zone."""
    return _midnight(day), _midnight(day + timedelta(days=1))


def records(account_id: int) -> PoolRecord | None:
    """Return the highest values ever."""
    return PoolRecord.objects.filter(account_id=account_id).first()


def _events(account_id: int, span: Span) -> QuerySet[PoolEvent]:
    return PoolEvent.objects.filter(account_id=account_id, at__gte=span.start, at__lt=span.end)


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
