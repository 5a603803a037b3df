"""Waits until the next try, decided on exception types. Pure: randomness and elapsed times come in.

Full jitter: each delay is drawn evenly from zero up to a ceiling that doubles, so that connections
lost together do not come back together.
"""

from __future__ import annotations

from typing import Protocol

from brokers.exceptions import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerRateLimitError,
    BrokerUnavailableError,
)
from brokers.times.doubling import doubled_seconds
from brokers.times.retry_after import MAX_RETRY_AFTER_SECONDS
from pooling.exceptions import CircuitOpenError, ConnectRateError, PlannedReconnectError
from pooling.lifecycle import ConnectionState

__all__ = ["Backoff", "Randomness", "recovery_after", "state_after"]


class Randomness(Protocol):
    """The part of ``random.Random`` that is needed."""

    def uniform(self, a: float, b: float) -> float:
        """Return a number drawn evenly from ``a`` to ``b``."""


def state_after(error: BaseException) -> ConnectionState:
    """Return the state in which a connection waits after ``error``."""
    if isinstance(error, BrokerAuthError | BrokerConfigError):
        return ConnectionState.AUTH_REQUIRED
    if isinstance(error, BrokerRateLimitError):
        return ConnectionState.RATE_LIMITED
    return ConnectionState.BACKOFF


class Backoff:
    """Delays of one connection's attempts, in seconds.

    Args:
        rng: source of jitter.
        base_seconds: ceiling of the first delay.
        cap_seconds: highest ceiling.
        rate_limited_cap_seconds: highest ceiling after the broker asked to slow down.
        healthy_after_seconds: how long data must have flowed before the count starts over.
        max_retry_after_seconds: the longest wait that a broker may impose on us.
    """

    def __init__(
        self,
        *,
        rng: Randomness,
        base_seconds: float = 1.0,
        cap_seconds: float = 60.0,
        rate_limited_cap_seconds: float = 300.0,
        healthy_after_seconds: float = 60.0,
        max_retry_after_seconds: float = MAX_RETRY_AFTER_SECONDS,
    ) -> None:
        if not 0 < base_seconds <= cap_seconds <= rate_limited_cap_seconds:
            raise ValueError("0 < base_seconds <= cap_seconds <= rate_limited_cap_seconds")
        self._rng = rng
        self._base = base_seconds
        self._cap = cap_seconds
        self._rate_limited_cap = rate_limited_cap_seconds
        self._healthy_after = healthy_after_seconds
        self._max_retry_after = max_retry_after_seconds
        self.attempt = 0

    def delay_seconds(self, error: BaseException) -> float:
        """Count one failure and return how long to wait.

        A ``Retry-After`` is a floor, with jitter on top: the broker's clock, not ours, says when.
        Who counts requests knows when; a server that is down guesses, so its word can make a delay
        longer but not shorter. An open circuit says when too, as does a used up rate of connects,
        and neither counts as a failure: nothing was tried.
        """
        if isinstance(error, CircuitOpenError | ConnectRateError):
            return error.retry_after_seconds + self._rng.uniform(0.0, error.spread_seconds)
        limited = isinstance(error, BrokerRateLimitError)
        cap = self._rate_limited_cap if limited else self._cap
        ceiling = doubled_seconds(self._base, self.attempt, most_seconds=cap)
        self.attempt += 1
        asked = self._asked_seconds(error)
        if asked is not None:
            return asked if limited else max(asked, self._rng.uniform(0.0, ceiling))
        # A rate limit's least wait is the base: trying at once would be refused again.
        return self._rng.uniform(self._base if limited else 0.0, ceiling)

    def _asked_seconds(self, error: BaseException) -> float | None:
        """Return the wait that a ``Retry-After`` comes to, or None where there is none."""
        if not isinstance(error, BrokerRateLimitError | BrokerUnavailableError):
            return None
        if error.retry_after_seconds is None:
            return None
        floor = min(max(error.retry_after_seconds, 0.0), self._max_retry_after)
        return floor + self._rng.uniform(0.0, self._base)

    def was_healthy(self, seconds: float) -> None:
        """Start over if data flowed for long enough before the loss."""
        if seconds >= self._healthy_after:
            self.attempt = 0


def recovery_after(
    error: Exception, backoff: Backoff, *, is_gate_shut: bool
) -> tuple[ConnectionState, float | None]:
    """Return the state that follows a failure, and the seconds until the next attempt.

    None: there is none until a newer credential is stored. Counts as one failure of ``backoff``.
    """
    state = state_after(error)
    if state is ConnectionState.AUTH_REQUIRED:
        if is_gate_shut:
            return state, None
        # The refusal is not about a stored credential, or a newer one came meanwhile.
        state = ConnectionState.BACKOFF
    is_first = backoff.attempt == 0
    delay = backoff.delay_seconds(error)
    if is_first and isinstance(error, PlannedReconnectError):
        return state, 0.0  # nothing failed; only one that comes again and again is held off
    return state, delay
