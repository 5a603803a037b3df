"""PostgreSQL is started again under a process that has connections to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fix_services import PgBouncer, PostgresServer
from tests.integration.database.kit import begin, conversation

pytestmark = pytest.mark.postgres

QUERIES = """
import json, sys, threading, time
import django
django.setup()
from django.db import Error, connection, close_old_connections
COUNT = 10
together = threading.Barrier(COUNT)

def look(results, wait=lambda: None):
    started = time.monotonic()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            wait()
        results.append((round(time.monotonic() - started, 2), ""))
    except Error as error:
        results.append((round(time.monotonic() - started, 2), f"{type(error).__name__}: {error}"))
    finally:
        close_old_connections()

def at_once(wait=lambda: None):
    results = []
    threads = [threading.Thread(target=look, args=(results, wait)) for _ in range(COUNT)]
    for each in threads: each.start()
    for each in threads: each.join()
    return results

print(json.dumps(at_once(together.wait)), flush=True)  # as many connections as there are threads
sys.stdin.readline()
alone = []
for _ in range(3):
    look(alone)
print(json.dumps(alone + at_once()), flush=True)
connection.close_pool()
"""


# What is registered first is called last.
ENDS = """
import atexit
atexit.register(lambda: print("closed" if pool.closed else "open"))
import django; django.setup()
from django.db import connection
connection.ensure_connection()
pool = connection.pool
raise SystemExit("it ends without a word to the database")
"""


def failures(line: str) -> list[Any]:
    return [each for each in json.loads(line) if each[1]]


def slowest(line: str) -> float:
    return max(float(each[0]) for each in json.loads(line))


def ask_across_a_restart(url: str, server: PostgresServer, tmp_path: Path) -> str:
    with conversation(begin(QUERIES, tmp_path, DATABASE_URL=url)) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        before = child.stdout.readline()
        assert failures(before) == [], before
        server.stop()
        server.start()
        child.stdin.write("go\n")
        child.stdin.flush()
        return child.stdout.readline()


def test_no_dead_connection_is_handed_out(postgres: PostgresServer, tmp_path: Path) -> None:
    after = ask_across_a_restart(postgres.url, postgres, tmp_path)
    assert failures(after) == []
    assert slowest(after) < 5.0, "the others are not found one by one, with waits in between"


def test_nor_is_one_behind_a_pooler(
    postgres: PostgresServer, pgbouncer: PgBouncer, tmp_path: Path
) -> None:
    after = ask_across_a_restart(pgbouncer.url, postgres, tmp_path)
    assert failures(after) == []
    assert slowest(after) < 5.0


def test_a_process_that_ends_in_any_way_closes_its_pool(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """What is left to the interpreter's last moments ends with a traceback on Python 3.14."""
    with conversation(begin(ENDS, tmp_path, DATABASE_URL=postgres.url)) as child:
        told, _ = child.communicate(timeout=60)
    assert told == "closed\n"
