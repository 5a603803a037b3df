"""Accounts that a broker counts together: found by their credential, told when they are saved."""

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

from openalgo_site.doctor import keys
from openalgo_site.doctor.findings import Outcome
from pooling.models import BrokerAccount, PoolConfig, PoolStatus
from pooling.operations.crowding import crowding
from pooling.store.accounts import DjangoAccountStore
from tests.credential_kit import CredentialCipher, foreign_sealer
from tests.integration.site.store.store_kit import stats


@pytest.fixture
def add(user: User, cipher: CredentialCipher) -> Any:
    def add(label: str, broker: str = "zerodha", owner: User = user, **values: str) -> Any:
        account = BrokerAccount(user=owner, broker=broker, label=label)
        account.set_credentials({"access_token": f"t-{label}", **values}, cipher)
        account.save()
        return account

    return add


def told(data_dir: Path, *accounts: BrokerAccount) -> None:
    """Have a worker of its own say of these accounts' pools what it writes every second."""
    store = DjangoAccountStore(key_file=data_dir / "credentials.key")
    async_to_sync(store.accounts)()
    for account in accounts:
        async_to_sync(store.save_status)(f"host:{account.pk}", 1, [stats(account.pool_id)])


def groups(data_dir: Path) -> dict[str, str]:
    store = DjangoAccountStore(key_file=data_dir / "credentials.key")
    return {spec.label: spec.seat_group for spec in async_to_sync(store.accounts)()}


def test_one_credential_is_one_group_whoever_owns_it(add: Any, data_dir: Path) -> None:
    add("one", api_key="key-1")
    add("two", owner=User.objects.create_user("ravi"), api_key="key-1 ")
    add("three", api_key="key-3")
    add("feed", broker="dhan", client_id="77")
    add("feed2", broker="dhan", client_id="77")
    add("depth", broker="dhan_depth20", client_id="77")
    add("public", broker="binance")
    found = groups(data_dir)
    assert found["one"] == found["two"] != ""
    assert found["feed"] == found["feed2"] != ""
    assert len({found[each] for each in ("one", "three", "feed", "depth")}) == 4
    assert found["public"] == ""
    assert "key-1" not in str(found)


def test_a_new_credential_is_another_group(
    add: Any, data_dir: Path, cipher: CredentialCipher
) -> None:
    one, two = add("one", api_key="key-1"), add("two", api_key="key-1")
    store = DjangoAccountStore(key_file=data_dir / "credentials.key")

    def of() -> list[str]:
        return [spec.seat_group for spec in async_to_sync(store.accounts)()]

    first = of()
    assert first[0] == first[1]
    two.set_credentials({"api_key": "key-2"}, cipher)
    two.save()
    assert of()[0] == first[0] != of()[1]
    foreign = foreign_sealer()
    one.set_credentials({"api_key": "key-1"}, foreign)
    one.save()
    assert of()[0] == "", "what cannot be read is said where it is used"


def pool(*arguments: str) -> Any:
    out = StringIO()
    call_command("pool", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_saving_says_that_accounts_have_too_many_together(
    add: Any, tmp_path: Path, data_dir: Path
) -> None:
    one = add("one", api_key="key-1")
    told(data_dir, one)
    assert crowding(one) is None
    two = add("two", api_key="key-1")
    assert crowding(one) is None, "nobody has opened it yet"
    told(data_dir, two)
    warning = crowding(one)
    assert warning is not None
    for word in ("one with 3", "two with 3", "allows 3", "shared out by need"):
        assert word in warning
    saved = pool("set-limit", str(two.pk), "--max-connections", "2", "--wait", "0")
    assert "two with 2" in saved["warning"]
    exported = tmp_path / "accounts.json"
    exported.write_text(json.dumps(pool("export")))
    assert not pool("import", str(exported))["warnings"], "nothing was saved"
    exported.write_text(
        exported.read_text().replace('"max_connections": 2', '"max_connections": 3')
    )
    (warned,) = pool("import", str(exported))["warnings"]
    assert "two with 3" in warned
    (found,) = [each for each in keys.credentials() if each.outcome is Outcome.WARNING]
    assert "shared out by need" in found.message
    assert "max connections" in found.mends
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    page = client.get(f"/admin/pooling/brokeraccount/{two.pk}/change/")
    assert "shared out by need" in page.content.decode()
    PoolConfig.objects.update_or_create(account=two, defaults={"max_connections": 1})
    PoolConfig.objects.update_or_create(account=one, defaults={"max_connections": 2})
    assert crowding(BrokerAccount.objects.get(pk=one.pk)) is None


def test_what_was_told_of_another_credential_counts_no_more(
    add: Any, data_dir: Path, cipher: CredentialCipher
) -> None:
    one, two = add("one", api_key="key-1"), add("two", api_key="key-1")
    told(data_dir, one, two)
    assert crowding(one) is not None
    two.set_credentials({"api_key": "key-2"}, cipher)
    two.save()
    assert crowding(one) is None
    told(data_dir, two)
    assert crowding(one) is None
    two.set_credentials({"api_key": "key-1"}, cipher)
    two.save()
    told(data_dir, two)
    assert crowding(one) is not None


def test_a_group_is_nobodys_to_read(add: Any, data_dir: Path) -> None:
    one, two = add("one", api_key="key-1"), add("two", api_key="key-1")
    told(data_dir, one, two)
    facts = [
        each.stats[PoolStatus.SEAT_GROUP].split() for each in PoolStatus.objects.order_by("pk")
    ]
    assert facts[0] == facts[1]
    assert facts[0] == ["1", groups(data_dir)["one"]]
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    assert facts[0][1] not in client.get("/api/pools").content.decode()
    assert facts[0][1] not in json.dumps(pool("stats", str(one.pk)))
