"""Waits that double."""

from __future__ import annotations

import pytest

from brokers.times.doubling import doubled_seconds


@pytest.mark.parametrize(
    ("times", "seconds"), [(0, 0.5), (1, 1.0), (4, 8.0), (5, 10.0), (10**9, 10.0)]
)
def test_a_wait_doubles_up_to_its_bound(times: int, seconds: float) -> None:
    """However often something failed before: no number grows without end."""
    assert doubled_seconds(0.5, times, most_seconds=10.0) == seconds
