"""The adapter contract: what differs from broker to broker, and nothing else.

An adapter is sans-I/O. It says how to connect, turns the pool's wishes into messages and frames
into ticks; the connection that owns it (``pooling/connection/connection.py``) does the talking, the
waiting, the retrying and the replaying. One adapter serves one connection and is called from its
loop only.
"""

from __future__ import annotations

from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Any, BinaryIO, ClassVar, Self
from urllib.parse import parse_qsl, urlsplit

from brokers.context import current_sink, standalone_sink
from brokers.exceptions import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerRateLimitError,
    BrokerUnavailableError,
)
from brokers.passed_over import PassedOver
from brokers.settings import BrokerSettings, parse
from brokers.times.credential_expiry import DailyEnd, expiry_of
from brokers.times.retry_after import retry_after_seconds
from brokers.types import (
    FeedMode,
    Instrument,
    InstrumentKey,
    InstrumentRow,
    Subscription,
    TickSink,
)

__all__ = [
    "BrokerAdapter",
    "BrokerCapabilities",
    "BrokerEvent",
    "CategoryLimit",
    "Confirmed",
    "ConnectRate",
    "CredentialField",
    "Credentials",
    "Handshake",
    "Notice",
    "OrderUpdate",
    "ReconnectSoon",
    "SendNow",
    "SubscriptionRejected",
]


@dataclass(frozen=True, slots=True)
class CredentialField:
    """One field of a broker's credential, as the admin form shows it."""

    name: str
    label: str
    help_text: str = ""


@dataclass(frozen=True, slots=True)
class CategoryLimit:
    """The most units of one category that a connection (or account) may carry.

    ``mixed`` holds while it carries another category too, ``alone`` otherwise; a limit that does
    not depend on the company has both the same.
    """

    category: str
    alone: int
    mixed: int


@dataclass(frozen=True, slots=True)
class ConnectRate:
    """Connects that a broker takes from one address within a time, whatever the account."""

    attempts: int
    window_seconds: float

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.window_seconds <= 0:
            raise ValueError("attempts and window_seconds must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerCapabilities:
    """A broker's limits and behaviour: data that the core reads instead of its name.

    ``symbols_per_connection`` bounds the sum of ``BrokerAdapter.cost`` on one connection, and
    ``unit`` names what is counted there: "symbols" where every subscription costs one, or the
    broker's own word ("streams", "pairs"). ``category_limits`` bound the cost of each of
    ``BrokerAdapter.category`` on one connection, or with ``shares_category_limits`` on all those
    of an account together; every subscription is of a category then.

    ``heartbeat_seconds`` is how often an idle link still carries a byte from the broker (None: not
    at all); no byte at all for ``liveness_timeout_seconds`` forces a reconnect.
    ``keepalive_answer`` is the frame with which the broker answers ``BrokerAdapter.keepalive``: it
    shows that the link works and is no data (None: it answers with data, or not at all, and a
    ping of WebSocket's own goes with each).
    ``message_interval_seconds`` is the least time between two control messages of one connection,
    ``batch_size`` the most instruments in one of them and ``max_message_bytes`` the longest that
    the broker takes, encoded: an adapter cuts its messages to both, and a longer one is never sent.
    Where nothing is known of a length, the default is what the strictest of the common servers
    takes unless told otherwise (Tomcat: 8,192 bytes).

    ``connect_interval_seconds`` is the least time between two connects of one account, and
    ``connect_rate`` bounds those of all accounts together (None: the broker is not known to count
    them). ``max_lifetime_seconds`` is when the broker
    itself ends a connection (None: never). ``http_endpoint`` is the base URL of its HTTP API.
    ``credentials_end`` is when it ends all credentials, every day (None: it has no such habit).
    ``may_count_with`` names brokers whose connections may count together with its own.
    ``connections_count_by`` is the field of a credential by whose value the broker counts them:
    all accounts with the same one have ``max_connections`` together ("": each has its own).
    """

    name: str
    label: str
    exchanges: frozenset[str]
    max_connections: int
    symbols_per_connection: int
    unit: str = "symbols"
    category_limits: tuple[CategoryLimit, ...] = ()
    shares_category_limits: bool = False
    modes: tuple[FeedMode, ...] = (FeedMode.LTP, FeedMode.QUOTE, FeedMode.DEPTH)
    depth_levels: tuple[int, ...] = (5,)
    credential_fields: tuple[CredentialField, ...] = ()
    default_endpoint: str = ""
    http_endpoint: str = ""
    batch_size: int = 200
    max_message_bytes: int = 8192
    message_interval_seconds: float = 0.0
    connect_interval_seconds: float = 0.0
    connect_rate: ConnectRate | None = None
    heartbeat_seconds: float | None = None
    liveness_timeout_seconds: float = 30.0
    keepalive_answer: str | bytes | None = None
    max_lifetime_seconds: float | None = None
    max_frame_bytes: int = 4 * 1024 * 1024
    credentials_end: DailyEnd | None = None
    may_count_with: tuple[str, ...] = ()
    connections_count_by: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A broker credential in clear, as read for one connect. Its repr shows no value."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    version: int = 0


@dataclass(frozen=True, slots=True)
class Handshake:
    """An address to connect to, with headers. May hold credentials: its repr shows none.

    A redirect is followed to the same host, and into ``redirect_domain`` if there is one.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    first_messages: tuple[str | bytes, ...] = field(default=(), repr=False)
    redirect_domain: str = ""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The broker confirmed these instruments at (at least) the mode last asked for."""

    keys: tuple[InstrumentKey, ...]


@dataclass(frozen=True, slots=True)
class SubscriptionRejected:
    """The broker refused a subscription. ``keys`` empty: it did not say which ones.

    Without keys only a ``BrokerLimitError`` ends anything: of what else names nothing it is not
    certain that a subscription is meant at all.
    """

    error: BrokerError
    keys: tuple[InstrumentKey, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """An order of the account changed; the broker's own object."""

    order: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Notice:
    """A message of the broker for people."""

    text: str


@dataclass(frozen=True, slots=True)
class ReconnectSoon:
    """The broker will end this connection shortly."""

    reason: str


@dataclass(frozen=True, slots=True)
class SendNow:
    """The broker wants this message back at once: it does not wait for a turn."""

    message: str | bytes


BrokerEvent = Confirmed | SubscriptionRejected | OrderUpdate | Notice | ReconnectSoon | SendNow


class BrokerAdapter(ABC):
    """Base of all brokers' adapters; a broker fills in ``capabilities`` and a handful of hooks.

    ``settings`` are those of the account: a broker that has some overrides it with the defaults of
    its own class of them, and ``with_settings`` makes the adapter class of one account.

    Args:
        endpoint: WebSocket URL without credentials; None takes the broker's own.
        sink: where ticks go; None takes the pool's from the creation context, and outside of any
            pool a sink of the adapter's own, made at the first tick.
    """

    capabilities: ClassVar[BrokerCapabilities]
    settings: ClassVar[BrokerSettings] = BrokerSettings()
    query_names: ClassVar[frozenset[str]] = frozenset()
    """What the adapter writes into the query beside the credential's fields."""

    def __init__(self, *, endpoint: str | None = None, sink: TickSink | None = None) -> None:
        self.endpoint = endpoint or self.capabilities.default_endpoint
        # None until the first tick of an adapter that has no pool.
        self._sink = sink if sink is not None else current_sink()
        self.ticks_published = 0
        self.ticks_unknown = 0

    @property
    def sink(self) -> TickSink:
        """The sink of the enclosing pool, or one of the adapter's own."""
        if self._sink is None:
            self._sink = standalone_sink(self.capabilities.name)
        return self._sink

    def publish_to(self, sink: TickSink) -> None:
        """Send ticks to another sink from the next frame on."""
        self._sink = sink

    @classmethod
    def capabilities_with(cls, settings: Any) -> BrokerCapabilities:
        """Return what the broker allows an account of these settings, of the class's own type.

        An override returns ``dataclasses.replace`` of its class's capabilities. Limits, modes,
        depth levels, sizes and pace of messages may differ, and a running pool follows them; the
        rest stays, as does whether there are categories. ``cost`` and ``category`` ask no settings.
        """
        return cls.capabilities

    @classmethod
    def with_settings(cls, values: Mapping[str, object]) -> type[Self]:
        """Return the adapter class of an account: this one, if nothing differs from the defaults.

        Equal settings give the same class, as far as the last few hundred are remembered. Safe
        from any thread.

        Args:
            values: what differs, as ``brokers.settings.parse`` takes it.

        Raises:
            BrokerConfigError: an unknown setting, or a value that is not allowed; it says what is.
        """
        try:
            settings = parse(type(cls.settings), values)
        except BrokerConfigError as error:
            raise BrokerConfigError(f"{cls.capabilities.label}: {error}") from None
        if not values or settings == cls.settings:
            return cls
        configured: type[Self] = _configured(cls, settings)
        return configured

    @classmethod
    def check_endpoint(cls, endpoint: str) -> None:
        """Judge the path and the query of an endpoint that an account is to have.

        A credential has fields of its own, and what the adapter writes into the query by itself
        would stand there twice. A broker whose paths mean something overrides this, and calls it.

        Raises:
            BrokerConfigError: it cannot work; the message says what mends it.
        """
        own = {_bare(field.name) for field in cls.capabilities.credential_fields}
        own |= {_bare(name) for name in cls.query_names}
        for name, _ in parse_qsl(urlsplit(endpoint).query, keep_blank_values=True):
            if _bare(name) in own:
                raise BrokerConfigError(
                    f"{cls.capabilities.label}: leave {name[:40]!r} out of the endpoint's query; "
                    "it is added, and a credential has fields of its own"
                )

    @classmethod
    def cost(cls, instrument: Instrument, mode: FeedMode) -> int:
        """Return how much of a connection's capacity this subscription takes."""
        return 1

    @classmethod
    def category(cls, subscription: Subscription) -> str:
        """Return which of ``category_limits`` bounds this subscription; "" for none."""
        return ""

    @classmethod
    def credential_lack(cls, stored: Collection[str]) -> str:
        """Return what a connect needs and is not stored, in words for people; "": nothing.

        Args:
            stored: names of the fields of the credential that have a value.
        """
        fields = cls.capabilities.credential_fields
        missing = [field.label for field in fields if field.name not in stored]
        if not missing:
            return ""
        if len(missing) == len(fields):
            return "no credential is stored"
        return f"not stored: {', '.join(missing)}"

    @classmethod
    def credential_expiry(cls, credentials: Credentials, stored_at: datetime) -> datetime | None:
        """Return when a credential stored at ``stored_at`` ends, as far as that can be known.

        The earliest of ``capabilities.credentials_end`` and the ``exp`` claims of values that are
        JSON Web Tokens; an adapter whose broker tells it otherwise overrides this. May be given
        some of the fields only. The broker itself is not asked.
        """
        end = cls.capabilities.credentials_end
        return expiry_of(credentials.values.values(), stored_at, end)

    @classmethod
    @abstractmethod
    def master_url(cls, http_endpoint: str | None) -> str:
        """Return the URL of the instruments master; None takes the broker's own HTTP endpoint."""

    @classmethod
    def master_urls(cls, http_endpoint: str | None) -> tuple[str, ...]:
        """Return the URLs of all files that the master consists of: one, where nothing is said."""
        return (cls.master_url(http_endpoint),)

    @classmethod
    @abstractmethod
    def parse_master(
        cls, master: BinaryIO, passed: PassedOver | None = None
    ) -> Iterator[InstrumentRow]:
        """Yield the instruments of a downloaded master, in the file's order.

        What no tick needs (lot and tick sizes, names for people) is "" where it cannot be read.

        Args:
            master: seekable, and read from where it stands; as the broker served it, at most 128
                MiB. A master in lines is best read line by line (``brokers.masters.text``), so that
                100,000 rows cost no memory.
            passed: notes rows that are no instruments of this feed, and those that cannot be used;
                None: the first of the latter ends the reading (``brokers.passed_over``).

        Raises:
            BrokerProtocolError: the file is not an instruments master of this broker.
        """

    @classmethod
    def parse_masters(
        cls, masters: Sequence[BinaryIO], passed: PassedOver | None = None
    ) -> Iterator[InstrumentRow]:
        """Yield the instruments of all files of ``master_urls``, in their order.

        Raises:
            BrokerProtocolError: one of them is not a part of this broker's instruments master.
        """
        return chain.from_iterable(cls.parse_master(master, passed) for master in masters)

    @abstractmethod
    def handshake(self, credentials: Credentials) -> Handshake:
        """Return where and how to connect. Raises BrokerConfigError for a missing credential."""

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> BrokerError:
        """Map an HTTP status of the WebSocket upgrade to the error that it means.

        Names in ``headers`` are in Title-Case, and ``Date`` is always among them.
        """
        if status in (401, 403):
            return BrokerAuthError(f"the broker refused the credential (HTTP {status})")
        wait = retry_after_seconds(headers)
        if status == 429:
            return BrokerRateLimitError(
                "the broker refused the connection: too many (HTTP 429)", retry_after_seconds=wait
            )
        return BrokerUnavailableError(
            f"the broker answered the connection with HTTP {status}", retry_after_seconds=wait
        )

    @abstractmethod
    def subscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return the messages that subscribe ``items``.

        Each has at most ``batch_size`` items and ``max_message_bytes`` bytes, as have those of the
        other hooks; ``brokers.batching`` cuts.

        Raises:
            BrokerError: one of the items cannot be expressed; nothing was noted of any.
        """

    @abstractmethod
    def unsubscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return the messages that end ``items``; ticks of them that still arrive are dropped."""

    @abstractmethod
    def change_mode(self, items: Sequence[tuple[Subscription, Subscription]]) -> list[str | bytes]:
        """Return the messages that turn each (old, new) subscription over without a gap."""

    @abstractmethod
    def receive(self, frame: str | bytes, ts_received_us: int) -> Sequence[BrokerEvent]:
        """Decode one frame, publish its ticks, and return what else it said.

        ``ts_received_us`` is when the frame was read, in epoch microseconds, for the sink.

        Raises:
            BrokerProtocolError: the frame is malformed; nothing of it was published.
            BrokerError: the broker ends the connection with this frame, and says why; what it means
                for the next attempt is the same as for a refused upgrade.
        """

    def settle(self) -> Sequence[BrokerEvent]:
        """Return what became of the changes of which no message of the broker will tell.

        Called after the messages of a round of changes were sent. What is known already may be
        published at its new mode.
        """
        return ()

    def reset(self) -> None:  # noqa: B027 - most adapters keep nothing that a socket owned
        """Forget what belonged to the previous socket; subscriptions will be sent again."""

    def keepalive(self) -> str | bytes | None:
        """Return the message that keeps the link alive, or None if the broker needs none."""
        return None


def _bare(name: str) -> str:
    """Return a name as it is however it is written: ``feedToken`` is ``feed_token``."""
    return name.replace("_", "").replace("-", "").lower()


@lru_cache(maxsize=256)
def _configured(cls: type[BrokerAdapter], settings: BrokerSettings) -> Any:
    own = {
        "settings": settings,
        "capabilities": cls.capabilities_with(settings),
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
    }
    return ABCMeta(cls.__name__, (cls,), own)
