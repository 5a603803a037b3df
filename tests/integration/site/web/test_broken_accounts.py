"""Accounts as a fixture, an import or the ORM may leave them: they cost no other a thing."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from openalgo_site.adapters.users_and_accounts import DjangoDirectory
from openalgo_site.doctor import keys, processes
from openalgo_site.web.status.source import read_views
from pooling.alerts.store import DjangoAlertStore
from pooling.models import AlertTarget, BrokerAccount, PoolConfig
from pooling.operations.transfer import export
from streaming.models import ApiKey
from streaming.ports.status import StatusView
from tests.credential_kit import CredentialCipher, foreign_sealer
from tests.integration.site.admin.admin_kit import make_status

BROKEN = ("unknown", "setting", "list", "limits", "garbled")


@pytest.fixture
def accounts(user: User, cipher: CredentialCipher) -> dict[str, BrokerAccount]:
    def add(label: str, **fields: Any) -> BrokerAccount:
        fields = {"broker": "zerodha", "label": label, **fields}
        return BrokerAccount.objects.create(user=user, **fields)

    made = {
        "unknown": add("unknown", broker="gone"),
        "setting": add("setting", broker_settings={"no_such": 1}),
        "list": add("list", broker_settings=["no", "object"]),
        "limits": add("limits"),
        "garbled": add("garbled", credentials=["no", "object"], credentials_version=1),
        "good": add("good"),
    }
    PoolConfig.objects.create(account=made["limits"], max_connections=0)
    good = made["good"]
    good.set_credentials({"api_key": "k", "access_token": "t"}, cipher)
    good.save()
    make_status(good)
    return made


def pool(*arguments: str) -> Any:
    out = StringIO()
    call_command("pool", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_every_list_has_the_good_account_with_its_figures(
    accounts: dict[str, BrokerAccount], user: User
) -> None:
    good = accounts["good"]
    view = StatusView(user.pk)
    shown = json.loads(read_views([view], "here")[view])["pools"]
    assert {each["label"] for each in shown} == {*BROKEN, "good"}
    assert next(each for each in shown if each["label"] == "good")["symbols"] == 2200
    assert any(each["id"] == good.pk and each["symbols"] == 2200 for each in pool("list")["pools"])
    for account in (accounts[label] for label in BROKEN):
        assert pool("show", str(account.pk))["label"] == account.label
    entries, _ = export()
    assert len(entries.accounts) == 6
    assert "1 pool has a worker" in [each.message for each in processes.workers()][-1]
    found = {each.message for each in keys.credentials()}
    assert any("garbled" in message for message in found)
    assert any("those of 1 enabled account" in message for message in found)


def test_the_admin_opens_each_of_them(accounts: dict[str, BrokerAccount]) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    assert client.get("/admin/pooling/brokeraccount/").status_code == 200
    for account in accounts.values():
        page = client.get(f"/admin/pooling/brokeraccount/{account.pk}/change/")
        assert page.status_code == 200, account.label


def test_a_user_with_broken_accounts_may_use_the_good_one(
    accounts: dict[str, BrokerAccount], user: User
) -> None:
    _, key = ApiKey.objects.issue(user, "notebook")
    principal = async_to_sync(DjangoDirectory().authenticate_api_key)(key)
    assert principal is not None
    assert "good" in {account.label for account in principal.accounts}


def test_an_alert_target_that_cannot_be_read_keeps_the_others_from_nothing(
    account: BrokerAccount, cipher: CredentialCipher, data_dir: Path
) -> None:
    foreign = AlertTarget(account=account, kind="webhook", address="https://one.test")
    foreign.set_secrets({"url": "https://one.test/"}, foreign_sealer())
    foreign.save()
    AlertTarget.objects.create(account=account, kind="pigeon", address="roof")
    AlertTarget.objects.create(account=account, kind="email", address="a@b.example")
    store = DjangoAlertStore(key_file=data_dir / "credentials.key")
    found = async_to_sync(store.targets)(account.pool_id)
    assert found is not None
    assert [target.address for target in found.targets] == ["a@b.example"]
    foreign.refresh_from_db()
    assert foreign.last_error
    assert foreign.last_tried is not None
    assert foreign.last_tried <= timezone.now()
