"""A contract expires by the clock and the close of its exchange."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo

import pytest

from brokers.times.market_clock import INDIA, closed_days, last_expired

DAY = date(2026, 11, 30)
KIRITIMATI = timezone(timedelta(hours=14))
HONOLULU = timezone(timedelta(hours=-10))


def at(hour: int, minute: int, zone: tzinfo = INDIA) -> datetime:
    return datetime.combine(DAY, time(hour, minute), INDIA).astimezone(zone)


@pytest.mark.parametrize("zone", [INDIA, UTC, KIRITIMATI, HONOLULU])
@pytest.mark.parametrize(
    ("exchange", "open_until", "over_at"),
    [
        ("NFO", (15, 29), (15, 30)),
        ("BFO", (15, 29), (15, 30)),
        ("CDS", (16, 59), (17, 0)),
        ("BCD", (16, 59), (17, 0)),
        ("MCX", (23, 54), (23, 55)),
        ("NCO", (23, 54), (23, 55)),
    ],
)
def test_a_contract_expires_as_its_exchange_closes_wherever_one_looks(
    exchange: str, open_until: tuple[int, int], over_at: tuple[int, int], zone: tzinfo
):
    assert last_expired(exchange, at(*open_until, zone)) == DAY - timedelta(days=1)
    assert last_expired(exchange, at(*over_at, zone)) == DAY


def test_an_exchange_without_a_known_close_is_open_until_its_day_is_over():
    assert last_expired("ELSEWHERE", at(23, 59)) == DAY - timedelta(days=1)
    assert last_expired("ELSEWHERE", at(23, 59) + timedelta(minutes=1)) == DAY


def test_a_market_of_the_whole_world_counts_in_utc():
    assert last_expired("BINANCE", at(5, 29)) == DAY - timedelta(days=2)
    assert last_expired("BINANCE", at(5, 30)) == DAY - timedelta(days=1)


def test_all_exchanges_at_once_say_the_same_as_each_by_itself():
    now = at(16, 0)
    days = closed_days(now)
    assert days[()] == last_expired("ELSEWHERE", now)
    for names, day in days.items():
        assert {last_expired(name, now) for name in names} <= {day}
    assert {name for names in days for name in names} >= {"NSE", "NFO", "MCX", "CDS", "BINANCE"}
