"""State of a pool: one value with its word, tone and feed status, decided from plain facts. Pure.

Every surface (HTTP API, command line, status page, watch, admin, doctor, metrics) reads this module
and decides nothing itself; ``state_rows`` asks it of rows and says the same as a condition in the
database. The word is the state's value: programs and people get the same one. What travels between
processes is the *feed status*, which only says how far prices can be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from brokers.pool_service import WAITING_FOR_ROOM, FeedStatus, state_word
from pooling.feed_health import IDLE_REASON, PAUSED_REASON
from pooling.lifecycle import ConnectionState

__all__ = [
    "OF_FEED",
    "PoolState",
    "Tone",
    "connection_tone",
    "event_word",
    "state_named",
    "state_of",
    "state_of_feed",
]


class Tone(StrEnum):
    """The meaning of a badge; each has a colour and a shape of its own."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    OFF = "off"
    HELD = "held"


class PoolState(StrEnum):
    """The state of a pool; the value is its word. Those that need somebody first come first."""

    NO_WORKER = "no worker"
    NEVER_SERVED = "never served"
    LOGIN_NEEDED = "login needed"
    CLOSED = "closed"
    STALE = "stale"
    WAITING_FOR_ROOM = WAITING_FOR_ROOM
    PAUSED = "paused"
    LIVE = "live"
    IDLE = "idle"
    DISABLED = "disabled"

    @property
    def tone(self) -> Tone:
        """Its look: bad gets no price until somebody acts, warn mends itself or is partial.

        Only what brings prices is good; of what is idle nobody knows yet whether it would.
        """
        return _TONES[self]

    @property
    def feed_status(self) -> FeedStatus:
        """Its feed status: how far the prices can be trusted, as the client protocol says it."""
        return _FEED_STATUSES[self]

    @property
    def needs_somebody(self) -> bool:
        """Whether it is not as its owner wanted it."""
        return self.tone in (Tone.BAD, Tone.WARN)

    @property
    def rank(self) -> int:
        """Place in a list of pools: what needs somebody first."""
        return _RANKS[self]


_TONES: Mapping[PoolState, Tone] = {
    PoolState.NO_WORKER: Tone.BAD,
    PoolState.NEVER_SERVED: Tone.BAD,
    PoolState.LOGIN_NEEDED: Tone.BAD,
    PoolState.CLOSED: Tone.BAD,
    PoolState.STALE: Tone.WARN,
    PoolState.WAITING_FOR_ROOM: Tone.WARN,
    PoolState.PAUSED: Tone.HELD,
    PoolState.LIVE: Tone.GOOD,
    PoolState.IDLE: Tone.OFF,
    PoolState.DISABLED: Tone.OFF,
}
_FEED_STATUSES: Mapping[PoolState, FeedStatus] = {
    PoolState.NO_WORKER: FeedStatus.STALE,
    PoolState.NEVER_SERVED: FeedStatus.STALE,
    PoolState.LOGIN_NEEDED: FeedStatus.AUTH_REQUIRED,
    PoolState.CLOSED: FeedStatus.CLOSED,
    PoolState.STALE: FeedStatus.STALE,
    PoolState.WAITING_FOR_ROOM: FeedStatus.LIVE,
    PoolState.PAUSED: FeedStatus.CLOSED,
    PoolState.LIVE: FeedStatus.LIVE,
    PoolState.IDLE: FeedStatus.LIVE,
    PoolState.DISABLED: FeedStatus.CLOSED,
}
_RANKS: Mapping[PoolState, int] = {state: rank for rank, state in enumerate(PoolState)}
# What a worker that serves a pool writes. Any other text is of a later version: what nobody here
# understands is no live price.
OF_FEED: Mapping[str, PoolState] = {
    FeedStatus.LIVE.value: PoolState.LIVE,
    FeedStatus.AUTH_REQUIRED.value: PoolState.LOGIN_NEEDED,
    FeedStatus.CLOSED.value: PoolState.CLOSED,
}
_CONNECTION_TONES: Mapping[str, Tone] = {
    ConnectionState.LIVE.value: Tone.GOOD,
    ConnectionState.STALE.value: Tone.WARN,
    ConnectionState.BACKOFF.value: Tone.WARN,
    ConnectionState.RATE_LIMITED.value: Tone.BAD,
    ConnectionState.AUTH_REQUIRED.value: Tone.BAD,
    ConnectionState.DRAINING.value: Tone.HELD,
}
_EVENT_WORDS: Mapping[str, str] = {
    # Written where a pool is paused; one that is closed otherwise is not served.
    "feed_closed": f"feed {PoolState.PAUSED}",
}


def state_of(
    *, is_enabled: bool, is_paused: bool, is_served: bool | None, of_feed: PoolState | None
) -> PoolState:
    """Return the state of a pool.

    Args:
        is_enabled: whether its account is.
        is_paused: whether somebody paused the account.
        is_served: whether the worker that told of it last is there; None: none ever told.
        of_feed: ``state_of_feed`` of what that worker told last; None where none did.
    """
    if not is_enabled:
        return PoolState.DISABLED
    if is_served is None or of_feed is None:
        return PoolState.NEVER_SERVED
    if not is_served:
        return PoolState.NO_WORKER
    return PoolState.PAUSED if is_paused else of_feed


def state_of_feed(status: str, reason: str, waiting: int) -> PoolState:
    """Return the state of a pool whose worker answers.

    Args:
        status: the feed status that the worker tells.
        reason: the reason beside it.
        waiting: how many symbols have no place; a live pool with such is not as it should be.
    """
    state = OF_FEED.get(status, PoolState.STALE)
    if state is PoolState.CLOSED and reason == PAUSED_REASON:
        return PoolState.PAUSED
    if state is PoolState.LIVE and waiting:
        return PoolState.WAITING_FOR_ROOM
    return PoolState.IDLE if state is PoolState.LIVE and reason == IDLE_REASON else state


def state_named(text: str) -> PoolState | None:
    """Return the state that a person means, by its word or its feed status; None: there is none."""
    word = state_word(text.strip().casefold())
    return PoolState(word) if word in frozenset(PoolState) else None


def connection_tone(state: str) -> Tone:
    """Return how the state of one connection looks; its word is ``state_word``'s."""
    return _CONNECTION_TONES.get(state, Tone.OFF)


def event_word(kind: str) -> str:
    """Return how the kind of an event reads; states in it are called as everywhere."""
    return _EVENT_WORDS.get(kind) or state_word(kind)
