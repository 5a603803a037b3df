"""Bounds failed logins by address, for every login form of the site at once.

An authentication backend that knows no user: it stands first and stops the attempt before a
password is hashed. Passwords, unlike API keys, can be guessed, so a limited address is refused even
with the right one until its minute is over.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from django.contrib.auth.signals import user_login_failed
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from streaming.limits import AuthFailures

__all__ = ["LOGIN_GATE", "LimitedLoginBackend", "LoginGate", "connect"]

FAILURES_PER_MINUTE = 10


class LoginGate:
    """Counts failed logins by address. Safe from any thread."""

    def __init__(self, *, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget every failure."""
        self._failures = AuthFailures(per_minute=self._per_minute)
        self._blocked_until: dict[str, float] = {}

    def check(self, address: str) -> None:
        """Raise ValidationError, as a login form shows it, while the address is over its limit."""
        now = self._clock()
        with self._lock:
            until = self._blocked_until.get(address, 0.0)
            if until <= now:
                self._blocked_until.pop(address, None)
                return
        raise ValidationError(
            f"Too many failed logins from your address. Try again in {int(until - now) + 1} "
            "seconds.",
            code="too_many_failures",
        )

    def failed(self, address: str) -> None:
        """Note one failed login."""
        now = self._clock()
        # Every attempt counts, also the same wrong password again: hence a digest of its own.
        digest = hashlib.blake2b(os.urandom(16), digest_size=16).digest()
        with self._lock:
            if self._failures.record(address, digest, now):
                seconds = self._failures.retry_after_seconds(address, now)
                self._blocked_until[address] = now + seconds
                self._forget_old(now)

    def _forget_old(self, now: float) -> None:
        if len(self._blocked_until) > 10_000:
            self._blocked_until = {a: t for a, t in self._blocked_until.items() if t > now}


LOGIN_GATE = LoginGate(per_minute=FAILURES_PER_MINUTE)


class LimitedLoginBackend:
    """Refuses before the real backend is asked; never authenticates anybody itself.

    It has no ``get_user`` on purpose: Django then never takes it for the backend of a session.
    """

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        """Let the next backend decide, unless the caller's address is over its limit."""
        if request is not None:
            LOGIN_GATE.check(request.META.get("REMOTE_ADDR", ""))


def _on_failure(sender: object, request: HttpRequest | None = None, **details: Any) -> None:
    if request is not None:
        LOGIN_GATE.failed(request.META.get("REMOTE_ADDR", ""))


def connect() -> None:
    """Listen for failed logins. Idempotent."""
    user_login_failed.connect(_on_failure, dispatch_uid="openalgo_site.login_limits")
