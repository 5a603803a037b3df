"""Days, records and last moments of a pool: what survives midnight and a restart."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from brokers.pool_service import ConnectionStats, FeedStatus, Peak, Peaks, PoolStats
from pooling.history import PoolHistory, PoolPast, higher, next_sample_ms, start_of_day_ms

INDIA = ZoneInfo("Asia/Kolkata")
NEW_YORK = ZoneInfo("America/New_York")
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def ms(text: str, zone: ZoneInfo = INDIA) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


MORNING = ms("2026-11-21T09:15")
MIDNIGHT = ms("2026-11-22T00:00")


def peaks(value: float, at_ms: int) -> Peaks:
    peak = Peak(value, at_ms)
    return Peaks(symbols=peak, connections=peak, clients=peak, ticks_per_second=peak)


def connection(slot: int, reconnects: int, **changes: int | None) -> ConnectionStats:
    return ConnectionStats(
        slot=slot,
        state="live",
        since_ms=0,
        used=0,
        capacity=1,
        reconnects=reconnects,
        **changes,  # type: ignore[arg-type]
    )


def stats(recent: Peaks | None = None, *connections: ConnectionStats) -> PoolStats:
    none = Peak(0, 0)
    return PoolStats(
        pool_id="7",
        broker="fake",
        status=FeedStatus.LIVE,
        reason="",
        since_ms=0,
        connections=connections,
        max_connections=1,
        symbols_per_connection=1,
        used=0,
        capacity=1,
        wanted=0,
        confirmed=0,
        clients=0,
        ticks_received=0,
        ticks_per_second=0.0,
        frames_malformed=0,
        ticks_unknown=0,
        reconnects=0,
        peak_symbols=none,
        peak_connections=none,
        peak_clients=none,
        peak_ticks_per_second=none,
        recent=recent,
    )


def test_a_day_begins_at_midnight_where_the_installation_is() -> None:
    assert start_of_day_ms(MORNING, INDIA) == ms("2026-11-21T00:00")
    assert start_of_day_ms(MIDNIGHT, INDIA) == MIDNIGHT
    assert start_of_day_ms(MIDNIGHT - 1, INDIA) == ms("2026-11-21T00:00")
    # 25 hours long: the clocks go back in between.
    start = start_of_day_ms(ms("2026-11-01T12:00", NEW_YORK), NEW_YORK)
    assert start_of_day_ms(start + 24 * HOUR + 1, NEW_YORK) == start
    assert start_of_day_ms(start + 25 * HOUR, NEW_YORK) == start + 25 * HOUR


@pytest.mark.parametrize(
    ("now", "seconds", "due"),
    [
        ("2026-11-21T09:16:30", 300, "2026-11-21T09:20"),
        ("2026-11-21T09:20:00", 300, "2026-11-21T09:25"),
        ("2026-11-21T23:57:00", 300, "2026-11-22T00:00"),
        ("2026-11-21T23:00:00", 7 * 3600, "2026-11-22T00:00"),
        ("2026-11-21T09:16:30", 3600 * 100, "2026-11-22T00:00"),
    ],
)
def test_samples_are_due_on_the_clock_and_at_midnight(now: str, seconds: float, due: str) -> None:
    assert next_sample_ms(ms(now), seconds, INDIA) == ms(due)


def test_an_interval_shorter_than_a_millisecond_still_ends() -> None:
    assert next_sample_ms(MORNING, 0.00001, INDIA) == MORNING + 1


def test_the_higher_of_each_measure_is_kept_with_its_own_time() -> None:
    first = Peaks(
        symbols=Peak(5, 1), connections=Peak(1, 1), clients=Peak(2, 1), ticks_per_second=Peak(0, 1)
    )
    both = higher(first, peaks(2, 9), None)
    assert both is not None
    assert both.symbols == Peak(5, 1)
    assert both.connections == Peak(2, 9)
    assert both.clients == Peak(2, 1), "of equal ones the first"
    assert higher(None, None) is None


def test_today_ends_at_midnight_and_all_time_does_not() -> None:
    history = PoolHistory(now_ms=MORNING, zone=INDIA)
    seen = history.enrich(stats(peaks(10, MORNING)), MORNING)
    assert seen.today == seen.all_time == peaks(10, MORNING)
    seen = history.enrich(stats(peaks(4, MORNING + 1)), MIDNIGHT - 1)
    assert seen.today == peaks(10, MORNING)
    # The pool still shows what it reached yesterday, until its first sample of the day.
    seen = history.enrich(stats(peaks(4, MIDNIGHT - MINUTE)), MIDNIGHT)
    assert seen.today == peaks(0, MIDNIGHT)
    seen = history.enrich(stats(peaks(3, MIDNIGHT + 1)), MIDNIGHT + 1)
    assert seen.today == peaks(3, MIDNIGHT + 1)
    assert seen.all_time == peaks(10, MORNING)


def test_a_restart_forgets_nothing_of_today() -> None:
    past = PoolPast(
        today=peaks(10, MORNING),
        all_time=peaks(99, 1),
        reconnects_today={1: 4, 2: 1},
        last_frame_ms=5,
        last_tick_ms=4,
    )
    history = PoolHistory(now_ms=MORNING + HOUR, zone=INDIA, past=past)
    seen = history.enrich(stats(peaks(7, MORNING + HOUR), connection(1, 2)), MORNING + HOUR)
    assert (seen.today, seen.all_time) == (peaks(10, MORNING), peaks(99, 1))
    assert seen.reconnects_today == 7
    assert seen.connections[0].reconnects_today == 6
    assert (seen.last_frame_ms, seen.last_tick_ms) == (5, 4)


def test_what_is_left_of_another_day_is_not_todays() -> None:
    past = PoolPast(today=peaks(10, MORNING - DAY))
    history = PoolHistory(now_ms=MORNING, zone=INDIA, past=past)
    assert history.enrich(stats(), MORNING).today == peaks(0, ms("2026-11-21T00:00"))


def test_reconnects_of_the_day_follow_a_slot_that_changes_hands() -> None:
    history = PoolHistory(now_ms=MORNING, zone=INDIA)
    for counts, today in (((3,), 3), ((3,), 3), ((5,), 5), ((), 5), ((1,), 6)):
        connections = [connection(1, count) for count in counts]
        assert history.enrich(stats(None, *connections), MORNING).reconnects_today == today
    # The count of a connection that goes on past midnight is not counted again.
    assert history.enrich(stats(None, connection(1, 1)), MIDNIGHT).reconnects_today == 0
    assert history.enrich(stats(None, connection(1, 2)), MIDNIGHT).reconnects_today == 1


def test_the_last_moments_outlive_their_connections() -> None:
    history = PoolHistory(now_ms=MORNING, zone=INDIA)
    seen = history.enrich(
        stats(
            None,
            connection(1, 0, last_frame_age_ms=100, last_tick_age_ms=None),
            connection(2, 0, last_frame_age_ms=50, last_tick_age_ms=700),
        ),
        MORNING,
    )
    assert (seen.last_frame_ms, seen.last_tick_ms) == (MORNING - 50, MORNING - 700)
    seen = history.enrich(stats(), MORNING + HOUR)
    assert (seen.last_frame_ms, seen.last_tick_ms) == (MORNING - 50, MORNING - 700)


def test_days_are_of_the_zone_and_not_of_utc() -> None:
    history = PoolHistory(now_ms=MORNING, zone=datetime.now(UTC).tzinfo or UTC)
    history.enrich(stats(peaks(10, MORNING)), MORNING)
    assert history.enrich(stats(), MIDNIGHT).today == peaks(10, MORNING)
