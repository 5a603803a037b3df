"""Trading days: the week, holidays, special sessions."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import pytest

from brokers.times.market_clock import INDIA
from pooling.calendar.days import Hours, Market, TradingDays

REPUBLIC_DAY = date(2027, 1, 26)
BUDGET = date(2026, 2, 1)  # a Sunday with a full session
DIWALI = date(2026, 11, 8)  # a Sunday with one in the evening
EVENING = Hours(time(18, 15), time(19, 15))
DAYS = TradingDays(
    entered={
        (Market.EQUITY, REPUBLIC_DAY): (),
        (Market.EQUITY, BUDGET): (Hours(time(9, 15), time(15, 30)),),
        (Market.EQUITY, DIWALI): (EVENING,),
        (Market.COMMODITY, REPUBLIC_DAY): (Hours(time(17), time(23, 55)),),
    }
)


def at(day: date, text: str) -> datetime:
    return datetime.combine(day, time.fromisoformat(text), INDIA)


@pytest.mark.parametrize(
    ("day", "trades"),
    [
        (REPUBLIC_DAY, False),
        (date(2027, 1, 27), True),
        (BUDGET, True),
        (DIWALI, True),
        (date(2026, 11, 7), False),
    ],
)
def test_a_day(day: date, trades: bool) -> None:
    assert DAYS.is_trading_day(day) is trades


def test_a_holiday_of_shares_is_none_of_commodities_in_the_evening() -> None:
    assert DAYS.is_any_trading_day(REPUBLIC_DAY)
    assert DAYS.is_trading_day(REPUBLIC_DAY, Market.COMMODITY)
    assert DAYS.is_trading_day(REPUBLIC_DAY, Market.CURRENCY)


@pytest.mark.parametrize(
    ("moment", "is_open", "until"),
    [
        (at(date(2027, 1, 25), "15:29:59"), True, at(date(2027, 1, 25), "15:30")),
        (at(date(2027, 1, 25), "15:30"), False, at(date(2027, 1, 27), "09:15")),
        (at(DIWALI, "12:00"), False, at(DIWALI, "18:15")),
        (at(DIWALI, "18:15"), True, at(DIWALI, "19:15")),
        (at(DIWALI, "19:15"), False, at(date(2026, 11, 9), "09:15")),
        (at(date(2026, 1, 31), "10:00"), False, at(BUDGET, "09:15")),
    ],
)
def test_now(moment: datetime, is_open: bool, until: datetime) -> None:
    for each in (moment, moment.astimezone(UTC)):
        found = DAYS.now(each)
        assert (found.is_open, found.until) == (is_open, until)


def test_which_years_are_known() -> None:
    """A special session alone does not tell that the year's holidays were entered."""
    assert set(DAYS.known_years) == {2027}


def test_a_session_that_ends_before_it_begins_is_none() -> None:
    with pytest.raises(ValueError, match="closes after it opens"):
        Hours(time(10), time(9))
