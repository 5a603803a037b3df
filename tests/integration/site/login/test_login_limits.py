"""Guessing passwords is slow, on the site's login and on the admin's, and keeps nobody else out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.test import Client

from openalgo_site import settings as site_settings
from openalgo_site.login import attempts, hashing, login_limits
from openalgo_site.login.hashing import BUSY, LOGIN, HashingTurns, Login
from openalgo_site.login.known_browsers import COOKIE, SALT
from openalgo_site.login.login_limits import PER_ADDRESS, PER_NAME, PER_NAME_AND_ADDRESS

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
TOO_MANY = "Too many failed logins. Try again in"


@pytest.fixture(autouse=True)
def still_clock(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    """A clock that stands still: a slow test must not win a guess back."""
    gate = attempts.SharedAttempts(data_dir / "attempts", secret="s", clock=lambda: 1000.0)
    monkeypatch.setattr(login_limits, "login_gate", lambda: login_limits.LoginGate(gate))


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def user() -> User:
    return User.objects.create_superuser("trader", password=PASSWORD)


def log_in(
    client: Client,
    path: str,
    password: str,
    address: str = "192.0.2.1",
    name: str = "trader",
) -> str:
    """Send the form; returns the page, empty after a redirect."""
    data = {"username": name, "password": password}
    response = client.post(path, data, REMOTE_ADDR=address)
    return "" if response.status_code == 302 else response.content.decode()


@pytest.mark.parametrize("path", ["/login/", "/admin/login/"])
def test_who_guesses_is_told_to_wait(client: Client, user: User, path: str) -> None:
    for n in range(PER_NAME_AND_ADDRESS):
        assert TOO_MANY not in log_in(client, path, f"guess {n}")
    # Even the right password tells a guesser nothing now.
    assert TOO_MANY in log_in(client, path, PASSWORD)
    assert log_in(client, path, PASSWORD, address="192.0.2.2") == ""


def test_a_few_mistakes_do_not_lock_anybody_out(client: Client, user: User) -> None:
    for n in range(PER_NAME_AND_ADDRESS - 1):
        assert log_in(client, "/login/", f"guess {n}")
    for _ in range(3):
        assert log_in(client, "/login/", PASSWORD) == ""


def test_a_stranger_behind_the_same_proxy_keeps_nobody_else_out(client: Client, user: User) -> None:
    for n in range(11):
        log_in(client, "/login/", f"guess {n}", name="somebody")
    assert log_in(Client(), "/login/", PASSWORD) == ""


def test_a_known_browser_gets_in_whatever_strangers_do(client: Client, user: User) -> None:
    mine = Client()
    assert log_in(mine, "/login/", PASSWORD) == ""
    cookie = mine.cookies[COOKIE]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert "trader" not in cookie.value
    mine.post("/logout/")
    for n in range(PER_NAME_AND_ADDRESS + 1):
        page = log_in(client, "/login/", f"guess {n}")
    assert TOO_MANY in page
    assert log_in(mine, "/login/", PASSWORD) == ""


def test_a_known_browser_has_a_limit_of_its_own(user: User) -> None:
    mine = Client()
    assert log_in(mine, "/login/", PASSWORD) == ""
    mine.post("/logout/")
    for n in range(PER_NAME_AND_ADDRESS):
        log_in(mine, "/login/", f"guess {n}", address=f"192.0.2.{n}")
    assert TOO_MANY in log_in(mine, "/login/", PASSWORD, address="192.0.2.99")


def test_a_browser_is_known_for_the_names_that_logged_in_only(client: Client, user: User) -> None:
    User.objects.create_user("mallory", password=PASSWORD)
    assert log_in(client, "/login/", PASSWORD, name="mallory") == ""
    client.post("/logout/")
    for n in range(PER_NAME_AND_ADDRESS):
        log_in(client, "/login/", f"guess {n}")
    assert TOO_MANY in log_in(client, "/login/", PASSWORD)
    assert log_in(client, "/login/", PASSWORD, address="192.0.2.2") == ""
    names = signing.loads(client.cookies[COOKIE].value, salt=SALT)
    assert len(names) == 3, "one id and two names"


@pytest.mark.parametrize("value", ["", "x", "W10:1:x", "signed for something else"])
def test_a_cookie_of_ones_own_making_opens_nothing(client: Client, user: User, value: str) -> None:
    # Made here: a signature holds the time, and every process must name a test alike.
    is_signed = value.startswith("signed")
    client.cookies[COOKIE] = signing.dumps(["a", "b"], salt="other") if is_signed else value
    for n in range(PER_NAME_AND_ADDRESS):
        log_in(client, "/login/", f"guess {n}")
    assert TOO_MANY in log_in(client, "/login/", PASSWORD)


def test_one_address_tries_so_many_names(client: Client, user: User) -> None:
    for n in range(PER_ADDRESS):
        assert TOO_MANY not in log_in(client, "/login/", "guess", name=f"user {n}")
    assert TOO_MANY in log_in(client, "/login/", "guess", name="one more")


def test_one_name_is_tried_from_so_many_addresses(client: Client, user: User) -> None:
    for n in range(PER_NAME):
        address = f"2001:db8:{n:x}::1"
        assert TOO_MANY not in log_in(client, "/login/", "guess", address=address)
    assert TOO_MANY in log_in(client, "/login/", "guess", address="2001:db8:ffff::1")


def test_an_ipv6_network_is_one_address(client: Client, user: User) -> None:
    for n in range(PER_NAME_AND_ADDRESS):
        log_in(client, "/login/", f"guess {n}", address=f"2001:db8::{n:x}")
    assert TOO_MANY in log_in(client, "/login/", PASSWORD, address="2001:db8::ffff")


def test_the_gate_is_that_of_the_installation(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    gate = login_limits.login_gate()
    assert gate is login_limits.login_gate()
    gate.withdraw(gate.enter("trader", "192.0.2.1", None))


@pytest.fixture
def strangers_wait(settings: Any, monkeypatch: pytest.MonkeyPatch) -> HashingTurns:
    """The installation's own hasher, with nobody's patience."""
    settings.PASSWORD_HASHERS = site_settings.PASSWORD_HASHERS
    monkeypatch.setattr(hashing.TurnTakingHasher, "iterations", 1)
    turns = HashingTurns(patience_seconds=0.0)
    monkeypatch.setattr(hashing, "TURNS", turns)
    return turns


@pytest.mark.parametrize("path", ["/login/", "/admin/login/"])
def test_who_comes_while_strangers_guess_is_told_and_not_counted(
    client: Client, strangers_wait: HashingTurns, user: User, path: str
) -> None:
    mine = Client()
    assert log_in(mine, "/login/", PASSWORD) == ""
    mine.post("/logout/")
    with strangers_wait.turn(Login(is_known=False, on_busy=lambda: None)):
        for _ in range(PER_NAME_AND_ADDRESS + 1):
            assert BUSY in log_in(client, path, PASSWORD)
            assert BUSY in log_in(client, path, "a guess", name="nobody")
        assert log_in(mine, path, PASSWORD) == ""
    assert log_in(client, path, PASSWORD) == ""


def test_only_a_login_is_hashed_as_one(client: Client, user: User) -> None:
    """What a thread hashed before says nothing about its next request."""
    log_in(client, "/login/", "a guess")
    assert LOGIN.get() is None
