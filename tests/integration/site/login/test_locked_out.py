"""Who is locked out, why, and letting them in: for those who look after users."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from openalgo_site.login import attempts, locked_out_page, login_limits
from openalgo_site.login.login_limits import PER_ADDRESS, PER_NAME, PER_NAME_AND_ADDRESS, LoginGate
from tests.integration.site.admin.admin_kit import staff
from tests.integration.site.login.test_login_limits import TOO_MANY, log_in

pytestmark = pytest.mark.django_db

PAGE = "/admin/logins/"
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def still_clock(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    """A clock that stands still: a lockout must not end in a slow test."""
    shared = attempts.SharedAttempts(data_dir / "attempts", secret="s", clock=lambda: 1000.0)
    for module in (login_limits, locked_out_page):
        monkeypatch.setattr(module, "login_gate", lambda: LoginGate(shared))


@pytest.fixture
def trader() -> User:
    return User.objects.create_user("trader", password=PASSWORD)


@pytest.fixture
def helper(client: Client) -> Client:
    client.force_login(staff("olga", "auth.change_user", "auth.view_user"))
    return client


def guess(times: int, **options: Any) -> None:
    stranger = Client()
    for n in range(times):
        log_in(stranger, "/login/", f"guess {n}", **options)


def rows(client: Client) -> list[list[str]]:
    """Return the table's cells as text."""
    page = client.get(PAGE).content.decode()
    body = page.partition('tp-locked">')[2].partition("<tbody>")[2].partition("</tbody>")[0]
    return [
        [
            " ".join(re.sub(r"<[^>]+>", " ", cell).split())
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)
        ]
        for row in re.findall(r"<tr>.*?</tr>", body, re.S)
    ]


def let_in(client: Client, row: int = 0) -> str:
    page = client.get(PAGE).content.decode()
    bucket = re.findall(r'name="bucket" value="(\w+)"', page)[row]
    answer = client.post(PAGE, {"bucket": bucket}, follow=True)
    return " ".join(
        re.findall(r'<li class="(?:success|warning)">(.*?)</li>', answer.content.decode())
    )


def test_who_is_locked_out_is_shown_and_let_in(
    helper: Client, trader: User, caplog: pytest.LogCaptureFixture
) -> None:
    assert "Nobody was locked out" in helper.get(PAGE).content.decode()
    guess(PER_NAME_AND_ADDRESS + 3)
    (row,) = rows(helper)
    assert row[:2] == ["trader", "from 192.0.2.1"]
    assert row[2].startswith("locked out for ")
    assert row[3:5] == ["10 failed logins of this name from there within a minute", "3"]
    assert row[-1] == "Let in"
    assert TOO_MANY in log_in(Client(), "/login/", PASSWORD)
    with caplog.at_level(logging.INFO, logger="openalgo_site"):
        assert let_in(helper) == "May try again: trader, from 192.0.2.1."
    assert log_in(Client(), "/login/", PASSWORD) == ""
    assert rows(helper) == []
    (entry,) = LogEntry.objects.all()
    assert entry.object_id == str(trader.pk)
    assert entry.get_change_message() == "Let in after failed logins, from 192.0.2.1."
    assert "olga let trader in, from 192.0.2.1" in caplog.text


def test_what_is_typed_as_a_name_is_shown_only_where_it_is_one(helper: Client) -> None:
    guess(PER_NAME_AND_ADDRESS + 1, name="my-secret-password")
    assert rows(helper)[0][0] == "a name that nobody has"
    assert "my-secret-password" not in helper.get(PAGE).content.decode()
    assert "a name that nobody has" in let_in(helper)
    assert not LogEntry.objects.exists()


def test_an_address_and_a_name_that_are_tried_widely(helper: Client, trader: User) -> None:
    for n in range(PER_ADDRESS + 1):
        log_in(Client(), "/login/", "guess", name=f"user {n}", address="192.0.2.7")
    (row,) = rows(helper)
    assert row[:2] == ["everybody", "from 192.0.2.7"]
    assert row[3] == "60 failed logins from there, whatever the name within a minute"
    assert let_in(helper) == "May try again: everybody, from 192.0.2.7."
    for n in range(PER_NAME + 1):
        log_in(Client(), "/login/", "guess", address=f"2001:db8:{n:x}::1")
    (row,) = rows(helper)
    assert row[:2] == ["trader", "from anywhere"]
    let_in(helper)
    assert log_in(Client(), "/login/", PASSWORD) == ""


def test_it_says_when_a_lockout_is_over(
    helper: Client, trader: User, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    guess(PER_NAME_AND_ADDRESS + 1)
    bucket = re.findall(r'name="bucket" value="(\w+)"', helper.get(PAGE).content.decode())[0]
    later = attempts.SharedAttempts(data_dir / "attempts", secret="s", clock=lambda: 1060.0)
    monkeypatch.setattr(locked_out_page, "login_gate", lambda: LoginGate(later))
    (row,) = rows(helper)
    assert (row[2], row[-1]) == ("over", "")
    answer = helper.post(PAGE, {"bucket": bucket}, follow=True)
    assert "That lockout is over." in answer.content.decode()
    for nonsense in ("", "zz", "00" * 16):
        answer = helper.post(PAGE, {"bucket": nonsense}, follow=True)
        assert "That lockout is over." in answer.content.decode()


def test_only_who_may_change_users_sees_it(client: Client, trader: User) -> None:
    guess(PER_NAME_AND_ADDRESS + 1)
    assert client.get(PAGE).status_code == 302
    client.force_login(trader)
    assert client.get(PAGE).status_code == 302
    client.force_login(staff("bare", "auth.view_user"))
    assert client.get(PAGE).status_code == 403
    assert client.post(PAGE, {"bucket": "00"}).status_code == 403
    assert PAGE not in client.get("/admin/").content.decode()
    client.force_login(staff("olga", "auth.change_user"))
    assert PAGE in client.get("/admin/").content.decode()
