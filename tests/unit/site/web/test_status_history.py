"""Spans of history, and what a chart shows of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from openalgo_site.web.status.day_cells import Day, day_cells
from openalgo_site.web.status.export import csv_cell, csv_head
from openalgo_site.web.status.history import (
    MAX_POINTS,
    MEASURES,
    Row,
    Span,
    SpanError,
    Step,
    chart,
    read_span,
)

KOLKATA = ZoneInfo("Asia/Kolkata")
NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
FIVE = timedelta(minutes=5)


def row(started: datetime, **changes: Any) -> Row:
    values: dict[str, Any] = {
        "pk": ms(started),
        "symbols": 5,
        "connections": 1,
        "clients": 2,
        "ticks_per_second": 7.5,
        "drops": 1,
        "reconnects": 2,
        "capacity": 9000,
        "max_connections": 3,
    }
    return Row(started=started, **{**values, **changes})


def chart_of(rows: Sequence[Row], span: Span) -> dict[str, Any]:
    """Return a chart of rows, each of whose peaks was a minute after it began."""
    stored = {each.pk: each for each in rows}

    def peaks_of(pks: Collection[int]) -> dict[int, list[tuple[float, datetime]]]:
        at = {pk: stored[pk].started + timedelta(minutes=1) for pk in pks}
        return {pk: [(getattr(stored[pk], name), at[pk]) for name in MEASURES] for pk in pks}

    return chart(rows, span, FIVE, peaks_of=peaks_of)


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def test_without_a_wish_the_last_day_is_shown() -> None:
    assert read_span({}, NOW, KOLKATA) == Span(NOW - timedelta(days=1), NOW, Step.INTERVAL)


@pytest.mark.parametrize(
    ("query", "start", "end", "step"),
    [
        ({"range": "90d"}, NOW - timedelta(days=90), NOW, Step.DAY),
        ({"range": "7d", "step": "day"}, NOW - timedelta(days=7), NOW, Step.DAY),
        ({"range": "90d", "step": "interval"}, NOW - timedelta(days=90), NOW, Step.INTERVAL),
        # Times without an offset are those of the site's zone.
        ({"from": "2026-11-21T09:15", "to": "2026-11-21T10:15"},
         datetime(2026, 11, 21, 3, 45, tzinfo=UTC), datetime(2026, 11, 21, 4, 45, tzinfo=UTC),
         Step.INTERVAL),
        ({"from": "2026-11-21T03:45:00+00:00"},
         datetime(2026, 11, 21, 3, 45, tzinfo=UTC), NOW, Step.INTERVAL),
        ({"from": "2026-11-20", "range": "nonsense"},
         datetime(2026, 11, 19, 18, 30, tzinfo=UTC), NOW, Step.INTERVAL),
    ],
)  # fmt: skip
def test_a_span_is_read_as_it_is_written(
    query: dict[str, str], start: datetime, end: datetime, step: Step
) -> None:
    assert read_span(query, NOW, KOLKATA) == Span(start, end, step)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"range": "2y"}, "range is one of 1h"),
        ({"from": "yesterday"}, "from is a date"),
        ({"from": ""}, "from is a date"),
        ({"to": "2026-11-21"}, "from is a date"),
        ({"from": "2026-11-21", "to": "x" * 5000}, "to is a date"),
        ({"from": "0001-01-01T00:00+23:00"}, "from is a date"),
        ({"from": "2026-11-22"}, "from must be before to"),
        ({"from": "1990-01-01"}, "At most"),
        ({"step": "minute"}, "step is one of interval, day"),
    ],
)
def test_what_is_no_span_is_refused_with_what_mends_it(query: dict[str, str], words: str) -> None:
    with pytest.raises(SpanError, match=words):
        read_span(query, NOW, KOLKATA)


def test_a_part_shows_its_highest_values_and_adds_up_its_counts() -> None:
    """A week has parts of half an hour; a peak of five minutes is not lost in one."""
    start = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
    rows = [
        row(start + FIVE * n, symbols=n, clients=6 - n, capacity=9000 - n, ticks_per_second=n / 2)
        for n in range(6)
    ]
    span = Span(start - timedelta(days=7), start + timedelta(hours=1), Step.INTERVAL)
    shown = chart_of(rows, span)
    assert shown["step_ms"] == 30 * 60_000
    assert shown["columns"][:5] == ["t", "symbols", "connections", "clients", "ticks_per_second"]
    assert shown["points"] == [(ms(start), 5, 1, 6, 2.5, 6, 12, 8995, 3, None)]
    assert shown["peaks"]["symbols"] == {
        "value": 5,
        "at_ms": ms(start + FIVE * 5 + timedelta(minutes=1)),
    }
    assert shown["peaks"]["clients"]["at_ms"] == ms(start + timedelta(minutes=1))


def test_what_nobody_wrote_is_left_out_and_not_nothing() -> None:
    start = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
    span = Span(start, start + timedelta(hours=1), Step.INTERVAL)
    shown = chart_of([row(start), row(start + FIVE * 3)], span)
    assert [point[0] for point in shown["points"]] == [ms(start), ms(start + FIVE * 3)]
    empty = chart_of([], span)
    assert (empty["points"], empty["peaks"]) == ([], {})


def test_a_peak_whose_row_is_gone_by_then_is_left_out() -> None:
    """Rows are pruned and written while others read."""
    start = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
    span = Span(start, start + timedelta(hours=1), Step.INTERVAL)
    asked: list[Collection[int]] = []

    def peaks_of(pks: Collection[int]) -> dict[int, list[tuple[float, datetime]]]:
        asked.append(set(pks))
        return {2: [(9, start), (3, start), (2, start), (7.5, start)]}

    rows = [row(start, pk=1, clients=8), row(start + FIVE, pk=2, symbols=8, connections=3)]
    shown = chart(rows, span, FIVE, peaks_of=peaks_of)
    assert asked == [{1, 2}]
    # Read together: a value that has grown since has its own time.
    assert shown["peaks"] == {
        "symbols": {"value": 9, "at_ms": ms(start)},
        "connections": {"value": 3, "at_ms": ms(start)},
    }


def test_days_begin_at_midnight_of_the_zone() -> None:
    midnight = datetime(2026, 11, 21, tzinfo=KOLKATA)
    span = Span(midnight, midnight + timedelta(days=30), Step.DAY)
    assert chart_of([row(midnight)], span)["points"][0][0] == ms(midnight)


@pytest.mark.parametrize("hours", [1, 6, 24, 24 * 7, 24 * 14])
def test_a_chart_never_has_more_parts_than_it_can_show(hours: int) -> None:
    end = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
    start = end - timedelta(hours=hours)
    rows = [row(start + FIVE * n) for n in range(hours * 12)]
    shown = chart_of(rows, Span(start, end, Step.INTERVAL))
    assert 10 < len(shown["points"]) <= MAX_POINTS + 1


def test_a_day_reads_as_people_write_it() -> None:
    at = datetime(2026, 11, 21, 3, 45, tzinfo=UTC)
    day = Day(
        date(2026, 11, 5), 4321, at, 9000, 3, at, 1200, 1000, at, 2.5, at, 12_345_678, 1500, 1000
    )
    known, unknown, none = day_cells([(day, 1234.5), (day, None), (day, 0.0)], KOLKATA)
    assert known[:3] == ("Thu 5 Nov 2026", "4,321", "09:15")
    assert known[3:9] == ("9,000", "3", "09:15", "1200", "1,000", "09:15")
    assert known[9:] == ("3", "09:15", "12,345,678", "1500", "1,000", "1,234.5", True)
    assert (unknown.outage, unknown.is_down) == ("\N{EN DASH}", False)
    assert (none.outage, none.is_down) == ("0", False)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("asha/zerodha/main", "asha/zerodha/main"),
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("  =1", "'  =1"),
        ("\uff1d1", "'\uff1d1"),
        (-1, -1),
        (7.5, 7.5),
    ],
)
def test_no_cell_is_a_formula(value: Any, cell: Any) -> None:
    assert csv_cell(value) == cell


def test_the_head_names_every_column() -> None:
    assert csv_head(Step.DAY)[:2] == ("pool", "day")
    assert csv_head(Step.INTERVAL)[:3] == ("pool", "started", "ended")
