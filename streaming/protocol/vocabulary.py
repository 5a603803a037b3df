"""Vocabulary of the client protocol: codes, refusals, and requests as values. Pure.

``docs/protocol.md`` describes the protocol. ``streaming/protocol/parsing.py`` makes requests of
text frames, ``streaming/protocol/replies.py`` builds the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum

import msgspec

from brokers.types import FeedMode

__all__ = [
    "DEFAULT_DEPTH_LEVELS",
    "Authenticate",
    "CloseCode",
    "ErrorCode",
    "GetBrokerInfo",
    "GetSupportedBrokers",
    "InvalidItem",
    "ListSubscriptions",
    "Ping",
    "Pong",
    "ProtocolError",
    "Request",
    "RequestId",
    "Subscribe",
    "SubscribeItem",
    "SwitchOrders",
    "SwitchStatus",
    "Unsubscribe",
    "UnsubscribeAll",
    "UnsubscribeItem",
    "WatchPools",
]

DEFAULT_DEPTH_LEVELS = 5

RequestId = str | int | None


class ErrorCode(StrEnum):
    """Every ``code`` that a client may read."""

    AUTHENTICATION_ERROR = "AUTHENTICATION_ERROR"
    NOT_AUTHENTICATED = "NOT_AUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    INVALID_JSON = "INVALID_JSON"
    INVALID_ACTION = "INVALID_ACTION"
    INVALID_PARAMETERS = "INVALID_PARAMETERS"
    INVALID_MODE = "INVALID_MODE"
    SYMBOL_NOT_FOUND = "SYMBOL_NOT_FOUND"
    SYMBOL_EXPIRED = "SYMBOL_EXPIRED"
    UNSUPPORTED_DEPTH_LEVEL = "UNSUPPORTED_DEPTH_LEVEL"
    MAX_CAPACITY_REACHED = "MAX_CAPACITY_REACHED"
    SUBSCRIPTION_LIMIT = "SUBSCRIPTION_LIMIT"
    NOT_SUBSCRIBED = "NOT_SUBSCRIBED"
    RATE_LIMITED = "RATE_LIMITED"
    BROKER_ERROR = "BROKER_ERROR"
    BROKER_AUTH_REQUIRED = "BROKER_AUTH_REQUIRED"
    BROKER_UNAVAILABLE = "BROKER_UNAVAILABLE"
    SERVER_ERROR = "SERVER_ERROR"


class CloseCode(IntEnum):
    """Reasons why the server closes a client's socket; the protocol says which of them to retry."""

    TOO_BIG = 1009
    RESTART = 1012
    BAD_REQUEST = 4400
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    TOO_SLOW = 4408
    RATE_LIMITED = 4429
    BACKEND_DOWN = 4503


class ProtocolError(Exception):
    """A request cannot be served; ``message`` is a sentence for the client.

    ``retry_after`` says in how many seconds it can be, where waiting mends it.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        request_id: RequestId = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.request_id = request_id
        self.retry_after = retry_after


class SubscribeItem(msgspec.Struct, frozen=True, gc=False):
    """One wish as the client named it; ``symbol`` may end in a depth suffix.

    ``depth_levels`` are then those of the suffix, ``own_depth_levels`` those asked beside it, which
    count where the instrument is called so and the suffix is none; None: as many as usual.
    """

    symbol: str
    exchange: str
    mode: FeedMode
    depth_levels: int
    own_depth_levels: int | None = None


class UnsubscribeItem(msgspec.Struct, frozen=True):
    """One end of a subscription; ``mode`` None means every mode of the symbol."""

    symbol: str
    exchange: str
    mode: FeedMode | None


class InvalidItem(msgspec.Struct, frozen=True):
    """An item that cannot be served while the others of its request can."""

    symbol: str
    exchange: str
    code: ErrorCode
    message: str


class _Base(msgspec.Struct, frozen=True, kw_only=True):
    request_id: RequestId = None


class Authenticate(_Base, frozen=True):
    """First message of an API client. The repr does not show the key."""

    api_key: str

    def __repr__(self) -> str:
        return "Authenticate(api_key=...)"


class Subscribe(_Base, frozen=True):
    """Subscribe to ``items``, answered one by one and in order."""

    items: Sequence[SubscribeItem | InvalidItem]


class Unsubscribe(_Base, frozen=True):
    """End subscriptions."""

    items: Sequence[UnsubscribeItem | InvalidItem]


class UnsubscribeAll(_Base, frozen=True):
    """End all of the client's subscriptions."""


class SwitchOrders(_Base, frozen=True):
    """Start or stop order updates; ``action`` is the request's own name, echoed as ``type``."""

    action: str
    enabled: bool


class SwitchStatus(_Base, frozen=True):
    """Start or stop feed status objects."""

    action: str
    enabled: bool


class WatchPools(_Base, frozen=True):
    """Start or stop pool status objects: one page of the pools that match ``search``."""

    action: str
    enabled: bool
    page: int = 1
    search: str = ""


class GetBrokerInfo(_Base, frozen=True):
    """Ask for limits and usage of the client's default pool."""


class GetSupportedBrokers(_Base, frozen=True):
    """Ask which brokers exist; needs no authentication."""


class ListSubscriptions(_Base, frozen=True):
    """Ask what this client holds."""


class Ping(_Base, frozen=True):
    """An application-level ping; what the client sent along comes back."""

    timestamp: str | int | float | None = None
    ping_id: str | int | float | None = None


class Pong(_Base, frozen=True):
    """A client's answer to a ping that it believes to have seen; ignored."""


Request = (
    Authenticate
    | Subscribe
    | Unsubscribe
    | UnsubscribeAll
    | SwitchOrders
    | SwitchStatus
    | WatchPools
    | GetBrokerInfo
    | GetSupportedBrokers
    | ListSubscriptions
    | Ping
    | Pong
)
