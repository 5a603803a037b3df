"""Times of unattended logins."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.login.contract import Refusal
from brokers.times.market_clock import INDIA
from pooling.calendar.days import TradingDays
from pooling.login.contracts import DailyLogin, PastTry
from pooling.login.schedule import is_due, must_stop, next_at

MONDAY = date(2026, 11, 30)
is_weekday = TradingDays().is_trading_day


def at(text: str, day: date = MONDAY) -> datetime:
    return datetime.combine(day, time.fromisoformat(text), INDIA)


def login(**values: object) -> DailyLogin:
    return DailyLogin(**{"account_id": 1, "at": time(8, 5), **values})  # type: ignore[arg-type]


def due(now: str, day: date = MONDAY, **values: object) -> bool:
    return is_due(login(**values), at(now, day), is_weekday)


def failed(text: str, why: Refusal | None) -> PastTry:
    return PastTry(at(text), why)


def test_it_is_due_at_its_time_or_within_five_minutes():
    assert not due("08:04:59")
    assert due("08:10")


def test_several_accounts_are_not_logged_in_in_the_same_second():
    times = {next_at(login(account_id=each), at("06:00"), is_weekday) for each in range(20)}
    assert len(times) > 15
    assert all(at("08:05") <= each < at("08:10") for each in times if each)


def test_it_is_the_same_time_whenever_one_asks():
    times = {next_at(login(), at(f"{hour:02}:00"), is_weekday) for hour in range(8)}
    assert len(times) == 1


def test_no_login_on_a_day_without_trade():
    saturday = MONDAY - timedelta(days=2)
    assert not due("12:00", saturday)
    planned = next_at(login(), at("12:00", saturday), is_weekday)
    assert planned
    assert planned.astimezone(INDIA).date() == MONDAY


def test_a_credential_that_lasts_through_the_day_is_left_alone():
    assert not due("08:30", credential_end=at("23:59"))
    assert due("08:30", credential_end=at("23:00"))


def test_a_credential_of_yesterday_that_ends_today_is_replaced_before_its_end():
    """Dhan's last 24 hours: what was made at 08:06 yesterday ends at 08:06 today."""
    assert due("08:10", credential_end=at("08:12"))


def test_a_credential_that_the_broker_refuses_is_replaced_however_long_it_lasts():
    assert due("08:30", credential_end=at("23:59"), is_refused=True)


def test_one_success_a_day_is_enough():
    assert not due("12:00", tries=(failed("08:06", None),))


@pytest.mark.parametrize("why", [Refusal.BUSY, Refusal.DOWN, Refusal.UNREADABLE])
def test_a_broker_that_is_away_is_asked_again_after_half_an_hour_at_most_three_times(why: Refusal):
    tries: tuple[PastTry, ...] = (failed("08:06", why),)
    assert not due("08:35", tries=tries)
    assert due("08:36", tries=tries)
    tries += (failed("08:36", why), failed("09:06", why))
    assert not due("15:00", tries=tries)
    assert due("08:10", MONDAY + timedelta(days=1), tries=tries)


@pytest.mark.parametrize(
    "why", [Refusal.SECRET, Refusal.OWNER, Refusal.PLAN, Refusal.CODE, Refusal.REDIRECT]
)
def test_after_a_refusal_that_only_a_person_can_mend_nothing_is_tried_again(why: Refusal):
    tries = (failed("08:06", why),)
    assert must_stop(tries)
    assert next_at(login(tries=tries), at("12:00"), is_weekday) is None
    assert not due("08:10", MONDAY + timedelta(days=7), tries=tries)


def test_a_wrong_code_of_the_second_factor_is_tried_once_more_with_another_one():
    tries = (failed("08:06", Refusal.SECOND_FACTOR),)
    assert not due("08:08", tries=tries)
    assert due("08:09", tries=tries)
    assert must_stop((*tries, failed("08:09", Refusal.SECOND_FACTOR)))


def test_a_wrong_code_after_a_success_is_the_first_one():
    tries = (
        failed("08:06", Refusal.SECOND_FACTOR),
        failed("08:09", None),
        failed("10:00", Refusal.SECOND_FACTOR),
    )
    assert not must_stop(tries)


@given(
    whys=st.lists(st.sampled_from([*Refusal, None]), max_size=12),
    minutes=st.integers(0, 24 * 60 - 1),
    account_id=st.integers(1, 10_000),
)
def test_never_more_than_three_tries_a_day(whys: list, minutes: int, account_id: int):
    """Whatever comes of each: played through one day, minute by minute of those that are due."""
    now, whys = at("00:00"), list(whys)
    tries: list[PastTry] = []
    while now < at("23:59"):
        planned = next_at(login(account_id=account_id, tries=tuple(tries)), now, is_weekday)
        if planned is None or planned.astimezone(INDIA).date() != MONDAY:
            break
        now = max(now, planned.astimezone(UTC)) + timedelta(seconds=1)
        tries.append(PastTry(now, whys.pop() if whys else Refusal.DOWN))
    assert len(tries) <= 3
