"""History as a CSV file, sent while it is read: no file is ever whole in memory."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone

from openalgo_site.status_page.history import Span, Step
from openalgo_site.status_page.history_rows import PORTION, usage_portion
from pooling.database import from_database

__all__ = ["csv_cell", "csv_head", "csv_lines"]

_COLUMNS = (
    "peak_symbols", "peak_symbols_at", "peak_connections", "peak_connections_at",
    "peak_clients", "peak_clients_at", "peak_ticks_per_second", "peak_ticks_per_second_at",
    "ticks_received", "reconnects", "drops",
    "max_connections", "symbols_per_connection", "capacity",
)  # fmt: skip
# Spreadsheets take text that begins with one of these for a formula, and run it.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_head(step: Step) -> tuple[str, ...]:
    """Return the names of the columns; times are ISO 8601 with the offset of TIME_ZONE."""
    times = ("day",) if step is Step.DAY else ("started", "ended")
    return ("pool", *times, *_COLUMNS)


def csv_cell(value: Any) -> Any:
    """Return what stands for ``value`` in a cell: text that no spreadsheet takes for a formula."""
    if isinstance(value, datetime):
        return timezone.localtime(value).isoformat(timespec="milliseconds")
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


async def csv_lines(name: str, account_id: int, span: Span) -> AsyncIterator[str]:
    """Yield a file of the span in portions, each of whole lines; may be cancelled at any point.

    Args:
        name: of the pool, as its own column tells it.
        account_id: whose history; the caller has looked whether it may be seen.
        span: of what time, in which steps.
    """
    yield _text([csv_head(span.step)])
    after: tuple[Any, ...] | None = None
    while True:
        rows = await from_database(usage_portion, account_id, span, after)
        if rows:
            yield _text([(name, *row) for _, *row in rows])
            after = rows[-1][:2]
        if len(rows) < PORTION:
            return


def _text(rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([csv_cell(value) for value in row] for row in rows)
    return buffer.getvalue()
