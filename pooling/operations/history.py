"""Past of pools: peaks over a range of time, and how long all that is kept."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import Max, Model, QuerySet, Sum
from django.utils import timezone

from pooling.models import BrokerAccount, PoolCommand, PoolEvent, PoolUsage, PoolUsageDay
from pooling.operations.cells import safe_cell
from pooling.operations.outages import states_of
from pooling.outages import Outages

__all__ = ["MEASURES", "day_span", "history", "history_csv", "peaks", "prune"]

MEASURES = ("symbols", "connections", "clients", "ticks_per_second")
_COUNTS = ("ticks_received", "reconnects", "drops")
_LIMITS = ("max_connections", "symbols_per_connection", "capacity")


def peaks(account: BrokerAccount, start: datetime, end: datetime) -> dict[str, Any]:
    """Return the peaks of intervals that began in ``[start, end)``, each with its time, and counts.

    A range without any interval has peaks of None.
    """
    rows = PoolUsage.objects.filter(account=account, started__gte=start, started__lt=end)
    best = rows.aggregate(**{name: Max(name) for name in MEASURES})
    found: dict[str, Any] = {
        "pool": account.pk,
        "from": start,
        "to": end,
        "intervals": rows.count(),
    }
    for name in MEASURES:
        # The earliest, where several intervals reached the same.
        first = (
            None
            if best[name] is None
            else rows.filter(**{name: best[name]}).order_by("started").first()
        )
        found[name] = (
            None if first is None else {"value": best[name], "at": getattr(first, f"{name}_at")}
        )
    sums = rows.aggregate(**{name: Sum(name) for name in _COUNTS})
    return found | {name: sums[name] or 0 for name in _COUNTS}


def history(
    account: BrokerAccount, start: datetime, end: datetime, *, by_day: bool = False
) -> list[dict[str, Any]]:
    """Return every interval, or day, of the range, oldest first, with its limits and outage."""
    rows: QuerySet[Any]
    if by_day:
        rows = PoolUsageDay.objects.filter(
            account=account,
            day__gte=timezone.localtime(start).date(),
            day__lt=_day_after(end),
        ).order_by("day")
        times: tuple[str, ...] = ("day",)
    else:
        rows = PoolUsage.objects.filter(
            account=account, started__gte=start, started__lt=end
        ).order_by("started")
        times = ("started", "ended")
    columns = (
        *times,
        *(column for name in MEASURES for column in (name, f"{name}_at")),
        *_COUNTS,
        *_LIMITS,
    )
    found = [dict(zip(columns, row, strict=True)) for row in rows.values_list(*columns)]
    if not found:
        return []
    spans = [_span(row) for row in found]
    outages = Outages(states_of(account, spans[0][0], spans[-1][1], timezone.now()))
    return [
        row | {"outage_minutes": outages.minutes(*span)}
        for row, span in zip(found, spans, strict=True)
    ]


def history_csv(name: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield rows of ``history`` as lines of CSV with the pool's name first, header included.

    Times are ISO 8601 with the offset of TIME_ZONE; texts that a spreadsheet would run as
    formulas are quoted off.
    """
    header = ["pool", *rows[0]] if rows else ["pool"]
    yield _line(header)
    for row in rows:
        yield _line([safe_cell(name), *map(_cell, row.values())])


def prune(*, days: int, dry_run: bool = False, now: datetime | None = None) -> dict[str, int]:
    """Delete intervals, events and ended requests older than ``days``; returns how many of each.

    Daily roll-ups and all-time records stay: they are what is left of the intervals.
    """
    before = (now or timezone.now()) - timedelta(days=days)
    old: dict[str, QuerySet[Any]] = {
        "intervals": PoolUsage.objects.filter(started__lt=before),
        "events": PoolEvent.objects.filter(at__lt=before),
        "requests": PoolCommand.objects.filter(requested__lt=before).exclude(
            state=PoolCommand.State.WAITING
        ),
    }
    return {name: rows.count() if dry_run else _delete(rows) for name, rows in old.items()}


def day_span(day: date) -> tuple[datetime, datetime]:
    """Return the two midnights of a day of the site's zone."""
    zone = timezone.get_default_timezone()
    begin, end = (datetime.combine(each, time(), zone) for each in (day, day + timedelta(days=1)))
    return begin, end


def _span(row: dict[str, Any]) -> tuple[datetime, datetime]:
    day: date | None = row.get("day")
    return (row["started"], row["ended"]) if day is None else day_span(day)


def _delete(rows: QuerySet[Model]) -> int:
    return rows.delete()[0]


def _day_after(end: datetime) -> date:
    last = timezone.localtime(end - timedelta(microseconds=1)).date()
    return last + timedelta(days=1)


def _line(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells)
    return out.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return timezone.localtime(value).isoformat(timespec="seconds")
    return "" if value is None else str(value)
