"""The clock that counts a machine's sleep, by platform."""

from __future__ import annotations

import time

import pytest

from brokers.times.awake import awake_seconds, sleep_counting_clock


@pytest.mark.parametrize(
    ("platform", "name"), [("linux", "CLOCK_BOOTTIME"), ("darwin", "CLOCK_MONOTONIC_RAW")]
)
def test_the_clock_that_counts_sleep_is_the_platforms(platform: str, name: str) -> None:
    assert sleep_counting_clock(platform) == getattr(time, name, None)


def test_elsewhere_none_is_known() -> None:
    assert sleep_counting_clock("win32") is None


def test_it_goes_on() -> None:
    first = awake_seconds()
    assert awake_seconds() >= first > 0
