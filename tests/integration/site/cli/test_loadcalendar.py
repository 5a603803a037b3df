"""``manage.py loadcalendar``: a file of days, all of it or nothing."""

from __future__ import annotations

import io
from datetime import date, time
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from pooling.calendar.days import Hours, Market
from pooling.models import TradingDay, trading_days

pytestmark = pytest.mark.django_db

FILE = """\
day,market,opens,closes,note
# as the exchanges announced it
2027-01-26,equity,,,Republic Day
2026-11-08,equity,18:15,19:15,Diwali
2027-01-26,commodity,17:00,23:55,evening only
"""


def load(path: Path, text: str) -> str:
    path.write_text(text)
    out = io.StringIO()
    call_command("loadcalendar", str(path), stdout=out)
    return out.getvalue()


def test_holidays_and_sessions(tmp_path: Path) -> None:
    assert load(tmp_path / "days.csv", FILE) == "3 of 3 days are new.\n"
    days = trading_days()
    assert not days.is_trading_day(date(2027, 1, 26))
    assert days.sessions(date(2026, 11, 8)) == (Hours(time(18, 15), time(19, 15)),)
    assert days.is_trading_day(date(2027, 1, 26), Market.COMMODITY)
    assert load(tmp_path / "days.csv", FILE) == "0 of 3 days are new.\n"


@pytest.mark.parametrize(
    "line",
    [
        "26.01.2027,equity,,,x",
        "2027-01-26,shares,,,x",
        "2027-01-26,equity,09:15,,x",
        "2027-01-26,equity,15:30,09:15,x",
        "2027-01-26,equity,9 o'clock,10:00,x",
        "2027-01-26,equity,,," + "x" * 100,
    ],
)
def test_a_line_that_cannot_be_used_stores_nothing_of_the_file(tmp_path: Path, line: str) -> None:
    with pytest.raises(CommandError, match=r"line 6 cannot be used .*write day,market,opens"):
        load(tmp_path / "days.csv", f"{FILE}{line}\n".replace("# as", "2026-12-25,equity,,,# as"))
    assert not TradingDay.objects.exists()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("loadcalendar", str(tmp_path / "none.csv"))


def test_half_a_session_is_refused_by_the_form() -> None:
    for opens, closes in ((time(9), None), (None, time(9)), (time(10), time(9))):
        with pytest.raises(ValidationError):
            TradingDay(market="equity", day=date(2027, 1, 1), opens=opens, closes=closes).clean()
