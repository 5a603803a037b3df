"""Settings of the account's broker in the admin: shown, checked, saved, told in the history."""

from __future__ import annotations

import html
import re
from functools import partial
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from brokers.settings import BrokerSettings
from brokers.zerodha.connection import ZerodhaAdapter
from pooling.models import BrokerAccount, PoolConfig
from pooling.operations.settings import settings_of
from pooling.store import commands as command_queue
from tests.integration.site.admin.admin_kit import account_form, answering, make_status, staff

MAY_VIEW = ("pooling.view_brokeraccount", "pooling.view_poolconfig")
MAY_CHANGE = (
    *MAY_VIEW,
    "pooling.change_brokeraccount",
    "pooling.change_poolconfig",
    "pooling.add_poolconfig",
)


@pytest.fixture
def editor(transactional_db: None, client: Client) -> Client:
    client.force_login(staff("edda", *MAY_CHANGE))
    return client


@pytest.fixture
def dhan(user: User) -> BrokerAccount:
    return BrokerAccount.objects.create(user=user, broker="dhan")


@pytest.fixture
def fyers(user: User) -> BrokerAccount:
    return BrokerAccount.objects.create(user=user, broker="fyers")


def url(account: BrokerAccount) -> str:
    return f"/admin/pooling/brokeraccount/{account.pk}/change/"


def post(client: Client, account: BrokerAccount, **changes: Any) -> Any:
    """Post the page as a browser does; None in ``changes`` leaves a field out."""
    form = account_form(account, **changes)
    return client.post(url(account), {name: v for name, v in form.items() if v is not None})


def words(answer: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.unescape(answer.content.decode())))


def stored(account: BrokerAccount) -> Any:
    return BrokerAccount.objects.get(pk=account.pk).broker_settings


def test_the_page_has_a_field_for_each_setting_of_the_accounts_broker(
    editor: Client, dhan: BrokerAccount
) -> None:
    page = editor.get(url(dhan))
    text, source = words(page), page.content.decode()
    assert "Settings of Dhan" in text
    assert "A running worker uses a change within seconds" in text
    for field, _ in settings_of(dhan):
        assert f'for="id_setting_{field.name}"' in source
        assert field.help_text in text
    assert 'type="checkbox" name="setting_takes_close_from_quotes"' in source
    assert '<select name="setting_trade_time_offset_seconds"' in source
    assert re.search(
        r'<input type="number" name="setting_replaced_wait_seconds"[^>]*min="1', source
    )
    assert "counts a dead connection for 40 seconds. Default: 45." in text


def test_a_broker_without_settings_has_no_section(
    editor: Client, account: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Settings of Zerodha" in words(editor.get(url(account)))
    monkeypatch.setattr(ZerodhaAdapter, "settings", BrokerSettings())
    assert "Settings of" not in words(editor.get(url(account)))


def test_a_new_account_is_told_that_settings_come_later(client: Client, user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
    client.force_login(User.objects.get(pk=user.pk))
    page = client.get("/admin/pooling/brokeraccount/add/")
    assert "What plans differ in can be set once the account is saved." in words(page)
    assert "setting_" not in page.content.decode()


def test_only_what_differs_is_stored_and_the_history_says_from_what_to_what(
    editor: Client, dhan: BrokerAccount
) -> None:
    assert post(editor, dhan).status_code == 302
    assert stored(dhan) == {}
    answer = post(
        editor,
        dhan,
        setting_takes_close_from_quotes="on",
        setting_trade_time_offset_seconds="0",
        setting_replaced_wait_seconds="60.5",
    )
    assert answer.status_code == 302
    dhan.refresh_from_db()
    assert dhan.broker_settings == {
        "trade_time_offset_seconds": 0,
        "takes_close_from_quotes": True,
        "replaced_wait_seconds": 60.5,
    }
    assert "Settings of Dhan (3 not the default)" in words(editor.get(url(dhan)))
    message = LogEntry.objects.latest("pk").get_change_message()
    assert "Take the previous close from quotes: no → yes" in message
    assert "Trade times are ahead by (seconds): 19800 → 0" in message
    assert "Wait after being replaced (seconds): 45 → 60.5" in message
    assert "Longest wait" not in message
    back = {"setting_takes_close_from_quotes": None, "setting_trade_time_offset_seconds": "19800"}
    assert post(editor, dhan, **back, setting_replaced_wait_seconds="").status_code == 302
    assert stored(dhan) == {}


@pytest.mark.parametrize(
    ("name", "value", "mends"),
    [
        ("replaced_wait_seconds", "0.5", "greater than or equal to 1"),
        ("replaced_wait_seconds", "soon", "Enter a number"),
        ("trade_time_offset_seconds", "7", "Select a valid choice"),
        ("replaced_wait_limit_seconds", "44", "replaced_wait_seconds must not be above"),
    ],
)
def test_what_is_not_allowed_is_refused_and_nothing_is_saved(
    editor: Client, dhan: BrokerAccount, name: str, value: str, mends: str
) -> None:
    answer = post(editor, dhan, label="other", **{f"setting_{name}": value})
    assert answer.status_code == 200
    assert mends in words(answer)
    assert stored(dhan) == {}
    assert BrokerAccount.objects.get(pk=dhan.pk).label == "main"


def test_limits_are_checked_under_the_settings_saved_with_them(
    editor: Client, fyers: BrokerAccount
) -> None:
    refused = post(editor, fyers, **{"config-0-max_connections": "3"})
    assert "Fyers allows at most 1 here." in words(refused)
    both = {"setting_connections": "3", "config-0-max_connections": "3"}
    assert post(editor, fyers, **both).status_code == 302
    assert stored(fyers) == {"connections": 3}
    assert PoolConfig.objects.get().max_connections == 3
    assert "Max connections: 3 3 3" in words(editor.get(url(fyers)))
    back = {"setting_connections": "1"}
    assert "Fyers allows at most 1 here." in words(post(editor, fyers, **back))
    assert stored(fyers) == {"connections": 3}


def test_a_setting_that_drops_symbols_asks_first_and_has_the_worker_try_it(
    editor: Client, fyers: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    BrokerAccount.objects.update(broker_settings={"symbols": 9000})
    PoolConfig.objects.create(account=fyers, symbols_per_connection=9000)
    fyers.refresh_from_db()
    make_status(fyers, symbols=6000, used=6000, capacity=9000, max_connections=1)
    patient = partial(command_queue.wait_for, timeout_seconds=60)
    monkeypatch.setattr("pooling.admin.forms.confirm_limits.command_queue.wait_for", patient)
    lower = {"setting_symbols": "5000", "config-0-symbols_per_connection": ""}
    with answering(fyers, result="It leaves 1,000 of 6,000 symbols.") as asked:
        question = post(editor, fyers, **lower)
    limits = {"max_connections": 1, "symbols_per_connection": 1000}
    assert asked == [("preview", {**limits, "settings": {}})]
    assert "It leaves 1,000 of 6,000 symbols." in words(question)
    assert "Symbols of your plan: 9000 → 5000" in words(question)
    assert stored(fyers) == {"symbols": 9000}
    hidden = re.findall(
        r'<input type="hidden" name="([^"]+)" value="([^"]*)">', question.content.decode()
    )
    answer = editor.post(url(fyers), {n: html.unescape(v) for n, v in hidden if n[:4] != "csrf"})
    assert answer.status_code == 302
    assert stored(fyers) == {}


def test_a_setting_alone_asks_too_where_no_limit_was_ever_saved(
    editor: Client, fyers: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = partial(command_queue.wait_for, timeout_seconds=0)
    monkeypatch.setattr("pooling.admin.forms.confirm_limits.command_queue.wait_for", at_once)
    BrokerAccount.objects.update(broker_settings={"connections": 3})
    fyers.refresh_from_db()
    make_status(fyers)
    question = words(post(editor, fyers, setting_connections="1"))
    assert "1 x 1,000 leaves 1,200 of 2,200 symbols without a place" in question
    assert "Connections: 3 → 1" in question
    assert stored(fyers) == {"connections": 3}
    assert post(editor, fyers, setting_connections="4").status_code == 302
    assert stored(fyers) == {"connections": 4}


def test_who_may_only_look_sees_the_values(client: Client, dhan: BrokerAccount) -> None:
    BrokerAccount.objects.update(broker_settings={"replaced_wait_seconds": 60.0})
    client.force_login(staff("vera", *MAY_VIEW))
    page = client.get(url(dhan))
    assert "Wait after being replaced (seconds): 60 " in words(page)
    assert "Ask for a new mode before ending the old one: no default" in words(page)
    assert 'name="setting_' not in page.content.decode()


def test_what_is_stored_and_cannot_be_used_gives_way_to_what_is_saved(
    editor: Client, dhan: BrokerAccount
) -> None:
    BrokerAccount.objects.update(broker_settings={"speed": 9})
    dhan.refresh_from_db()
    assert "Settings of Dhan" in words(editor.get(url(dhan)))
    assert post(editor, dhan, setting_replaced_wait_seconds="50").status_code == 302
    assert stored(dhan) == {"replaced_wait_seconds": 50.0}


def test_an_endpoint_with_settings_behind_it_is_refused_with_where_they_are(
    editor: Client, fyers: BrokerAccount
) -> None:
    answer = post(editor, fyers, endpoint="wss://socket.fyers.in/hsm#lite_channel=12")
    assert "the account's settings have fields of their own" in words(answer)


@pytest.mark.parametrize(
    ("broker", "endpoint", "mends"),
    [
        ("binance", "wss://stream.binance.com/ws/btcusdt@trade", "leave streams out"),
        ("angel", "wss://x.test/smart-stream?clientCode=C1&feedToken=f", "fields of its own"),
        ("dhan", "wss://api-feed.dhan.co?version=2&token=t", "fields of its own"),
    ],
)
def test_an_endpoint_that_the_broker_cannot_serve_is_refused_when_it_is_saved(
    editor: Client, fyers: BrokerAccount, broker: str, endpoint: str, mends: str
) -> None:
    account = BrokerAccount.objects.create(user=fyers.user, broker=broker)
    assert mends in words(post(editor, account, endpoint=endpoint))
    account.refresh_from_db()
    assert account.endpoint == ""


def test_accounts_that_may_count_together_are_warned_of_when_they_are_too_many(
    editor: Client, dhan: BrokerAccount
) -> None:
    deep = BrokerAccount.objects.create(user=dhan.user, broker="dhan_depth20")
    for account, limit in ((dhan, 3), (deep, 3)):
        PoolConfig.objects.create(account=account, max_connections=limit)
    page = words(follow(editor, dhan))
    assert "asha/dhan/main with 3 and asha/dhan_depth20/main with 3 together, and allows 5" in page
    assert 'Lower "max connections" so that they are 5 at most together' in page
    assert "may count" in words(follow(editor, deep))
    assert "may count" not in words(follow(editor, deep, **{"config-0-max_connections": "2"}))
    assert "may count" in words(follow(editor, deep, **{"config-0-max_connections": "3"}))
    assert "may count" not in words(follow(editor, deep, label="another"))


def follow(client: Client, account: BrokerAccount, **changes: Any) -> Any:
    """Save, and return the page that is shown then."""
    account = BrokerAccount.objects.get(pk=account.pk)
    answer = post(client, account, _continue="1", **changes)
    assert answer.status_code == 302
    return client.get(answer.url)
