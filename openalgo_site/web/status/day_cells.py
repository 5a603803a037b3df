"""Cells of days in the table of a pool's history. Pure.

All cells are text before the template has them: its filters cost more than all else of the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, tzinfo
from math import floor
from typing import NamedTuple

__all__ = ["Day", "DayCells", "day_cells"]

NOT_KNOWN = "\N{EN DASH}"


class Day(NamedTuple):
    """One stored day: peaks with their times (aware), counts and limits."""

    day: date
    symbols: int
    symbols_at: datetime
    capacity: int
    connections: int
    connections_at: datetime
    max_connections: int
    clients: int
    clients_at: datetime
    ticks_per_second: float
    ticks_per_second_at: datetime
    ticks_received: int
    reconnects: int
    drops: int


class DayCells(NamedTuple):
    """The same as text, in the order of the columns; ``is_down``: there was an outage that day."""

    day: str
    symbols: str
    symbols_at: str
    capacity: str
    connections: str
    connections_at: str
    max_connections: str
    clients: str
    clients_at: str
    ticks_per_second: str
    ticks_per_second_at: str
    ticks_received: str
    reconnects: str
    drops: str
    outage: str
    is_down: bool


def day_cells(days: Iterable[tuple[Day, float | None]], zone: tzinfo) -> Iterator[DayCells]:
    """Yield the cells of days, each with its minutes of outage (None: not known), in ``zone``."""

    def clock(at: datetime) -> str:
        local = at.astimezone(zone)
        return f"{local.hour:02}:{local.minute:02}"

    for day, outage in days:
        yield DayCells(
            f"{day.day:%a} {day.day.day} {day.day:%b %Y}",
            f"{day.symbols:,}",
            clock(day.symbols_at),
            f"{day.capacity:,}",
            str(day.connections),
            clock(day.connections_at),
            str(day.max_connections),
            f"{day.clients:,}",
            clock(day.clients_at),
            f"{floor(day.ticks_per_second + 0.5):,}",
            clock(day.ticks_per_second_at),
            f"{day.ticks_received:,}",
            str(day.reconnects),
            f"{day.drops:,}",
            _minutes(outage),
            bool(outage),
        )


def _minutes(outage: float | None) -> str:
    if outage is None:
        return NOT_KNOWN
    return f"{outage:,.1f}".removesuffix(".0")
