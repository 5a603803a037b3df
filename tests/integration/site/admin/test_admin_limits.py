"""Lowering limits in the admin: what it drops is told before it is saved, and kept in history."""

from __future__ import annotations

import html
import re
from functools import partial
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from pooling.admin.forms.confirm_limits import CONFIRMED
from pooling.models import BrokerAccount, PoolConfig
from pooling.store import commands as command_queue
from tests.credential_kit import CredentialCipher
from tests.integration.site.admin.admin_kit import (
    account_form,
    answering,
    long_ago,
    make_status,
    staff,
)

MAY_CHANGE = (
    "pooling.view_brokeraccount",
    "pooling.change_brokeraccount",
    "pooling.change_poolconfig",
    "pooling.add_poolconfig",
)
SECRET = "kite-9f3a-canary"


@pytest.fixture
def editor(transactional_db: None, client: Client) -> Client:
    client.force_login(staff("edda", *MAY_CHANGE))
    return client


@pytest.fixture
def limits(account: BrokerAccount) -> PoolConfig:
    return PoolConfig.objects.create(
        account=account, max_connections=3, symbols_per_connection=1000
    )


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for workers that no test plays."""
    at_once = partial(command_queue.wait_for, timeout_seconds=0)
    monkeypatch.setattr("pooling.admin.forms.confirm_limits.command_queue.wait_for", at_once)


def url(account: BrokerAccount) -> str:
    return f"/admin/pooling/brokeraccount/{account.pk}/change/"


def post(client: Client, account: BrokerAccount, **changes: Any) -> Any:
    return client.post(url(account), account_form(account, **changes))


def lowered(connections: int | str) -> dict[str, Any]:
    return {"config-0-max_connections": connections}


def hidden_fields(answer: Any) -> dict[str, str]:
    """Return what the question sends back when it is answered with yes."""
    found = re.findall(
        r'<input type="hidden" name="([^"]+)" value="([^"]*)">', answer.content.decode()
    )
    return {name: html.unescape(value) for name, value in found if name != "csrfmiddlewaretoken"}


def words(answer: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.unescape(answer.content.decode())))


def history() -> list[str]:
    return [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]


def test_the_form_shows_default_cap_force_and_use_of_each_limit(
    editor: Client, account: BrokerAccount, limits: PoolConfig
) -> None:
    PoolConfig.objects.update(max_connections=2, symbols_per_connection=None)
    make_status(account, applied_revision=1)
    shown = words(editor.get(url(account)))
    assert "Symbols per connection: 1,000 3,000 1,000 1,000 on the fullest" in shown
    assert "Max connections: 3 3 2 3 open" in shown
    assert "Revision 1 in force since" in shown


@pytest.mark.parametrize(("broker", "cap"), [("upstox", 5000), ("zerodha", None)])
def test_the_page_knows_what_a_broker_grants_all_connections_together(
    editor: Client, account: BrokerAccount, limits: PoolConfig, broker: str, cap: int | None
) -> None:
    account.broker = broker
    account.save()
    found = re.findall(r'data-account-cap="(\d+)"', editor.get(url(account)).content.decode())
    assert found == ([] if cap is None else [str(cap)])


def test_what_is_dropped_is_told_first_and_saved_after_a_yes(
    editor: Client, account: BrokerAccount, limits: PoolConfig
) -> None:
    make_status(account)
    question = post(editor, account, **lowered(2))
    assert question.status_code == 200
    shown = words(question)
    assert "2 x 1,000 leaves 200 of 2,200 symbols without a place" in shown
    assert "the newest are dropped first; up to 3 clients are affected" in shown
    assert "Max connections: 3 → 2" in shown
    limits.refresh_from_db()
    assert limits.max_connections == 3
    assert not history()
    answer = editor.post(url(account), hidden_fields(question))
    assert answer.status_code == 302
    limits.refresh_from_db()
    assert (limits.max_connections, limits.revision) == (2, 2)


def test_the_worker_says_exactly_who_is_affected(
    editor: Client,
    account: BrokerAccount,
    limits: PoolConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_status(account)
    patient = partial(command_queue.wait_for.func, timeout_seconds=60)  # type: ignore[attr-defined]
    monkeypatch.setattr("pooling.admin.forms.confirm_limits.command_queue.wait_for", patient)
    with answering(account, result="It leaves 200 of 2,200 symbols of 1 client.") as asked:
        shown = words(post(editor, account, **lowered(2)))
    assert asked == [("preview", {"max_connections": 2, "symbols_per_connection": 1000})]
    assert "It leaves 200 of 2,200 symbols of 1 client." in shown
    assert "Reckoned" not in shown


def test_a_broker_that_counts_streams_is_reckoned_in_streams(
    editor: Client, user: User, cipher: CredentialCipher
) -> None:
    """A hundred symbols of ten streams each do not fit where 800 streams are allowed."""
    account = BrokerAccount.objects.create(user=user, broker="binance")
    allowed = account.capabilities().symbols_per_connection
    used = allowed * 2
    make_status(account, symbols=100, used=used, capacity=used)
    shown = words(post(editor, account, **lowered(1)))
    assert "leaves 50 of 100 symbols without a place" in shown


def test_a_yes_to_less_than_what_would_be_dropped_by_now_asks_again(
    editor: Client, account: BrokerAccount, limits: PoolConfig
) -> None:
    status = make_status(account)
    confirmed = hidden_fields(post(editor, account, **lowered(2)))
    status.symbols = 2900
    status.save()
    again = editor.post(url(account), confirmed)
    assert "leaves 900 of 2,900 symbols without a place" in words(again)
    assert hidden_fields(again)[CONFIRMED] == "900"


@pytest.mark.parametrize("confirmed", ["²", "9" * 5000])
def test_a_yes_that_is_no_number_asks_again(
    editor: Client, account: BrokerAccount, limits: PoolConfig, confirmed: str
) -> None:
    make_status(account)
    asked = hidden_fields(post(editor, account, **lowered(2)))
    again = editor.post(url(account), {**asked, CONFIRMED: confirmed})
    assert hidden_fields(again)[CONFIRMED] == asked[CONFIRMED]


@pytest.mark.parametrize(
    ("connections", "symbols"),
    [(2, 1900), (3, 2200), ("", 2200)],
)
def test_what_drops_nothing_is_not_asked_about(
    editor: Client, account: BrokerAccount, limits: PoolConfig, connections: Any, symbols: int
) -> None:
    make_status(account, symbols=symbols)
    assert post(editor, account, **lowered(connections)).status_code == 302


def test_what_waits_already_is_not_dropped_again(
    editor: Client, account: BrokerAccount, limits: PoolConfig
) -> None:
    PoolConfig.objects.update(max_connections=2)
    make_status(account, symbols=2000, waiting=200, max_connections=2)
    form = {"config-0-warm_connections": 1}
    assert post(editor, account, **form).status_code == 302
    assert "leaves 1,200 of 2,200" in words(post(editor, account, **lowered(1)))


def test_without_a_worker_the_numbers_are_those_of_the_last_word(
    editor: Client, account: BrokerAccount, limits: PoolConfig
) -> None:
    make_status(account, heartbeat=long_ago())
    shown = words(post(editor, account, **lowered(1)))
    assert "leaves 1,200 of 2,200 symbols without a place" in shown
    assert "No worker is alive for this pool" in shown


def test_an_impossible_limit_is_refused_before_any_question(
    editor: Client, account: BrokerAccount, limits: PoolConfig
) -> None:
    make_status(account)
    assert "Zerodha allows at most 3" in words(post(editor, account, **lowered(4)))


def test_history_says_who_changed_what_from_what_to_what(
    editor: Client, account: BrokerAccount
) -> None:
    post(editor, account, **lowered(2))
    account.label = "second"
    post(editor, account, **{"config-0-symbols_per_connection": 500})
    post(editor, account, **lowered(""))
    limits, now_of = "pool limits “limits of asha: zerodha ", "(second)”."
    assert history() == [
        f"Changed Max connections: default (3) → 2 for {limits}(main)”.",
        "Changed Label: main → second. Changed Symbols per connection: default (1,000) → 500 "
        f"for {limits}{now_of}",
        f"Changed Max connections: 2 → default (3) for {limits}{now_of}",
    ]
    assert set(LogEntry.objects.values_list("user__username", flat=True)) == {"edda"}
    page = words(editor.get(f"/admin/pooling/brokeraccount/{account.pk}/history/"))
    assert "Max connections: 2 → default (3)" in page
    assert "edda" in page


def test_a_credential_is_nowhere_in_history_question_or_log(
    editor: Client,
    account: BrokerAccount,
    limits: PoolConfig,
    cipher: CredentialCipher,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is asked for again beside the question, encrypted, and never sent back to a page."""
    caplog.set_level("DEBUG")
    make_status(account)
    typed = {"credential_zerodha_access_token": SECRET}
    question = post(editor, account, **typed, **lowered(2))
    assert "type it again" in words(question)
    assert 'type="password" name="credential_zerodha_access_token"' in question.content.decode()
    answer = editor.post(url(account), {**hidden_fields(question), **typed})
    assert answer.status_code == 302
    account.refresh_from_db()
    assert account.credentials_in_clear(cipher) == {"access_token": SECRET}
    (entry,) = history()
    assert entry.startswith("Changed Access token: replaced.")
    pages = [
        question,
        editor.get(url(account)),
        editor.get(f"/admin/pooling/brokeraccount/{account.pk}/history/"),
        editor.get("/admin/pooling/brokeraccount/"),
    ]
    seen = [page.content.decode() for page in pages] + [entry, caplog.text]
    for secret in (SECRET, *account.credentials.values()):
        assert not any(secret in each for each in seen)


def test_a_secret_in_the_query_of_an_endpoint_stays_out_of_history(
    editor: Client, account: BrokerAccount
) -> None:
    post(editor, account, endpoint=f"wss://ws.kite.trade/ws?token={SECRET}")
    assert history() == ["Changed Endpoint: the broker's own → wss://ws.kite.trade/ws."]


def test_the_credential_says_that_it_is_set_and_when_it_expires(
    editor: Client,
    account: BrokerAccount,
    cipher: CredentialCipher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = timezone.now()  # all of it on one side of six o'clock
    monkeypatch.setattr(timezone, "now", lambda: now)
    assert "not set" in words(editor.get(url(account)))
    account.set_credentials({"api_key": "a", "access_token": SECRET}, cipher)
    account.save()
    shown = words(editor.get(url(account)))
    assert re.search(r"Credential: set expires (\w+ \d+( \d+)?, )?06:00", shown)


def test_staff_who_may_not_change_limits_see_them_and_change_nothing(
    client: Client, account: BrokerAccount, limits: PoolConfig
) -> None:
    allowed = ("view_brokeraccount", "change_brokeraccount", "view_poolconfig")
    client.force_login(staff("vera", *(f"pooling.{name}" for name in allowed)))
    make_status(account)
    shown = client.get(url(account))
    assert "3 open" in words(shown)
    assert "config-0-max_connections" not in shown.content.decode()
    assert post(client, account, **lowered(1)).status_code == 302
    limits.refresh_from_db()
    assert limits.max_connections == 3


def test_a_new_account_shows_the_defaults_and_no_cap(
    transactional_db: None, client: Client
) -> None:
    client.force_login(User.objects.create_superuser("root"))
    shown = words(client.get("/admin/pooling/brokeraccount/add/"))
    assert "Max connections: 3 - -" in shown
