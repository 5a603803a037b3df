"""Guessing the old password in a browser that is logged in is slow, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client

from openalgo_site.login import attempts, login_limits, password_change
from openalgo_site.login.login_limits import PER_NAME_AND_ADDRESS, LoginGate
from tests.integration.site.admin.admin_kit import staff
from tests.integration.site.login.test_login_limits import TOO_MANY, log_in

pytestmark = pytest.mark.django_db

URL = "/admin/password_change/"
OLD, NEW = "correct horse battery", "quite another staple-9"


@pytest.fixture(autouse=True)
def still_clock(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    shared = attempts.SharedAttempts(data_dir / "attempts", secret="s", clock=lambda: 1000.0)
    for module in (login_limits, password_change):
        monkeypatch.setattr(module, "login_gate", lambda: LoginGate(shared))


@pytest.fixture
def olga(client: Client) -> User:
    user = staff("olga")
    user.set_password(OLD)
    user.save()
    client.force_login(user)
    return user


def change(client: Client, old: str, url: str = URL) -> str:
    """Send the form; returns the page, empty after a redirect."""
    data = {"old_password": old, "new_password1": NEW, "new_password2": NEW}
    answer = client.post(url, data)
    return "" if answer.status_code == 302 else answer.content.decode()


@pytest.mark.parametrize("url", [URL, "/account/password/"])
def test_guesses_of_the_old_password_are_counted(client: Client, olga: User, url: str) -> None:
    for n in range(PER_NAME_AND_ADDRESS):
        page = change(client, f"guess {n}", url)
        assert "Your old password was entered incorrectly" in page
        assert TOO_MANY not in page
    assert TOO_MANY in change(client, OLD, url)
    olga.refresh_from_db()
    assert olga.check_password(OLD)
    # Who is at another browser logs in all the same.
    assert log_in(Client(), "/admin/login/", OLD, name="olga") == ""


def test_strangers_at_the_login_keep_nobody_from_changing_it(client: Client, olga: User) -> None:
    for n in range(PER_NAME_AND_ADDRESS + 1):
        log_in(Client(), "/login/", f"guess {n}", name="olga")
    assert change(client, OLD) == ""
    olga.refresh_from_db()
    assert olga.check_password(NEW)


def test_it_is_djangos_own_page_otherwise(client: Client, olga: User) -> None:
    page = client.get(URL).content.decode()
    assert "TickPool administration" in page
    assert "new_password2" in page
    assert "/admin/login/" in Client().get(URL)["Location"]
