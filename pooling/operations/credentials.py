"""Entering a credential by hand or by a program: tried where it can be, and stored if it is good.

The one way in for the admin, the Brokers page, the command line and the API. Callers check first
whose account it is. Blocking; runs in a thread that may use the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.db import transaction
from django.utils import timezone

from brokers.exceptions import BrokerConfigError
from brokers.times.moments import clock_text
from pooling import conf
from pooling.exceptions import CommandRefusedError
from pooling.keys.crypto import load_sealer
from pooling.keys.files import KeyFileError
from pooling.login.states import AttemptState
from pooling.models import BrokerAccount, LoginAttempt, PoolStatus
from pooling.operations import logins

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["MAX_VALUE_LENGTH", "CredentialError", "Entry", "checked", "enter", "wait_for"]

MAX_VALUE_LENGTH: Final = 4096  # the longest token that a broker is known to give is below 2,000
WAIT_SECONDS: Final = 12.0
_POLL_SECONDS: Final = 0.1
_UNTRIED: Final = "Stored. The next connection tells whether the broker takes it."


class CredentialError(Exception):
    """A value is none that could be stored; ``name`` is the field's, "" for all of them."""

    def __init__(self, sentence: str, name: str = "") -> None:
        super().__init__(sentence)
        self.name = name


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of an entered credential.

    ``is_stored`` False: the broker refused it, and what was stored before is still there; or it is
    being tried yet (``attempt.is_open``). ``attempt`` None: nobody could try it.
    """

    is_stored: bool
    sentence: str
    attempt: LoginAttempt | None = None


def checked(account: BrokerAccount, values: Mapping[str, str]) -> dict[str, str]:
    """Return the values without spaces around them.

    Raises:
        CredentialError: a field that the broker has not, or a text that is none.
        BrokerConfigError: nobody knows the account's broker.
    """
    known = {each.name for each in account.capabilities().credential_fields}
    if not known:
        raise CredentialError(f"{account.broker} takes no credential.")
    if not values or not values.keys() <= known:
        names = ", ".join(sorted(known))
        raise CredentialError(f"The credential of {account.broker} has these parts: {names}.")
    stripped = {name: value.strip() for name, value in values.items()}
    for name, value in stripped.items():
        if not 0 < len(value) <= MAX_VALUE_LENGTH or "\x00" in value:
            raise CredentialError(f"{name} is text of 1 to {MAX_VALUE_LENGTH:,} characters.", name)
    return stripped


def enter(
    account: BrokerAccount,
    values: Mapping[str, str],
    *,
    user: User | None,
    wait_seconds: float = WAIT_SECONDS,
) -> Entry:
    """Have a credential tried, and stored if it is good; where nobody can try it, store it.

    Fields that are not named stay as they are stored.

    Args:
        account: whose; saved.
        values: fields in clear, as ``checked`` returned them.
        user: who enters it; None: nobody who has a name here.
        wait_seconds: how long to wait for the broker's answer; 0: not at all.

    Raises:
        CommandRefusedError: nothing was stored; the text says what mends it.
    """
    if not _can_be_tried(account):
        _store(account, values)
        return Entry(True, _UNTRIED)
    attempt = wait_for(logins.prove(account, values, user=user), wait_seconds)
    if attempt.state == AttemptState.GRANTED:
        at = clock_text(timezone.localtime(attempt.finished or attempt.begun))
        return Entry(True, f"The broker accepted it at {at}.", attempt)
    if attempt.is_open:
        return Entry(False, "It is being tried at the broker, and stored if it is taken.", attempt)
    return Entry(False, f"Not stored: {attempt.result}", attempt)


def wait_for(
    attempt: LoginAttempt,
    timeout_seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> LoginAttempt:
    """Return the attempt once it has ended, or as it is after ``timeout_seconds``."""
    deadline = clock() + timeout_seconds
    while attempt.is_open and clock() < deadline:
        sleep(_POLL_SECONDS)
        attempt.refresh_from_db()
    return attempt


def _can_be_tried(account: BrokerAccount) -> bool:
    """Whether there is a worker that could ask, and a place to ask at that is the feed's own."""
    setup = logins.login_setup(account)
    try:
        login = setup.login()
    except BrokerConfigError:
        login = None
    return (
        login is not None
        and not logins.is_elsewhere(setup)
        and account.enabled
        and PoolStatus.objects.has_worker(account.pk)
    )


def _store(account: BrokerAccount, values: Mapping[str, str]) -> None:
    try:
        sealer = load_sealer(conf.key_file())
    except KeyFileError as error:
        raise CommandRefusedError(str(error)) from None
    with transaction.atomic():
        current = BrokerAccount.objects.select_for_update().filter(pk=account.pk).first()
        if current is None:
            raise CommandRefusedError("This account does not exist any more.")
        current.set_credentials(values, sealer)
        current.save(update_fields=BrokerAccount.CREDENTIAL_COLUMNS)
    account.refresh_from_db(fields=BrokerAccount.CREDENTIAL_COLUMNS)
