"""Makes a throw-away installation for one benchmark run: database, key, account, instruments.

Run as a process of its own with the run's environment, because Django reads it at import. Prints
one JSON object.
"""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openalgo_site.settings")
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402

from benchmarks.stamped_exchange import instruments_csv  # noqa: E402
from brokers.zerodha.symbols import parse_master  # noqa: E402
from pooling import conf  # noqa: E402
from pooling.crypto import CredentialCipher, create_key_file  # noqa: E402
from pooling.instruments import store_instruments  # noqa: E402
from pooling.models import BrokerAccount, PoolConfig  # noqa: E402
from streaming.models import ApiKey  # noqa: E402


def _main(exchange_port: int, symbols: int) -> None:
    call_command("migrate", verbosity=0)
    key_file: Path = conf.key_file()
    create_key_file(key_file)
    user = User.objects.create_user("bench")
    account = BrokerAccount(
        user=user, broker="zerodha", label="bench", endpoint=f"ws://127.0.0.1:{exchange_port}"
    )
    account.set_credentials(
        {"api_key": "bench", "access_token": "bench"}, CredentialCipher.from_file(key_file)
    )
    account.save()
    PoolConfig.objects.create(account=account, symbols_per_connection=3000, max_connections=3)
    store_instruments("zerodha", parse_master(io.BytesIO(instruments_csv(symbols))))
    _, api_key = ApiKey.objects.issue(user, "bench")
    print(json.dumps({"pool_id": account.pool_id, "api_key": api_key}))


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
