"""History as a CSV file, sent while it is read: no file is ever whole in memory."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone

from openalgo_site.web.status.history import Span, Step
from openalgo_site.web.status.history_rows import (
    PORTION,
    event_portion,
    outages_of,
    usage_portion,
)
from pooling.models import BrokerAccount
from pooling.operations.cells import safe_cell
from pooling.operations.history import day_span
from pooling.operations.naming import account_name
from pooling.store.database import from_database

__all__ = ["EVENT_HEAD", "csv_cell", "csv_head", "csv_lines", "event_lines"]

EVENT_HEAD = ("pool", "at", "kind", "message")

_COLUMNS = (
    "peak_symbols", "peak_symbols_at", "peak_connections", "peak_connections_at",
    "peak_clients", "peak_clients_at", "peak_ticks_per_second", "peak_ticks_per_second_at",
    "ticks_received", "reconnects", "drops",
    "max_connections", "symbols_per_connection", "capacity", "outage_minutes",
)  # fmt: skip


def csv_head(step: Step) -> tuple[str, ...]:
    """Return the names of the columns; times are ISO 8601 with the offset of TIME_ZONE."""
    times = ("day",) if step is Step.DAY else ("started", "ended")
    return ("pool", *times, *_COLUMNS)


def csv_cell(value: Any) -> Any:
    """Return what stands for ``value`` in a cell: text that no spreadsheet takes for a formula."""
    if isinstance(value, datetime):
        return timezone.localtime(value).isoformat(timespec="milliseconds")
    return safe_cell(value) if isinstance(value, str) else value


async def csv_lines(account: BrokerAccount, span: Span) -> AsyncIterator[str]:
    """Yield a file of the span in portions, each of whole lines; may be cancelled at any point.

    Args:
        account: whose history, read with its user; the caller has looked whether it may be seen.
        span: of what time, in which steps.
    """
    name, is_by_day = account_name(account), span.step is Step.DAY
    yield _text([csv_head(span.step)])
    outages = await from_database(outages_of, account, span)
    async for rows in _portions(usage_portion, account.pk, span):
        yield _text(
            [
                (name, *row, outages.minutes(*(day_span(row[0]) if is_by_day else row[:2])))
                for _, *row in rows
            ]
        )


async def event_lines(account: BrokerAccount, span: Span) -> AsyncIterator[str]:
    """Yield a file of what happened in the span; otherwise as ``csv_lines``."""
    name = account_name(account)
    yield _text([EVENT_HEAD])
    async for rows in _portions(event_portion, account.pk, span):
        yield _text([(name, *row) for _, *row in rows])


async def _portions(
    read: Callable[[int, Span, tuple[Any, ...] | None], Sequence[tuple[Any, ...]]],
    account_id: int,
    span: Span,
) -> AsyncIterator[Sequence[tuple[Any, ...]]]:
    after: tuple[Any, ...] | None = None
    while True:
        rows = await from_database(read, account_id, span, after)
        if rows:
            yield rows
            after = rows[-1][:2]
        if len(rows) < PORTION:
            return


def _text(rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([csv_cell(value) for value in row] for row in rows)
    return buffer.getvalue()
