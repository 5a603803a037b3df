"""Times in which a pool's prices could be trusted, out of the changes of its state. Pure.

Workers note each change as an event whose kind begins with ``STATE_PREFIX``; a worker that was
killed notes nothing, so that the last word of its status row ends what is known.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from itertools import accumulate
from operator import itemgetter
from typing import Final, NamedTuple

__all__ = [
    "DISABLED",
    "NOT_SERVED",
    "OUTAGES",
    "STATE_PREFIX",
    "Change",
    "FeedState",
    "Outages",
    "Stretch",
    "stretches",
]

STATE_PREFIX: Final = "feed_"
NOT_SERVED: Final = "feed_not_served"
DISABLED: Final = "feed_disabled"


class FeedState(StrEnum):
    """The state of a pool's feed for some time; the words are those of its state now."""

    LIVE = "live"
    STALE = "stale"
    LOGIN_NEEDED = "login needed"
    NO_WORKER = "no worker"
    CLOSED = "closed"
    PAUSED = "paused"
    DISABLED = "disabled"
    NOT_KNOWN = "not known"


# Somebody may have wanted prices, and none could be trusted.
OUTAGES: Final = frozenset(
    {FeedState.STALE, FeedState.LOGIN_NEEDED, FeedState.NO_WORKER, FeedState.CLOSED}
)
_SERVED: Final = frozenset({FeedState.LIVE, FeedState.STALE, FeedState.LOGIN_NEEDED})
_STATES: Final[Mapping[str, FeedState]] = {
    "feed_live": FeedState.LIVE,
    "feed_stale": FeedState.STALE,
    "feed_auth_required": FeedState.LOGIN_NEEDED,
    "feed_closed": FeedState.PAUSED,  # noted of no other that is closed
    DISABLED: FeedState.DISABLED,
}
# What an event of ``NOT_SERVED`` begins with where the worker went; else its worker refused the
# account, and the message says why.
_WORKER_WENT: Final = ("worker ", "no worker ")


class Change(NamedTuple):
    """An event that begins a state; ``at`` is aware."""

    at: datetime
    kind: str
    message: str


class Stretch(NamedTuple):
    """From when (included) to when (excluded) a pool was in one state, and why."""

    start: datetime
    end: datetime
    state: FeedState
    reason: str


def stretches(
    changes: Iterable[Change],
    *,
    heard: datetime | None,
    is_alive: bool,
    start: datetime,
    end: datetime,
) -> list[Stretch]:
    """Return the states of a span, the oldest first; what is not covered is not known.

    Args:
        changes: in the order of their times; those of the span, and the last one before it.
        heard: the last word of the pool's worker; None without any.
        is_alive: whether that worker is still there.
        start: the span's beginning.
        end: its end, not in the future.
    """
    known = list(changes)
    if not known:
        return []
    if heard is not None and not is_alive:
        last = known[-1]
        if _state(last.kind, last.message) in _SERVED and heard > last.at:
            known.append(Change(heard, NOT_SERVED, "no worker is heard"))
    # In one zone moments are compared without asking it.
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    found: list[Stretch] = []
    ends = [*map(itemgetter(0), known[1:]), end]
    for (at, kind, message), until in zip(known, ends, strict=True):
        begins = at if at > start else start
        stops = until if until < end else end
        if begins < stops:
            found.append(Stretch(begins, stops, _state(kind, message), message))
    return found


class Outages:
    """Sums of outage over any part of a span. Immutable.

    Args:
        known: the span's states, the oldest first, none of which overlap.
    """

    def __init__(self, known: Sequence[Stretch]) -> None:
        self._known = known
        self._begins = [stretch.start for stretch in known]
        self._ends = [stretch.end for stretch in known]
        # Seconds of outage before each stretch, and at last of all.
        self._before = [0.0, *accumulate(map(_outage_seconds, known))]

    def minutes(self, start: datetime, end: datetime) -> float | None:
        """Return minutes of outage from ``start`` to ``end``; None: nothing is known of it."""
        start, end = start.astimezone(UTC), end.astimezone(UTC)
        first, behind = bisect_right(self._ends, start), bisect_left(self._begins, end)
        if first >= behind:
            return None
        seconds = self._before[behind] - self._before[first]
        begin, last = self._known[first], self._known[behind - 1]
        if begin.state in OUTAGES and begin.start < start:
            seconds -= (start - begin.start).total_seconds()
        if last.state in OUTAGES and last.end > end:
            seconds -= (last.end - end).total_seconds()
        return round(seconds / 60, 1)


def _outage_seconds(stretch: Stretch) -> float:
    return (stretch.end - stretch.start).total_seconds() if stretch.state in OUTAGES else 0.0


def _state(kind: str, message: str) -> FeedState:
    if kind == NOT_SERVED:
        return FeedState.NO_WORKER if message.startswith(_WORKER_WENT) else FeedState.CLOSED
    # A state of a later version is at least no outage that somebody could mend.
    return _STATES.get(kind, FeedState.NOT_KNOWN)
