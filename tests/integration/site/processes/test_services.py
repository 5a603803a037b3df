"""The same store and layer on PostgreSQL and Redis, each a real server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.support import eventually_sync, free_port

ROOT = Path(__file__).resolve().parents[4]


def manage(code: str, data_dir: Path, **environment: str) -> str:
    """Run ``code`` in a process of its own, so that its settings are made from ``environment``."""
    run = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "openalgo_site.settings",
            "DATA_DIR": str(data_dir),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout.strip()


POSTGRES = """
import asyncio, random, django, msgspec
from datetime import date
django.setup()
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.contrib.auth.models import User
from django.db import connection
from brokers.pool_service import Holder, SubscriptionChange, Want
from brokers.registry import BrokerRegistry
from brokers.testing import RecordingSink
from brokers.types import FeedMode, InstrumentKey, InstrumentRow
from openalgo_site.adapters.users_and_accounts import DjangoDirectory
from pooling import conf
from pooling.clock import SystemClock
from pooling.keys.crypto import load_sealer
from pooling.keys.files import create_key_file
from pooling.testing import FakeBroker, make_adapter_class
from pooling.worker.worker import PoolWorker
from pooling.instruments.search import search_instruments as search
from pooling.instruments.loader import store_instruments
from pooling.models import BrokerAccount, PoolStatus, PoolUsage
from pooling.store.accounts import DjangoAccountStore
from streaming.models import ApiKey
from tests.integration.site.store.store_kit import stats
from tests.integration.site.store.test_account_store import sample

call_command("migrate", verbosity=0)
assert connection.vendor == "postgresql"
assert connection.pool is not None and connection.pool.max_size == 4
create_key_file(conf.key_file())
user = User.objects.create_user("asha")
account = BrokerAccount(user=user, broker="zerodha")
account.set_credentials({"api_key": "k"}, load_sealer(conf.key_file()))
account.save()
_, plaintext = ApiKey.objects.issue(user, "notebook")
names = ["M&M", "MARUTI", "RELIANCE", "RELIANCE26NOVFUT", *(f"S{n}" for n in range(10_000))]
rows = [InstrumentRow("NSE", s, s, s, f"Name of {s}", "", "", "1", "0.05", "EQ") for s in names]
assert store_instruments("zerodha", rows).written == len(names)
assert store_instruments("zerodha", rows).unchanged == len(names)
assert [r["symbol"] for r in search(["zerodha"], "RELIANCE", "", 9)] == names[2:4]
assert [r["symbol"] for r in search(["zerodha"], "M&", "NSE", 9)] == ["M&M"]
assert len(search(["zerodha"], "", "", 10_000)) == 10_000
with connection.cursor() as cursor:
    cursor.execute(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_name LIKE 'pooling_instrument%' AND collation_name = 'C'"
    )
    ordered = sorted(name for name, in cursor)
    assert ordered == ["exchange", "symbol", "underlying", "word"], ordered
    cursor.execute(
        "EXPLAIN SELECT id FROM pooling_instrument WHERE broker = 'zerodha' AND tier = 0"
        " AND symbol >= 'S1' AND symbol < 'S2' ORDER BY symbol LIMIT 50"
    )
    plan = str([line for line, in cursor])
    assert "Index" in plan and "Sort" not in plan, plan
connection.close()

async def follow_a_load(store, pool_id, load, rows):
    # A running worker hears of a load through the database alone.
    registry, events, broker = BrokerRegistry(), [], FakeBroker()
    registry.register(make_adapter_class(name="zerodha"))
    worker = PoolWorker(
        store=store, registry=registry, sink_for=lambda pool, name: RecordingSink(),
        clock=SystemClock(), rng=random.Random(1), worker_id="w", epoch=1, connector=broker,
    )
    worker.add_listener(events.append)
    rows = [msgspec.structs.replace(row, broker_token=str(n)) for n, row in enumerate(rows)]
    await load("zerodha", rows)
    await worker.open()
    keys = [InstrumentKey(row.exchange, row.symbol) for row in rows]
    await worker.want(pool_id, Holder("g", "ann"), [Want(key, FeedMode.LTP) for key in keys])
    async with asyncio.timeout(30):
        while len(broker.subscribed) < 3:
            await asyncio.sleep(0.05)
        heir = msgspec.structs.replace(rows[1], broker_token="0")
        await load("zerodha", [heir], is_forced=True)
        while set(broker.subscribed) != {"0"}:
            await asyncio.sleep(0.05)
    changes = [event for event in events if isinstance(event, SubscriptionChange)]
    ended = {o.key for change in changes for o in change.outcomes if o.code}
    assert ended == {keys[0], keys[2]}, ended
    assert not broker.complaints, broker.complaints
    await worker.close()
    await load("zerodha", rows)
    await sync_to_async(PoolUsage.objects.all().delete)()

async def main():
    store = DjangoAccountStore(key_file=conf.key_file())
    (spec,) = await store.accounts()
    assert (await store.credentials(spec.pool_id)).values == {"api_key": "k"}
    found = await store.resolve("zerodha", [InstrumentKey("NSE", name) for name in names + ["X"]])
    assert len(found) == len(names)
    assert await store.names_revision("zerodha") == 1
    assert await store.listed("zerodha", ["M&M", "nothing"]) == {"M&M"}
    gone = names[3:]
    future = InstrumentRow("NFO", "F", "F", "F", "", "2026-01-01", "", "1", "0.05", "FUT")
    load = sync_to_async(store_instruments)
    assert (await load("zerodha", [future, *rows[:3]], is_forced=True)).expired == len(gone)
    assert await store.names_revision("zerodha") == 2
    asked = [InstrumentKey("NFO", "F"), InstrumentKey("NSE", gone[0])]
    assert await store.expired("zerodha", asked) == {asked[0]: date(2026, 1, 1), asked[1]: None}
    assert not await store.listed("zerodha", ["F", gone[0]])
    await follow_a_load(store, spec.pool_id, load, rows[:3])
    for used in (1, 2):
        await store.save_status("host:1", 2, [stats(spec.pool_id, used=used), stats("99999")])
    await store.save_usage([sample(spec.pool_id)])
    await store.record_event(spec.pool_id, "test", "words")
    directory = DjangoDirectory()
    principal = await directory.authenticate_api_key(plaintext)
    assert await directory.refresh([principal]) == [principal]
    assert (await directory.suggest("zerodha", "NSE", "RELIANC"))[0] == "RELIANCE"
    # Many at once: they share the pool's connections instead of opening one each.
    await asyncio.gather(*(store.accounts() for _ in range(50)))

asyncio.run(main())
assert PoolStatus.objects.get().used == 2
assert PoolUsage.objects.count() == 1
connection.close_pool()
print("done")
"""


@pytest.mark.postgres
def test_postgresql_through_its_own_pool(postgres_url: str, tmp_path: Path) -> None:
    """Everything that store and directory do, on PostgreSQL with psycopg's pool."""
    out = manage(POSTGRES, tmp_path, DATABASE_URL=postgres_url, DB_MAX_CONNECTIONS="4")
    assert out == "done"


REDIS = """
import asyncio, django
django.setup()
from channels.layers import get_channel_layer
from openalgo_site.adapters.notices import SENDER
from streaming.gateway.notices import GROUP, changed_users

async def main():
    layer = get_channel_layer()
    assert type(layer).__name__ == "RedisChannelLayer"
    channel = await layer.new_channel()
    await layer.group_add(GROUP, channel)
    await asyncio.to_thread(SENDER.send, 7)
    print(changed_users(await asyncio.wait_for(layer.receive(channel), 10)))
    await layer.close_pools()

asyncio.run(main())
"""


@pytest.mark.redis
def test_redis_carries_notices_between_processes(redis_url: str, tmp_path: Path) -> None:
    """What one process says about a user, another process's gateway hears."""
    assert manage(REDIS, tmp_path, REDIS_URL=redis_url) == "[7]"


@pytest.mark.parametrize("is_listening", [False, True])
def test_a_redis_that_is_down_breaks_nothing_that_was_saved(
    is_listening: bool, tmp_path: Path
) -> None:
    """The notices are lost, one is logged; the caller goes on within seconds."""
    code = (
        "import django, time; django.setup(); from openalgo_site.adapters.notices import SENDER\n"
        "began = time.monotonic()\n"
        "for user in range(100): SENDER.send(user)\n"
        "assert time.monotonic() - began < 5; print('done')"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if is_listening else 1
        assert manage(code, tmp_path, REDIS_URL=f"redis://127.0.0.1:{port}/0") == "done"


@pytest.mark.postgres
def test_a_worker_on_postgresql_writes_its_heartbeat_and_drains(
    postgres_url: str, tmp_path: Path
) -> None:
    """``runpool`` as a process of its own, up to its end by SIGTERM."""
    name = f"worker_{os.getpid()}"
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = postgres_url.rsplit("/", 1)[0] + f"/{name}"
    environment = {"DATABASE_URL": url, "DATA_DIR": str(tmp_path), "ZMQ_PORT": str(free_port())}
    manage(PREPARE, tmp_path, DATABASE_URL=url)
    worker = subprocess.Popen(
        [sys.executable, "manage.py", "runpool"],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def heartbeats() -> int:
        with psycopg.connect(url) as database:
            row = database.execute("SELECT count(*) FROM pooling_poolstatus").fetchone()
        return 0 if row is None else int(row[0])

    try:
        eventually_sync(heartbeats, timeout=60)
    finally:
        worker.terminate()
        out, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0, out
    assert "Traceback" not in out
    assert "Warning" not in out


PREPARE = """
import django; django.setup()
from django.core.management import call_command
from django.contrib.auth.models import User
from django.db import connection
from pooling.models import BrokerAccount
call_command("migrate", verbosity=0)
call_command("createkeyfile")
BrokerAccount.objects.create(user=User.objects.create_user("asha"), broker="zerodha")
connection.close_pool()
"""
