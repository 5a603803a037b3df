"""Hashing of passwords in turns: it takes a fifth of a second of a whole core, on purpose.

A process hashes two passwords at a time, however many are guessed at once, so that its clients'
ticks have a core to themselves; on Linux in threads that give way to the loop where they share a
core. Logins from browsers that nobody knows share one of the two turns; the other is for known
browsers, who therefore never wait behind strangers.

Requests wait for these turns before they are anything but a task of the loop
(``openalgo_site/turns/logins.py``); what waits here as well are the few that come another way.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.exceptions import ValidationError

__all__ = ["LOGIN", "TURNS", "HashingTurns", "Login", "TurnTakingHasher"]

AT_ONCE = 2
STRANGERS_AT_ONCE = 1
MOST_WAITING = 20  # strangers; about 5 s of hashing
PATIENCE_SECONDS = 15.0
NICENESS = 5  # of the threads that hash, beside the process's own
LEAST_NICE = 19  # the kernel's end of the scale
BUSY = "Too many people are logging in at this moment. Try again in a few seconds."


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Somebody who logs in. ``on_busy`` is called where the password is not looked at after all."""

    is_known: bool
    on_busy: Callable[[], None]


# Whose password the request under way hashes; None: of somebody who is in, or of a command.
LOGIN: ContextVar[Login | None] = ContextVar("openalgo_site.login.hashing.login", default=None)


class HashingTurns:
    """Who may hash now. Safe from any thread; whoever waits holds its own thread only.

    Args:
        most_waiting: so many strangers wait; further ones are refused at once.
        patience_seconds: so long a stranger waits.
    """

    def __init__(
        self, *, most_waiting: int = MOST_WAITING, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._turns = threading.Semaphore(AT_ONCE)
        self._strangers = threading.Semaphore(STRANGERS_AT_ONCE)
        self._places = threading.Semaphore(most_waiting + STRANGERS_AT_ONCE)
        self._patience_seconds = patience_seconds

    @contextmanager
    def turn(self, login: Login | None) -> Iterator[None]:
        """Wait for a turn and hold it.

        Raises:
            ValidationError: to strangers only, as a login form shows it: too many wait already, or
                it took too long.
        """
        if login is None or login.is_known:
            with self._turns:
                yield
            return
        if not self._places.acquire(blocking=False):
            raise _busy(login)
        try:
            if not self._strangers.acquire(timeout=self._patience_seconds):
                raise _busy(login)
            try:
                with self._turns:
                    yield
            finally:
                self._strangers.release()
        finally:
            self._places.release()


def _busy(login: Login) -> ValidationError:
    login.on_busy()
    return ValidationError(BUSY, code="busy")


# Of this process.
TURNS = HashingTurns()


def _give_way() -> None:
    """Let all other threads of the process come first on a core that they share."""
    if sys.platform == "linux":  # elsewhere threads have no priority of their own
        with contextlib.suppress(OSError):  # a sandbox may forbid it: then it hashes as others do
            mine = os.getpriority(os.PRIO_PROCESS, 0)
            lower = min(mine + NICENESS, LEAST_NICE)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), lower)


# They hash and nothing else: a thread that has given way may never come first again.
_THREADS = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="hashing", initializer=_give_way)


class TurnTakingHasher(PBKDF2PasswordHasher):
    """Django's usual hasher, whose hashes it makes and reads, one turn for each."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Hash in a turn. Raises what ``turn`` raises."""
        with TURNS.turn(LOGIN.get()):
            return _THREADS.submit(super().encode, password, salt, iterations).result()
