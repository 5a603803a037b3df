"""Passwords are hashed in turns, and known browsers do not wait behind strangers."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.exceptions import ValidationError

from openalgo_site.login import hashing
from openalgo_site.login.hashing import (
    AT_ONCE,
    BUSY,
    LOGIN,
    NICENESS,
    HashingTurns,
    Login,
    TurnTakingHasher,
)  # fmt: skip

WAIT_SECONDS = 30.0


class Withdrawn:
    """Counts the passwords that were not looked at."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def withdrawn() -> Withdrawn:
    return Withdrawn()


@pytest.fixture
def stranger(withdrawn: Withdrawn) -> Login:
    return Login(is_known=False, on_busy=withdrawn)


@pytest.fixture
def known(withdrawn: Withdrawn) -> Login:
    return Login(is_known=True, on_busy=withdrawn)


@pytest.fixture
def begins_hashing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hashing]:
    work = Hashing()
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", work)
    monkeypatch.setattr(hashing, "TURNS", HashingTurns(patience_seconds=WAIT_SECONDS))
    yield work
    work.go_on.set()


class Hashing:
    """Stands in for the hash: holds whoever comes until it may go on, and counts them."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.came = threading.Semaphore(0)
        self.inside = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, *args: Any, **kwargs: Any) -> bytes:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.came.release()
        assert self.go_on.wait(WAIT_SECONDS)
        with self._lock:
            self.inside -= 1
        return b"hash"


def encode_as(login: Login | None) -> threading.Thread:
    def encode() -> None:
        LOGIN.set(login)
        TurnTakingHasher().encode("secret", "salt")

    thread = threading.Thread(target=encode)
    thread.start()
    return thread


def test_so_many_are_hashed_at_once(begins_hashing: Hashing, known: Login) -> None:
    threads = [encode_as(each) for each in (None, known) * 6]
    for _ in range(AT_ONCE):
        assert begins_hashing.came.acquire(timeout=WAIT_SECONDS)
    begins_hashing.go_on.set()
    for each in threads:
        each.join(WAIT_SECONDS)
    assert begins_hashing.most == AT_ONCE == 2


def test_a_known_browser_is_served_beside_strangers(
    begins_hashing: Hashing, known: Login, stranger: Login
) -> None:
    threads = [encode_as(stranger) for _ in range(5)]
    assert begins_hashing.came.acquire(timeout=WAIT_SECONDS)
    threads.append(encode_as(known))
    assert begins_hashing.came.acquire(timeout=WAIT_SECONDS), "all turns are strangers'"
    begins_hashing.go_on.set()
    for each in threads:
        each.join(WAIT_SECONDS)


def test_strangers_share_one_turn_and_those_who_wait_too_long_are_told(
    stranger: Login, known: Login, withdrawn: Withdrawn
) -> None:
    turns = HashingTurns(patience_seconds=0.0)
    with turns.turn(stranger):
        for told in range(1, 3):
            with pytest.raises(ValidationError, match=BUSY), turns.turn(stranger):
                pass
            assert withdrawn.count == told
        with turns.turn(known):
            pass
    with turns.turn(stranger):
        pass
    assert withdrawn.count == 2


def test_so_many_strangers_wait(stranger: Login, withdrawn: Withdrawn) -> None:
    turns = HashingTurns(most_waiting=0)
    with turns.turn(stranger):
        # Nothing would end this wait.
        with pytest.raises(ValidationError, match=BUSY), turns.turn(stranger):
            pass
        with turns.turn(None):
            pass
    assert withdrawn.count == 1


def test_a_failure_gives_its_turn_back(stranger: Login, known: Login) -> None:
    turns = HashingTurns(most_waiting=0, patience_seconds=0.0)
    for login in (stranger, known, None) * 3:
        with pytest.raises(ZeroDivisionError), turns.turn(login):
            raise ZeroDivisionError
    with ExitStack() as held:
        held.enter_context(turns.turn(stranger))
        held.enter_context(turns.turn(known))


def test_hashes_are_djangos_own() -> None:
    ours, theirs = TurnTakingHasher(), PBKDF2PasswordHasher()
    encoded = ours.encode("secret", "salt", 2)
    assert encoded == theirs.encode("secret", "salt", 2)
    assert ours.verify("secret", encoded)
    assert not ours.verify("other", encoded)


def test_who_hashes_gives_way_to_the_loop_and_nobody_else_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if sys.platform != "linux":
        return  # threads have no priority of their own there
    seen: list[tuple[int, int]] = []

    def note(*_: Any) -> bytes:
        seen.append((threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0)))
        return b"hash"

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", note)
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    for _ in range(3):
        TurnTakingHasher().encode("secret", "salt")
    assert {nice for _, nice in seen} == {min(19, mine + NICENESS)}
    assert threading.get_native_id() not in {thread for thread, _ in seen}
    assert os.getpriority(os.PRIO_PROCESS, 0) == mine
