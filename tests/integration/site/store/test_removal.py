"""A broker account is removed with all that is kept of it, by whoever may, and nothing else is."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from openalgo_site.adapters import notices
from pooling.models import (
    AlertTarget,
    BrokerAccount,
    LoginAttempt,
    LoginSetup,
    PoolCommand,
    PoolConfig,
    PoolEvent,
    PoolRecord,
    PoolStatus,
    PoolUsage,
    PoolUsageDay,
)
from pooling.operations.removal import AccountGoneError, plan_removal, remove_account
from pooling.store.accounts import DjangoAccountStore
from streaming.models import ApiKey, Watchlist
from tests.credential_kit import CredentialCipher
from tests.integration.site.admin.admin_kit import make_status, staff
from tests.integration.site.store.store_kit import stats

ROWS = {"interval": 3, "day": 2, "event": 4, "request": 1, "login attempt": 1, "alert target": 1}


def fill(account: BrokerAccount, cipher: CredentialCipher) -> None:
    """Keep of an account whatever can be kept of one."""
    now = timezone.now()
    peaks: dict[str, Any] = {
        f"{name}_at": now for name in ("symbols", "connections", "clients", "ticks_per_second")
    }
    account.set_credentials({"api_key": "k" * 8, "access_token": "t" * 8}, cipher)
    account.save()
    PoolConfig.objects.create(account=account)
    PoolRecord.objects.create(account=account, **peaks)
    for number in range(ROWS["interval"]):
        began = now - timedelta(minutes=5 * number)
        PoolUsage.objects.create(account=account, started=began, ended=now, **peaks)
    for number in range(ROWS["day"]):
        day = now.date() - timedelta(days=number)
        PoolUsageDay.objects.create(account=account, day=day, **peaks)
    for _ in range(ROWS["event"]):
        PoolEvent.objects.create(account=account, kind="connected", message="connection 1")
    PoolCommand.objects.create(account=account, verb="pause", source="admin")
    LoginAttempt.objects.create(
        account=account, user=account.user, kind="browser", state="late", deadline=now
    )
    LoginSetup.objects.create(account=account, secrets={"pin": "sealed"})
    AlertTarget.objects.create(account=account, kind="email", address="a@b.example")
    make_status(account, connections=2, symbols=14, clients=3)


@pytest.fixture
def full(account: BrokerAccount, cipher: CredentialCipher) -> BrokerAccount:
    fill(account, cipher)
    ApiKey.objects.issue(account.user, "notebook")
    Watchlist.objects.create(user=account.user)
    return account


def left_of(account_id: int) -> dict[str, int]:
    """Return the rows of every model that still names the account."""
    found = {}
    for model in apps.get_models():
        for field in model._meta.get_fields():
            if field.related_model is BrokerAccount and getattr(field, "column", None):
                rows = model._default_manager.filter(**{field.name: account_id}).count()
                found[model.__name__] = rows
    assert len(found) >= 10
    return {name: rows for name, rows in found.items() if rows}


def test_what_goes_is_told_first(full: BrokerAccount) -> None:
    plan = plan_removal(full)
    assert (plan.rows, plan.secrets) == (ROWS, 3)
    assert plan.sentences() == [
        "With asha/zerodha/main go 3 intervals, 2 days, 4 events, 1 request, 1 login attempt, "
        "1 alert target, 3 stored secrets and its limits. Nothing of it comes back.",
        "2 connections close, and 14 symbols of 3 clients end, who are told that the account was "
        "removed.",
        "API keys and watchlists are the user's, not the account's: they stay.",
    ]
    assert BrokerAccount.objects.filter(pk=full.pk).exists()
    PoolStatus.objects.update(heartbeat=timezone.now() - timedelta(hours=1))
    assert plan_removal(full).sentences()[1] == "Nothing of it is in use now."


def test_it_goes_with_everything_and_nothing_else_does(
    full: BrokerAccount, cipher: CredentialCipher, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = BrokerAccount.objects.create(user=full.user, broker="binance")
    fill(other, cipher)
    before = left_of(other.pk)
    told: list[int] = []
    monkeypatch.setattr(notices.SENDER, "send", told.append)
    gone = remove_account(full, by="a test")
    assert gone.rows == ROWS
    assert left_of(gone.account_id) == {}
    assert left_of(other.pk) == before
    assert ApiKey.objects.filter(user=full.user, revoked_at=None).count() == 1
    assert Watchlist.objects.filter(user=full.user).count() == 1
    assert full.user_id in told, "gateways are told at once"
    with pytest.raises(AccountGoneError, match="does not exist any more"):
        remove_account(BrokerAccount(pk=gone.account_id, user=full.user), by="a test")


async def test_a_worker_that_still_has_it_does_not_bring_it_back(
    full: BrokerAccount, cipher: CredentialCipher, data_dir: Any
) -> None:
    """Within the seconds until it looks again it writes status, peaks and events."""
    store = DjangoAccountStore(key_file=data_dir / "credentials.key")
    assert [spec.pool_id for spec in await store.accounts()] == [full.pool_id]
    pk = full.pk
    await sync_to_async(remove_account)(full, by="a test")
    await store.save_status("w:1", 1, [stats(str(pk))])
    await store.record_event(str(pk), "connected", "connection 1")
    assert await store.accounts() == []
    assert await sync_to_async(left_of)(pk) == {}


def test_the_command_says_what_goes_and_asks(full: BrokerAccount) -> None:
    def run(*arguments: str) -> Any:
        out = StringIO()
        call_command("pool", "delete-account", *arguments, stdout=out)
        return out.getvalue()

    with pytest.raises(CommandError) as caught:
        run("asha")
    assert caught.value.returncode == 2
    assert "3 intervals" in str(caught.value)
    assert str(caught.value).endswith("Say --yes to go on.")
    tried = json.loads(run("asha/zerodha", "--dry-run", "--json"))
    assert (tried["removed"], tried["login_attempts"], tried["clients"]) == (False, 1, 3)
    assert BrokerAccount.objects.filter(pk=full.pk).exists()
    done = json.loads(run("asha/zerodha", "--yes", "--json"))
    assert (done["removed"], done["pool"], done["intervals"]) == (True, full.pk, 3)
    assert not BrokerAccount.objects.exists()
    with pytest.raises(CommandError) as caught:
        run("asha/zerodha", "--yes")
    assert caught.value.returncode == 2


def test_the_admin_asks_and_removes(full: BrokerAccount, client: Client) -> None:
    """Who may delete accounts needs no permission for their history."""
    permissions = ("pooling.view_brokeraccount", "pooling.delete_brokeraccount")
    client.force_login(staff("deleter", *permissions))
    address = f"/admin/pooling/brokeraccount/{full.pk}/delete/"
    page = client.get(address).content.decode()
    assert "go 3 intervals, 2 days" in page
    assert "m sure" in page
    assert client.post(address, {"post": "yes"}).status_code == 302
    assert left_of(full.pk) == {}


def test_several_go_by_the_lists_action(full: BrokerAccount, client: Client) -> None:
    BrokerAccount.objects.create(user=full.user, broker="binance")
    client.force_login(User.objects.create_superuser("boss"))
    chosen = {
        "action": "delete_selected",
        "_selected_action": [str(pk) for pk in BrokerAccount.objects.values_list("pk", flat=True)],
    }
    page = client.post("/admin/pooling/brokeraccount/", chosen).content.decode()
    assert "With asha/binance/main go only its limits." in page
    client.post("/admin/pooling/brokeraccount/", {**chosen, "post": "yes"})
    assert not BrokerAccount.objects.exists()


def test_without_the_permission_nobody_removes_one(full: BrokerAccount, client: Client) -> None:
    address = f"/admin/pooling/brokeraccount/{full.pk}/delete/"
    for name in ("view", "change", "add"):
        client.force_login(staff(name, f"pooling.{name}_brokeraccount", "pooling.operate_pool"))
        assert client.post(address, {"post": "yes"}).status_code == 403
    assert BrokerAccount.objects.filter(pk=full.pk).exists()
