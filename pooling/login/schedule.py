"""Times of unattended logins: when the next one is due, and when never again. Pure.

At most three tries a day; a refused PIN or secret ends them until a person acts, a refused code of
the second factor after its second time. A credential that works and lasts through the day is left
alone: a second login may end the first one's.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Final

from brokers.login.contract import Refusal
from brokers.times.market_clock import INDIA
from pooling.login.contracts import DailyLogin, PastTry

__all__ = ["ALONE", "DEFAULT_AT", "TRIES_A_DAY", "is_due", "must_stop", "next_at"]

DEFAULT_AT: Final = time(8, 5)
TRIES_A_DAY: Final = 3
# What is left of the morning's minutes between several accounts: no two at the same second.
JITTER_SECONDS: Final = 300
SECOND_TRY: Final = timedelta(minutes=30)
# "one token per two minutes" at the strictest of them, and a new code by then.
AFTER_SECOND_FACTOR: Final = timedelta(seconds=130)
# A credential that lasts until then needs no login that day.
END_OF_DAY: Final = time(23, 55)
# Ends that say nothing of what was sent, so that it may be sent again.
ALONE: Final = frozenset({Refusal.BUSY, Refusal.DOWN, Refusal.UNREADABLE})


def must_stop(tries: tuple[PastTry, ...]) -> bool:
    """Whether nothing may be tried again until a person acts, by the last tries of any day."""
    # One that reached nobody, or brought no clear answer, takes no earlier answer back.
    answers = [each.why for each in tries if each.why not in ALONE]
    if not answers or answers[-1] is None:
        return False
    return answers[-1] is not Refusal.SECOND_FACTOR or answers[-2:-1] == [Refusal.SECOND_FACTOR]


def is_due(login: DailyLogin, now: datetime, is_trading_day: Callable[[date], bool]) -> bool:
    """Whether an unattended login is to begin now."""
    at = next_at(login, now, is_trading_day)
    return at is not None and at <= now


def next_at(
    login: DailyLogin, now: datetime, is_trading_day: Callable[[date], bool]
) -> datetime | None:
    """Return when the next unattended login is due, which may be past.

    None: nothing is done before a person acts.

    Args:
        login: the account's, with its tries in order of time.
        now: aware, in any zone.
        is_trading_day: tells by the day where the broker is.
    """
    if must_stop(login.tries):
        return None
    today = now.astimezone(INDIA).date()
    for ahead in range(15):
        day = today + timedelta(days=ahead)
        if is_trading_day(day) and (at := _at(login, day)) is not None:
            return at
    return None


def _at(login: DailyLogin, day: date) -> datetime | None:
    """Return when the account is to be logged in on that day; None: not on that day (any more)."""
    tries = [each for each in login.tries if each.at.astimezone(INDIA).date() == day]
    if len(tries) >= TRIES_A_DAY or any(each.why is None for each in tries):
        return None
    end_of_day = datetime.combine(day, END_OF_DAY, INDIA)
    lasts = login.credential_end is not None and login.credential_end > end_of_day
    if lasts and not login.is_refused:
        return None
    planned = datetime.combine(day, login.at, INDIA) + _jitter(login.account_id, day)
    if not tries:
        return planned
    last = tries[-1]
    is_code = last.why is Refusal.SECOND_FACTOR
    return last.at + (AFTER_SECOND_FACTOR if is_code else SECOND_TRY)


def _jitter(account_id: int, day: date) -> timedelta:
    """Return up to five minutes, the same whenever it is asked for that account and day."""
    drawn = zlib.crc32(f"{account_id} {day.isoformat()}".encode())
    return timedelta(seconds=drawn % JITTER_SECONDS)
