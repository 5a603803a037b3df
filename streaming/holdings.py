"""What one client holds and how its subscriptions are named. Pure values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from brokers.feed import Want
from brokers.types import FeedMode, InstrumentKey
from streaming.directory import AccountRef
from streaming.protocol import DEFAULT_DEPTH_LEVELS

__all__ = [
    "AccountsChange",
    "Departure",
    "Feed",
    "Held",
    "Leaving",
    "Line",
    "Upstream",
    "by_pool",
]


class Feed(NamedTuple):
    """One instrument of one pool: what a topic of the bus carries."""

    pool_id: str
    key: InstrumentKey


class Line(NamedTuple):
    """What a client reads on a feed: a mode, under the name it used (``suffix`` like ``:20``)."""

    mode: FeedMode
    suffix: str = ""


@dataclass(slots=True)
class Held:
    """A client's claim on one feed: its lines with their depth levels; active once confirmed.

    Nothing is read of it while its account is away.

    ``waits`` while the pool has no place for it since limits were lowered, and the client was told.
    ``delay`` is why else it is not active yet, as the client was told.
    """

    account: AccountRef
    lines: dict[Line, int] = field(default_factory=dict)
    active: bool = False
    waits: bool = False
    delay: str = ""

    def to_want(self, key: InstrumentKey) -> Want:
        """Return the one upstream wish that serves all lines."""
        depths = [levels for line, levels in self.lines.items() if line.mode is FeedMode.DEPTH]
        return Want(
            key=key,
            mode=max(line.mode for line in self.lines),
            depth_levels=max(depths, default=DEFAULT_DEPTH_LEVELS),
        )


@dataclass(frozen=True, slots=True)
class Upstream:
    """What to tell the pools after lines went: lower wishes, and feeds given up altogether."""

    wants: Mapping[str, Sequence[Want]] = field(default_factory=dict)
    releases: Mapping[str, Sequence[InstrumentKey]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Departure:
    """Lines that a client must not read any more, and the words for it."""

    reply: str
    lines: Sequence[tuple[Feed, Line]]

    @property
    def feeds(self) -> list[Feed]:
        """The feeds that these lines were on, each once."""
        return list(dict.fromkeys(feed for feed, _ in self.lines))


@dataclass(slots=True)
class Leaving:
    """What a client gives up by one request: the lines, and an entry of the answer for each.

    Those of lines that ended are encoded already, a part at a time.
    """

    lines: list[tuple[Feed, Line]] = field(default_factory=list)
    ended: list[msgspec.Raw] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AccountsChange:
    """What other accounts mean for what a client holds.

    ``ended``: of accounts that it lost. ``away``: kept and not read, until ``back`` names the feed.
    """

    ended: Departure | None = None
    away: Departure | None = None
    back: Sequence[Feed] = ()


def by_pool(feeds: Iterable[Feed]) -> dict[str, list[Feed]]:
    """Return feeds by the pools that they are of."""
    found: dict[str, list[Feed]] = {}
    for feed in feeds:
        found.setdefault(feed.pool_id, []).append(feed)
    return found
