"""History out of the database: rows of a span for charts, and portions of it for files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet
from django.utils import timezone

from openalgo_site.web.status.day_cells import Day
from openalgo_site.web.status.history import MEASURES, Row, Span, Step
from pooling.models import BrokerAccount, PoolEvent, PoolRecord, PoolUsage, PoolUsageDay
from pooling.operations.history import day_span
from pooling.operations.outages import states_of
from pooling.outages import STATE_PREFIX, Change, Outages, Stretch

__all__ = [
    "PORTION",
    "EventsShown",
    "day_rows",
    "event_portion",
    "happened",
    "outages_of",
    "peaks_of",
    "records",
    "rows_of",
    "usage_portion",
]

PORTION = 1000
DAYS_SHOWN = 92
EVENTS_SHOWN = 100
_COLUMNS = Row._fields[2:]
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
        days = _days(account_id, span).order_by("day").values_list("pk", "day", *_COLUMNS)
        for pk, day, *rest in days.iterator(PORTION):
            yield Row(pk, _midnight(day), *rest)
        return
    found = _usage(account_id, span).order_by("started").values_list("pk", "started", *_COLUMNS)
    yield from map(Row._make, found.iterator(PORTION))


def peaks_of(step: Step, pks: Collection[int]) -> Mapping[int, Sequence[tuple[float, datetime]]]:
    """Return the value and the time of each of ``MEASURES``, by the primary keys of rows."""
    rows: QuerySet[Any] = (PoolUsageDay if step is Step.DAY else PoolUsage).objects.all()
    columns = [column for name in MEASURES for column in (name, f"{name}_at")]
    return {
        pk: list(zip(values[::2], values[1::2], strict=True))
        for pk, *values in rows.filter(pk__in=pks).values_list("pk", *columns)
    }


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


def day_rows(account: BrokerAccount) -> list[tuple[Day, float | None]]:
    """Return the newest days with the minutes of outage of each, the newest first."""
    rows = PoolUsageDay.objects.filter(account=account).order_by("-day")
    days = list(map(Day._make, rows.values_list(*Day._fields)[:DAYS_SHOWN]))
    if not days:
        return []
    now = timezone.now()
    outages = Outages(states_of(account, _midnight(days[-1].day), now, now))
    return [(day, outages.minutes(*day_span(day.day))) for day in days]


def outages_of(account: BrokerAccount, span: Span) -> Outages:
    """Return the outages of a span; by day: of all of its days."""
    return Outages(states_of(account, _begins(span), span.end, timezone.now()))


def happened(account: BrokerAccount, span: Span) -> tuple[EventsShown, list[Stretch]]:
    """Return what happened in a span, as far as a page shows it, and the states of the feed.

    The states are those of the span; by day: of all of its days, the first from its midnight on.
    """
    rows = _events(account.pk, span)
    newest = list(
        rows.order_by("-at", "-pk").values_list("at", "kind", "message")[: EVENTS_SHOWN + 1]
    )
    is_all, start = len(newest) <= EVENTS_SHOWN, _begins(span)
    within = None
    if is_all and start == span.start:  # the states are among them
        within = [Change(*row) for row in reversed(newest) if row[1].startswith(STATE_PREFIX)]
    states = states_of(account, start, span.end, timezone.now(), within=within)
    return EventsShown(newest[:EVENTS_SHOWN], len(newest) if is_all else rows.count()), states


def event_portion(
    account_id: int, span: Span, after: tuple[Any, ...] | None
) -> Sequence[tuple[Any, ...]]:
    """Return up to ``PORTION`` events as ``usage_portion`` returns rows."""
    rows = _events(account_id, span)
    if after is not None:
        pk, at = after
        rows = rows.filter(Q(at__gt=at) | Q(at=at, pk__gt=pk))
    return list(rows.order_by("at", "pk").values_list("pk", "at", "kind", "message")[:PORTION])


def records(account_id: int) -> PoolRecord | None:
    """Return the highest values ever."""
    return PoolRecord.objects.filter(account_id=account_id).first()


def _begins(span: Span) -> datetime:
    """Return when the first row of a span begins: by day at its midnight."""
    if span.step is not Step.DAY:
        return span.start
    return _midnight(span.start.astimezone(timezone.get_default_timezone()).date())


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
    return day_span(day)[0]
