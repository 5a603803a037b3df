"""Sealing again what is stored, and what commands, checks and the doctor say of keys."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from openalgo_site.doctor import keys, storage
from openalgo_site.doctor.findings import Finding, Outcome
from openalgo_site.management.commands.runpool import _check_keys
from pooling import conf
from pooling.checks import check_key_file
from pooling.keys.crypto import load_sealer
from pooling.keys.files import add_key_pair, create_key_file, public_file, write_public
from pooling.keys.opening import CredentialOpener
from pooling.models import AlertTarget, BrokerAccount, LoginSetup
from pooling.operations.sealing import keys_of, reseal
from tests.credential_kit import CredentialCipher, create_symmetric_key_file, foreign_sealer

VALUES = {"api_key": "planted-key", "access_token": "planted-token"}


@pytest.fixture
def path(data_dir: Path) -> Path:
    data_dir.mkdir(mode=0o700)
    return data_dir / "credentials.key"


@pytest.fixture
def kept(account: BrokerAccount, cipher: CredentialCipher) -> BrokerAccount:
    account.set_credentials(VALUES, cipher)
    account.credentials_expire = None
    account.save()
    return account


def told(command: str, **options: Any) -> str:
    out = StringIO()
    call_command(command, stdout=out, **options)
    return out.getvalue()


def wrong(*findings: Finding) -> list[tuple[str, str]]:
    return [(each.outcome.value, each.message) for each in findings if each.outcome != Outcome.OK]


def renew(path: Path) -> str:
    write_public(path, add_key_pair(path))
    return load_sealer(path).key_id


class Meddling:
    """Opens, after somebody else has saved."""

    def __init__(self, cipher: CredentialCipher, meddle: Any) -> None:
        self._cipher, self._meddle = cipher, meddle

    def decrypt(self, tokens: Mapping[str, str], bound_to: str) -> dict[str, str]:
        self._meddle()
        return self._cipher.decrypt(tokens, bound_to)


def test_what_is_saved_meanwhile_stays(kept: BrokerAccount, cipher: CredentialCipher) -> None:
    renew(conf.key_file())

    def save() -> None:
        account = BrokerAccount.objects.get()
        account.set_credentials({"access_token": "newer"}, cipher)
        account.save()

    result = reseal(Meddling(cipher, save), cipher)
    assert (result.done, result.changed, result.unreadable) == (0, 1, [])
    account = BrokerAccount.objects.get()
    assert account.credentials_in_clear(cipher) == {**VALUES, "access_token": "newer"}
    assert reseal(cipher, cipher).done == 1
    account.refresh_from_db()
    assert keys_of(account.credentials) == {cipher.key_id}
    assert account.credentials_in_clear(cipher) == {**VALUES, "access_token": "newer"}


def test_an_account_that_moves_meanwhile_takes_nothing_along(
    kept: BrokerAccount, cipher: CredentialCipher
) -> None:
    """Whoever read the row before its sealing saves it afterwards, with another host."""
    account = BrokerAccount.objects.get()
    renew(conf.key_file())
    assert reseal(cipher, cipher).done == 1
    account.endpoint = "ws://127.0.0.1:9010"
    account.save()
    with pytest.raises(Exception, match="entered for something else"):
        account.credentials_in_clear(cipher)


def test_a_row_that_is_moved_in_the_database_is_given_to_nobody(
    kept: BrokerAccount, cipher: CredentialCipher, user: Any
) -> None:
    BrokerAccount.objects.update(endpoint="ws://127.0.0.1:9010")
    result = reseal(cipher, foreign_sealer())
    assert result.done == 0
    (words,) = result.unreadable
    assert words.startswith("asha/zerodha/main: ")
    assert "entered for something else" in words
    assert "planted" not in words


def test_what_cannot_be_opened_stays_and_is_named(
    kept: BrokerAccount, cipher: CredentialCipher
) -> None:
    foreign = foreign_sealer()
    other = BrokerAccount(user=kept.user, broker="zerodha", label="other")
    other.set_credentials(VALUES, foreign)
    other.credentials_expire = None
    other.save()
    target = AlertTarget(account=kept, kind="webhook", address="https://one.test")
    target.set_secrets({"url": "https://one.test/planted"}, foreign)
    target.save()
    with pytest.raises(CommandError) as refused:
        told("sealcredentials")
    words = str(refused.value)
    assert "asha/zerodha/other: " in words
    assert f"alert target {target.pk} of asha/zerodha/main: " in words
    assert foreign.key_id in words
    assert "planted" not in words
    assert f"key {foreign.key_id}, which is not in the key file: 2 rows" in told(
        "sealcredentials", dry_run=True
    )
    (found,) = wrong(*keys.credentials())
    assert found[0] == "failed"
    assert f"key {foreign.key_id}, which is not in the key file" in found[1]


def test_rows_of_an_older_key_are_counted_until_they_are_sealed(kept: BrokerAccount) -> None:
    name = renew(conf.key_file())
    old = keys_of(kept.credentials)
    listed = told("sealcredentials", dry_run=True).splitlines()
    assert listed[0] == f"key {name}, in use: 0 rows"
    assert listed[1:] == [f"key {old_name}: 1 row" for old_name in old] + [
        f"  asha/zerodha/main: key {old_name}" for old_name in old
    ]
    ((outcome, words),) = wrong(*keys.credentials())
    assert (outcome, words) == ("warning", f"1 row with other keys than {name}, the one in use")
    assert told("sealcredentials") == f"1 row sealed for key {name}.\n"
    listed = told("sealcredentials", dry_run=True).splitlines()
    assert [line for line in listed if line.startswith(" ")] == []
    assert wrong(*keys.credentials()) == []


def test_what_a_login_keeps_is_sealed_again_and_looked_at(
    kept: BrokerAccount, cipher: CredentialCipher
) -> None:
    """Else PIN and TOTP secret are lost with the old key, weeks after everything was sealed."""
    values = {"pin": "481516", "totp_secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}
    setup = LoginSetup.objects.create(account=kept, secrets=cipher.encrypt(values, "login of x"))
    LoginSetup.objects.update(secrets=cipher.encrypt(values, setup.bound_to()), totp_counter=7)
    name = renew(conf.key_file())
    assert "  login of asha/zerodha/main: key" in told("sealcredentials", dry_run=True)
    assert told("sealcredentials") == f"2 rows sealed for key {name}.\n"
    setup.refresh_from_db()
    assert keys_of(setup.secrets) == {name}
    opener = CredentialOpener.from_file(conf.key_file())
    assert setup.kept_in_clear(opener, values) == values
    assert wrong(*keys.credentials()) == []
    LoginSetup.objects.update(secrets=foreign_sealer().encrypt(values, setup.bound_to()))
    ((outcome, words),) = wrong(*keys.credentials())
    assert (outcome, "the secrets of its login were encrypted with key" in words) == (
        "failed",
        True,
    )


def test_each_wrong_or_missing_half_has_a_sentence(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    create_key_file(path)
    public = public_file(path)
    _check_keys()
    assert caplog.records == []

    whole = public.read_text()
    create_key_file(path.with_name("other.key"))
    public.write_text(path.with_name("other.pub").read_text())
    ((outcome, words),) = wrong(*keys.key_file())
    assert (outcome, "belongs to no key in" in words) == ("failed", True)
    assert check_key_file() == [], "the private half is not opened to look"
    with pytest.raises(CommandError, match="belongs to no key in"):
        told("sealcredentials")
    with caplog.at_level(logging.ERROR):
        _check_keys()
    assert "belongs to no key in" in caplog.text

    public.unlink()
    ((outcome, words),) = wrong(*keys.key_file())
    assert (outcome, f"public half {public} is missing" in words) == ("failed", True)
    assert [each.id for each in check_key_file()] == ["pooling.E001"]
    assert told("createkeyfile") == f"{public} written from {path}.\n"
    assert public.read_text() == whole

    path.unlink()
    ((outcome, words),) = wrong(*keys.key_file())
    assert (outcome, "no worker can run here" in words) == ("warning", True)
    assert check_key_file() == []
    with pytest.raises(CommandError, match="is there without its private half"):
        told("createkeyfile")
    with pytest.raises(CommandError, match="restore the private half"):
        told("sealcredentials")


def test_a_key_that_also_reads_is_told_until_there_is_a_pair(path: Path, db: None) -> None:
    create_symmetric_key_file(path)
    assert [each.id for each in check_key_file()] == ["pooling.W003"]
    with pytest.raises(CommandError, match="sealcredentials"):
        told("createkeyfile")
    assert "keep a copy" in told("sealcredentials")
    assert check_key_file() == []
    assert wrong(*keys.key_file()) == []
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_public_half_may_be_read_by_all_and_written_by_none(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_elsewhere", list)
    create_key_file(path)
    assert wrong(*storage.private()) == []
    public_file(path).chmod(0o666)
    (found,) = [each for each in storage.private() if each.outcome != Outcome.OK]
    assert found.mends == f"run `chmod 644 {public_file(path)}`"


def test_a_form_that_cannot_seal_says_what_is_missing(
    kept: BrokerAccount, admin_client: Client, data_dir: Path
) -> None:
    public_file(conf.key_file()).unlink()
    before = kept.credentials
    answer = admin_client.post(
        f"/admin/pooling/brokeraccount/{kept.pk}/change/",
        {
            "label": "main", "endpoint": "", "enabled": "on", "credential_zerodha_api_key": "typed",
            "config-TOTAL_FORMS": 0, "config-INITIAL_FORMS": 0,
            "config-MIN_NUM_FORMS": 0, "config-MAX_NUM_FORMS": 1,
        },
    )  # fmt: skip
    assert answer.status_code == 200
    assert "createkeyfile" in answer.content.decode()
    kept.refresh_from_db()
    assert kept.credentials == before
