"""A program stores the credential of the day: with a key that may, in accounts that it may."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client

from openalgo_site.web import api_access
from openalgo_site.web.api_access import KeyGate
from pooling.models import BrokerAccount
from streaming.models import ApiKey
from streaming.scopes import Scope
from tests.credential_kit import CredentialCipher

TOKEN = "the-token-of-the-day"
BODY = {"credentials": {"access_token": TOKEN}}


@pytest.fixture(autouse=True)
def fresh_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_access, "KEY_GATE", KeyGate(per_minute=3, clock=lambda: 0.0))


@pytest.fixture
def key(user: User) -> str:
    return ApiKey.objects.issue(user, "morning", scope={Scope.SET_CREDENTIALS})[1]


def put(account: BrokerAccount, key: str, body: Any = BODY, **options: Any) -> Any:
    """Send it as a program does, without cookies and without a CSRF token."""
    return Client(enforce_csrf_checks=True).put(
        f"/api/pools/{account.pk}/credentials",
        body,
        content_type="application/json",
        headers={"X-API-KEY": key},
        **options,
    )


def stored(account: BrokerAccount, cipher: CredentialCipher) -> dict[str, str]:
    account.refresh_from_db()
    return account.credentials_in_clear(cipher)


def test_the_token_of_the_day_is_stored_and_the_rest_stays(
    account: BrokerAccount, cipher: CredentialCipher, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    account.set_credentials({"api_key": "app", "access_token": "yesterday's"}, cipher)
    account.save()
    with caplog.at_level(logging.DEBUG):
        answer = put(account, key, {"credentials": {"access_token": f" {TOKEN}\n"}})
    assert answer.status_code == 200, answer.content
    told = answer.json()
    assert (told["status"], told["stored"]) == ("success", ["access_token"])
    assert stored(account, cipher) == {"api_key": "app", "access_token": TOKEN}
    assert account.credentials_version == 2
    assert account.credentials_expire is not None
    assert told["expires"].startswith(f"{account.credentials_expire.year}-")
    (entry,) = LogEntry.objects.all()
    assert "Set by an API key: access_token." in entry.get_change_message()
    for place in (answer.content.decode(), entry.change_message, caplog.text):
        assert TOKEN not in place


@pytest.mark.usefixtures("cipher")
def test_only_own_accounts_unless_one_may_change_all(account: BrokerAccount, key: str) -> None:
    other = User.objects.create_user("ravi")
    _, theirs = ApiKey.objects.issue(other, "n", scope={Scope.SET_CREDENTIALS})
    refused = put(account, theirs)
    assert refused.status_code == 404
    account.pk += 1
    assert refused.content == put(account, theirs).content, "nobody learns what exists"
    account.pk -= 1
    other.user_permissions.add(Permission.objects.get(codename="change_brokeraccount"))
    assert put(account, theirs).status_code == 200
    assert put(account, key).status_code == 200


@pytest.mark.usefixtures("cipher")
def test_keys_that_only_read_and_sessions_store_nothing(account: BrokerAccount, user: User) -> None:
    _, reads = ApiKey.objects.issue(user, "notebook")
    assert put(account, reads).status_code == 403
    browser = Client()
    browser.force_login(user)
    url = f"/api/pools/{account.pk}/credentials"
    answer = browser.put(url, BODY, content_type="application/json")
    assert (answer.status_code, answer.json()["message"]) == (
        401, "Send an API key in the header X-API-KEY.",
    )  # fmt: skip
    account.refresh_from_db()
    assert account.credentials_version == 0


@pytest.mark.usefixtures("cipher")
@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("", 400, 'Send {"credentials"'),
        ("[]", 400, 'Send {"credentials"'),
        ({"credentials": {"access_token": 5}}, 400, 'Send {"credentials"'),
        ({"credentials": {}}, 400, "has these parts: access_token, api_key"),
        ({"credentials": {"password": "x"}}, 400, "has these parts: access_token, api_key"),
        ({"credentials": {"access_token": " "}}, 400, "access_token is text of 1 to 4,096"),
        ({"credentials": {"access_token": "x" * 4097}}, 400, "access_token is text of 1 to 4,096"),
        ({"credentials": {"access_token": "a\x00b"}}, 400, "access_token is text"),
    ],
)
def test_what_cannot_be_stored_is_refused_in_words(
    account: BrokerAccount, key: str, body: Any, status: int, words: str
) -> None:
    answer = put(account, key, body)
    assert answer.status_code == status
    assert words in json.loads(answer.content)["message"]
    account.refresh_from_db()
    assert account.credentials_version == 0


def test_without_a_key_file_it_says_what_mends_it(
    account: BrokerAccount, key: str, data_dir: object
) -> None:
    answer = put(account, key)
    assert answer.status_code == 503
    assert "createkeyfile" in answer.json()["message"]


@pytest.mark.usefixtures("cipher")
def test_accounts_that_take_none_or_mean_nothing(user: User, key: str) -> None:
    public = BrokerAccount.objects.create(user=user, broker="binance")
    answer = put(public, key)
    assert (answer.status_code, answer.json()["message"]) == (400, "binance takes no credential.")
    gone = BrokerAccount.objects.create(user=user, broker="nobody")
    assert put(gone, key).status_code == 409
