"""The doctor tells of API keys whose end somebody will notice."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from openalgo_site.doctor.api_keys import api_keys
from openalgo_site.doctor.findings import Outcome
from openalgo_site.doctor.main import all_checks
from streaming.models import ApiKey

DAY = timedelta(days=1)


def issue(user: User, name: str, ends: timedelta | None, used: timedelta | None) -> ApiKey:
    """Make a key that ends, and was used, so long from now."""
    now = timezone.now()
    key, _ = ApiKey.objects.issue(user, name, ends=None if ends is None else now + ends)
    if used is not None:
        ApiKey.objects.filter(pk=key.pk).update(last_used=now + used)
    return key


def test_keys_that_are_used_and_end_soon_or_ended_are_named(user: User) -> None:
    issue(user, "tomorrow", DAY, -DAY)
    issue(user, "yesterday", -DAY, -2 * DAY)
    soon = {each.message.split(" (")[0]: each for each in api_keys()}
    assert list(soon) == ["yesterday", "tomorrow"]
    assert " of asha is in use and ended at " in soon["yesterday"].message
    assert " of asha is in use and ends at " in soon["tomorrow"].message
    for each in soon.values():
        assert each.outcome is Outcome.WARNING
        assert each.mends.startswith("manage.py createapikey --user asha;")


@pytest.mark.parametrize(
    ("ends", "used"),
    [
        (None, -DAY),
        (9 * DAY, -DAY),
        (-9 * DAY, -10 * DAY),
        (DAY, None),
        (DAY, -30 * DAY),
    ],
)
def test_other_keys_are_not(user: User, ends: timedelta | None, used: timedelta | None) -> None:
    issue(user, "other", ends, used)
    issue(user, "gone", DAY, -DAY).revoke()
    (found,) = api_keys()
    assert found.outcome is Outcome.OK
    assert found.message.endswith("valid; none in use ends within 3 days")


def test_the_doctor_looks() -> None:
    assert "api keys" in [check.name for check in all_checks()]
