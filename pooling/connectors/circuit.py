"""A circuit breaker per broker endpoint. Pure: times and randomness come in.

A backoff spaces the attempts of one connection. When a broker is down, all connections of all
accounts at it fail together, and together they would still hammer it: the breaker is what they
share. Only an endpoint that cannot be reached counts against it; a broker that answers, be it with
a refused credential, is up.

``CLOSED`` lets every attempt through. Enough failures in a row within the window make it ``OPEN``:
nothing is tried. Then it is ``HALF_OPEN``: one attempt probes, and its result closes the circuit
or opens it again, each time for twice as long.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from brokers.times.doubling import doubled_seconds
from pooling.exceptions import CircuitOpenError
from pooling.retry_waits import Randomness

__all__ = [
    "FIRST_SERVER_ERROR",
    "CircuitBreaker",
    "CircuitPolicy",
    "CircuitState",
    "CircuitStats",
]

FIRST_SERVER_ERROR = 500  # HTTP statuses from it on say that the endpoint is down
PROBE_WAIT_SECONDS = 1.0  # how long to wait for another one's probe before asking again


class CircuitState(StrEnum):
    """Whether attempts are let through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitPolicy:
    """Limits at which a circuit opens, and for how long.

    ``failures`` in a row, the first of them at most ``window_seconds`` ago, open it for up to
    ``open_seconds``, doubled at each failed probe up to ``max_open_seconds``; once it has been
    closed for ``forget_seconds`` it starts small again. A probe that has not ended after
    ``probe_seconds`` is given up, and the next attempt probes. Those who wait come back spread over
    ``spread_seconds``.
    """

    failures: int = 5
    window_seconds: float = 30.0
    open_seconds: float = 2.0
    max_open_seconds: float = 30.0
    probe_seconds: float = 30.0
    forget_seconds: float = 60.0
    spread_seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.failures < 1:
            raise ValueError("failures must be at least 1")
        if not 0 < self.open_seconds <= self.max_open_seconds:
            raise ValueError("0 < open_seconds <= max_open_seconds")
        if min(self.window_seconds, self.probe_seconds) <= 0:
            raise ValueError("window_seconds and probe_seconds must be positive")
        if min(self.forget_seconds, self.spread_seconds) < 0:
            raise ValueError("forget_seconds and spread_seconds must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitStats:
    """One endpoint's circuit as it is now. ``endpoint`` is scheme, host and port, nothing else.

    ``failures_in_row`` counts within the window, the other counters since the worker started.
    ``retry_in_seconds`` is None unless the circuit is open.
    """

    endpoint: str
    state: CircuitState
    failures_in_row: int
    failures: int
    times_opened: int
    attempts_held: int
    retry_in_seconds: float | None


class CircuitBreaker:
    """One endpoint's circuit. Not thread-safe: one loop uses it.

    Every attempt asks ``admit`` first and gives the number that it gets to ``report``, once.

    Args:
        endpoint: names the circuit in statistics and errors.
        policy: when it opens and for how long.
        rng: spreads the open interval, so that workers do not probe in step.
    """

    def __init__(self, *, endpoint: str, policy: CircuitPolicy, rng: Randomness) -> None:
        self.endpoint = endpoint
        self._policy = policy
        self._rng = rng
        self._state = CircuitState.CLOSED
        self._failed_at: deque[float] = deque(maxlen=policy.failures)  # in a row, while closed
        self._open_until = 0.0  # when an open one lets an attempt probe
        self._closed_since: float | None = None  # None: it never opened
        self._openings = 0  # since it was last closed for long
        self._attempts = 0  # let through; the number of the next one
        self._first_valid = 0  # failures of earlier attempts say nothing about the present
        self._probe: int | None = None  # the attempt that decides while half open
        self._probe_until = 0.0  # when another may probe, whatever became of that one
        self._failures = self._times_opened = self._held = 0  # since it was made

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.endpoint} {self._state}>"

    @property
    def state(self) -> CircuitState:
        """The circuit's state; an open one whose time is over changes with the next attempt."""
        return self._state

    @property
    def is_idle(self) -> bool:
        """Whether it remembers nothing that matters, so that it may be forgotten."""
        return self._state is CircuitState.CLOSED and not self._failed_at

    def admit(self, now: float) -> int:
        """Let an attempt through and return its number.

        Raises:
            CircuitOpenError: not now; it says how long to wait.
        """
        if self._state is CircuitState.OPEN:
            if now < self._open_until:
                raise self._hold(self._open_until - now)
            self._state = CircuitState.HALF_OPEN
            self._probe = None
        if self._state is CircuitState.HALF_OPEN:
            if self._probe is not None and now < self._probe_until:
                raise self._hold(min(PROBE_WAIT_SECONDS, self._probe_until - now))
            self._probe = self._attempts
            self._probe_until = now + self._policy.probe_seconds
        self._attempts += 1
        return self._attempts - 1

    def report(self, attempt: int, is_up: bool | None, now: float) -> None:
        """Note how an attempt ended; None: in a way that says nothing about the endpoint."""
        if is_up is None:
            self.abandoned(attempt)
        elif is_up:
            self.answered(attempt, now)
        else:
            self.failed(attempt, now)

    def answered(self, attempt: int, now: float) -> None:
        """Note that the endpoint is up, whatever it said; a late answer proves it too."""
        if self._state is not CircuitState.CLOSED:
            self._state = CircuitState.CLOSED
            self._closed_since = now
            self._probe = None
        self._first_valid = max(self._first_valid, attempt + 1)
        self._failed_at.clear()

    def failed(self, attempt: int, now: float) -> None:
        """Note that the endpoint could not be reached."""
        self._failures += 1
        if self._state is CircuitState.HALF_OPEN and attempt == self._probe:
            self._open(now)
        elif self._state is CircuitState.CLOSED and attempt >= self._first_valid:
            window = now - self._policy.window_seconds
            while self._failed_at and self._failed_at[0] < window:
                self._failed_at.popleft()
            self._failed_at.append(now)
            if len(self._failed_at) >= self._policy.failures:
                self._open(now)

    def abandoned(self, attempt: int) -> None:
        """Note that an attempt ended without saying anything; another one may probe."""
        if attempt == self._probe:
            self._probe = None

    def to_stats(self, now: float) -> CircuitStats:
        """Return the circuit as it is now."""
        window = now - self._policy.window_seconds
        is_open = self._state is CircuitState.OPEN
        return CircuitStats(
            endpoint=self.endpoint,
            state=self._state,
            failures_in_row=sum(at >= window for at in self._failed_at),
            failures=self._failures,
            times_opened=self._times_opened,
            attempts_held=self._held,
            retry_in_seconds=max(0.0, self._open_until - now) if is_open else None,
        )

    def _open(self, now: float) -> None:
        policy = self._policy
        closed_since = self._closed_since
        if closed_since is not None and now - closed_since >= policy.forget_seconds:
            self._openings = 0
        ceiling = doubled_seconds(
            policy.open_seconds, self._openings, most_seconds=policy.max_open_seconds
        )
        self._state = CircuitState.OPEN
        self._closed_since = None
        self._probe = None
        self._open_until = now + self._rng.uniform(ceiling / 2, ceiling)
        self._openings += 1
        self._times_opened += 1
        self._first_valid = self._attempts
        self._failed_at.clear()

    def _hold(self, seconds: float) -> CircuitOpenError:
        self._held += 1
        return CircuitOpenError(
            self.endpoint, retry_after_seconds=seconds, spread_seconds=self._policy.spread_seconds
        )
