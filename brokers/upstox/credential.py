"""Upstox's access tokens: that of a day, and the Analytics Token, which holds a year. Pure.

All of them are one field of the credential. A long-lived token whose end cannot be read from it is
kept with the day on which it was made before it: ``2026-11-30:TOKEN``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from brokers.exceptions import BrokerConfigError
from brokers.login.requests import bare_token
from brokers.times.credential_expiry import DailyEnd
from brokers.times.json_web_token import claims_of, life_seconds, moment_of
from brokers.times.market_clock import INDIA

__all__ = ["DAILY_END", "UpstoxToken", "day_of", "year_after"]

# "valid until 3:30 AM the following day, whenever it was made"
DAILY_END: Final = DailyEnd(time(3, 30), INDIA)
# A token of a day ends within 24 hours.
_LONGER_THAN_A_DAY: Final = 2 * 86_400.0
_MADE_ON: Final = re.compile(r"(\d{4}-\d{2}-\d{2}):(.*)", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class UpstoxToken:
    """An access token as it is sent, and the day on which it was made, where that is kept."""

    value: str = field(repr=False)
    made_on: date | None = None

    @classmethod
    def of(cls, text: str) -> UpstoxToken:
        """Read the field of the credential, with or without ``Bearer`` before it.

        Raises:
            BrokerConfigError: a day before it that the calendar does not have.
        """
        bare = bare_token(text)
        parts = _MADE_ON.fullmatch(bare)
        if parts is None:
            return cls(bare)
        return cls(parts[2].strip(), day_of(parts[1]))

    @property
    def text(self) -> str:
        """What the field of the credential holds."""
        return self.value if self.made_on is None else f"{self.made_on.isoformat()}:{self.value}"

    @property
    def tells_long_life(self) -> bool:
        """Whether the token itself says that it lives for longer than a day."""
        return (life_seconds(claims_of(self.value)) or 0.0) > _LONGER_THAN_A_DAY

    @property
    def is_long_lived(self) -> bool:
        """Whether it is an Analytics Token, as far as that is known."""
        return self.made_on is not None or self.tells_long_life

    @property
    def owner(self) -> str:
        """The user whose token it is by its own words; "" where it says nothing."""
        subject = claims_of(self.value).get("sub")
        if not isinstance(subject, str) or len(subject) > 64:
            return ""
        return subject if subject.isascii() and subject.isalnum() else ""

    def ends_at(self, stored_at: datetime | None = None) -> datetime | None:
        """Return when it ends, as far as it says so; with ``stored_at`` the habit counts, too."""
        told = moment_of(claims_of(self.value), "exp")
        ends = [] if told is None else [told]
        if self.made_on is not None:
            ends.append(year_after(self.made_on))
        if stored_at is not None:
            # Nobody has made it after it was stored.
            latest = year_after(stored_at.astimezone(INDIA).date() + timedelta(days=1))
            ends.append(latest if self.is_long_lived else DAILY_END.after(stored_at))
        return min(ends, default=None)


def day_of(text: str) -> date:
    """Return the day that ``YYYY-MM-DD`` means. Raises BrokerConfigError."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise BrokerConfigError(
            "upstox: the day on which the token was made is written as YYYY-MM-DD"
        ) from None


def year_after(day: date) -> datetime:
    """Return the beginning of the same day a year later, in India: no token lives beyond it."""
    year = min(day.year + 1, date.max.year)
    is_leap_day = (day.month, day.day) == (2, 29)
    later = date(year, 2, 28) if is_leap_day else day.replace(year=year)
    return datetime.combine(later, time(), INDIA).astimezone(UTC)
