"""Credentials on their way from a gateway's process to a worker's, on both databases."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.credential_kit import create_symmetric_key_file
from tests.fix_services import PostgresServer
from tests.integration.database.kit import run

# Whatever is said here stands in assertions, so nothing but what a test planted may be in it.
PREPARE = """
import django; django.setup()
from django.core.management import call_command
from django.contrib.auth.models import User
from pooling.models import BrokerAccount
call_command("migrate", verbosity=0)
asha = User.objects.create_superuser("asha")
BrokerAccount.objects.create(user=asha, broker="zerodha")
"""
# The gateway's application in a process, whose opening of files is watched from the beginning.
GATEWAY = """
import json, sys
opened = []
sys.addaudithook(lambda event, given: event == "open" and opened.append(str(given[0])))
import openalgo_site.asgi
from django.contrib.auth.models import User
from django.test import Client
from pooling.models import AlertTarget, BrokerAccount
client = Client(HTTP_HOST="localhost")
client.force_login(User.objects.get())
account = BrokerAccount.objects.get()
page = f"/admin/pooling/brokeraccount/{account.pk}/change/"
inline = {f"config-{name}": value for name, value in
          (("TOTAL_FORMS", 0), ("INITIAL_FORMS", 0), ("MIN_NUM_FORMS", 0), ("MAX_NUM_FORMS", 1))}
form = {"label": "main", "endpoint": "", "enabled": "on", **inline,
        "credential_zerodha_api_key": "planted-key", "credential_zerodha_access_token": TOKEN}
stored = client.post(page, form)
alert = {"account": account.pk, "kind": "webhook", "url": "https://hooks.example.com/planted",
         "secret": "planted-signing-secret", "enabled": "on"}
added = client.post("/admin/pooling/alerttarget/add/", alert)
account.refresh_from_db()
tokens = account.credentials.values()
shown = client.get(page).content.decode()
said = {
    "answers": [stored.status_code, added.status_code],
    "stored": sorted({each[:6] for each in tokens}),
    "shows": [each for each in ("planted-key", TOKEN, *tokens) if each in shown],
    "opened": [each for each in opened if each.endswith("credentials.key")],
    "is_opener_loaded": "pooling.keys.opening" in sys.modules,
}
from pooling import conf
from pooling.keys.files import KeyFileError
from pooling.keys.opening import CredentialOpener
try:
    said["read"] = account.credentials_in_clear(CredentialOpener.from_file(conf.key_file()))
except KeyFileError as error:
    said["read"] = str(error)
print(json.dumps(said))
"""
WORKER = """
import io, json
import django; django.setup()
from asgiref.sync import async_to_sync
from pooling import conf
from pooling.alerts.store import DjangoAlertStore
from pooling.store.accounts import DjangoAccountStore
def worker():
    credentials = async_to_sync(DjangoAccountStore(key_file=conf.key_file()).credentials)("1")
    told = async_to_sync(DjangoAlertStore(key_file=conf.key_file()).targets)("1")
    return [credentials.values, [[each.address, each.secret] for each in told.targets]]
"""
UPGRADE = """
from django.core.management import call_command
from openalgo_site.doctor import keys
from openalgo_site.doctor.findings import Outcome
from pooling.models import AlertTarget, BrokerAccount
from pooling.operations.sealing import rows_by_key

def doctor():
    found = [*keys.key_file(), *keys.credentials()]
    return [each.message for each in found if each.outcome is not Outcome.OK]

def seal(**options):
    out = io.StringIO()
    call_command("sealcredentials", stdout=out, **options)
    return out.getvalue()

def stored():
    return [*BrokerAccount.objects.values_list("credentials", "credentials_version"),
            *AlertTarget.objects.values_list("secrets")]

said = {"opened": worker(), "before": [doctor(), dict(rows_by_key())]}
said["listed"] = seal(dry_run=True)
said["first"] = [seal(), doctor(), dict(rows_by_key())]
kept = stored()
said["again"] = [seal(), stored() == kept]
said["second"] = [seal(new_key=True), doctor(), dict(rows_by_key())]
said["versions"] = [*BrokerAccount.objects.values_list("credentials_version", flat=True)]
said["opened again"] = worker()
print(json.dumps(said))
"""
HAS: list[Any] = [
    {"api_key": "planted-key", "access_token": "planted-token"},
    [["https://hooks.example.com/planted", "planted-signing-secret"]],
]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/shared.sqlite3"
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"sealing_{abs(hash(request.node.name))}"
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    return f"{server.url.rsplit('/', 1)[0]}/{name}"


def store(data_dir: Path, url: str, token: str = "planted-token") -> dict[str, Any]:
    """Store an account's credential and an alert target as the gateway of ``data_dir`` does."""
    said = run(f"TOKEN = {token!r}\n{GATEWAY}", data_dir, DATABASE_URL=url)
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    assert found["answers"] == [302, 302]
    assert found["shows"] == []
    return found


def worker(data_dir: Path, url: str, code: str) -> Any:
    """Return what code says in a process that may open what is stored."""
    return json.loads(run(WORKER + code, data_dir, DATABASE_URL=url).splitlines()[-1])


@pytest.mark.timeout(240)
def test_a_gateway_holds_nothing_that_opens_what_it_stores(tmp_path: Path, url: str) -> None:
    whole, gateway = tmp_path / "worker", tmp_path / "gateway"
    make = f"{PREPARE}\ncall_command('createkeyfile', verbosity=0)"
    run(make, whole, DATABASE_URL=url)
    gateway.mkdir(mode=0o700)
    shutil.copy(whole / "credentials.pub", gateway)

    found = store(gateway, url)
    assert found["stored"] == ["sealed"]
    assert "is missing: restore the private half" in found["read"]
    assert worker(whole, url, "print(json.dumps(worker()))") == HAS

    # Also where the private half is within reach, nobody reaches for it.
    found = store(whole, url, "another-token")
    assert (found["opened"], found["is_opener_loaded"]) == ([], False)
    assert found["read"]["access_token"] == "another-token"


@pytest.mark.timeout(240)
def test_an_installation_of_before_goes_on_and_is_sealed(tmp_path: Path, url: str) -> None:
    data_dir, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    create_symmetric_key_file(data_dir / "credentials.key")
    run(PREPARE, data_dir, DATABASE_URL=url)
    shutil.copytree(data_dir, elsewhere)
    assert store(data_dir, url)["stored"] == ["gAAAAA"]

    said = worker(data_dir, url, UPGRADE)
    assert said["opened"] == said["opened again"] == HAS
    findings, keys = said["before"]
    assert "every process that may store credentials can read them" in findings[0]
    assert keys == {"": 2}
    assert "symmetric keys, in use: 2 rows" in said["listed"]
    words, findings, keys = said["first"]
    assert "keep a copy" in words
    assert "2 rows sealed for key" in words
    assert findings == []
    ((first, count),) = keys.items()
    assert count == 2
    assert said["again"] == [f"Everything is sealed for key {first}.\n", True]
    words, findings, keys = said["second"]
    assert "2 rows sealed for key" in words
    assert findings == []
    ((second, count),) = keys.items()
    assert (second != first, count) == (True, 2)
    assert said["versions"] == [1], "no connection is opened anew"

    # A gateway that has the old key only goes on, too; it is seen, and mended by the same command.
    assert store(elsewhere, url)["stored"] == ["gAAAAA"]
    said = worker(data_dir, url, UPGRADE)
    (finding,) = said["before"][0]
    assert finding.startswith("2 rows with other keys than ")
    assert "2 rows sealed for key" in said["first"][0]
    assert said["opened"] == said["opened again"] == [HAS[0], HAS[1] * 2]
