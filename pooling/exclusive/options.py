"""Options, statistics and addresses: what users of exclusive connections say and are told. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol
from urllib.parse import urljoin, urlsplit

import msgspec

from brokers.endpoints.addresses import netloc

__all__ = [
    "ConnectionTerms",
    "ExclusiveConnectionStats",
    "ExclusiveOptions",
    "ExclusiveStats",
    "LinkState",
    "ReconnectOptions",
    "Seats",
    "describe_uri",
    "resolve_uri",
]

MAX_URI_LENGTH = 4096
MAX_SHOWN_SEGMENT = 24
_PORTS = {"ws": 80, "wss": 443}


class LinkState(StrEnum):
    """Places of an exclusive connection in its life."""

    IDLE = "idle"  # open and waiting for the next holder
    ACTIVE = "active"
    RECONNECTING = "reconnecting"  # its holder keeps it meanwhile
    BROKEN = "broken"  # lost for good; its holder has been or will be told
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectOptions:
    """The way in which a held connection comes back: full jitter under a ceiling that doubles.

    ``max_attempts`` None never gives up, except on a refused credential.
    """

    base_seconds: float = 1.0
    cap_seconds: float = 60.0
    max_attempts: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.base_seconds <= self.cap_seconds <= 300:
            raise ValueError("0 < base_seconds <= cap_seconds <= 300")
        if self.max_attempts is not None and self.max_attempts < 1:
            raise ValueError("max_attempts must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTerms:
    """Terms that a holder may ask for its connection while it holds it.

    ``reconnect`` None: if it is lost it stays lost. ``heartbeat_seconds`` None: it is not pinged.
    ``max_message_bytes`` is the longest message that may be sent, encoded (None: any).
    """

    reconnect: ReconnectOptions | None = None
    heartbeat_seconds: float | None = None
    max_message_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("heartbeat_seconds", "max_message_bytes"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")

    def within(self, max_message_bytes: int | None) -> ConnectionTerms:
        """Return the terms under a limit on messages that nobody may lift."""
        limits = [n for n in (self.max_message_bytes, max_message_bytes) if n is not None]
        return replace(self, max_message_bytes=min(limits, default=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExclusiveOptions:
    """Limits, timings and connection options of a pool of exclusive connections.

    ``max_idle_seconds`` is how long a released connection waits for its next holder (0: it does
    not), ``health_check_seconds`` how often idle ones are pinged, ``acquire_timeout_seconds`` how
    long a caller waits for a free connection unless it says otherwise, ``connect_timeout_seconds``
    bounds an opening handshake. ``reconnect`` None: a held connection that is lost stays lost.
    ``heartbeat_seconds`` None: held connections are not pinged. ``message_interval_seconds`` is the
    least time between two messages on one connection, pings included, and ``max_message_bytes`` the
    longest that may be sent (None: any).
    """

    max_connections: int = 10
    max_idle_seconds: float = 300.0
    health_check_seconds: float = 30.0
    acquire_timeout_seconds: float = 10.0
    connect_timeout_seconds: float = 10.0
    reconnect: ReconnectOptions | None = None
    heartbeat_seconds: float | None = None
    message_interval_seconds: float = 0.0
    max_message_bytes: int | None = None
    max_frame_bytes: int = 4 * 1024 * 1024

    @property
    def terms(self) -> ConnectionTerms:
        """The terms of a holder that asks for nothing else."""
        return ConnectionTerms(
            reconnect=self.reconnect,
            heartbeat_seconds=self.heartbeat_seconds,
            max_message_bytes=self.max_message_bytes,
        )

    def __post_init__(self) -> None:
        if self.max_connections < 1:
            raise ValueError("max_connections must be at least 1")
        positive = (
            "health_check_seconds",
            "acquire_timeout_seconds",
            "connect_timeout_seconds",
            "heartbeat_seconds",
            "max_message_bytes",
            "max_frame_bytes",
        )
        for name in positive:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        for name in ("max_idle_seconds", "message_interval_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")


class Seats(Protocol):
    """A limit on connections that others take from too. Called on the owner's loop."""

    def take(self) -> bool:
        """Take a seat if there is one."""

    def give_back(self) -> None:
        """Give a seat back."""


class ExclusiveConnectionStats(msgspec.Struct, frozen=True, kw_only=True):
    """One exclusive connection as it is now. ``address`` has no query and no long path segment.

    ``messages_discarded`` arrived while nobody held it. Times are seconds.
    """

    number: int
    address: str
    state: LinkState
    age_seconds: float
    uses: int
    messages_sent: int
    messages_received: int
    messages_discarded: int
    reconnects: int
    idle_seconds: float | None
    latency_seconds: float | None
    last_close: str


class ExclusiveStats(msgspec.Struct, frozen=True, kw_only=True):
    """A pool of exclusive connections as it is now. Totals are since it was made, over all of them.

    The first six have the names and meanings of JetSocket's pool statistics.
    """

    total_connections: int
    active_connections: int
    idle_connections: int
    total_messages_sent: int
    total_messages_received: int
    total_reconnects: int
    max_connections: int
    opening_connections: int
    closing_connections: int
    waiting: int
    reuses: int
    exhausted: int
    broken: int
    connections: Sequence[ExclusiveConnectionStats]


def resolve_uri(base_uri: str | None, path_or_uri: str, *, is_bound: bool = False) -> str:
    """Return the full URI of a path relative to ``base_uri``, or of a full one.

    ``is_bound`` refuses full URIs of another scheme, host or port than the base's.

    Raises:
        ValueError: it is no WebSocket URI, a path without a base, or names another host.
    """
    if len(path_or_uri) > MAX_URI_LENGTH:
        raise ValueError(f"a URI may have {MAX_URI_LENGTH} characters")
    is_full = bool(urlsplit(path_or_uri).scheme)
    if base_uri is None and not is_full:
        raise ValueError("a path needs a base_uri")
    uri = path_or_uri if is_full else urljoin(base_uri or "", path_or_uri)
    origin = _origin(uri)
    # "//host/x" reads as a path and leads elsewhere.
    if (is_bound or not is_full) and base_uri is not None and origin != _origin(base_uri):
        raise ValueError("the URI names another host than the pool's")
    return uri


def describe_uri(uri: str) -> str:
    """Return a URI without what may be secret: user, query, and path segments as long as a key."""
    parts = urlsplit(uri)
    segments = (
        segment if len(segment) <= MAX_SHOWN_SEGMENT else f"{segment[:4]}…"
        for segment in parts.path.split("/")
    )
    return f"{parts.scheme}://{netloc(parts.hostname or '', parts.port)}{'/'.join(segments)}"


def _origin(uri: str) -> tuple[str, str, int]:
    parts = urlsplit(uri)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("not a WebSocket URI (ws:// or wss://)")
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]
