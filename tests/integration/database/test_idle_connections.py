"""Whoever waits, for a password's hash or for a client that reads slowly, holds no connection."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.database.kit import run

pytestmark = pytest.mark.postgres

SITE = """
import asyncio, hashlib, json, secrets, threading
from openalgo_site.asgi import application, gateway
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
call_command("migrate", verbosity=0)
user = User.objects.create_superuser(f"trader-{secrets.token_hex(4)}")
client = Client(); client.force_login(user)
session = client.cookies["sessionid"].value
connection.close()

def in_use():
    stats = connection.pool.get_stats()
    return stats["pool_size"] - stats["pool_available"]

def ask(path, *, number=1, cookie="", form=None):
    token = "t" * 32
    body = f"{form}&csrfmiddlewaretoken={token}".encode() if form else b""
    told = ApplicationCommunicator(application, {
        "type": "http", "method": "POST" if form else "GET", "path": path, "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"cookie", f"csrftoken={token}; {cookie}".encode()),
                    (b"content-type", b"application/x-www-form-urlencoded")],
        "client": (f"192.0.2.{number}", 5), "server": ("127.0.0.1", 8000),
    })
    told.input_queue.put_nowait({"type": "http.request", "body": body, "more_body": False})
    return told
"""

LOGINS = """
hashing, go_on = threading.Event(), threading.Event()

def hashed(*_):
    hashing.set()
    assert go_on.wait(100)
    return b"hash"

hashlib.pbkdf2_hmac = hashed

async def main():
    logins = [ask("/login/", number=n, form=f"username=user{n}&password=guess") for n in range(8)]
    for each in logins:
        await each.receive_nothing(0.01)
    assert await asyncio.to_thread(hashing.wait, 100)
    held = in_use()
    page = await ask("/admin/", cookie=f"sessionid={session}").receive_output(60)
    go_on.set()
    answers = [(await each.receive_output(60))["status"] for each in logins]
    return held, page["status"], answers

print(json.dumps(asyncio.run(main())))
connection.close_pool()
"""

ANSWERS = """
async def main():
    reader = ask("/admin/", cookie=f"sessionid={session}")
    held = []

    async def slowly(message):
        held.append(in_use())

    await application(reader.scope, reader.input_queue.get, slowly)
    return held

print(json.dumps(asyncio.run(main())))
connection.close_pool()
"""


def test_strangers_who_wait_to_log_in_hold_none(postgres_url: str, tmp_path: Path) -> None:
    """With seven connections, eight of them at once would hold them all."""
    said = run(SITE + LOGINS, tmp_path, DATABASE_URL=postgres_url, DB_MAX_CONNECTIONS="7")
    held, page, answers = json.loads(said.splitlines()[-1])
    assert held <= 1, "one is hashed, the others wait"
    assert page == 200
    assert answers == [200] * 8


def test_an_answer_that_is_being_read_holds_none(postgres_url: str, tmp_path: Path) -> None:
    said = run(SITE + ANSWERS, tmp_path, DATABASE_URL=postgres_url)
    held = json.loads(said.splitlines()[-1])
    assert held
    assert set(held) == {0}
