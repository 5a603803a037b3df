"""History in the database: what workers write of each interval, and what they find of the past.

Blocking; runs in a thread that may use the database. Days are those of TIME_ZONE.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

import msgspec
from django.conf import settings
from django.db import DataError, IntegrityError, models, transaction
from django.utils import timezone

from brokers.batching import portions
from brokers.pool_service import Peak, Peaks, PoolStats
from brokers.words import one_line
from pooling.contracts import UsageSample
from pooling.history import MEASURES, PoolPast, higher, start_of_day_ms
from pooling.models import (
    BrokerAccount,
    PoolCommand,
    PoolRecord,
    PoolStatus,
    PoolUsage,
    PoolUsageDay,
)

__all__ = [
    "Pruned",
    "at",
    "existing_accounts",
    "prune",
    "read_pasts",
    "write_apart",
    "write_usage",
]

logger = logging.getLogger(__name__)

T = TypeVar("T", PoolUsageDay, PoolRecord)
V = TypeVar("V")

# What says that a value does not fit, as opposed to a database that cannot be reached.
UNSTORABLE = (DataError, IntegrityError, OverflowError, TypeError, ValueError)

# Below the 999 parameters of one SQLite statement, and below the size where PostgreSQL's planner
# prefers a scan.
IDS_PER_QUERY = 500
ROWS_PER_DELETE = 2000
COMMANDS_KEPT = timedelta(days=366)

PEAK_COLUMNS = tuple(column for name in MEASURES for column in (name, f"{name}_at"))
DAY_COLUMNS = (
    *PEAK_COLUMNS,
    "ticks_received",
    "reconnects",
    "drops",
    "max_connections",
    "symbols_per_connection",
    "capacity",
)
RECORD_COLUMNS = (*PEAK_COLUMNS, "drops", "drops_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Counts of the rows of each kind that were too old."""

    usage: int
    commands: int


def write_apart(items: Sequence[V], write: Callable[[Sequence[V]], None], what: str) -> None:
    """Write items of several pools at once, or one by one where one of them cannot be stored.

    A database that does not answer raises as ever; a value that it does not take costs its own
    pool's row only, and is logged.

    Args:
        items: what is written, at most a few of each pool.
        write: writes some of them, all or nothing.
        what: one of them, in words.
    """
    try:
        write(items)
        return
    except UNSTORABLE as error:
        if len(items) == 1:
            logger.error("%s cannot be stored: %s", what, one_line(error))
            return
    for item in items:
        write_apart([item], write, what)


def write_usage(samples: Sequence[UsageSample]) -> None:
    """Write samples with the days and records that they change, all or nothing."""
    with transaction.atomic():
        existing = existing_accounts(int(sample.pool_id) for sample in samples)
        kept = [sample for sample in samples if int(sample.pool_id) in existing]
        PoolUsage.objects.bulk_create([_usage_row(sample) for sample in kept], batch_size=100)
        _write_days(kept)
        _write_records(
            {
                (int(sample.pool_id), n): (_peaks_of_sample(sample), sample)
                for n, sample in enumerate(kept)
            }
        )


def read_pasts(pool_ids: Collection[str]) -> dict[str, PoolPast]:
    """Return what is known of pools: their days, records and last status rows.

    A worker that ended at once has not saved its last interval; its status row has it. What only
    that row knows is written to the day and the record.
    """
    zone = timezone.get_default_timezone()
    now_ms = round(timezone.now().timestamp() * 1000)
    day_ms = start_of_day_ms(now_ms, zone)
    today = at(day_ms).astimezone(zone).date()
    found: dict[str, PoolPast] = {}
    for ids in portions(map(int, pool_ids), IDS_PER_QUERY):
        records = {row.account_id: row for row in PoolRecord.objects.filter(account__in=ids)}
        days = {
            row.account_id: row for row in PoolUsageDay.objects.filter(account__in=ids, day=today)
        }
        statuses = {row.account_id: row for row in PoolStatus.objects.filter(account__in=ids)}
        for pk in ids:
            record, day, status = records.get(pk), days.get(pk), statuses.get(pk)
            if record is None and day is None and status is None:
                continue
            found[str(pk)] = _past(record, day, _stats_of(status), day_ms)
    _heal(found, today)
    return found


def prune(*, usage_kept: timedelta | None = None, most: int | None = None) -> Pruned:
    """Delete what is older than its time: usage by USAGE_KEPT_DAYS, requests after a year.

    Days and records stay. Deletes in portions, so that nobody waits long for the database.

    Args:
        usage_kept: instead of the setting.
        most: at most about so many rows of each kind; None: all of them.
    """
    now = timezone.now()
    before = now - (usage_kept or timedelta(days=settings.ENV.usage_kept_days))
    usage = PoolUsage.objects.filter(started__lt=before)
    commands = PoolCommand.objects.filter(requested__lt=now - COMMANDS_KEPT)
    return Pruned(usage=_delete(usage, most), commands=_delete(commands, most))


def existing_accounts(ids: Iterable[int]) -> set[int]:
    """Return which of ``ids`` are there: a row of a deleted account would break the whole write."""
    found: set[int] = set()
    for part in portions(set(ids), IDS_PER_QUERY):
        found.update(BrokerAccount.objects.filter(pk__in=part).values_list("pk", flat=True))
    return found


def at(epoch_ms: int) -> datetime:
    """Return epoch milliseconds as an aware moment."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def _write_days(samples: Sequence[UsageSample]) -> None:
    zone = timezone.get_default_timezone()
    by_day: dict[tuple[int, date], list[UsageSample]] = {}
    for sample in samples:
        # By its middle: it is cut at midnight as exactly as a timer can.
        middle = at((sample.started_ms + sample.ended_ms) // 2).astimezone(zone).date()
        by_day.setdefault((int(sample.pool_id), middle), []).append(sample)
    days = {day for _, day in by_day}
    for keys in portions(by_day, IDS_PER_QUERY):
        ids = {pk for pk, _ in keys}
        stored = PoolUsageDay.objects.filter(account__in=ids, day__in=days)
        rows = {(row.account_id, row.day): row for row in stored}
        for key in keys:
            row = rows.get(key) or PoolUsageDay(account_id=key[0], day=key[1])
            rows[key] = row
            for sample in by_day[key]:
                _raise_peaks(row, _peaks_of_sample(sample))
                row.ticks_received += sample.ticks_received
                row.reconnects += sample.reconnects
                row.drops += sample.drops
            newest = max(by_day[key], key=lambda sample: sample.ended_ms)
            row.max_connections = newest.max_connections
            row.symbols_per_connection = newest.symbols_per_connection
            row.capacity = newest.capacity
        _save([rows[key] for key in keys], DAY_COLUMNS)


def _write_records(found: Mapping[tuple[int, int], tuple[Peaks, UsageSample | None]]) -> None:
    """Raise the records of accounts to what was found; keys begin with the account."""
    for keys in portions(found, IDS_PER_QUERY):
        stored = PoolRecord.objects.filter(account__in={pk for pk, _ in keys})
        rows = {row.account_id: row for row in stored}
        changed: dict[int, PoolRecord] = {}
        for key in keys:
            peaks, sample = found[key]
            row = rows.setdefault(key[0], PoolRecord(account_id=key[0]))
            is_new = _raise_peaks(row, peaks)
            if sample is not None and sample.drops > row.drops:
                row.drops, row.drops_at = sample.drops, at(sample.ended_ms)
                is_new = True
            if is_new:
                changed[key[0]] = row
        _save(list(changed.values()), RECORD_COLUMNS)


def _save(rows: Sequence[T], columns: Sequence[str]) -> None:
    """Write new rows and changed ones; nobody else writes those of a pool."""
    if not rows:
        return
    manager = type(rows[0])._default_manager
    manager.bulk_create([row for row in rows if row.pk is None], batch_size=50)
    manager.bulk_update([row for row in rows if row.pk is not None], columns, batch_size=20)


def _raise_peaks(row: PoolUsageDay | PoolRecord, peaks: Peaks) -> bool:
    """Take over what is higher; tells whether anything was."""
    is_changed = False
    for name in MEASURES:
        peak: Peak = getattr(peaks, name)
        if getattr(row, f"{name}_at") is None or peak.value > getattr(row, name):
            value = peak.value if name == "ticks_per_second" else int(peak.value)
            setattr(row, name, value)
            setattr(row, f"{name}_at", at(peak.at_ms))
            is_changed = True
    return is_changed


def _past(
    record: PoolRecord | None, day: PoolUsageDay | None, stats: PoolStats | None, day_ms: int
) -> PoolPast:
    if stats is None:
        return PoolPast(today=_peaks_of_row(day), all_time=_peaks_of_row(record))
    is_of_today = stats.today is not None and stats.today.symbols.at_ms >= day_ms
    slots = {each.slot: each.reconnects_today for each in stats.connections}
    return PoolPast(
        today=higher(_peaks_of_row(day), stats.today if is_of_today else None),
        all_time=higher(_peaks_of_row(record), stats.all_time),
        reconnects_today=slots if is_of_today else {},
        last_frame_ms=stats.last_frame_ms,
        last_tick_ms=stats.last_tick_ms,
    )


def _heal(found: Mapping[str, PoolPast], today: date) -> None:
    """Write what only a status row knew."""
    with transaction.atomic():
        existing = existing_accounts(int(pool_id) for pool_id in found)
        pasts = {int(pk): past for pk, past in found.items() if int(pk) in existing}
        _write_records(
            {(pk, 0): (past.all_time, None) for pk, past in pasts.items() if past.all_time}
        )
        for ids in portions(pasts, IDS_PER_QUERY):
            for row in PoolUsageDay.objects.filter(account__in=ids, day=today):
                peaks = pasts[row.account_id].today
                if peaks is not None and _raise_peaks(row, peaks):
                    row.save(update_fields=PEAK_COLUMNS)


def _stats_of(status: PoolStatus | None) -> PoolStats | None:
    try:
        return None if status is None else msgspec.convert(status.stats, PoolStats)
    except msgspec.ValidationError:
        return None  # of another version of this program; what it knew is in the tables


def _peaks_of_row(row: T | None) -> Peaks | None:
    if row is None:
        return None
    return Peaks(
        **{
            name: Peak(getattr(row, name), round(getattr(row, f"{name}_at").timestamp() * 1000))
            for name in MEASURES
        }
    )


def _peaks_of_sample(sample: UsageSample) -> Peaks:
    return Peaks(
        **{name: Peak(getattr(sample, name), getattr(sample, f"{name}_at_ms")) for name in MEASURES}
    )


def _usage_row(sample: UsageSample) -> PoolUsage:
    return PoolUsage(
        account_id=int(sample.pool_id),
        started=at(sample.started_ms),
        ended=at(sample.ended_ms),
        symbols=sample.symbols,
        symbols_at=at(sample.symbols_at_ms),
        connections=sample.connections,
        connections_at=at(sample.connections_at_ms),
        clients=sample.clients,
        clients_at=at(sample.clients_at_ms),
        ticks_per_second=sample.ticks_per_second,
        ticks_per_second_at=at(sample.ticks_per_second_at_ms),
        ticks_received=sample.ticks_received,
        reconnects=sample.reconnects,
        drops=sample.drops,
        max_connections=sample.max_connections,
        symbols_per_connection=sample.symbols_per_connection,
        capacity=sample.capacity,
    )


def _delete(rows: models.QuerySet[models.Model], most: int | None) -> int:
    deleted = 0
    while most is None or deleted < most:
        portion = list(rows.order_by("pk").values_list("pk", flat=True)[:ROWS_PER_DELETE])
        if not portion:
            break
        deleted += rows.model._default_manager.filter(pk__in=portion).delete()[0]
    return deleted
