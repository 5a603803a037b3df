"""Lines as ``list_subscriptions`` tells them: state, age of the last tick, silence. Pure."""

from __future__ import annotations

from typing import Any

from streaming.fanout.index import Group
from streaming.fanout.quiet_lines import silence_of
from streaming.protocol.entries import listed_line
from streaming.protocol.held import Feed, Held, Line

__all__ = ["line_entry"]


def line_entry(
    feed: Feed,
    line: Line,
    held: Held,
    group: Group[Any] | None,
    now: float,
    wall_clock_ms: int,
    *,
    is_live: bool,
) -> dict[str, Any]:
    """Return one line as the protocol lists it.

    Args:
        group: of the line's topic; None where nobody reads it any more.
        now: seconds of the clock by which the group counts.
        wall_clock_ms: the same moment, as clients are told moments.
    """
    ticked = group.last_tick_seconds if group is not None else None
    silence = silence_of(group, now) if group is not None else None
    since = now if silence is None else silence.since
    return listed_line(
        feed,
        line,
        held,
        is_live=is_live,
        age_ms=None if ticked is None else round((now - ticked) * 1000),
        silence=silence,
        silent_since_ms=wall_clock_ms - round((now - since) * 1000),
    )
