"""API keys in use that end soon or have just ended: whoever uses them hears nothing then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import F
from django.utils import timezone

from brokers.times.moments import moment_text
from openalgo_site.doctor.findings import Finding, fine, warned
from streaming.models import ApiKey

__all__ = ["api_keys"]

NAME = "api keys"
SOON = timedelta(days=3)
IN_USE = timedelta(days=7)
MOST_NAMED = 20


def api_keys() -> Iterator[Finding]:
    """Warn of keys that were used within the week before, and end within three days or ended."""
    now = timezone.now()
    found = (
        ApiKey.objects.filter(revoked_at=None, user__is_active=True)
        .filter(ends__gt=now - IN_USE, ends__lte=now + SOON)
        .filter(last_used__gt=F("ends") - IN_USE - SOON)
        .select_related("user")
        .order_by("ends", "pk")
    )
    named = list(found[:MOST_NAMED])
    for key in named:
        verb = "ended" if key.has_ended(now) else "ends"
        at = "" if key.ends is None else moment_text(timezone.localtime(key.ends))
        user = key.user.get_username()
        yield warned(
            NAME,
            f"{key} of {user} is in use and {verb} at {at}",
            f"manage.py createapikey --user {user}; whoever uses it needs the new one",
        )
    if not named:
        valid = ApiKey.objects.valid().count()
        yield fine(NAME, f"{valid:,} valid; none in use ends within {SOON.days} days")
