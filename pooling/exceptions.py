"""Errors of a pool: what can go wrong inside of one.

PoolingError
├── PoolCapacityError        no connection has room and no further one may be opened
├── PoolClosedError          the pool was closed; nothing can be wanted from it any more
├── PoolExhaustedError       no connection became free for exclusive use in time
├── ConnectionReleasedError  a connection was used after it was given back
├── StoreUnavailableError    accounts, names or history cannot be read or written now
├── CommandRefusedError      what was asked of a pool cannot be done; the text says what mends it
├── AlertError               an alert could not be delivered
│   └── AlertRefusedError    and trying again would not help
└── IllegalTransitionError   a connection was moved to a state that cannot follow its present one

Failures of the broker, or of the way to it, are ``brokers.exceptions.BrokerError``; nine of them
are made here, because only the one who holds the sockets can see them:

BrokerUnavailableError
├── CircuitOpenError         the endpoint is known to be down; nothing was tried
├── HttpUnavailableError     an HTTP request got no answer, or a server error
├── ConnectionLostError      the socket was closed, by whom and why in its text
├── HeldUpError              this process had no turn, and what the socket kept is old
├── SilentConnectionError    no byte arrived for longer than the broker's liveness time-out
└── PlannedReconnectError    the broker announced that it will end the connection
BrokerRateLimitError
└── ConnectRateError         this address has connected as often as the broker allows
BrokerLimitError
└── MessageTooLongError      a message is longer than the broker takes; it was not sent
BrokerProtocolError
└── MasterTooSmallError      an instruments master lacks most of what the one before had
"""

from __future__ import annotations

from collections.abc import Mapping

from brokers.exceptions import (
    BrokerLimitError,
    BrokerProtocolError,
    BrokerRateLimitError,
    BrokerUnavailableError,
)

__all__ = [
    "AlertError",
    "AlertRefusedError",
    "CircuitOpenError",
    "CommandRefusedError",
    "ConnectRateError",
    "ConnectionLostError",
    "ConnectionReleasedError",
    "HeldUpError",
    "HttpUnavailableError",
    "IllegalTransitionError",
    "MasterTooSmallError",
    "MessageTooLongError",
    "PlannedReconnectError",
    "PoolCapacityError",
    "PoolClosedError",
    "PoolExhaustedError",
    "PoolingError",
    "SilentConnectionError",
    "StoreUnavailableError",
]


class PoolingError(Exception):
    """Base of everything that a pool itself refuses."""


class PoolCapacityError(PoolingError):
    """All connections are full and no further one may be opened; the numbers are attributes.

    ``kind`` is the broker's kind of subscription of which there may be no more, where that alone
    is in the way ("": it is not).
    """

    def __init__(
        self,
        *,
        connections: int,
        max_connections: int,
        symbols_per_connection: int,
        used: int,
        capacity: int,
        kind: str = "",
    ) -> None:
        super().__init__(
            f"the pool is full: {used} of {capacity} used on {connections} of {max_connections} "
            f"connections with {symbols_per_connection} symbols each"
        )
        self.connections = connections
        self.max_connections = max_connections
        self.symbols_per_connection = symbols_per_connection
        self.used = used
        self.capacity = capacity
        self.kind = kind

    def details(self) -> Mapping[str, int]:
        """Return the numbers under the names that the client protocol uses."""
        return {
            "connections": self.connections,
            "max_connections": self.max_connections,
            "symbols_per_connection": self.symbols_per_connection,
            "used": self.used,
            "capacity": self.capacity,
        }


class PoolClosedError(PoolingError):
    """The pool was closed; nothing can be wanted from it any more."""


class PoolExhaustedError(PoolingError):
    """All connections stayed in use for ``timeout`` seconds; nothing was opened."""

    def __init__(self, max_connections: int, timeout: float) -> None:
        super().__init__(f"none of {max_connections} connections became free within {timeout:g} s")
        self.max_connections = max_connections
        self.timeout = timeout


class ConnectionReleasedError(PoolingError):
    """A connection was used after it was given back; it may be somebody else's by now."""


class StoreUnavailableError(PoolingError):
    """The store cannot be read or written now; pools go on, and it is tried again."""


class CommandRefusedError(PoolingError):
    """A request to a pool cannot be carried out; the text is for people and says what mends it."""


class AlertError(PoolingError):
    """An alert could not be delivered; the text is for people and shows no secret."""


class AlertRefusedError(AlertError):
    """An alert could not be delivered and trying again would not help."""


class IllegalTransitionError(PoolingError):
    """A connection was moved to a state that cannot follow its present one."""


class CircuitOpenError(BrokerUnavailableError):
    """The endpoint failed too often in a row; nothing was tried, and it is no failure of its own.

    Try again after ``retry_after_seconds`` and a draw from ``spread_seconds`` on top.
    """

    def __init__(
        self, endpoint: str, *, retry_after_seconds: float, spread_seconds: float = 1.0
    ) -> None:
        super().__init__(
            f"{endpoint} is down; it is tried again in {retry_after_seconds:.1f} s at the earliest"
        )
        self.retry_after_seconds: float = retry_after_seconds
        self.spread_seconds = spread_seconds


class HttpUnavailableError(BrokerUnavailableError):
    """An HTTP request got no complete answer or a server error, which may say when to come back."""


class ConnectRateError(BrokerRateLimitError):
    """The broker takes no more connects from this address now; nothing was tried.

    Try again after ``retry_after_seconds`` and a draw from ``spread_seconds`` on top.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        attempts: int,
        window_seconds: float,
        retry_after_seconds: float,
        spread_seconds: float = 1.0,
    ) -> None:
        super().__init__(
            f"{endpoint} takes {attempts} connects in {window_seconds:g} s from one address, of "
            f"all accounts together; the next may be tried in {retry_after_seconds:.0f} s",
            retry_after_seconds=retry_after_seconds,
        )
        self.retry_after_seconds: float = retry_after_seconds
        self.spread_seconds = spread_seconds


class HeldUpError(BrokerUnavailableError):
    """This process had no turn for seconds: what the socket kept meanwhile is no news any more."""


class MessageTooLongError(BrokerLimitError):
    """A message is longer than the broker takes; it was not sent."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a message may have {limit} bytes, this one has {size}")
        self.size = size
        self.limit = limit


class ConnectionLostError(BrokerUnavailableError):
    """The socket was closed; ``code`` is None when no close frame came."""

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class SilentConnectionError(BrokerUnavailableError):
    """No byte arrived for longer than the broker's liveness time-out."""


class PlannedReconnectError(BrokerUnavailableError):
    """The broker announced that it will end the connection."""


class MasterTooSmallError(BrokerProtocolError):
    """An instruments master lacks most of what the one before had; nothing was changed.

    ``exchange`` is the one of which it does; "": of all together.
    """

    def __init__(self, broker: str, *, rows: int, before: int, exchange: str = "") -> None:
        what = f"rows of {exchange}" if exchange else "rows"
        super().__init__(
            f"the instruments master of {broker} has {rows:,} {what} and the one before had "
            f"{before:,}: nothing was changed. If that is right, load it with --force"
        )
        self.broker = broker
        self.rows = rows
        self.before = before
        self.exchange = exchange
