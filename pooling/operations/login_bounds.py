"""Bounds of logins that people begin, by account and by user. Blocking.

A broker bars a key, or everything that comes from this machine, when it is asked too often; a PIN
that is refused some times locks the account there. Every attempt counts, however it ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.utils import timezone

from brokers.times.moments import clock_text
from pooling.exceptions import CommandRefusedError
from pooling.login.states import AttemptKind
from pooling.models import BrokerAccount, LoginAttempt
from pooling.models.logins import LoginAttemptQuerySet

__all__ = ["PER_ACCOUNT", "PER_USER", "UNATTENDED", "Bound", "check_bounds"]


@dataclass(frozen=True, slots=True)
class Bound:
    """The most attempts within a time, and how that is said."""

    most: int
    within: timedelta
    words: str


PER_ACCOUNT: Final = Bound(10, timedelta(minutes=10), "logins and tests of this account")
PER_USER: Final = Bound(30, timedelta(minutes=10), "logins and tests of your accounts")
UNATTENDED: Final = Bound(5, timedelta(hours=1), "logins with PIN and TOTP of this account")


def check_bounds(account: BrokerAccount, kind: object) -> None:
    """Refuse an attempt of that kind where there were too many. The caller has the account's lock.

    Raises CommandRefusedError, which says from when on there is room.
    """
    of_account = LoginAttempt.objects.filter(account=account)
    if kind == AttemptKind.UNATTENDED:
        _check(of_account.filter(kind=AttemptKind.UNATTENDED), UNATTENDED)
    _check(of_account, PER_ACCOUNT)
    _check(LoginAttempt.objects.filter(account__user=account.user_id), PER_USER)


def _check(attempts: LoginAttemptQuerySet, bound: Bound) -> None:
    now = timezone.now()
    # Attempts of a clock that was ahead and is right again count no longer than others.
    begun = attempts.filter(begun__gt=now - bound.within, begun__lte=now + bound.within)
    last = begun.order_by("-id").values_list("begun", flat=True)[bound.most - 1 : bound.most]
    if full_since := last.first():
        room = timezone.localtime(full_since + bound.within)
        minutes = int(bound.within.total_seconds() // 60)
        raise CommandRefusedError(
            f"There were {bound.most} {bound.words} within {minutes} minutes, and a broker bars "
            f"who asks so often: wait until {clock_text(room)}. Nothing was sent."
        )
