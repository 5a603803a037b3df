"""Small protocols and frozen values: what the pool needs from the outside world.

The Django side (``pooling/store/accounts.py``) implements ``AccountStore``; tests use the in-memory
one of ``pooling/testing/store.py``. Nothing here knows about Django.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Protocol

from brokers.contract import Credentials
from brokers.pool_service import PoolStats
from brokers.settings import SettingValue
from brokers.types import Instrument, InstrumentKey
from pooling.history import PoolPast

__all__ = [
    "AccountSpec",
    "AccountStore",
    "CommandVerb",
    "PoolOptions",
    "TakenCommand",
    "UsageSample",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """Limits and timings of one pool, after the broker's own caps were applied.

    A connection with nothing to carry stays open for ``max_idle_seconds`` and is asked for a sign
    of life every ``health_check_seconds``; ``warm_connections`` of them are open always.

    Of exclusive connections, unless their holder says otherwise: a lost one is opened again with at
    most ``exclusive_reconnect_seconds`` between two attempts (0: it stays lost), and is pinged
    every ``exclusive_heartbeat_seconds`` (0: never).
    """

    symbols_per_connection: int = 1000
    max_connections: int = 3
    linger_seconds: float = 5.0
    connect_timeout_seconds: float = 10.0
    max_idle_seconds: float = 300.0
    health_check_seconds: float = 30.0
    acquire_timeout_seconds: float = 10.0
    warm_connections: int = 0
    exclusive_reconnect_seconds: float = 60.0
    exclusive_heartbeat_seconds: float = 20.0
    revision: int = 0

    def __post_init__(self) -> None:
        if self.symbols_per_connection < 1:
            raise ValueError("symbols_per_connection must be at least 1")
        if self.max_connections < 1:
            raise ValueError("max_connections must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSpec:
    """One enabled broker account, as a worker needs it. ``endpoint`` None: the broker's own.

    ``settings`` are (name, value) pairs of the broker's, sorted, of those that differ from the
    defaults. The pool of a paused account is there and opens no connection.
    ``credential_expiry_ms`` is epoch milliseconds, None where nobody can know; ``credential_lack``
    says what of a credential that the broker needs is not stored. ``problem`` says why
    what is stored cannot be served, for people; limits and settings mean nothing then.
    ``seat_group`` is the same for accounts whose connections the broker counts together, and "" for
    one of its own; it tells nothing of the credential.
    """

    pool_id: str
    broker: str
    user_id: int
    label: str
    options: PoolOptions
    endpoint: str | None = None
    settings: tuple[tuple[str, SettingValue], ...] = ()
    credentials_version: int = 0
    is_paused: bool = False
    credential_expiry_ms: int | None = None
    credential_lack: str = ""
    problem: str = ""
    seat_group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSample:
    """Peaks of one pool within one interval, each on its own. Times are epoch milliseconds.

    ``drops`` counts ticks and frames that came from the broker and reached nobody; the limits are
    those in force at the end.
    """

    pool_id: str
    started_ms: int
    ended_ms: int
    symbols: int
    connections: int
    clients: int
    ticks_per_second: float
    symbols_at_ms: int
    connections_at_ms: int
    clients_at_ms: int
    ticks_per_second_at_ms: int
    ticks_received: int = 0
    reconnects: int = 0
    drops: int = 0
    max_connections: int = 0
    symbols_per_connection: int = 0
    capacity: int = 0


class CommandVerb(StrEnum):
    """Requests that people may make of a pool; ``pooling.store.commands`` documents each."""

    PAUSE = "pause"
    RESUME = "resume"
    RECONNECT = "reconnect"
    DRAIN = "drain"
    REBALANCE = "rebalance"
    UNSUBSCRIBE = "unsubscribe"
    PREVIEW = "preview"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenCommand:
    """A request to a pool that this worker, and no other, is to carry out."""

    id: int
    pool_id: str
    verb: CommandVerb
    argument: Mapping[str, Any]


class AccountStore(Protocol):
    """Accounts, credentials, instruments, history and requests.

    Every coroutine may be cancelled.
    """

    async def accounts(self) -> Sequence[AccountSpec]:
        """Return all enabled accounts; read again every few seconds to notice edits.

        One that cannot be served has a ``problem`` and costs no other its place in the list.
        """

    async def credentials(self, pool_id: str) -> Credentials:
        """Return the credential in clear. Raises BrokerConfigError when it cannot be decrypted."""

    async def resolve(
        self, broker: str, keys: Sequence[InstrumentKey]
    ) -> Mapping[InstrumentKey, Instrument]:
        """Return the known ones of ``keys``, as the broker calls them today."""

    async def names_revision(self, broker: str) -> int:
        """Return a number that is greater once a name of the broker's may mean something else."""

    async def expire(self) -> None:
        """Note what has expired since the last call, by the clocks of the exchanges."""

    async def expired(
        self, broker: str, keys: Sequence[InstrumentKey]
    ) -> Mapping[InstrumentKey, date | None]:
        """Return when those of ``keys`` expired that were listed once; None: they left before."""

    async def listed(self, broker: str, tokens: Collection[str]) -> Collection[str]:
        """Return those of ``tokens`` by which the broker calls any instrument today."""

    async def why_nothing_listed(self, broker: str) -> str:
        """Return why no name of the broker's means anything, in a sentence; "": some do."""

    async def save_status(self, worker_id: str, epoch: int, stats: Sequence[PoolStats]) -> None:
        """Write the heartbeat row of each pool."""

    async def save_usage(self, samples: Sequence[UsageSample]) -> None:
        """Write peaks of an interval."""

    async def pasts(self, pool_ids: Collection[str]) -> Mapping[str, PoolPast]:
        """Return what earlier workers left behind of these pools; nothing for new ones."""

    async def take_commands(
        self, worker_id: str, pool_ids: Collection[str]
    ) -> Sequence[TakenCommand]:
        """Take what people ask of these pools, oldest first; nobody else gets it then."""

    async def finish_command(self, command_id: int, *, is_done: bool, result: str) -> None:
        """Write how a request ended, in a sentence for people."""

    async def record_event(self, pool_id: str, kind: str, message: str) -> None:
        """Keep what happened and why, for people."""
