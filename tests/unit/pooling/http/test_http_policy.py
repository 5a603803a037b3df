"""When a request to a broker is repeated."""

from __future__ import annotations

import pytest

from brokers.exceptions import BrokerAuthError, BrokerError, BrokerRateLimitError
from pooling.exceptions import CircuitOpenError, HttpUnavailableError
from pooling.http.policy import HttpOptions, RetryPolicy, error_of
from pooling.testing import MiddleOfRange

DOWN = HttpUnavailableError("down")


def wait(method: str, done: int, error: BrokerError, policy: RetryPolicy | None = None):
    return (policy or RetryPolicy()).wait_seconds(method, done, error, MiddleOfRange())


def test_waits_double_up_to_a_bound() -> None:
    policy = RetryPolicy(retries=9)
    waits = [wait("GET", done, DOWN, policy) for done in range(10)]
    assert waits == [0.375, 0.75, 1.5, 3.0, 6.0, 6.0, 6.0, 6.0, 6.0, None]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_idempotent_methods_are_repeated(method: str) -> None:
    assert wait(method, 0, DOWN) is not None


@pytest.mark.parametrize("method", ["POST", "PATCH", "CONNECT"])
def test_others_are_not(method: str) -> None:
    assert wait(method, 0, DOWN) is None
    assert wait(method, 0, BrokerRateLimitError("slow down", retry_after_seconds=1)) is None


def test_a_retry_after_is_a_floor() -> None:
    assert wait("GET", 0, BrokerRateLimitError("slow down", retry_after_seconds=7)) == 7.375
    assert wait("GET", 0, HttpUnavailableError("later", retry_after_seconds=7)) == 7.375


def test_a_retry_after_that_is_too_long_is_the_callers() -> None:
    assert wait("GET", 0, BrokerRateLimitError("slow down", retry_after_seconds=31)) is None


@pytest.mark.parametrize(
    "error", [BrokerAuthError("no"), CircuitOpenError("https://x", retry_after_seconds=1)]
)
def test_what_a_retry_cannot_help_is_not_repeated(error: BrokerError) -> None:
    assert wait("GET", 0, error) is None


def test_statuses() -> None:
    date = "Sat, 21 Nov 2026 10:00:00 GMT"
    later = "Sat, 21 Nov 2026 10:00:12 GMT"
    limited = error_of("https://x", 429, {"Retry-After": later, "Date": date})
    assert isinstance(limited, BrokerRateLimitError)
    assert limited.retry_after_seconds == 12
    for status in (500, 502, 503, 504):
        down = error_of("https://x", status, {"Retry-After": "3"})
        assert isinstance(down, HttpUnavailableError)
        assert down.retry_after_seconds == 3
    assert all(error_of("https://x", status, {}) is None for status in (200, 204, 400, 403, 501))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_connections": 0},
        {"max_connections": 2, "max_connections_per_host": 3},
        {"timeout_seconds": 0},
        {"total_seconds": -1},
        {"max_body_bytes": 0},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)).split("_")[0]):
        HttpOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"retries": -1}, {"backoff_seconds": 0}, {"max_retry_after_seconds": -1}]
)
def test_policies_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryPolicy(**wrong)  # type: ignore[arg-type]
