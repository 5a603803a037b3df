"""Brokers page as its user's browser meets it, with a broker in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from brokers.login.contract import LoginField, LoginKind
from pooling.models import BrokerAccount, LoginAttempt, LoginSetup
from pooling.operations import logins
from pooling.testing.login import FakeLogin
from tests.integration.site.admin.admin_kit import make_status
from tests.integration.site.login_kit import KEPT, WorkerTurn

LONG_LIVED = FakeLogin(
    fields={
        **FakeLogin().fields,
        LoginKind.LONG_LIVED: (
            LoginField(name="access_token", label="Token", is_secret=True, is_wide=True),
        ),
    }
)


@pytest.fixture(autouse=True)
def login(monkeypatch: pytest.MonkeyPatch) -> FakeLogin:
    monkeypatch.setattr("pooling.conf.login_of", lambda broker, base_url="": LONG_LIVED)
    monkeypatch.setattr(logins, "PATIENCE_SECONDS", 0.0)
    return LONG_LIVED


@pytest.fixture
def browser(user: User, cipher: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def ready(account: BrokerAccount, browser: Client) -> BrokerAccount:
    logins.keep_fields(account, KEPT)
    make_status(account)
    return account


def words(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def begin(browser: Client, account: BrokerAccount) -> str:
    """Press *Log in*; return the state that the broker is given."""
    answer = browser.post(reverse("broker-log-in", args=[account.pk]))
    assert answer.status_code == 200
    return words(answer).partition("state=")[2].partition("&")[0]


def come_back(browser: Client, broker: str = "zerodha", **query: str) -> Any:
    return browser.get(reverse("broker-callback", args=[broker]), query, follow=True)


def test_somebody_without_an_account_chooses_a_broker(browser: Client) -> None:
    page = words(browser.get(reverse("brokers")))
    assert "You have no broker account" in page
    assert reverse("broker-add", args=["zerodha"]) in page


def test_adding_asks_for_what_the_broker_needs_and_leads_there(
    browser: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = reverse("broker-add", args=["zerodha"])
    page = words(browser.get(add))
    assert "API secret" in page
    assert "http://testserver/brokers/zerodha/callback/" in page
    monkeypatch.setattr("pooling.models.PoolStatus.objects.has_worker", lambda account_id: True)
    answer = browser.post(add, {"label": "main", "api_key": "key1", "api_secret": "s3cret-1"})
    assert "https://broker.test/login?key=key1" in words(answer)
    account = BrokerAccount.objects.get(user=user)
    setup = LoginSetup.objects.get(account=account)
    assert setup.public == {"api_key": "key1"}
    assert "s3cret-1" not in str(setup.secrets)


def test_a_second_account_of_the_same_name_and_a_wrong_key_are_refused(
    browser: Client, account: BrokerAccount
) -> None:
    add = reverse("broker-add", args=["zerodha"])
    page = words(browser.post(add, {"label": "main", "api_key": "!", "api_secret": "s"}))
    assert "of that name at this broker already" in page
    assert "This is no API key." in page
    assert BrokerAccount.objects.count() == 1


@pytest.mark.parametrize("label", ["a\nb", "\u202egnp", "a\x00"])
def test_a_name_that_does_not_read_as_it_is_is_refused(
    browser: Client, user: User, label: str
) -> None:
    """Others than its owner read it: in the admin, and in the logs."""
    form = {"label": label, "api_key": "key1", "api_secret": "s3cret-1"}
    page = words(browser.post(reverse("broker-add", args=["zerodha"]), form))
    assert "A name is one line" in page or "Null characters" in page
    assert not BrokerAccount.objects.exists()


def test_logged_in_with_one_click_and_back(
    browser: Client, ready: BrokerAccount, data_dir: Path
) -> None:
    state = begin(browser, ready)
    answer = come_back(browser, code="c0de-1", state=state)
    assert answer.redirect_chain == [(f"/brokers/#account-{ready.pk}", 302)]
    assert "finishing the login" in words(answer)
    WorkerTurn(data_dir)(ready)
    page = words(browser.get(reverse("brokers")))
    assert "Logged in as AB1234." in page
    assert "AB1234" in page
    assert "c0de-1" not in page


def test_the_page_that_leads_to_the_broker_tells_it_nothing(
    browser: Client, ready: BrokerAccount
) -> None:
    answer = browser.post(reverse("broker-log-in", args=[ready.pk]))
    assert answer["Referrer-Policy"] == "no-referrer"
    assert "no-store" in answer["Cache-Control"]
    callback = browser.get(reverse("broker-callback", args=["zerodha"]), {"code": "c"})
    assert callback["Referrer-Policy"] == "no-referrer"
    assert "no-store" in callback["Cache-Control"]
    assert "code" not in callback["Location"]


def test_a_return_that_nobody_began_is_a_sentence(browser: Client, ready: BrokerAccount) -> None:
    page = words(come_back(browser, code="c", state="of-somebody-else"))
    assert "was not begun here" in page
    assert not LoginAttempt.objects.exists()


def test_logged_out_meanwhile(browser: Client, ready: BrokerAccount, user: User) -> None:
    state = begin(browser, ready)
    browser.logout()
    answer = come_back(browser, code="c0de-1", state=state)
    assert "You were logged out here" in words(answer)
    assert all("c0de-1" not in where for where, _ in answer.redirect_chain)
    browser.force_login(user)
    # The session is another one now, so that what is still in the address opens nothing.
    assert "was not begun here" in words(come_back(browser, code="c0de-1", state=state))


def test_another_users_account_does_not_exist(browser: Client, ready: BrokerAccount) -> None:
    eve = Client()
    eve.force_login(User.objects.create_superuser("eve"))
    for name in (
        "broker-log-in",
        "broker-log-in-now",
        "broker-pause",
        "broker-resume",
        "broker-test",
        "broker-remove",
    ):
        assert eve.post(reverse(name, args=[ready.pk])).status_code == 404
    for name in ("broker-setup", "broker-token", "broker-remove"):
        assert eve.get(reverse(name, args=[ready.pk])).status_code == 404
    assert "asha" not in words(eve.get(reverse("brokers")))
    begin(browser, ready)
    attempt = LoginAttempt.objects.get()
    assert eve.get(reverse("broker-going", args=[attempt.pk])).status_code == 404


def test_a_pasted_token_is_tried_first(
    browser: Client, ready: BrokerAccount, data_dir: Path
) -> None:
    token = reverse("broker-token", args=[ready.pk])
    browser.post(token, {"api_key": "key1", "access_token": "pasted-1"})
    assert not BrokerAccount.objects.get(pk=ready.pk).credentials
    WorkerTurn(data_dir, answers={"/me": ["secret"]})(ready)
    assert "The broker says: secret." in words(browser.get(reverse("brokers")))
    browser.post(token, {"api_key": "key1", "access_token": "pasted-2"})
    WorkerTurn(data_dir)(ready)
    assert BrokerAccount.objects.get(pk=ready.pk).credentials


def test_the_stored_credential_is_tried_and_stays(
    browser: Client, ready: BrokerAccount, data_dir: Path
) -> None:
    test = reverse("broker-test", args=[ready.pk])
    assert "log in first" in words(browser.post(test, follow=True))
    values = {"api_key": "key1", "access_token": "pasted-1"}
    browser.post(reverse("broker-token", args=[ready.pk]), values)
    WorkerTurn(data_dir)(ready)
    before = BrokerAccount.objects.get(pk=ready.pk)
    for answer, sentence in (
        ("owner AB1234", "The broker takes the stored credential of AB1234."),
        ("secret", "The broker says: secret."),
    ):
        browser.post(test)
        WorkerTurn(data_dir, answers={"/me": [answer]})(ready)
        assert sentence in words(browser.get(reverse("brokers")))
        after = BrokerAccount.objects.get(pk=ready.pk)
        assert after.credentials == before.credentials
        assert after.credentials_version == before.credentials_version


def test_an_account_is_removed_once_its_owner_has_seen_what_goes(
    browser: Client, ready: BrokerAccount
) -> None:
    remove = reverse("broker-remove", args=[ready.pk])
    page = words(browser.get(remove))
    assert "Nothing of it comes back." in page
    assert BrokerAccount.objects.exists()
    assert "was removed" in words(browser.post(remove, follow=True))
    assert not BrokerAccount.objects.exists()
    assert browser.post(remove).status_code == 404


def test_an_empty_form_of_a_token_is_refused(browser: Client, ready: BrokerAccount) -> None:
    page = words(browser.post(reverse("broker-token", args=[ready.pk]), {}))
    assert "This field is required." in page


def test_pin_and_totp_need_a_yes(browser: Client, ready: BrokerAccount) -> None:
    setup = reverse("broker-setup", args=[ready.pk]) + "?kind=unattended"
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    form = {"pin": "1234", "totp_secret": secret, "unattended": "on", "unattended_at": "08:20"}
    assert "This field is required." in words(browser.post(setup, form))
    assert not LoginSetup.objects.get(account=ready).unattended
    browser.post(setup, {**form, "consent": "on"})
    kept = LoginSetup.objects.get(account=ready)
    assert (kept.unattended, f"{kept.unattended_at:%H:%M}") == (True, "08:20")
    assert LoginAttempt.objects.get().kind == "unattended"
    # What is kept is not asked for again, and never shown.
    page = words(browser.get(setup))
    assert secret not in page
    assert "Kept; leave it empty to keep it." in page


@pytest.mark.parametrize(
    ("typed", "told"),
    [("123456", "a code of six digits"), ("not base32!", "letters A to Z"), ("ABCD", "too short")],
)
def test_what_is_no_totp_secret_is_refused_before_it_is_kept(
    browser: Client, ready: BrokerAccount, typed: str, told: str
) -> None:
    setup = reverse("broker-setup", args=[ready.pk]) + "?kind=unattended"
    form = {"pin": "1234", "totp_secret": typed, "unattended_at": "08:20", "consent": "on"}
    assert told in words(browser.post(setup, form))
    assert "totp_secret" not in LoginSetup.objects.get(account=ready).secrets
    assert not LoginAttempt.objects.exists()


def test_what_is_kept_stays_when_its_field_stays_empty(
    browser: Client, ready: BrokerAccount
) -> None:
    before = LoginSetup.objects.get(account=ready).secrets
    setup = reverse("broker-setup", args=[ready.pk])
    browser.post(setup, {"api_key": "key2", "api_secret": ""})
    kept = LoginSetup.objects.get(account=ready)
    assert kept.public == {"api_key": "key2"}
    assert kept.secrets == before


def test_a_token_for_a_year_is_tried_and_stored(
    browser: Client, ready: BrokerAccount, data_dir: Path
) -> None:
    setup = reverse("broker-setup", args=[ready.pk]) + "?kind=long-lived"
    browser.post(setup, {"access_token": "analytics-1"})
    assert LoginAttempt.objects.get().kind == "long-lived"
    WorkerTurn(data_dir)(ready)
    assert BrokerAccount.objects.get(pk=ready.pk).credentials


def test_the_cards_as_json_are_the_users_own(browser: Client, ready: BrokerAccount) -> None:
    begin(browser, ready)
    cards = browser.get(reverse("broker-cards")).json()["cards"]
    assert [each["id"] for each in cards] == [ready.pk]
    assert cards[0]["attempt_word"] == "waiting for you at the broker"
    eve = Client()
    eve.force_login(User.objects.create_user("eve"))
    assert eve.get(reverse("broker-cards")).json() == {"cards": []}


def test_there_are_only_so_many_accounts(browser: Client, user: User) -> None:
    BrokerAccount.objects.bulk_create(
        BrokerAccount(user=user, broker="zerodha", label=str(each)) for each in range(20)
    )
    answer = browser.get(reverse("broker-add", args=["zerodha"]), follow=True)
    assert "which is the most" in words(answer)


def test_a_broker_that_there_is_not(browser: Client) -> None:
    assert browser.get("/brokers/add/none/").status_code == 404
    assert browser.get("/brokers/none/callback/").status_code in (302, 404)


def test_a_local_exchange_in_place_of_the_broker(
    browser: Client, user: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openalgo_site.config.local_exchanges import parse_local_exchanges

    settings.LOCAL_EXCHANGES = parse_local_exchanges(
        "zerodha=ws://127.0.0.1:9010 http://127.0.0.1:9011"
    )
    add = reverse("broker-add", args=["zerodha"])
    browser.post(add, {"label": "main", "api_key": "key1", "api_secret": "s3cret-1"})
    account = BrokerAccount.objects.get(user=user)
    assert account.endpoint == "ws://127.0.0.1:9010"
    assert LoginSetup.objects.get(account=account).endpoint == "http://127.0.0.1:9011"
