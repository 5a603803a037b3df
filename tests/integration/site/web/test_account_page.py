"""What is one's own is managed without the admin, and nothing of anybody else's is."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from openalgo_site.adapters import notices
from openalgo_site.web.account.pages import MOST_KEYS
from pooling.models import BrokerAccount
from streaming.models import ApiKey, UserPreferences
from streaming.scopes import READING, Scope

PAGE, KEYS = "/account/", "/account/keys/"
PASSWORD = "a-long-password-1"


def logged_in(user: User) -> Client:
    client = Client()
    assert client.login(username=user.get_username(), password=PASSWORD)
    return client


@pytest.fixture
def owner(user: User) -> Client:
    return logged_in(user)


@pytest.fixture
def other(user: User) -> User:
    return User.objects.create_user("bela", password=PASSWORD)


def text(answer: Any) -> str:
    found: str = answer.content.decode()
    return found


def made(client: Client, **values: str) -> tuple[str, Any]:
    """Make a key by the form; returns its plaintext, "" where none is shown, and the answer."""
    answer = client.post(KEYS, {"name": "notebook", **values})
    shown = re.findall(r'value="([0-9a-f]{64})"', text(answer))
    assert len(shown) <= 1
    return shown[0] if shown else "", answer


def test_a_key_is_shown_once_and_opens_the_door(owner: Client, user: User) -> None:
    plaintext, answer = made(owner, read_ticks="on", read_status="on", lasts="30")
    assert "no-store" in answer["Cache-Control"]
    key = ApiKey.objects.find(plaintext)
    assert key is not None
    assert (key.user, key.name, key.scope) == (user, "notebook", READING)
    assert key.ends is not None
    assert abs(key.ends - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    page = text(owner.get(PAGE))
    assert plaintext not in page
    assert plaintext[:8] in page
    assert "read ticks, read status" in page
    assert "<dd>never</dd>" in page, "it was not used yet"
    assert not any(plaintext in str(each.get_decoded()) for each in Session.objects.all())


def test_a_key_may_do_what_was_chosen_and_no_more(owner: Client) -> None:
    plaintext, _ = made(owner, set_credentials="on")
    key = ApiKey.objects.find(plaintext)
    assert key is not None
    assert key.scope == frozenset({Scope.SET_CREDENTIALS})
    assert key.ends is None
    for values, words in (
        ({}, "at least one thing"),
        ({"read_ticks": "on", "name": "x" * 65}, "at most 64"),
        ({"read_ticks": "on", "name": ""}, "required"),
        ({"read_ticks": "on", "lasts": "99999"}, "not one of the available choices"),
    ):
        plaintext, answer = made(owner, **values)
        assert (plaintext, answer.status_code) == ("", 200)
        assert words in text(answer)
    assert ApiKey.objects.count() == 1


def test_there_is_a_most_of_keys(owner: Client, user: User) -> None:
    for _ in range(MOST_KEYS):
        key, _ = ApiKey.objects.issue(user, "k")
    plaintext, answer = made(owner, read_ticks="on")
    assert plaintext == ""
    assert "which is the most" in text(answer)
    key.revoke()
    assert made(owner, read_ticks="on")[0]


def test_one_revokes_ones_own_keys_only(owner: Client, user: User, other: User) -> None:
    mine, _ = ApiKey.objects.issue(user, "mine")
    theirs, plaintext = ApiKey.objects.issue(other, "theirs")
    assert "theirs" not in text(owner.get(PAGE))
    assert owner.post(f"{KEYS}{theirs.pk}/revoke/").status_code == 404
    assert ApiKey.objects.find(plaintext) is not None
    for _ in range(2):  # as a double click does
        page = text(owner.post(f"{KEYS}{mine.pk}/revoke/", follow=True))
        assert "opens nothing any more" in page
    mine.refresh_from_db()
    assert mine.revoked_at is not None
    assert owner.get(f"{KEYS}{mine.pk}/revoke/").status_code == 405


def test_other_sessions_end_and_this_one_and_other_peoples_stay(
    owner: Client, user: User, other: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(notices.SENDER, "send", told.append)
    phone, laptop, neighbour = logged_in(user), logged_in(user), logged_in(other)
    assert "2 other sessions are ended." in text(owner.post("/account/sessions/", follow=True))
    assert told == [user.pk]
    assert [each.get(PAGE).status_code for each in (owner, phone, laptop, neighbour)] == [
        200,
        302,
        302,
        200,
    ]
    assert "There is no other." in text(owner.post("/account/sessions/", follow=True))
    assert told == [user.pk]


def test_a_new_password_needs_the_old_one_and_ends_other_sessions(
    owner: Client, user: User
) -> None:
    phone, fresh = logged_in(user), "another-long-password-2"
    address = "/account/password/"
    wrong = {"old_password": "guess", "new_password1": fresh, "new_password2": fresh}
    assert "entered incorrectly" in text(owner.post(address, wrong))
    assert User.objects.get().check_password(PASSWORD)
    answer = owner.post(address, {**wrong, "old_password": PASSWORD}, follow=True)
    assert "Your password is changed" in text(answer)
    assert User.objects.get().check_password(fresh)
    assert owner.get(PAGE).status_code == 200
    assert phone.get(PAGE).status_code == 302


def test_the_first_exchange_is_chosen_among_those_that_one_has(owner: Client, user: User) -> None:
    BrokerAccount.objects.create(user=user, broker="zerodha")
    assert '<option value="BSE">' in text(owner.get(PAGE))
    assert "Saved." in text(
        owner.post("/account/preferences/", {"preferred_exchange": "BSE"}, follow=True)
    )
    assert UserPreferences.objects.get(user=user).preferred_exchange == "BSE"
    assert '<option value="BSE" selected>' in text(owner.get(PAGE))
    refused = owner.post("/account/preferences/", {"preferred_exchange": "NASDAQ"})
    assert "not one of the available choices" in text(refused)
    assert UserPreferences.objects.get(user=user).preferred_exchange == "BSE"


def test_nothing_is_done_without_the_token_of_the_form(user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    key, _ = ApiKey.objects.issue(user, "k")
    for below in ("keys/", f"keys/{key.pk}/revoke/", "sessions/", "preferences/", "password/"):
        assert client.post(f"{PAGE}{below}").status_code == 403, below
    assert ApiKey.objects.valid().count() == 1
