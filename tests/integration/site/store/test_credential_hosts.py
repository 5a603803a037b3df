"""A stored credential goes to the host that it was entered for, whoever edits the account."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.conf import settings as django_settings
from django.test import Client

from brokers.exceptions import BrokerConfigError
from openalgo_site.demo.installation import DemoAccount, _account
from pooling.models import BrokerAccount
from pooling.operations.transfer import TransferError, apply_import, export, plan_import
from tests.credential_kit import CredentialCipher
from tests.integration.site.admin.admin_kit import account_form, staff

VALUES = {"api_key": "planted-key", "access_token": "planted-token"}
HERE, THERE = "ws://127.0.0.1:9010", "wss://elsewhere.example/feed"


@pytest.fixture
def kept(account: BrokerAccount, cipher: CredentialCipher) -> BrokerAccount:
    account.set_credentials(VALUES, cipher)
    account.save()
    return account


@pytest.fixture
def editor(client: Client, user: Any) -> Client:
    names = ("view_brokeraccount", "change_brokeraccount", "view_poolconfig", "change_poolconfig")
    client.force_login(staff("olga", *(f"pooling.{name}" for name in names)))
    return client


def allow(settings: Any, hosts: str) -> None:
    settings.ENV = msgspec.structs.replace(django_settings.ENV, broker_hosts=hosts)


def post(editor: Client, account: BrokerAccount, **changes: Any) -> Any:
    form = account_form(account, **changes)
    url = f"/admin/pooling/brokeraccount/{account.pk}/change/"
    return editor.post(url, {name: value for name, value in form.items() if value is not None})


def stored(account: BrokerAccount, cipher: CredentialCipher) -> dict[str, str]:
    return BrokerAccount.objects.get(pk=account.pk).credentials_in_clear(cipher)


def typed(**values: str) -> dict[str, str]:
    return {f"credential_zerodha_{name}": value for name, value in values.items()}


def test_the_form_refuses_hosts_that_nobody_allowed(
    editor: Client, kept: BrokerAccount, cipher: CredentialCipher
) -> None:
    answer = post(editor, kept, endpoint=THERE, **typed(api_key="a", access_token="b"))
    assert "BROKER_HOSTS" in answer.content.decode()
    answer = post(editor, kept, endpoint="ws://ws.kite.trade")
    assert "write wss://" in answer.content.decode()
    assert BrokerAccount.objects.get().endpoint == ""
    assert stored(kept, cipher) == VALUES


def test_the_form_asks_for_the_whole_credential_where_the_host_changes(
    editor: Client, kept: BrokerAccount, cipher: CredentialCipher
) -> None:
    for some in (typed(), typed(access_token="new")):
        answer = post(editor, kept, endpoint=HERE, **some)
        assert "enter it again" in answer.content.decode()
        assert stored(kept, cipher) == VALUES
    new = {"api_key": "new-key", "access_token": "new-token"}
    assert post(editor, kept, endpoint=HERE, **typed(**new)).status_code == 302
    assert stored(kept, cipher) == new
    kept.refresh_from_db()
    assert post(editor, kept, endpoint=f"{HERE}/path").status_code == 302
    assert stored(kept, cipher) == new


@pytest.mark.parametrize("only", [None, ["endpoint"]])
def test_saving_in_code_leaves_the_credential_behind(
    kept: BrokerAccount, cipher: CredentialCipher, only: list[str] | None
) -> None:
    version = kept.credentials_version
    kept.endpoint = HERE
    kept.save(update_fields=only)
    assert stored(kept, cipher) == {}
    kept.refresh_from_db()
    assert (kept.credentials_version, kept.credentials_expire) == (version + 1, None)


def test_what_was_entered_for_the_new_host_stays(
    kept: BrokerAccount, cipher: CredentialCipher
) -> None:
    kept.endpoint = HERE
    kept.set_credentials({"access_token": "new"}, cipher)
    kept.save()
    assert stored(kept, cipher) == {"access_token": "new"}


def test_another_broker_gets_nothing_of_the_firsts(
    kept: BrokerAccount, cipher: CredentialCipher
) -> None:
    kept.broker = "angel"
    kept.save()
    assert stored(kept, cipher) == {}


def test_an_import_says_whose_credential_does_not_go_along(
    kept: BrokerAccount, cipher: CredentialCipher
) -> None:
    content = json.loads(msgspec.json.encode(export()[0]))
    content["accounts"][0]["endpoint"] = THERE
    with pytest.raises(TransferError, match="BROKER_HOSTS"):
        plan_import(json.dumps(content).encode())
    content["accounts"][0]["endpoint"] = HERE
    plan = plan_import(json.dumps(content).encode())
    assert plan.ask_again == ["asha/zerodha/main"]
    assert stored(kept, cipher) == VALUES
    apply_import(plan)
    assert stored(kept, cipher) == {}
    assert plan_import(json.dumps(content).encode()).ask_again == []


def test_no_worker_is_given_an_account_that_leads_elsewhere(
    kept: BrokerAccount, settings: Any
) -> None:
    BrokerAccount.objects.update(endpoint=THERE)
    kept.refresh_from_db()
    with pytest.raises(BrokerConfigError, match="BROKER_HOSTS"):
        kept.to_spec()
    allow(settings, "other.example, elsewhere.example")
    assert kept.to_spec().endpoint == THERE
    kept.clean()


def test_the_demos_exchange_may_move_to_another_port(
    user: Any, cipher: CredentialCipher, data_dir: Path
) -> None:
    for port in (9010, 9011):
        endpoint = f"ws://127.0.0.1:{port}"
        wanted = DemoAccount(broker="zerodha", endpoint=endpoint, credentials=VALUES)
        _account(user, wanted, cipher)
        account = BrokerAccount.objects.get()
        assert account.endpoint == endpoint
        assert stored(account, cipher) == VALUES
