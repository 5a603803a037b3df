"""Makes a throw-away installation for one benchmark run: database, key, account, instruments.

Run as a process of its own with the run's environment, because Django reads it at import. Prints
one JSON object.
"""

from __future__ import annotations

import io
import json
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openalgo_site.settings")
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402

from benchmarks.stamped_exchange import instruments_csv  # noqa: E402
from brokers.zerodha.symbols import parse_master  # noqa: E402
from pooling import conf  # noqa: E402
from pooling.instruments.loader import store_instruments  # noqa: E402
from pooling.keys.crypto import load_sealer  # noqa: E402
from pooling.keys.files import create_key_file  # noqa: E402
from pooling.models import BrokerAccount, PoolConfig  # noqa: E402
from streaming.models import ApiKey  # noqa: E402


def _main(symbols: int, exchange_port: int, crowd_port: int | None) -> None:
    call_command("migrate", verbosity=0)
    create_key_file(conf.key_file())
    pool_id, api_key = _user("bench", exchange_port)
    made = {"pool_id": pool_id, "api_key": api_key}
    if crowd_port is not None:
        made["crowd_key"] = _user("crowd", crowd_port)[1]
    store_instruments("zerodha", parse_master(io.BytesIO(instruments_csv(symbols))))
    print(json.dumps(made))


def _user(name: str, exchange_port: int) -> tuple[str, str]:
    """Make a user with an account at an exchange; returns the pool's id and the API key."""
    user = User.objects.create_user(name)
    account = BrokerAccount(
        user=user, broker="zerodha", label=name, endpoint=f"ws://127.0.0.1:{exchange_port}"
    )
    account.set_credentials({"api_key": name, "access_token": name}, load_sealer(conf.key_file()))
    account.save()
    PoolConfig.objects.create(account=account, symbols_per_connection=3000, max_connections=3)
    _, api_key = ApiKey.objects.issue(user, name)
    return account.pool_id, api_key


if __name__ == "__main__":
    _port, _symbols, *_crowd = map(int, sys.argv[1:])
    _main(_symbols, _port, _crowd[0] if _crowd else None)
