"""The plan of a subscribe: what is asked of whom, and what the client is told. Pure values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from brokers.pool_service import Outcome, Want
from brokers.types import InstrumentKey
from streaming.ports.directory import AccountRef, Principal
from streaming.protocol.held import Feed, Held, Line
from streaming.protocol.vocabulary import RequestId, SubscribeItem

__all__ = ["Asked", "Found", "Granted", "SubscribePlan", "SubscribeResult"]


@dataclass(slots=True)
class Asked:
    """An item that goes to a pool."""

    item: SubscribeItem
    feed: Feed
    line: Line
    account: AccountRef
    is_back: bool = False  # held already, and its account is there again


@dataclass(frozen=True, slots=True)
class Found:
    """Findings about the feeds that a plan asks for; what is missing has none.

    ``suggestions`` are the nearest names of unknown symbols, ``ages_ms`` those of last known values
    that are old.
    """

    outcomes: Mapping[Feed, Outcome] = field(default_factory=dict)
    suggestions: Mapping[Feed, Sequence[str]] = field(default_factory=dict)
    # Grows while the answers are prepared, a part at a time.
    ages_ms: dict[Feed, int] = field(default_factory=dict)


@dataclass(slots=True)
class Granted:
    """The outcome of an item: its entry of the ack, and what the client holds by it.

    ``answer`` is the entry where it says more than that it was granted.

    ``held`` is None where nothing is: the pool refused it, or gave no answer. ``late`` is the late
    outcome that it heeds. ``encoded`` is the entry as it is sent.
    """

    answer: dict[str, Any]
    encoded: msgspec.Raw
    held: Held | None
    late: Outcome | None = None
    is_unanswered: bool = False


@dataclass(slots=True)
class SubscribePlan:
    """A subscribe under way, planned and answered a part at a time.

    ``exact`` are instruments that are called as they stand, whatever their symbols end in.
    """

    request_id: RequestId
    exact: Collection[InstrumentKey] = ()
    # What was asked for, or the answer where it cannot be had, in the order of the request.
    items: list[Asked | dict[str, Any]] = field(default_factory=list)
    # What the client will hold of each feed if everything is granted.
    planned: dict[Feed, Held] = field(default_factory=dict)
    # Feeds that the client does not hold yet.
    fresh: set[Feed] = field(default_factory=set)
    # How many more of those the client's user may hold; None: as many as the client may.
    room: int | None = None
    crowded: int = 0  # items that were refused for want of it
    # Outcomes that arrive while the pools are asked.
    late: dict[Feed, Outcome] = field(default_factory=dict)
    # What became of the first items, made ahead of ``finish_subscribe``, and for whom: nobody
    # else's is used. None where an item has its answer already.
    prepared: list[Granted | None] = field(default_factory=list)
    prepared_for: Principal | None = None

    @property
    def feeds(self) -> Collection[Feed]:
        """The feeds that are asked for, each once."""
        return self.planned.keys()

    @property
    def wants(self) -> dict[str, list[Want]]:
        """The wants to ask of each pool."""
        return self.wants_of(self.planned)

    def wants_of(self, feeds: Iterable[Feed]) -> dict[str, list[Want]]:
        """Return what to ask of each pool of ``feeds``."""
        wants: dict[str, list[Want]] = {}
        for feed in feeds:
            held = self.planned[feed]
            if not held.account.away:
                wants.setdefault(feed.pool_id, []).append(held.to_want(feed.key))
        return wants


@dataclass(frozen=True, slots=True)
class SubscribeResult:
    """The ack, the lines to join right behind it, and the feeds to settle after a refusal.

    ``away`` are those that are held and not joined, as their accounts are away. The reply is empty
    where there is nothing to say.
    """

    reply: str
    joined: Sequence[tuple[Feed, Line]]
    unsettled: Sequence[Feed]
    away: Sequence[Feed] = ()
