"""The gateway's side of a worker, as the hub sees it.

``streaming/link/zmq_feed_link.py`` implements ``FeedLink`` over ZeroMQ, and
``streaming/testing/edge.py`` in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

from brokers.pool_service import (
    FeedChange,
    FeedEvent,
    FeedStatus,
    Outcome,
    PoolStats,
    Want,
    state_word,
)
from brokers.types import InstrumentKey

__all__ = [
    "BusVersions",
    "FeedLink",
    "FeedListener",
    "FeedOverview",
    "PoolTold",
    "PoolWord",
    "PublisherCounts",
    "TickMessage",
    "WantReply",
    "word_of_status",
]


class TickMessage(NamedTuple):
    """One tick as it came off the bus.

    ``body`` is the complete ``market_data`` JSON object of ``mode``; ``topic`` the bytes that
    ``topics.tick_topic`` builds; ``sequence`` counts per topic within the publisher's ``epoch``.
    ``published_after_us`` is the time from receipt to publication, measured for some ticks only and
    0 for the others.
    """

    topic: bytes
    mode: int
    epoch: int
    sequence: int
    ts_received_us: int
    body: bytes
    published_after_us: int = 0


class PublisherCounts(NamedTuple):
    """What a worker says of its publisher: ticks since its start, and those its socket refused."""

    published: int = 0
    dropped: int = 0


class WantReply(msgspec.Struct, frozen=True):
    """Outcomes in the order of the wants, and the newest known value of each that has one."""

    outcomes: Sequence[Outcome]
    snapshots: Sequence[TickMessage]


class FeedListener(Protocol):
    """Who is told. Called on the event loop, must not block and must not raise."""

    def on_ticks(self, messages: Sequence[TickMessage]) -> None:
        """Take one drained batch of the bus, oldest first, without repeats and old epochs."""

    def on_values(self, messages: Sequence[TickMessage]) -> None:
        """Take last values that were fetched: news, but perhaps older than their arrival."""

    def drop_waiting(self) -> None:
        """Drop ticks that clients were not sent yet: they are old, and fetched values follow."""

    def on_event(self, event: FeedEvent) -> None:
        """Take a change of feed, of subscriptions, or of an order."""

    def patience_seconds(self) -> float:
        """Return how long the next ticks may wait to be read together; 0: not at all."""


class FeedLink(Protocol):
    """Subscriptions and ticks of all pools that this gateway's clients use.

    Wants survive the worker: they are replayed to its successor, and until then every call answers
    ``PENDING`` instead of failing.
    """

    async def open(self, listener: FeedListener) -> None:
        """Connect; returns at once, whether or not a worker is there."""

    async def close(self) -> None:
        """Say goodbye so that references go at once. Idempotent."""

    async def want(self, pool_id: str, client: str, wants: Sequence[Want]) -> WantReply:
        """Take or change references; the bus path of accepted ones is open on return."""

    async def release(
        self, pool_id: str, client: str, keys: Sequence[InstrumentKey] | None
    ) -> None:
        """Give up references; ``None`` gives up all that the client holds in the pool."""

    async def stats(self, pool_id: str) -> PoolStats | None:
        """Return the pool's statistics, or None while no worker owns it."""

    async def last_values(
        self, pool_id: str, keys: Sequence[InstrumentKey]
    ) -> Sequence[TickMessage]:
        """Return the last messages that the pool knows of ``keys``, without wanting anything."""

    def feed(self, pool_id: str) -> FeedChange:
        """Return how the pool's feed is now, since when and why, as the listener was told it.

        STALE while no worker answers for it. It is the gateway's one memory of that.
        """


class PoolTold(NamedTuple):
    """A pool's feed status, why it is so, and how many of its symbols have no place."""

    status: FeedStatus
    reason: str = ""
    waiting: int = 0


class PoolWord(NamedTuple):
    """The word for a pool's state, and whether somebody has to look after the pool."""

    word: str
    needs_somebody: bool


def word_of_status(told: PoolTold) -> PoolWord:
    """Return how a pool is called of which only the feed status counts."""
    return PoolWord(state_word(told.status.value), told.status is not FeedStatus.LIVE)


@runtime_checkable
class BusVersions(Protocol):
    """What a link may know of the versions of its workers; health checks read it."""

    def version_troubles(self) -> Sequence[str]:
        """Return what is wrong between this gateway's version and those of the workers."""


@runtime_checkable
class FeedOverview(Protocol):
    """What a link may know beyond its own clients' pools; health checks read it."""

    def workers(self) -> int:
        """Return how many workers answer now."""

    def pools(self) -> Mapping[str, PoolTold]:
        """Return every pool that a worker announces, and what is known of it."""
