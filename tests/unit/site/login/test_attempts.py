"""Attempts of all processes in one count."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from openalgo_site.login import attempts as module
from openalgo_site.login.attempts import SharedAttempts, TooManyAttemptsError

LIMITS = {"ann": 3}


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(tmp_path: Path, clock: Clock) -> SharedAttempts:
    return SharedAttempts(tmp_path / "data" / "attempts.sqlite3", secret="s", clock=clock)


def test_a_bucket_takes_so_many_within_a_minute(attempts: SharedAttempts, clock: Clock) -> None:
    for _ in range(3):
        attempts.reserve(LIMITS)
        clock.now += 10
    with pytest.raises(TooManyAttemptsError) as told:
        attempts.reserve(LIMITS)
    assert told.value.seconds == 30
    attempts.reserve({"bob": 3})
    clock.now += 30
    attempts.reserve(LIMITS)


def test_what_is_refused_by_one_bucket_counts_in_none(attempts: SharedAttempts) -> None:
    attempts.reserve({"full": 1})
    for _ in range(5):
        with pytest.raises(TooManyAttemptsError):
            attempts.reserve({"full": 1, **LIMITS})
    for _ in range(3):
        attempts.reserve(LIMITS)


def test_what_succeeded_is_given_back(attempts: SharedAttempts) -> None:
    for _ in range(20):
        attempts.release(attempts.reserve(LIMITS))


def test_a_clock_that_was_set_back_keeps_nobody_out(attempts: SharedAttempts, clock: Clock) -> None:
    for _ in range(3):
        attempts.reserve(LIMITS)
    clock.now -= 86_400
    attempts.reserve(LIMITS)


def test_at_once_no_more_get_through(attempts: SharedAttempts) -> None:
    through, together = [], threading.Barrier(30)

    def attempt() -> None:
        together.wait()
        with contextlib.suppress(TooManyAttemptsError):
            through.append(attempts.reserve(LIMITS))

    threads = [threading.Thread(target=attempt) for _ in range(30)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(through) == 3


def test_processes_count_together(tmp_path: Path) -> None:
    path = tmp_path / "attempts.sqlite3"
    code = (
        "import sys; from pathlib import Path; from openalgo_site.login.attempts import *\n"
        "SharedAttempts(Path(sys.argv[1]), secret='s').reserve({'ann': 3})"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)
    mine = SharedAttempts(path, secret="s")
    mine.reserve(LIMITS)
    with pytest.raises(TooManyAttemptsError):
        mine.reserve(LIMITS)


def test_the_file_is_private_and_names_nobody(attempts: SharedAttempts, tmp_path: Path) -> None:
    attempts.reserve({"name/ann-of-the-office": 3})
    path = tmp_path / "data" / "attempts.sqlite3"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"ann-of-the-office" not in path.read_bytes()


def test_it_is_bounded(attempts: SharedAttempts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 5)
    for number in range(9):
        attempts.reserve({f"name {number}": 1})
    with pytest.raises(TooManyAttemptsError):
        attempts.reserve({"name 8": 1})
    attempts.reserve({"name 0": 1})


def test_without_the_file_each_process_counts_alone(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "attempts.sqlite3"
    path.mkdir()
    attempts = SharedAttempts(path, secret="s", clock=clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            attempts.reserve(LIMITS)
        with pytest.raises(TooManyAttemptsError):
            attempts.reserve(LIMITS)
    assert len(caplog.records) == 1
    attempts.close()


# What was refused


def fill(attempts: SharedAttempts, bucket: str, refusals: int, note: str) -> None:
    for _ in range(3):
        attempts.reserve({bucket: 3})
    for _ in range(refusals):
        with pytest.raises(TooManyAttemptsError):
            attempts.reserve({bucket: 3, "roomy": 1000}, {bucket: note, "roomy": "never"})


def test_what_was_refused_is_told_for_a_day(attempts: SharedAttempts, clock: Clock) -> None:
    began = clock.now
    fill(attempts, "ann", 2, "by ann")
    clock.now += 5
    fill(attempts, "bob", 1, "by bob")
    bob, ann = attempts.refusals()
    assert (bob.note, bob.refused, ann.note, ann.refused) == ("by bob", 1, "by ann", 2)
    assert (ann.first, ann.last, ann.until) == (began, began, began + 60)
    clock.now = began + 60
    assert [each.until for each in attempts.refusals()] == [began + 65, None]
    clock.now = began + module.REFUSALS_KEPT_SECONDS
    assert [each.note for each in attempts.refusals()] == ["by bob"]
    clock.now += 5
    assert attempts.refusals() == []


def test_who_is_forgotten_may_try_again_and_nobody_else(attempts: SharedAttempts) -> None:
    for _ in range(3):
        attempts.reserve({"ann": 3, "both": 3, "all": 5})
    fill(attempts, "bob", 1, "by bob")
    with pytest.raises(TooManyAttemptsError):
        attempts.reserve({"ann": 3})
    ann = next(each for each in attempts.refusals() if each.note != "by bob")
    attempts.forget(ann.bucket)
    # Not in the other buckets of the same attempts either.
    for _ in range(3):
        attempts.reserve({"ann": 3, "both": 3, "all": 5})
    (bob,) = attempts.refusals()
    assert bob.note == "by bob"
    with pytest.raises(TooManyAttemptsError):
        attempts.reserve({"bob": 3})


def test_refusals_are_bounded(attempts: SharedAttempts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_REFUSALS", 2)
    for name in ("a", "b", "c", "b"):
        with contextlib.suppress(TooManyAttemptsError):
            attempts.reserve({name: 1})
        with pytest.raises(TooManyAttemptsError):
            attempts.reserve({name: 1}, {name: name})
    assert len(attempts.refusals()) == 2


def test_refusals_are_told_without_the_file(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "attempts.sqlite3"
    path.mkdir()
    attempts = SharedAttempts(path, secret="s", clock=clock)
    fill(attempts, "ann", 1, "by ann")
    assert [each.note for each in attempts.refusals()] == ["by ann"]
    attempts.close()


def test_a_file_of_before_takes_refusals(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "attempts.sqlite3"
    older = sqlite3.connect(path)
    older.execute("CREATE TABLE attempts (attempt TEXT, bucket BLOB, at REAL)")
    older.close()
    attempts = SharedAttempts(path, secret="s", clock=clock)
    fill(attempts, "ann", 1, "by ann")
    assert len(attempts.refusals()) == 1
