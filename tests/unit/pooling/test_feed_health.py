"""The words that a pool's status comes with on every page."""

from __future__ import annotations

import pytest

from pooling.feed_health import FeedHealth
from pooling.lifecycle import ConnectionState

LIVE, BACKOFF = ConnectionState.LIVE, ConnectionState.BACKOFF


@pytest.mark.parametrize(
    ("states", "waiting", "reason"),
    [
        ([LIVE], 0, ""),
        ([LIVE, BACKOFF], 0, "1 connection is not live"),
        ([LIVE, BACKOFF, BACKOFF], 1, "2 connections are not live; 1 symbol is waiting for room"),
        ([LIVE], 6, "6 symbols are waiting for room"),
    ],
)
def test_one_is_told_as_one(states: list[ConnectionState], waiting: int, reason: str) -> None:
    health = FeedHealth(now_ms=0)
    health.is_starting = False
    health.judge(states, "", 1, waiting)
    assert health.reason == reason
