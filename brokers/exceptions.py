"""Errors that can happen between us and a broker.

BrokerError
├── BrokerConfigError        an account lacks something that its broker needs
├── BrokerAuthError          the broker refused the credential; only a new one helps
├── BrokerRateLimitError     too many connections or messages; wait ``retry_after_seconds``
├── BrokerUnavailableError   the endpoint cannot be reached or answered with a server error, which
│                            may say to wait ``retry_after_seconds``
├── BrokerLimitError         the broker refused a subscription because of its own limits
└── BrokerProtocolError      bytes that are not what the broker's specification says
"""

from __future__ import annotations

__all__ = [
    "BrokerAuthError",
    "BrokerConfigError",
    "BrokerError",
    "BrokerLimitError",
    "BrokerProtocolError",
    "BrokerRateLimitError",
    "BrokerUnavailableError",
]


class BrokerError(Exception):
    """Base of everything that a broker, or the way to it, can do wrong."""


class BrokerConfigError(BrokerError):
    """The account's configuration or credentials are incomplete; retrying cannot help."""


class BrokerAuthError(BrokerError):
    """The broker refused the credential; retrying with the same one cannot help."""


class BrokerRateLimitError(BrokerError):
    """Too many connections or messages; ``retry_after_seconds`` is None if the broker gave none."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class BrokerUnavailableError(BrokerError):
    """The endpoint cannot be reached, timed out, or answered with a server error.

    ``retry_after_seconds`` is None unless the broker said when to come back.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class BrokerLimitError(BrokerError):
    """The broker refused a subscription because of its own limits; the connection stays."""


class BrokerProtocolError(BrokerError):
    """Bytes from the broker do not follow its specification; the frame is dropped as a whole."""
