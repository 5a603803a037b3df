"""Holdings of one client, and how its subscriptions are named. Pure values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from brokers.pool_service import Want
from brokers.types import FeedMode, InstrumentKey
from streaming.ports.directory import AccountRef
from streaming.protocol.vocabulary import DEFAULT_DEPTH_LEVELS

__all__ = [
    "AccountsChange",
    "Departure",
    "Feed",
    "Held",
    "Leaving",
    "Line",
    "Upstream",
    "by_pool",
    "forget_shared",
    "shared_feed",
    "shared_feeds",
    "shared_held",
    "shared_line",
]


class Feed(NamedTuple):
    """One instrument of one pool: what a topic of the bus carries."""

    pool_id: str
    key: InstrumentKey


class Line(NamedTuple):
    """A line of a feed as a client reads it: a mode, and what its name ended in, like ``:20``."""

    mode: FeedMode
    suffix: str = ""


# Thousands of clients hold the same instruments in the same few ways, a user's up to a hundred
# thousand: what is equal is there once. Names are not for ``sys.intern``, which in the first
# versions of Python 3.12 keeps for ever what anybody ever named.
_shared = lru_cache(maxsize=65_536)(str)


@lru_cache(maxsize=32_768)
def shared_feed(pool_id: str, exchange: str, symbol: str) -> Feed:
    """Return a feed that all who hold it share, for as long as it is asked for now and then."""
    return Feed(pool_id, InstrumentKey(_shared(exchange), _shared(symbol)))


shared_line = lru_cache(maxsize=1024)(Line)


def shared_feeds() -> int:
    """Return how many feeds are kept for those who may ask for them again."""
    return shared_feed.cache_info().currsize


def forget_shared() -> None:
    """Keep what is shared for its holders only; whoever asks next begins with nothing."""
    shared_feed.cache_clear()
    _shared.cache_clear()
    _shared_held.cache_clear()


_NO_LINES: Mapping[Line, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Held:
    """A client's claim on one feed: its lines with their depth levels; active once confirmed.

    Nothing is read of it while its account is away. Of thousands nearly all are alike, so those
    that are equal are one: make them by ``shared_held``.

    ``waits`` while the pool has no place for it since limits were lowered, and the client was told.
    ``delay`` is why else it is not active yet, as the client was told.
    """

    account: AccountRef
    lines: Mapping[Line, int]
    active: bool
    waits: bool
    delay: str

    def adding(self, lines: Mapping[Line, int]) -> Held:
        """Return a claim on ``lines`` beside these; one that is held gets those levels of depth."""
        return self.but(lines={**self.lines, **lines})

    def without(self, line: Line) -> Held:
        """Return a claim on the other lines."""
        return self.but(lines={each: n for each, n in self.lines.items() if each != line})

    def but(
        self,
        *,
        account: AccountRef | None = None,
        lines: Mapping[Line, int] | None = None,
        active: bool | None = None,
        waits: bool | None = None,
        delay: str | None = None,
    ) -> Held:
        """Return the claim with what is given instead."""
        return shared_held(
            self.account if account is None else account,
            self.lines if lines is None else lines,
            active=self.active if active is None else active,
            waits=self.waits if waits is None else waits,
            delay=self.delay if delay is None else delay,
        )

    def to_want(self, key: InstrumentKey) -> Want:
        """Return the one upstream wish that serves all lines."""
        depths = [levels for line, levels in self.lines.items() if line.mode is FeedMode.DEPTH]
        return Want(
            key=key,
            mode=max(line.mode for line in self.lines),
            depth_levels=max(depths, default=DEFAULT_DEPTH_LEVELS),
        )


def shared_held(
    account: AccountRef,
    lines: Mapping[Line, int] = _NO_LINES,
    *,
    active: bool = False,
    waits: bool = False,
    delay: str = "",
) -> Held:
    """Return a claim that all who have the same share."""
    return _shared_held(account, tuple(lines.items()), active, waits, delay)


@lru_cache(maxsize=1024)
def _shared_held(
    account: AccountRef,
    lines: tuple[tuple[Line, int], ...],
    active: bool,
    waits: bool,
    delay: str,
) -> Held:
    return Held(account, MappingProxyType(dict(lines)), active, waits, delay)


@dataclass(frozen=True, slots=True)
class Upstream:
    """The word to the pools after lines went: lower wishes, and feeds given up altogether."""

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
    """The meaning of other accounts for what a client holds.

    ``ended``: of accounts that it lost, ``lost``. ``away``: kept and not read, until ``back`` names
    the feed.
    """

    ended: Departure | None = None
    away: Departure | None = None
    back: Sequence[Feed] = ()
    lost: Sequence[AccountRef] = ()


def by_pool(feeds: Iterable[Feed]) -> dict[str, list[Feed]]:
    """Return feeds by the pools that they are of."""
    found: dict[str, list[Feed]] = {}
    for feed in feeds:
        found.setdefault(feed.pool_id, []).append(feed)
    return found
