"""History as charts read it: a span of time, and the highest values of each part of it. Pure.

Parts are as short as a chart of ``MAX_POINTS`` can show; a peak is never averaged away.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any, NamedTuple

from pooling.outages import Outages, Stretch

__all__ = [
    "MAX_POINTS",
    "MEASURES",
    "RANGES",
    "PeaksOf",
    "Row",
    "Span",
    "SpanError",
    "Step",
    "chart",
    "read_span",
]

MAX_POINTS = 600
MEASURES = ("symbols", "connections", "clients", "ticks_per_second")
RANGES: Mapping[str, timedelta] = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}
LONGEST = timedelta(days=5 * 366)
LONGEST_BY_INTERVAL = timedelta(days=14)
_COUNTED = ("drops", "reconnects", "capacity", "max_connections", "outage_minutes")
_STEPS_MINUTES = (1, 5, 10, 15, 30, 60, 120, 240, 720, 1440)


class SpanError(ValueError):
    """The span cannot be shown; the message says what to send instead."""


class Step(StrEnum):
    """Time that one row of history stands for."""

    INTERVAL = "interval"
    DAY = "day"


class Span(NamedTuple):
    """From when (included) to when (excluded), both aware, and in which steps."""

    start: datetime
    end: datetime
    step: Step


class Row(NamedTuple):
    """One stored interval or day: its number, its beginning, peaks, counts and limits.

    When each peak was is asked of the few rows that have the highest: most of what a row costs to
    read is its times.
    """

    pk: int
    started: datetime
    symbols: int
    connections: int
    clients: int
    ticks_per_second: float
    drops: int
    reconnects: int
    capacity: int
    max_connections: int


# Of rows by their numbers: the value and the time of each of MEASURES, in their order. A row that
# is gone by then is left out.
PeaksOf = Callable[[Collection[int]], Mapping[int, Sequence[tuple[float, datetime]]]]


@dataclass(slots=True)
class _Part:
    peaks: list[float]
    drops: int
    reconnects: int
    capacity: int
    max_connections: int


def read_span(query: Mapping[str, str], now: datetime, zone: tzinfo) -> Span:
    """Return what ``range``, or ``from`` and ``to``, and ``step`` ask for; a day up to now without.

    Times without an offset are those of ``zone``. Without ``step`` spans of more than two weeks
    are shown by day.

    Raises:
        SpanError: a value cannot be read, or the span is empty or too long.
    """
    if "from" in query or "to" in query:
        start = _moment(query.get("from", ""), "from", zone)
        end = _moment(query["to"], "to", zone) if query.get("to") else now
    else:
        name = query.get("range", "24h")
        if name not in RANGES:
            raise SpanError(f"range is one of {', '.join(RANGES)}; or send from and to.")
        start, end = now - RANGES[name], now
    if start >= end:
        raise SpanError("from must be before to.")
    if end - start > LONGEST:
        raise SpanError(f"At most {LONGEST.days} days can be shown at once.")
    return Span(start, end, _step(query.get("step", ""), end - start))


def chart(
    rows: Iterable[Row],
    span: Span,
    interval: timedelta,
    states: Sequence[Stretch] = (),
    *,
    peaks_of: PeaksOf,
) -> dict[str, Any]:
    """Return points for charts, and the highest values of the span with their times.

    ``points`` are lists of the values that ``columns`` names; ``t`` is the beginning of a part in
    epoch milliseconds. Parts without a row are left out: nothing is known of them. ``states`` are
    lists of beginning, end, state and reason; ``outage_minutes`` are null where no state is known.
    ``peaks_of`` is asked once, for at most as many rows as there are measures.
    """
    step_ms = _part_ms(span, interval)
    parts: dict[int, _Part] = {}
    highest: list[float] = [0.0] * len(MEASURES)
    reached: list[int | None] = [None] * len(MEASURES)
    for row in rows:
        began_ms = _ms(row.started)
        # Days begin at midnight of the zone, which no division finds.
        at_ms = began_ms if span.step is Step.DAY else began_ms // step_ms * step_ms
        peaks = _floats(row.symbols, row.connections, row.clients, row.ticks_per_second)
        _take(parts, at_ms, row, peaks)
        for index, value in enumerate(peaks):
            if value > highest[index]:
                highest[index], reached[index] = value, row.pk
    outages = Outages(states)
    return {
        "from": _ms(span.start),
        "to": _ms(span.end),
        "step": span.step.value,
        "step_ms": step_ms,
        "columns": ["t", *MEASURES, *_COUNTED],
        "points": [
            (*_point(at_ms, part), outages.minutes(_at(at_ms), _at(at_ms + step_ms)))
            for at_ms, part in sorted(parts.items())
        ],
        "states": _shown(states),
        "outage_minutes": outages.minutes(span.start, span.end),
        "peaks": _peaks(reached, peaks_of),
    }


def _shown(states: Sequence[Stretch]) -> list[tuple[int, int, str, str]]:
    found: list[tuple[int, int, str, str]] = []
    until, until_ms = None, 0
    for start, end, state, reason in states:
        # Nearly always one begins as the one before it ends.
        start_ms = until_ms if start is until else _ms(start)
        until, until_ms = end, _ms(end)
        found.append((start_ms, until_ms, state.value, reason))
    return found


def _peaks(reached: Sequence[int | None], peaks_of: PeaksOf) -> dict[str, dict[str, float]]:
    pks = {pk for pk in reached if pk is not None}
    known = peaks_of(pks) if pks else {}
    found = {}
    for index, (name, pk) in enumerate(zip(MEASURES, reached, strict=True)):
        if pk is not None and pk in known:
            value, at = known[pk][index]
            found[name] = {"value": value, "at_ms": _ms(at)}
    return found


def _floats(*values: float) -> list[float]:
    return [*map(float, values)]


def _take(parts: dict[int, _Part], at_ms: int, row: Row, peaks: list[float]) -> None:
    part = parts.get(at_ms)
    if part is None:
        parts[at_ms] = _Part(peaks, row.drops, row.reconnects, row.capacity, row.max_connections)
        return
    part.peaks = [*map(max, part.peaks, peaks)]
    part.drops += row.drops
    part.reconnects += row.reconnects
    # The limits that held at the end of the part: rows come in their order.
    part.capacity, part.max_connections = row.capacity, row.max_connections


def _point(at_ms: int, part: _Part) -> tuple[float, ...]:
    return (
        at_ms,
        *part.peaks,
        part.drops,
        part.reconnects,
        part.capacity,
        part.max_connections,
    )


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _at(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def _part_ms(span: Span, interval: timedelta) -> int:
    if span.step is Step.DAY:
        return 86_400_000
    least = max((span.end - span.start) / MAX_POINTS, interval)
    for minutes in _STEPS_MINUTES:
        if timedelta(minutes=minutes) >= least:
            return minutes * 60_000
    return _STEPS_MINUTES[-1] * 60_000


def _moment(text: str, name: str, zone: tzinfo) -> datetime:
    try:
        found = datetime.fromisoformat(text[:40])
        found = found if found.tzinfo is not None else found.replace(tzinfo=zone)
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise SpanError(f"{name} is a date or time such as 2026-11-21T09:15.") from None


def _step(text: str, length: timedelta) -> Step:
    if not text:
        return Step.INTERVAL if length <= LONGEST_BY_INTERVAL else Step.DAY
    if text not in frozenset(Step):
        raise SpanError(f"step is one of {', '.join(Step)}.")
    return Step(text)
