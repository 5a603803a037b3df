"""Service of pools to gateways, as values: what they say to each other, however it travels.

``pooling`` implements ``FeedService``; ``streaming`` carries it over the control link. Neither
imports the other: these values are all that they share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import msgspec

from brokers.types import FeedMode, InstrumentKey

__all__ = [
    "CONNECTED_STATES",
    "WAITING_FOR_ROOM",
    "ConnectionStats",
    "EndpointStats",
    "ExclusiveTotals",
    "FeedChange",
    "FeedService",
    "FeedStatus",
    "Holder",
    "OrderUpdated",
    "Outcome",
    "OutcomeState",
    "Peak",
    "Peaks",
    "PoolStats",
    "RefusalCode",
    "SubscriptionChange",
    "Want",
    "state_word",
]


# What is held and has no place under the limits of its account, wherever it is told.
WAITING_FOR_ROOM = "waiting for room"


class Holder(NamedTuple):
    """A holder of references: one client of one gateway. Ids are opaque text."""

    gateway: str
    client: str


class Want(msgspec.Struct, frozen=True, gc=False):
    """A holder's wish for one instrument. It replaces the holder's earlier wish for it.

    ``stands``: it was accepted before and is only said again, as to a worker that knows nothing of
    it. Where it has no room now it waits for some, as it would had nothing happened in between.
    """

    key: InstrumentKey
    mode: FeedMode
    depth_levels: int = 5
    stands: bool = False


class OutcomeState(StrEnum):
    """Outcomes of a want."""

    ACTIVE = "active"  # the broker confirmed it, or a tick of that mode has arrived
    PENDING = "pending"  # asked for, or will be as soon as a connection is up
    REFUSED = "refused"


class RefusalCode(StrEnum):
    """Reasons for refusing a want; the names are those of the client protocol."""

    SYMBOL_NOT_FOUND = "SYMBOL_NOT_FOUND"
    SYMBOL_EXPIRED = "SYMBOL_EXPIRED"
    MAX_CAPACITY_REACHED = "MAX_CAPACITY_REACHED"
    INVALID_MODE = "INVALID_MODE"
    UNSUPPORTED_DEPTH_LEVEL = "UNSUPPORTED_DEPTH_LEVEL"
    BROKER_ERROR = "BROKER_ERROR"
    BROKER_AUTH_REQUIRED = "BROKER_AUTH_REQUIRED"
    BROKER_UNAVAILABLE = "BROKER_UNAVAILABLE"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The honest answer to one ``Want``.

    PENDING with ``MAX_CAPACITY_REACHED`` is a want that was accepted and then lost its place to
    lowered limits: its holder keeps it, and it is subscribed again once there is room.

    ``details`` carries the numbers of a refusal for want of room (``MAX_CAPACITY_REACHED``:
    connections, max_connections, symbols_per_connection, used, capacity); ``message`` is a sentence
    for people.
    """

    key: InstrumentKey
    state: OutcomeState
    mode: FeedMode
    depth_levels: int = 5
    code: RefusalCode | None = None
    message: str = ""
    details: Mapping[str, int] = {}


class FeedStatus(StrEnum):
    """Trust that the prices of a feed deserve right now."""

    LIVE = "live"
    STALE = "stale"
    AUTH_REQUIRED = "auth_required"
    CLOSED = "closed"


def state_word(state: str) -> str:
    """Return how a state, or the kind of an event that names one, reads where people see it."""
    return state.replace("auth_required", "login needed").replace("_", " ")


class FeedChange(msgspec.Struct, frozen=True, tag="feed"):
    """The feed of a pool, or of the named instruments of it, changed its status.

    ``keys`` None means the whole pool. ``since_ms`` is epoch milliseconds. ``life`` says which
    opening of the pool speaks, as ``PoolStats.life`` does; 0: it is not known.
    """

    pool_id: str
    status: FeedStatus
    since_ms: int
    reason: str
    keys: Sequence[InstrumentKey] | None = None
    life: int = 0


class SubscriptionChange(msgspec.Struct, frozen=True, tag="subscription"):
    """Subscriptions that were pending became active, or were refused after all.

    ``life`` is that of ``FeedChange``.
    """

    pool_id: str
    outcomes: Sequence[Outcome]
    life: int = 0


class OrderUpdated(msgspec.Struct, frozen=True, tag="order"):
    """An order of the account changed; ``order`` is the broker's own object, already parsed."""

    pool_id: str
    order: Mapping[str, Any]


FeedEvent = FeedChange | SubscriptionChange | OrderUpdated


class Peak(msgspec.Struct, frozen=True):
    """The highest value of one measure since the pool started, and when (epoch ms)."""

    value: float
    at_ms: int


class Peaks(msgspec.Struct, frozen=True, kw_only=True):
    """The highest value of each measure within some time, each with its own moment."""

    symbols: Peak
    connections: Peak
    clients: Peak
    ticks_per_second: Peak


class ConnectionStats(msgspec.Struct, frozen=True, kw_only=True):
    """One broker connection, as it is now. Ages and times are None before the first event.

    ``used`` and ``capacity`` count what the broker counts, ``symbols`` instruments. ``reason`` says
    why it is in its state, where that needs saying ("no data for 25 s ..."). ``last_close``
    says why its socket was lost the last time; ``last_close_code`` is the WebSocket close code of
    it, None where no close frame came. ``reconnects_today`` counts since midnight in the worker's
    time zone and survives its restarts.
    """

    slot: int
    state: str
    since_ms: int
    used: int
    capacity: int
    frames_received: int = 0
    ticks_received: int = 0
    messages_sent: int = 0
    frames_malformed: int = 0
    reconnects: int = 0
    last_frame_age_ms: int | None = None
    last_tick_age_ms: int | None = None
    last_close: str = ""
    next_retry_ms: int | None = None
    symbols: int = 0
    last_close_code: int | None = None
    last_close_ms: int | None = None
    reconnects_today: int = 0
    reason: str = ""


class EndpointStats(msgspec.Struct, frozen=True, kw_only=True):
    """A broker's endpoint as one worker sees it; all its pools there share it, and tell the same.

    ``worker`` is the worker's epoch and ``name`` scheme, host and port. Counters are since the
    worker started. ``failures``, ``times_opened`` and ``attempts_held`` are the circuit's.
    ``connects`` of ``connects_allowed`` count against the rate by which the broker counts connects
    from one address (0 allowed: it is not known to), ``connects_held`` had to wait for it.
    """

    worker: int
    name: str
    failures: int = 0
    times_opened: int = 0
    attempts_held: int = 0
    connects: int = 0
    connects_allowed: int = 0
    connects_held: int = 0


class ExclusiveTotals(msgspec.Struct, frozen=True, kw_only=True):
    """The connections that a pool lends to one holder each: their states now, and counters."""

    active: int
    idle: int
    opening: int
    closing: int
    waiting: int
    messages_sent: int
    messages_received: int
    reconnects: int
    reuses: int
    exhausted: int


CONNECTED_STATES = frozenset({"subscribing", "live", "stale"})
"""The states of a ``ConnectionStats`` in which its socket is open."""


class PoolStats(msgspec.Struct, frozen=True, kw_only=True):
    """One pool, as it is now, with its peaks. Counters are since the pool started.

    ``used`` and ``capacity`` count what the broker counts (``BrokerCapabilities.unit``).
    ``waiting`` are the instruments that are held and have no place since limits were lowered.
    ``recent`` are the peaks since the last usage sample. What follows it is filled in by the
    worker, which knows the pool's past: ``today`` counts from midnight in its time zone, ``today``
    and ``all_time`` survive restarts, ``credential_expiry_ms`` is None where nobody can know.
    ``losses`` counts the ends of sockets and attempts by ``pooling.connection.losses.LossReason``;
    ``circuit`` is the state of the circuit of the pool's endpoint, empty before the first attempt,
    as ``endpoint`` is None. ``exclusive`` is None until the first connection was lent. ``life``
    numbers the openings of pools within one life of their worker: a pool that was closed and opened
    again knows nothing of what was wanted before, and has another one.
    """

    pool_id: str
    broker: str
    status: FeedStatus
    reason: str
    since_ms: int
    connections: Sequence[ConnectionStats]
    max_connections: int
    symbols_per_connection: int
    used: int
    capacity: int
    wanted: int
    confirmed: int
    clients: int
    ticks_received: int
    ticks_per_second: float
    frames_malformed: int
    ticks_unknown: int
    reconnects: int
    peak_symbols: Peak
    peak_connections: Peak
    peak_clients: Peak
    peak_ticks_per_second: Peak
    config_revision: int = 0
    waiting: int = 0
    symbols: int = 0
    recent: Peaks | None = None
    today: Peaks | None = None
    all_time: Peaks | None = None
    reconnects_today: int = 0
    last_frame_ms: int | None = None
    last_tick_ms: int | None = None
    credential_expiry_ms: int | None = None
    losses: Mapping[str, int] = {}
    circuit: str = ""
    endpoint: EndpointStats | None = None
    exclusive: ExclusiveTotals | None = None
    life: int = 0

    @property
    def connected(self) -> int:
        """Connections that have an open socket."""
        return sum(each.state in CONNECTED_STATES for each in self.connections)

    @property
    def trying(self) -> int:
        """Connections that are there and have none: they connect, or wait to."""
        return len(self.connections) - self.connected


class FeedService(Protocol):
    """A worker, as a gateway sees it.

    Coroutines may be cancelled; a cancelled want may be in force.
    """

    def pool_ids(self) -> Sequence[str]:
        """Name the pools that this worker owns."""

    async def want(self, pool_id: str, holder: Holder, wants: Sequence[Want]) -> Sequence[Outcome]:
        """Take or change references; one outcome per want, in order. Idempotent.

        Raises:
            KeyError: this worker does not own the pool.
        """

    async def release(
        self, pool_id: str, holder: Holder, keys: Sequence[InstrumentKey] | None
    ) -> None:
        """Give up references (``None``: all of the holder's in that pool); ignore unknown ones."""

    async def release_gateway(self, gateway: str) -> None:
        """Give up every reference of every client of a gateway that is gone."""

    def stats(self, pool_id: str) -> PoolStats:
        """Return the pool's statistics. Raises KeyError for a pool of someone else."""

    def add_listener(self, listener: Callable[[FeedEvent], None]) -> Callable[[], None]:
        """Call ``listener`` on the worker's loop for every event; returns the way to stop it."""
