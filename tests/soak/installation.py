"""Makes what a run needs in its database, and does by hand what people do in the admin.

Run as a process of its own with the run's environment, since Django reads it at import:
``python -m tests.soak.installation VERB`` with JSON on standard input; prints JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openalgo_site.settings")
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402

from pooling import conf  # noqa: E402
from pooling.keys.crypto import Seals, load_sealer  # noqa: E402
from pooling.keys.files import create_key_file  # noqa: E402
from pooling.models import BrokerAccount, PoolConfig  # noqa: E402
from streaming.models import ApiKey, Watchlist  # noqa: E402


def prepare(users: list[dict[str, Any]]) -> dict[str, Any]:
    """Make the database, its users, their accounts, keys and lists."""
    call_command("migrate", verbosity=0)
    create_key_file(conf.key_file())
    return {each["name"]: _make(each) for each in users}


def add(user: dict[str, Any], keys: int) -> dict[str, Any]:
    """Make one more user in a database that is in use, with so many more keys."""
    made = _make(user)
    owner = User.objects.get(username=user["name"])
    made["keys"] = [ApiKey.objects.issue(owner, f"soak {at}")[1] for at in range(keys)]
    return made


def _make(each: dict[str, Any]) -> dict[str, Any]:
    user = User.objects.create_user(each["name"], password=each["password"])
    account = BrokerAccount(
        user=user, broker=each["broker"], label="soak", endpoint=each["endpoint"]
    )
    account.set_credentials(each["credentials"], _cipher())
    account.save()
    PoolConfig.objects.create(
        account=account, symbols_per_connection=each["symbols_per_connection"]
    )
    if each["list"]:
        items = [{"exchange": name[0], "symbol": name[1]} for name in each["list"]]
        Watchlist.objects.create(user=user, name="soak", symbols=items)
    _, key = ApiKey.objects.issue(user, "soak")
    return {"pool": account.pool_id, "key": key}


def credentials(pool: str, values: dict[str, str]) -> dict[str, Any]:
    """Store a new credential."""
    account = BrokerAccount.objects.get(pk=pool)
    account.set_credentials(values, _cipher())
    account.save()
    return {}


def enabled(pool: str, value: bool) -> dict[str, Any]:
    """Switch an account on or off."""
    account = BrokerAccount.objects.get(pk=pool)
    account.enabled = value
    account.save()
    return {}


def _cipher() -> Seals:
    return load_sealer(conf.key_file())


if __name__ == "__main__":
    _verbs: dict[str, Callable[..., dict[str, Any]]] = {
        "prepare": prepare,
        "add": add,
        "credentials": credentials,
        "enabled": enabled,
    }
    print(json.dumps(_verbs[sys.argv[1]](**json.load(sys.stdin))))
