"""Brings the database to what the demo needs, and leaves alone what is there already."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from brokers.contract import BrokerAdapter
from brokers.endpoints.addresses import is_loopback
from openalgo_site.config.demo_names import KEY_NAME, LABEL
from openalgo_site.demo.secrets_file import DemoSecrets, MasterMark
from pooling.instruments.loader import store_instruments
from pooling.keys.crypto import Seals, load_sealer
from pooling.keys.files import create_key_file, public_file
from pooling.models import BrokerAccount, Instrument, PoolConfig, SearchTier
from streaming.models import ApiKey, hash_api_key

__all__ = ["DemoAccount", "RealAccountsError", "prepare_database", "store_master"]


class RealAccountsError(Exception):
    """The database has accounts at the broker itself, whose instruments a demo would replace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoAccount:
    """The broker account that a kind of demo uses; limits are those of a new account only."""

    broker: str
    endpoint: str
    credentials: Mapping[str, str]
    symbols_per_connection: int | None = None
    max_connections: int | None = None


def prepare_database(secrets: DemoSecrets, account: DemoAccount, key_file: Path) -> None:
    """Migrate, and make the user, the API key and the account, as far as they are missing.

    Raises:
        KeyFileError: the key file exists and cannot be used.
        RealAccountsError: somebody runs this database for real; nothing was changed in its tables.
    """
    _migrate()
    _refuse_real_accounts(account)
    if not key_file.exists() and not public_file(key_file).exists():
        create_key_file(key_file)
    sealer = load_sealer(key_file)
    user = _user(secrets)
    _api_key(user, secrets.api_key)
    _account(user, account, sealer)
    connection.close()


def store_master(
    secrets: DemoSecrets, adapter: type[BrokerAdapter], files: Sequence[bytes]
) -> tuple[DemoSecrets, int]:
    """Store a master, which is one file or several, unless the same one is there.

    Returns the new marks and the number of rows in force.

    Raises:
        BrokerProtocolError: it is not an instruments master.
    """
    broker = adapter.capabilities.name
    digest = hashlib.sha256(b"".join(files)).hexdigest()
    listed = Instrument.objects.exclude(tier=SearchTier.EXPIRED)
    count = listed.filter(broker=broker).count()
    if secrets.masters.get(broker) != MasterMark(digest=digest, count=count):
        rows = adapter.parse_masters([io.BytesIO(file) for file in files])
        # Forced: the exchanges of two demos may differ in size.
        count = store_instruments(broker, rows, is_forced=True).rows
        marks = {**secrets.masters, broker: MasterMark(digest=digest, count=count)}
        secrets = msgspec.structs.replace(secrets, masters=marks)
    connection.close()
    return secrets, count


def _migrate() -> None:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", verbosity=0, interactive=False)


def _refuse_real_accounts(wanted: DemoAccount) -> None:
    """Keep a local exchange's tokens from an account at the broker, to whom they mean others."""
    if not wanted.endpoint:
        return
    accounts = BrokerAccount.objects.filter(broker=wanted.broker).exclude(label=LABEL)
    first = next((each for each in accounts.order_by("pk") if _is_at_a_broker(each)), None)
    if first is None:
        return
    raise RealAccountsError(
        f"This database has a broker account of its own ({first}), and the demo would replace its "
        "instruments by those of the local exchange. Give the demo a database of its own: "
        "DATABASE_URL= DATA_DIR=var/demo make run"
    )


def _is_at_a_broker(account: BrokerAccount) -> bool:
    """Tell whether an account is at no local exchange; an empty endpoint is the broker's own."""
    return not is_loopback(urlsplit(account.endpoint).hostname or "")


def _user(secrets: DemoSecrets) -> User:
    user, _ = User.objects.get_or_create(username=secrets.username)
    if not user.check_password(secrets.password):
        user.set_password(secrets.password)
    user.is_active = user.is_staff = user.is_superuser = True
    user.save()
    return user


def _api_key(user: User, plaintext: str) -> None:
    """Make sure that the key opens the door, also after somebody revoked it in the admin."""
    ApiKey.objects.update_or_create(
        hash=hash_api_key(plaintext),
        defaults={"user": user, "revoked_at": None},
        create_defaults={"user": user, "name": KEY_NAME, "prefix": plaintext[:8]},
    )


def _account(user: User, wanted: DemoAccount, sealer: Seals) -> None:
    # Of the demo's accounts only the one in use is enabled: the others' exchange is not there.
    demos = BrokerAccount.objects.filter(user=user, label=LABEL)
    demos.exclude(broker=wanted.broker).update(enabled=False)
    account, created = BrokerAccount.objects.get_or_create(
        user=user, broker=wanted.broker, label=LABEL
    )
    account.endpoint, account.enabled = wanted.endpoint, True
    # Stored again each time: nobody here can say whether what is stored is the same.
    account.set_credentials(wanted.credentials, sealer)
    account.save()
    if created:
        PoolConfig.objects.create(
            account=account,
            symbols_per_connection=wanted.symbols_per_connection,
            max_connections=wanted.max_connections,
        )
