"""Bounds failed logins, for every login form of the site at once.

An authentication backend that knows no user: it stands first and stops the attempt before a
password is hashed. Passwords, unlike API keys, can be guessed, so beyond the limit even the right
one is refused for a while, but by name *and* address, so that a stranger keeps nobody else out.
Where all come from one address, as behind a proxy that is not trusted, a browser in which the user
has logged in before is counted by itself.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from openalgo_site.login.attempts import SharedAttempts, TooManyAttemptsError
from openalgo_site.login.hashing import LOGIN, Login
from openalgo_site.login.known_browsers import browser_of, know
from streaming.addresses import address_group

__all__ = [
    "LimitedLoginBackend",
    "LockedBy",
    "Lockout",
    "LoginGate",
    "connect",
    "login_gate",
]

# A minute. Of one name from one address, or from a browser that it has logged in with before.
PER_NAME_AND_ADDRESS = 10
# Of all names from one address, and of one name from all addresses.
PER_ADDRESS = 60
PER_NAME = 60
ATTEMPT = "openalgo_site.login_attempt"
UID = "openalgo_site.login.login_limits"


class LockedBy(StrEnum):
    """Which count was full."""

    NAME_AND_ADDRESS = "name-and-address"
    ADDRESS = "address"
    NAME = "name"
    BROWSER = "browser"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lockout:
    """Somebody who was kept out. Times are seconds since the epoch.

    ``name`` is None where no user is called so; ``until`` None where they may try again.
    """

    bucket: str
    by: LockedBy
    name: str | None
    address: str
    refused: int
    first: float
    last: float
    until: float | None


class LoginGate:
    """Counts logins that have not succeeded. Safe from any thread; shared by all processes.

    Args:
        attempts: where they are counted.
    """

    def __init__(self, attempts: SharedAttempts) -> None:
        self._attempts = attempts

    def enter(self, name: str, address: str, browser: str | None) -> str:
        """Count an attempt before it is judged, and return its name for ``withdraw``.

        Args:
            name: the user name that was typed.
            address: where the request comes from.
            browser: id of a browser in which this name has logged in before, or None.

        Raises:
            ValidationError: as a login form shows it, while a limit is reached.
        """
        network = address_group(address)
        buckets = (
            {f"browser/{browser}/{name}": (PER_NAME_AND_ADDRESS, LockedBy.BROWSER)}
            if browser is not None
            else {
                f"both/{network}/{name}": (PER_NAME_AND_ADDRESS, LockedBy.NAME_AND_ADDRESS),
                f"address/{network}": (PER_ADDRESS, LockedBy.ADDRESS),
                f"name/{name}": (PER_NAME, LockedBy.NAME),
            }
        )
        who = self._digest(name)
        limits = {bucket: most for bucket, (most, _) in buckets.items()}
        notes = {bucket: f"{by} {who} {network}" for bucket, (_, by) in buckets.items()}
        try:
            return self._attempts.reserve(limits, notes)
        except TooManyAttemptsError as error:
            raise ValidationError(
                f"Too many failed logins. Try again in {error.seconds} seconds, or from a browser "
                "in which you have logged in before.",
                code="too_many_failures",
            ) from None

    def withdraw(self, attempt: str) -> None:
        """Count an attempt no longer: it succeeded, or its password was not looked at."""
        self._attempts.release(attempt)

    def lockouts(self, names: Iterable[str]) -> list[Lockout]:
        """Return who was kept out within the last day, those who are now first, then the newest.

        A name is told only where it is among ``names``: what is typed as one may be a password.
        """
        known = {self._digest(_normal(name)): name for name in names}
        found = []
        for refusal in self._attempts.refusals():
            by, who, network = refusal.note.split(" ", 2)
            found.append(
                Lockout(
                    bucket=refusal.bucket,
                    by=LockedBy(by),
                    name=known.get(who),
                    address=network,
                    refused=refusal.refused,
                    first=refusal.first,
                    last=refusal.last,
                    until=refusal.until,
                )
            )
        return sorted(found, key=lambda each: each.until is None)

    def let_in(self, bucket: str) -> None:
        """Forget the attempts that led to a lockout."""
        self._attempts.forget(bucket)

    def _digest(self, name: str) -> str:
        return self._attempts.digest(f"who/{name}").hex()


@lru_cache(maxsize=1)
def _gate(path: Path, secret: str) -> LoginGate:
    return LoginGate(SharedAttempts(path, secret=secret))


def login_gate() -> LoginGate:
    """Return the gate of this installation."""
    return _gate(Path(settings.DATA_DIR) / "login-attempts.sqlite3", settings.SECRET_KEY)


class LimitedLoginBackend:
    """Refuses before the real backend is asked; never authenticates anybody itself.

    It has no ``get_user`` on purpose: Django then never takes it for the backend of a session.
    """

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        """Let the next backend decide, unless a limit is reached."""
        if request is None:
            return
        name = _normal(credentials.get("username"))
        address = request.META.get("REMOTE_ADDR", "")
        browser = browser_of(request, name)
        gate = login_gate()
        attempt = request.META[ATTEMPT] = gate.enter(name, address, browser)
        LOGIN.set(Login(is_known=browser is not None, on_busy=lambda: gate.withdraw(attempt)))


def _on_failure(**_: Any) -> None:
    LOGIN.set(None)


def _on_login(request: HttpRequest | None, user: Any, **_: Any) -> None:
    LOGIN.set(None)
    if request is None:
        return
    attempt = request.META.pop(ATTEMPT, None)
    if attempt is not None:
        login_gate().withdraw(attempt)
        know(request, _normal(user.get_username()))


def _normal(name: object) -> str:
    """Return a user name as Django's own forms compare it."""
    return unicodedata.normalize("NFKC", str(name or ""))


def connect() -> None:
    """Listen for logins. Idempotent."""
    user_logged_in.connect(_on_login, dispatch_uid=UID)
    user_login_failed.connect(_on_failure, dispatch_uid=UID)
