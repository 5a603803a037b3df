"""Bounds per client, per address and per process."""

from __future__ import annotations

import pytest

from streaming.edge_limits import AuthFailures, ConnectionCounter, TokenBucket


def test_a_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert [bucket.allows(0.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.allows(0.05)
    assert bucket.allows(0.2)
    assert [bucket.allows(100.0) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (1, 0)])
def test_a_bucket_has_positive_bounds(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        TokenBucket(rate=rate, burst=burst)


def test_an_address_has_so_many_failures_a_minute() -> None:
    failures = AuthFailures(per_minute=2)
    assert [failures.record("a", b"k", float(second)) for second in range(3)] == [
        False,
        False,
        True,
    ]
    assert not failures.record("b", b"k", 3.0)
    assert failures.retry_after_seconds("a", 3.0) == 57
    assert failures.retry_after_seconds("b", 3.0) == 0
    assert not failures.record("a", b"k", 63.0)


def test_a_failed_key_is_remembered_for_one_window_however_often_it_returns() -> None:
    failures = AuthFailures(per_minute=5)
    assert not failures.failed_recently(b"k", 0.0)
    failures.record("a", b"k", 0.0)
    failures.record("a", b"k", 50.0)
    assert failures.failed_recently(b"k", 59.0)
    assert not failures.failed_recently(b"k", 60.0)


def test_both_tables_are_bounded() -> None:
    failures = AuthFailures(per_minute=1, max_entries=3)
    for number in range(10):
        failures.record(f"a{number}", b"%d" % number, 0.0)
    assert not failures.failed_recently(b"0", 0.0)
    assert failures.failed_recently(b"9", 0.0)
    assert not failures.record("a0", b"x", 0.0)
    assert failures.record("a9", b"y", 0.0)


def test_connections_are_counted_in_all_and_by_address() -> None:
    counter = ConnectionCounter(max_total=3, max_per_address=2)
    assert [counter.enter("a") for _ in range(3)] == [True, True, False]
    assert counter.enter("b")
    assert not counter.enter("c")
    counter.leave("a")
    assert counter.enter("c")
    assert counter.total == 3
