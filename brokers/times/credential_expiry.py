"""End of a stored credential, as far as the broker's habit or the credential tells. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

from brokers.times.json_web_token import claims_of, moment_of

__all__ = ["DailyEnd", "expiry_of", "jwt_expiry"]


@dataclass(frozen=True, slots=True)
class DailyEnd:
    """The time of day at which a broker ends every credential that was made before it."""

    at: time
    zone: tzinfo

    def after(self, stored_at: datetime) -> datetime:
        """Return the first such time after ``stored_at``, which is aware; the result is in UTC."""
        local = stored_at.astimezone(self.zone)
        end = datetime.combine(local.date(), self.at, self.zone)
        if end <= local:
            end = datetime.combine(local.date() + timedelta(days=1), self.at, self.zone)
        return end.astimezone(UTC)


def jwt_expiry(token: str) -> datetime | None:
    """Return the ``exp`` claim (RFC 7519, section 4.1.4) of a JSON Web Token; None for other text.

    The signature is not looked at: the broker does that, and this is only shown to people.
    """
    return moment_of(claims_of(token), "exp")


def expiry_of(
    values: Iterable[str], stored_at: datetime, daily_end: DailyEnd | None
) -> datetime | None:
    """Return the earliest end that is known of a credential stored at ``stored_at``, or None."""
    known = [end for value in values if (end := jwt_expiry(value)) is not None]
    if daily_end is not None:
        known.append(daily_end.after(stored_at))
    return min(known, default=None)
