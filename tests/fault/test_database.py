"""The database fails under clients that watch prices: nobody loses a socket, a tick or a login."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx2
import psycopg
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streaming.tables import NOT_MIGRATED
from tests.fault.test_demo import RunningDemo, demo
from tests.fix_services import PgBouncer, PostgresServer
from tests.integration.database.kit import ROOT, environment, run
from tests.support import eventually, free_port, metrics_headers

pytestmark = pytest.mark.timeout(600)

CROWD = 12
SYMBOLS = ("RELIANCE", "INFY", "TCS", "SBIN", "ITC")
ENOUGH = 10  # ticks that each client gets while something is away: one may have been under way


class Crowd:
    """Clients of a demo that watch prices, and what became of them."""

    def __init__(self, ready: dict[str, Any], data_dir: Path) -> None:
        self.data_dir = data_dir
        self.site = str(ready["url"]).rstrip("/")
        self._url, self.key = ready["openalgo_url"], str(ready["api_key"])
        self._tasks: list[asyncio.Task[None]] = []
        self.heard = [0] * CROWD  # ticks of each client
        self.lost: list[str] = []

    async def newcomer(self, key: str | None = None) -> tuple[str, ClientConnection]:
        """Connect and send a key; returns the answer's code, or success."""
        client = await connect(self._url, proxy=None, open_timeout=60)
        await client.send(json.dumps({"action": "authenticate", "api_key": key or self.key}))
        async with asyncio.timeout(60):
            answer = json.loads(await client.recv())
        return answer.get("code", answer["status"]), client

    async def comes_in(self) -> bool:
        answer, client = await self.newcomer()
        await client.close()
        return answer == "success"

    async def __aenter__(self) -> Crowd:
        self._tasks = [asyncio.create_task(self._watch(number)) for number in range(CROWD)]
        await eventually(lambda: all(self.heard), timeout=60)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, number: int) -> None:
        answer, client = await self.newcomer()
        assert answer == "success"
        items = [{"symbol": symbol, "exchange": "NSE"} for symbol in SYMBOLS]
        await client.send(json.dumps({"action": "subscribe", "symbols": items, "mode": 1}))
        try:
            async for frame in client:
                self.heard[number] += '"market_data"' in str(frame)
            self.lost.append(f"{number} was closed")
        except ConnectionClosed as end:
            self.lost.append(f"{number} was closed: {end}")
        finally:
            client.transport.abort()

    async def all_hear(self) -> None:
        """Wait until every client has had ticks after this call.

        Whoever calls it while the database is away, and ends that afterwards only, proves that no
        tick waits for the database, however fast the machine is.
        """
        wanted = [count + ENOUGH for count in self.heard]

        def have_heard() -> bool:
            return all(count >= enough for count, enough in zip(self.heard, wanted, strict=True))

        await eventually(lambda: have_heard() or self.lost, timeout=60)
        assert self.lost == []

    async def readyz(self) -> tuple[int, str]:
        """Ask; it answers while the database is away, or never: see ``all_hear``."""
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
            answer = await http.get(f"{self.site}/readyz")
        return answer.status_code, answer.text

    async def is_ready(self) -> bool:
        return (await self.readyz())[0] == 200

    async def names_the_database(self) -> bool:
        status, text = await self.readyz()
        # A file that is gone is an empty database to SQLite.
        return status == 503 and ("the database does not answer" in text or NOT_MIGRATED in text)

    async def missed(self) -> set[str]:
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
            headers = metrics_headers(self.data_dir)
            text = (await http.get(f"{self.site}/metrics", headers=headers)).text
        return set(re.findall(r"^tickpool_ticks_missed_total\{[^}]*\} (\S+)", text, re.M))


@contextlib.asynccontextmanager
async def crowd_of(running: RunningDemo) -> AsyncIterator[Crowd]:
    """Yield the crowd of a demo; nobody was lost when it ends, and the log has no traceback."""
    ready = await asyncio.to_thread(running.ready)
    async with Crowd(ready, running.data_dir) as crowd:
        yield crowd
        await crowd.all_hear()
        assert await crowd.missed() == {"0.0"}
    assert not running.said("Traceback"), running.lines[-60:]


async def endure(crowd: Crowd, fail: Callable[[], None], mend: Callable[[], None]) -> None:
    """Let the database fail until it was told everywhere, and come back by itself."""
    await asyncio.to_thread(fail)
    try:
        await crowd.all_hear()
        await eventually(crowd.names_the_database, timeout=30)
        comes_in, (answer, stranger), _ = await asyncio.gather(
            crowd.comes_in(), crowd.newcomer(token_hex(32)), crowd.all_hear()
        )
        assert comes_in, "its key was let in before"
        assert answer == "SERVER_ERROR", "nobody can say that the key is wrong"
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(stranger.recv(), 30)
        assert stranger.close_code == 4503
    finally:
        await asyncio.to_thread(mend)
    await crowd.all_hear()
    await eventually(crowd.is_ready, timeout=60)
    answer, stranger = await crowd.newcomer(token_hex(32))
    assert answer == "AUTHENTICATION_ERROR"
    await stranger.close()


@pytest.mark.postgres
async def test_postgresql_behind_a_pooler_is_restarted_gone_and_hangs(
    postgres: PostgresServer, pgbouncer: PgBouncer, tmp_path: Path
) -> None:
    settings = {
        "DATABASE_URL": pgbouncer.url,
        "DB_CONNECTION_TIMEOUT": "2",
        "GATEWAY_WORKERS": "2",
        "SIMULATOR_RATE": "400",
    }
    with demo(tmp_path, **settings) as running:
        async with crowd_of(running) as crowd:
            await asyncio.to_thread(postgres.stop)
            await crowd.all_hear()
            await asyncio.to_thread(postgres.start)
            assert await crowd.comes_in()
            async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
                headers = {"X-API-KEY": crowd.key}
                asked = [http.get(f"{crowd.site}/api/pools", headers=headers) for _ in range(8)]
                assert {each.status_code for each in await asyncio.gather(*asked)} == {200}
            await endure(crowd, postgres.hang, postgres.resume)
            await endure(crowd, postgres.stop, postgres.start)


async def test_sqlite_is_locked_gone_and_garbage(tmp_path: Path) -> None:
    path, away = tmp_path / "tickpool.sqlite3", tmp_path / "away"

    def take_away() -> None:
        path.rename(away)

    def bring_back() -> None:
        for each in tmp_path.glob("tickpool.sqlite3*"):
            each.unlink()
        away.rename(path)

    def scribble() -> None:
        path.rename(away)
        path.write_bytes(b"this is no database, but long enough" * 100)

    with demo(tmp_path, SIMULATOR_RATE="400") as running:
        async with crowd_of(running) as crowd:
            with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as own:
                own.execute("BEGIN IMMEDIATE")
                await asyncio.sleep(4.0)  # by now everything that writes waits for us
                assert await crowd.comes_in()
                answer, stranger = await crowd.newcomer(token_hex(32))
                assert answer == "AUTHENTICATION_ERROR", "reading goes on"
                await stranger.close()
                assert await crowd.is_ready()
                await crowd.all_hear()
                own.execute("ROLLBACK")
            await endure(crowd, take_away, bring_back)
            await endure(crowd, scribble, bring_back)


PREPARE = """
import django; django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from streaming.models import ApiKey
call_command("migrate", verbosity=0)
call_command("createkeyfile", verbosity=0)
print(ApiKey.objects.issue(User.objects.create_user("asha"), "notebook")[1])
connection.close_pool()
"""


@pytest.mark.postgres
async def test_a_database_that_is_gone_before_the_start(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """The gateway starts, says what it lacks, and serves once it is there; a worker says why."""
    with psycopg.connect(postgres.url, autocommit=True) as server:
        server.execute("CREATE DATABASE late")
    url = postgres.url.rsplit("/", 1)[0] + "/late"
    key = (await asyncio.to_thread(run, PREPARE, tmp_path, DATABASE_URL=url)).splitlines()[-1]
    ports = {name: str(free_port()) for name in ("PORT", "OPENALGO_PORT", "ZMQ_PORT")}
    variables = {"DATABASE_URL": url, "DB_CONNECTION_TIMEOUT": "1", **ports}
    crowd = Crowd(
        {
            "url": f"http://127.0.0.1:{ports['PORT']}/",
            "openalgo_url": f"ws://127.0.0.1:{ports['OPENALGO_PORT']}/",
            "api_key": key,
        },
        tmp_path,
    )
    await asyncio.to_thread(postgres.stop)
    log = (tmp_path / "log").open("w+")
    gateway = await asyncio.create_subprocess_exec(
        sys.executable,
        "manage.py",
        "rungateway",
        cwd=ROOT,
        env=environment(tmp_path, **variables),
        stdout=log,
        stderr=log,
    )
    try:
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            "manage.py",
            "runpool",
            cwd=ROOT,
            env=environment(tmp_path, **variables),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await worker.communicate()
        assert worker.returncode == 1
        assert b"The database cannot be used (" in said
        assert b"Traceback" not in said

        async def is_up() -> bool:
            try:
                return await crowd.names_the_database()
            except httpx2.HTTPError:
                return False

        await eventually(is_up, timeout=90)
        answer, client = await crowd.newcomer()
        assert answer == "SERVER_ERROR"
        await client.close()
    finally:
        await asyncio.to_thread(postgres.start)
    try:
        await eventually(crowd.comes_in, timeout=60)
        await eventually(crowd.is_ready, timeout=60)
        await asyncio.to_thread(postgres.hang)
        await eventually(crowd.names_the_database, timeout=30)
    finally:
        gateway.terminate()
        try:
            code = await asyncio.wait_for(gateway.wait(), 60)
        finally:
            await asyncio.to_thread(postgres.resume)
        assert code == 0, "a database that hangs does not keep it from ending"
        with log:
            log.seek(0)
            assert "Traceback" not in log.read()
