"""Delays between attempts, and what a failure means."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.exceptions import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerProtocolError,
    BrokerRateLimitError,
    BrokerUnavailableError,
)
from pooling.lifecycle import ConnectionState
from pooling.retry_waits import Backoff, state_after

DOWN = BrokerUnavailableError("down")


class Highest:
    def uniform(self, a, b):
        return b


class Lowest:
    def uniform(self, a, b):
        return a


def test_the_ceiling_doubles_to_a_minute_and_stays_there():
    backoff = Backoff(rng=Highest())
    assert [backoff.delay_seconds(DOWN) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_jitter_is_full():
    """Connections lost together come back apart: a delay may be anything down to zero."""
    backoff = Backoff(rng=Lowest())
    assert [backoff.delay_seconds(DOWN) for _ in range(3)] == [0, 0, 0]


@given(seed=st.integers(), attempts=st.integers(1, 2000))
def test_no_delay_exceeds_the_cap_and_none_gives_up(seed, attempts):
    backoff = Backoff(rng=random.Random(seed))
    backoff.attempt = attempts
    assert 0 <= backoff.delay_seconds(DOWN) <= 60
    limited = BrokerRateLimitError("slow down")
    assert 1 <= backoff.delay_seconds(limited) <= 300


def test_a_rate_limit_raises_the_cap_to_five_minutes():
    backoff = Backoff(rng=Highest())
    backoff.attempt = 20
    assert backoff.delay_seconds(BrokerRateLimitError("slow down")) == 300


WHO_SAY_WHEN = pytest.mark.parametrize("kind", [BrokerRateLimitError, BrokerUnavailableError])


@WHO_SAY_WHEN
@given(retry_after=st.floats(0, 3600), seed=st.integers())
def test_retry_after_is_a_floor(kind, retry_after, seed):
    backoff = Backoff(rng=random.Random(seed))
    error = kind("not now", retry_after_seconds=retry_after)
    assert retry_after <= backoff.delay_seconds(error) <= retry_after + 1


@WHO_SAY_WHEN
def test_a_retry_after_of_days_is_cut_to_an_hour(kind):
    backoff = Backoff(rng=Highest())
    error = kind("not now", retry_after_seconds=1e9)
    assert backoff.delay_seconds(error) == 3601


def test_who_counts_requests_is_believed_and_who_is_down_only_delays():
    """A server that says "in 3 s" for hours is asked as seldom as one that says nothing."""
    limited, down = Backoff(rng=Highest()), Backoff(rng=Highest())
    limit = BrokerRateLimitError("slow down", retry_after_seconds=3)
    outage = BrokerUnavailableError("down", retry_after_seconds=3)
    assert [limited.delay_seconds(limit) for _ in range(8)] == [4] * 8
    assert [down.delay_seconds(outage) for _ in range(8)] == [4, 4, 4, 8, 16, 32, 60, 60]


def test_the_count_starts_over_only_after_a_minute_of_health():
    """A link that opens and dies at once does not reset the backoff."""
    backoff = Backoff(rng=Highest())
    for _ in range(4):
        backoff.delay_seconds(DOWN)
    backoff.was_healthy(59.9)
    assert backoff.delay_seconds(DOWN) == 16
    backoff.was_healthy(60)
    assert backoff.delay_seconds(DOWN) == 1


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (BrokerAuthError("no"), ConnectionState.AUTH_REQUIRED),
        (BrokerConfigError("no"), ConnectionState.AUTH_REQUIRED),
        (BrokerRateLimitError("no"), ConnectionState.RATE_LIMITED),
        (BrokerUnavailableError("401 forbidden token"), ConnectionState.BACKOFF),
        (BrokerProtocolError("no"), ConnectionState.BACKOFF),
        (RuntimeError("auth 403"), ConnectionState.BACKOFF),
    ],
)
def test_types_decide_and_texts_do_not(error, state):
    assert state_after(error) is state


@pytest.mark.parametrize("options", [{"base_seconds": 0}, {"cap_seconds": 0.5}])
def test_nonsense_is_refused_at_once(options):
    with pytest.raises(ValueError, match="base_seconds"):
        Backoff(rng=Highest(), **options)
