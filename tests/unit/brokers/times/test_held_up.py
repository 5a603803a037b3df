"""When a process counts as held up, by a clock that is driven by hand."""

from __future__ import annotations

import time

import pytest

from brokers.times.awake import awake_seconds
from brokers.times.held_up import HeldUp


def test_turns_within_the_bound_are_nothing():
    held_up = HeldUp(bound_seconds=4.0)
    assert [held_up.turn(now) for now in (100.0, 101.0, 104.9, 108.8)] == [0.0] * 4


def test_a_turn_that_comes_too_late_tells_for_how_long_there_was_none_once():
    held_up = HeldUp(bound_seconds=4.0)
    held_up.turn(100.0)
    assert held_up.overdue_at == 104.0
    assert held_up.turn(104.0) == 4.0
    assert held_up.turn(104.0) == 0.0
    assert held_up.turn(128.0) == 24.0
    assert held_up.overdue_at == 132.0


def test_before_the_first_turn_nothing_is_overdue():
    held_up = HeldUp()
    assert held_up.overdue_at == float("inf")
    assert held_up.turn(1e9) == 0.0


def test_a_bound_is_positive():
    with pytest.raises(ValueError, match="positive"):
        HeldUp(bound_seconds=0.0)


def test_the_clock_counts_the_seconds_in_which_the_machine_slept():
    """It is as far as the clock of the boot, which Linux's monotonic one falls behind."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= awake_seconds() <= time.clock_gettime(time.CLOCK_BOOTTIME)
