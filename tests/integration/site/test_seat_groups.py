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

from openalgo_site.doctor import storage
from openalgo_site.doctor.findings import Outcome
from pooling.crypto import CredentialCipher
from pooling.models import BrokerAccount, PoolConfig
from pooling.operations.crowding import crowding
from pooling.stores import DjangoAccountStore


@pytest.fixture
def add(user: User, cipher: CredentialCipher) -> Any:
    def add(label: str, broker: str = "zerodha", owner: User = user, **values: str) -> Any:
        account = BrokerAccount(user=owner, broker=broker, label=label)
        account.set_credentials({"access_token": f"t-{label}", **values}, cipher)
        account.save()
        return account

    return add


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
    foreign = CredentialCipher(keys=["x" * 43 + "="])
    one.set_credentials({"api_key": "key-1"}, foreign)
    one.save()
    assert of()[0] == "", "what cannot be read is said where it is used"


def pool(*arguments: str) -> Any:
    out = StringIO()
    call_command("pool", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_saving_says_that_accounts_have_too_many_together(add: Any, tmp_path: Path) -> None:
    one = add("one", api_key="key-1")
    assert crowding(one) is None
    two = add("two", api_key="key-1")
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
    (told,) = pool("import", str(exported))["warnings"]
    assert "two with 3" in told
    (found,) = [each for each in storage.credentials() if each.outcome is Outcome.WARNING]
    assert "shared out by need" in found.message
    assert "max connections" in found.mends
    PoolConfig.objects.update_or_create(account=two, defaults={"max_connections": 1})
    PoolConfig.objects.update_or_create(account=one, defaults={"max_connections": 2})
    assert crowding(BrokerAccount.objects.get(pk=one.pk)) is None
