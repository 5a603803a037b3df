"""Guessing passwords is slow, on the site's login and on the admin's."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.test import Client

from openalgo_site import login_limits
from openalgo_site.login_limits import FAILURES_PER_MINUTE, LoginGate

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def fresh_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate whose clock stands still: a slow test must not win a guess back."""
    gate = LoginGate(per_minute=FAILURES_PER_MINUTE, clock=lambda: 1000.0)
    monkeypatch.setattr(login_limits, "LOGIN_GATE", gate)


@pytest.fixture
def user() -> User:
    return User.objects.create_superuser("trader", password=PASSWORD)


def log_in(client: Client, path: str, password: str, address: str = "192.0.2.1") -> str:
    """Send the form; returns the page, empty after a redirect."""
    data = {"username": "trader", "password": password}
    response = client.post(path, data, REMOTE_ADDR=address)
    return "" if response.status_code == 302 else response.content.decode()


@pytest.mark.parametrize("path", ["/login/", "/admin/login/"])
def test_an_address_that_guesses_is_told_to_wait(client: Client, user: User, path: str) -> None:
    for n in range(FAILURES_PER_MINUTE + 1):
        assert "Too many failed logins" not in log_in(client, path, f"guess {n}")
    # Even the right password tells a guesser nothing now.
    page = log_in(client, path, PASSWORD)
    assert "Too many failed logins from your address. Try again in" in page
    assert log_in(client, path, PASSWORD, address="192.0.2.2") == ""


def test_a_few_mistakes_do_not_lock_anybody_out(client: Client, user: User) -> None:
    for n in range(FAILURES_PER_MINUTE):
        assert log_in(client, "/login/", f"guess {n}")
    assert log_in(client, "/login/", PASSWORD) == ""


def test_the_limit_ends_by_itself() -> None:
    now = [1000.0]
    gate = LoginGate(per_minute=1, clock=lambda: now[0])
    gate.failed("192.0.2.1")
    gate.failed("192.0.2.1")
    with pytest.raises(ValidationError, match="Try again in 61 seconds"):
        gate.check("192.0.2.1")
    now[0] += 61
    gate.check("192.0.2.1")
