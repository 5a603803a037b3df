"""Repeats of a request to a broker, after how long, and what a status means. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from brokers.exceptions import BrokerError, BrokerRateLimitError
from brokers.times.doubling import doubled_seconds
from brokers.times.retry_after import retry_after_seconds
from pooling.connectors.circuit import CircuitPolicy
from pooling.exceptions import HttpUnavailableError
from pooling.proxies import DIRECT, ProxyRules
from pooling.retry_waits import Randomness

__all__ = ["HttpOptions", "HttpReply", "RetryPolicy", "error_of"]

# RFC 9110, section 9.2.2: repeating one of these does no more than sending it once.
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
TOO_MANY_REQUESTS = 429
UNAVAILABLE = frozenset({500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """A complete answer. ``headers`` have names in Title-Case; a repeated name has its values
    joined by commas. Its repr shows neither headers nor body, which may hold credentials.
    """

    status: int
    http_version: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Limits of how often and when an idempotent request is repeated.

    ``retries`` are on top of the first attempt. The wait is drawn from the upper half of
    ``backoff_seconds``, doubled at each further retry up to ``max_backoff_seconds``. A
    ``Retry-After`` is a floor of it; one beyond ``max_retry_after_seconds`` ends the retries, and
    whoever asked is told how long the broker wants to be left alone.
    """

    retries: int = 3
    backoff_seconds: float = 0.5
    max_backoff_seconds: float = 8.0
    max_retry_after_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise ValueError("retries must not be negative")
        if not 0 < self.backoff_seconds <= self.max_backoff_seconds:
            raise ValueError("0 < backoff_seconds <= max_backoff_seconds")
        if self.max_retry_after_seconds < 0:
            raise ValueError("max_retry_after_seconds must not be negative")

    def wait_seconds(
        self, method: str, retries_done: int, error: BrokerError, rng: Randomness
    ) -> float | None:
        """Return how long to wait before the request is repeated; None: it is not."""
        if method not in IDEMPOTENT or retries_done >= self.retries:
            return None
        if not isinstance(error, HttpUnavailableError | BrokerRateLimitError):
            return None
        ceiling = doubled_seconds(
            self.backoff_seconds, retries_done, most_seconds=self.max_backoff_seconds
        )
        wait = rng.uniform(ceiling / 2, ceiling)
        if error.retry_after_seconds is None:
            return wait
        if error.retry_after_seconds > self.max_retry_after_seconds:
            return None
        return error.retry_after_seconds + wait


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Limits and times of an ``HttpPool``.

    ``timeout_seconds`` bounds the wait for a place, for a connection, and for each next byte;
    ``total_seconds`` a whole request with its retries. ``max_connections`` counts open ones, idle
    ones included; ``max_connections_per_host`` requests under way at one scheme, host and port. An
    idle connection is closed after ``keepalive_seconds``. A body above ``max_body_bytes`` is
    refused, whatever it was compressed to. Where redirects are not followed, one is an answer like
    any other. ``proxies`` says which way leads to a URL.
    """

    max_connections: int = 100
    max_connections_per_host: int = 30
    timeout_seconds: float = 30.0
    total_seconds: float = 600.0
    keepalive_seconds: float = 60.0
    max_body_bytes: int = 4 * 1024 * 1024
    is_http2_offered: bool = True
    follows_redirects: bool = True
    proxies: ProxyRules = DIRECT
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    circuit: CircuitPolicy = field(default_factory=CircuitPolicy)

    def __post_init__(self) -> None:
        if not 1 <= self.max_connections_per_host <= self.max_connections:
            raise ValueError("1 <= max_connections_per_host <= max_connections")
        if min(self.timeout_seconds, self.total_seconds, self.keepalive_seconds) <= 0:
            raise ValueError("timeout_seconds, total_seconds, keepalive_seconds must be positive")
        if self.max_body_bytes < 1:
            raise ValueError("max_body_bytes must be positive")


def error_of(endpoint: str, status: int, headers: Mapping[str, str]) -> BrokerError | None:
    """Return the error that a status means whatever was asked; None: the caller judges it."""
    if status == TOO_MANY_REQUESTS:
        return BrokerRateLimitError(
            f"{endpoint} answered with HTTP 429: too many requests",
            retry_after_seconds=retry_after_seconds(headers),
        )
    if status in UNAVAILABLE:
        return HttpUnavailableError(
            f"{endpoint} answered with HTTP {status}",
            retry_after_seconds=retry_after_seconds(headers),
        )
    return None
