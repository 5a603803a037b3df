"""Lines of text that ``pool top`` shows in a given size. Decides; draws nothing.

Nothing here depends on colour: the state is a word, a problem sorts to the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from brokers.times.moments import clock_text
from brokers.words import counted
from pooling.operations.describe import PoolView, totals
from pooling.operations.pool_state import PoolState, Tone
from pooling.tables import age, bar, cut

__all__ = ["Emphasis", "Key", "Line", "Snapshot", "clamp_scroll", "frame"]

MIN_NAME = 12
WIDE = 100  # from this width on there is room for the bar
FOOTER = "q quits   ↑ ↓ scroll"
# Everything of a row behind the name: state, connections, used, bar, waiting, clients, rate, age.
_COLUMNS = (
    ("STATE", 16, False),
    ("CONNS", 5, True),
    ("USED", 11, True),
    ("", 8, False),
    ("WAIT", 4, True),
    ("CLI", 4, True),
    ("TICKS/S", 8, True),
    ("TICK", 6, True),
)


class Emphasis(Enum):
    """Ways in which a line stands out, where the terminal can."""

    PLAIN = "plain"
    HEADING = "heading"
    PROBLEM = "problem"
    QUIET = "quiet"


class Key(Enum):
    """Meanings of a key press."""

    QUIT = "quit"
    UP = "up"
    DOWN = "down"
    PAGE_UP = "page up"
    PAGE_DOWN = "page down"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a frame."""

    text: str
    emphasis: Emphasis = Emphasis.PLAIN


_EMPHASES = {
    Tone.GOOD: Emphasis.PLAIN,
    Tone.WARN: Emphasis.PROBLEM,
    Tone.BAD: Emphasis.PROBLEM,
    Tone.HELD: Emphasis.PLAIN,
    Tone.OFF: Emphasis.QUIET,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Figures of one moment. ``problem`` is a sentence when the database did not answer."""

    at: datetime
    pools: Sequence[PoolView]
    gateways: int = 0
    gateway_clients: int = 0
    deliveries_per_second: float = 0.0
    problem: str = ""


def frame(snapshot: Snapshot, *, width: int, height: int, scroll: int = 0) -> list[Line]:
    """Return at most ``height`` lines of at most ``width`` columns, the footer the last of them."""
    head = [
        Line(_summary(snapshot), Emphasis.HEADING),
        Line(_second(snapshot), Emphasis.PROBLEM if snapshot.problem else Emphasis.PLAIN),
        Line(""),
        Line(_row("POOL", [title for title, _, _ in _COLUMNS], width), Emphasis.HEADING),
    ]
    room = max(0, height - len(head) - 1)
    ordered = sorted(snapshot.pools, key=_order)
    scroll = clamp_scroll(scroll, len(ordered), room)
    rows = [_pool_line(view, width) for view in ordered[scroll : scroll + room]]
    hidden = len(ordered) - len(rows)
    more = f"   {hidden} more" if hidden else ""
    lines = [*head, *rows, Line(FOOTER + more, Emphasis.QUIET)]
    return [Line(cut(line.text, width), line.emphasis) for line in lines[:height]]


def clamp_scroll(scroll: int, pools: int, room: int) -> int:
    """Return the nearest scroll position at which no line of the screen stays empty for nothing."""
    return max(0, min(scroll, pools - room))


def _summary(snapshot: Snapshot) -> str:
    live = sum(view.state is PoolState.LIVE for view in snapshot.pools)
    pools = counted(len(snapshot.pools), "pool")
    return f"TickPool {clock_text(snapshot.at)}   {live} of {pools} live"


def _second(snapshot: Snapshot) -> str:
    if snapshot.problem:
        return snapshot.problem
    sums = totals(snapshot.pools)
    return (
        f"{sums['used']:,.0f}/{sums['capacity']:,.0f} used   "
        f"{sums['ticks_per_second']:,.0f} ticks/s   gateways {snapshot.gateways}   "
        f"clients {snapshot.gateway_clients:,}   {snapshot.deliveries_per_second:,.0f} deliveries/s"
    )


def _order(view: PoolView) -> tuple[int, float, int]:
    return view.state.rank, -view.ticks_per_second, view.id


def _pool_line(view: PoolView, width: int) -> Line:
    cells = [
        view.state,
        f"{view.connections}/{view.max_connections}",
        f"{view.used}/{view.capacity}",
        bar(view.used, view.capacity, 6),
        str(view.waiting),
        str(view.clients),
        f"{view.ticks_per_second:,.0f}",
        age(view.last_tick_age),
    ]
    return Line(_row(view.name, cells, width), _EMPHASES[view.state.tone])


def _row(name: str, cells: Sequence[str], width: int) -> str:
    columns = [
        (text, size, is_number)
        for text, (title, size, is_number) in zip(cells, _COLUMNS, strict=True)
        if title or width >= WIDE
    ]
    name_width = max(MIN_NAME, width - sum(size + 1 for _, size, _ in columns))
    parts = [cut(name, name_width).ljust(name_width)]
    for text, size, is_number in columns:
        kept = cut(text, size)
        parts.append(kept.rjust(size) if is_number else kept.ljust(size))
    return " ".join(parts)
