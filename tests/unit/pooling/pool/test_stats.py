"""Rates and peaks."""

from __future__ import annotations

import pytest

from brokers.pool_service import Peak
from pooling.pool.stats import Gauge, PoolMeters, RateWindow


def test_the_rate_is_over_whole_seconds_and_leaves_the_running_one_out():
    window = RateWindow(seconds=2)
    window.add(10, 100.1)
    window.add(30, 101.5)
    assert window.rate(101.9) == 10
    assert window.rate(102.0) == 20
    assert window.rate(103.0) == 15
    assert window.rate(104.0) == 0


def test_a_rate_of_nothing_is_zero():
    window = RateWindow()
    assert window.rate(5) == 0
    window.add(7, 5)
    assert window.rate(5.5) == 0


def test_old_seconds_are_forgotten_when_their_place_is_used_again():
    window = RateWindow(seconds=2)
    window.add(100, 0)
    window.add(1, 3)
    assert window.rate(4) == 0.5


def test_a_window_of_no_seconds_is_refused():
    with pytest.raises(ValueError, match="seconds"):
        RateWindow(seconds=0)


def test_each_peak_stands_on_its_own_with_its_own_time():
    """A peak of connections does not wait for one of symbols."""
    meters = PoolMeters(now_ms=0)
    meters.observe(Gauge.SYMBOLS, 9, 10)
    meters.observe(Gauge.CONNECTIONS, 1, 10)
    meters.observe(Gauge.SYMBOLS, 5, 20)
    meters.observe(Gauge.CONNECTIONS, 3, 20)
    assert meters.peak(Gauge.SYMBOLS) == Peak(9, 10)
    assert meters.peak(Gauge.CONNECTIONS) == Peak(3, 20)
    assert meters.peak(Gauge.CLIENTS) == Peak(0, 0)


def test_an_interval_starts_over_at_the_present_values():
    meters = PoolMeters(now_ms=0)
    meters.observe(Gauge.SYMBOLS, 9, 10)
    meters.observe(Gauge.SYMBOLS, 4, 20)
    meters.observe(Gauge.TICKS_PER_SECOND, 12.5, 20)
    first = meters.take("p", 100, ticks=50, reconnects=1)
    assert (first.started_ms, first.ended_ms) == (0, 100)
    assert (first.symbols, first.symbols_at_ms) == (9, 10)
    assert (first.ticks_per_second, first.ticks_received, first.reconnects) == (12.5, 50, 1)
    second = meters.take("p", 200, ticks=80, reconnects=1)
    assert (second.started_ms, second.symbols, second.symbols_at_ms) == (100, 4, 100)
    assert (second.ticks_received, second.reconnects) == (30, 0)
    assert meters.peak(Gauge.SYMBOLS) == Peak(9, 10)
