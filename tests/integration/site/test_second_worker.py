"""A second worker of the same accounts is refused, and a restarted one does not wait."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.utils import timezone
from psycopg import sql

from openalgo_site.worker_processes import AnotherWorkerError, refuse_second_worker
from pooling.models import BrokerAccount, PoolStatus
from tests.integration.site.admin_kit import make_status
from tests.integration.site.test_services import manage
from tests.support import free_port

ROOT = Path(__file__).resolve().parents[3]
HOST = socket.gethostname()
STARTED_MS = 1_796_000_000_000
PREPARE = """
import django; django.setup()
from django.core.management import call_command
from django.contrib.auth.models import User
from pooling.models import BrokerAccount
call_command("migrate", verbosity=0)
call_command("createkeyfile")
BrokerAccount.objects.create(user=User.objects.create_user("asha"), broker="zerodha")
"""


@pytest.fixture
def lived_process() -> Iterator[str]:
    """The name of a worker that runs on this machine."""
    code = "import time; time.sleep(600)  # runpool"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        yield f"{HOST}:{process.pid}"
        process.kill()


@pytest.fixture
def ended_process() -> str:
    """The name of a worker that did."""
    process = subprocess.Popen([sys.executable, "-c", "runpool = 0"])
    process.wait()
    return f"{HOST}:{process.pid}"


class Passing:
    """Time that passes without anybody waiting; ``then`` is done at each pause."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.pauses = 0
        self._then = then

    def __call__(self, seconds: float) -> None:
        self.pauses += 1
        self._then()


def write_again() -> None:
    for row in PoolStatus.objects.all():
        row.heartbeat += timedelta(seconds=1)
        row.save()


@pytest.mark.django_db
@pytest.mark.parametrize("is_here", [True, False], ids=["this machine", "another one"])
def test_a_worker_that_goes_on_writing_is_named(
    account: BrokerAccount, lived_process: str, is_here: bool
) -> None:
    owner = lived_process if is_here else "elsewhere:1"
    make_status(account, owner=owner, epoch=STARTED_MS, stats={"bus_port": 5555})
    passing = Passing(write_again)
    with pytest.raises(AnotherWorkerError) as refusal:
        refuse_second_worker(None, sleep=passing)
    assert passing.pauses == 1
    host, _, pid = owner.partition(":")
    words = str(refusal.value)
    assert f"account {account.pk} already (process {pid} on {host}, since " in words
    assert "ZMQ_PORT 5555): stop it first" in words
    assert "2026" in words


@pytest.mark.django_db
@pytest.mark.parametrize("owner", ["its own", "ended"])
def test_the_successor_of_a_killed_worker_does_not_wait(
    account: BrokerAccount, ended_process: str, owner: str
) -> None:
    """In a container every worker is the same process."""
    names = {"its own": f"{HOST}:{os.getpid()}", "ended": ended_process}
    make_status(account, owner=names[owner])
    passing = Passing()
    refuse_second_worker(None, sleep=passing)
    assert not passing.pauses


@pytest.mark.django_db
def test_the_successor_of_one_that_was_stopped_does_not_wait_wherever(
    account: BrokerAccount,
) -> None:
    """A container that is made anew has another name."""
    make_status(account, owner="elsewhere:1", state="closed", reason="the pool was closed")
    passing = Passing()
    refuse_second_worker(None, sleep=passing)
    assert not passing.pauses


@pytest.mark.django_db
def test_a_worker_elsewhere_that_writes_no_more_is_waited_for(account: BrokerAccount) -> None:
    """However its machine's clock goes: its row is of an hour ahead here."""
    make_status(account, owner="elsewhere:1")
    passing = Passing()
    refuse_second_worker(None, sleep=passing)
    assert passing.pauses * 0.2 == pytest.approx(6)


@pytest.mark.django_db
@pytest.mark.parametrize("values", [{"enabled": False}, {}], ids=["disabled", "not served here"])
def test_other_accounts_are_anybodys(account: BrokerAccount, values: dict[str, Any]) -> None:
    make_status(account, owner="elsewhere:1")
    BrokerAccount.objects.filter(pk=account.pk).update(**values)
    passing = Passing(write_again)
    refuse_second_worker(None if values else [account.pk + 1], sleep=passing)
    assert not passing.pauses


@pytest.mark.django_db
def test_a_row_that_is_old_tells_of_nobody(account: BrokerAccount, lived_process: str) -> None:
    make_status(account, owner=lived_process, heartbeat=timezone.now() - timedelta(seconds=6))
    passing = Passing(write_again)
    refuse_second_worker(None, sleep=passing)
    assert not passing.pauses


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """A complete installation with one account on the database named."""
    variables: dict[str, str] = {}
    if request.param == "postgresql":
        server_url = request.getfixturevalue("postgres_url")
        name = f"second_worker_{os.getpid()}"
        with psycopg.connect(server_url, autocommit=True) as server:
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        variables["DATABASE_URL"] = server_url.rsplit("/", 1)[0] + f"/{name}"
    manage(PREPARE, tmp_path, **variables)
    return {**os.environ, **variables, "DATA_DIR": str(tmp_path)}


def start(environment: dict[str, str], port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "runpool"],
        cwd=ROOT,
        env={**environment, "ZMQ_PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until_serving(worker: subprocess.Popen[str]) -> list[str]:
    assert worker.stdout is not None
    lines: list[str] = []
    for line in worker.stdout:
        lines.append(line)
        if "serves 1 pool" in line:
            return lines
    pytest.fail("".join(lines))


def test_two_workers_of_one_database(environment: dict[str, str]) -> None:
    """The second is refused while the first serves; killed, the first has a successor at once."""
    first_port = free_port()
    first = start(environment, first_port)
    try:
        until_serving(first)
        second = start(environment, free_port())
        out, _ = second.communicate(timeout=120)
        assert second.returncode == 1, out
        (line,) = [line for line in out.splitlines() if "another worker" in line]
        assert f"process {first.pid} on {HOST}" in line
        assert f"ZMQ_PORT {first_port}" in line
        assert "Traceback" not in out
        assert first.poll() is None
        first.send_signal(signal.SIGKILL)
        first.communicate(timeout=60)
        first = start(environment, free_port())
        assert not [line for line in until_serving(first) if "still lives" in line]
    finally:
        first.terminate()
        out, _ = first.communicate(timeout=60)
    assert "Traceback" not in out
    code = (
        "import django; django.setup(); from pooling.models import PoolStatus; "
        "print(*PoolStatus.objects.values_list('state', 'reason'))"
    )
    url = environment.get("DATABASE_URL")
    told = manage(code, Path(environment["DATA_DIR"]), **({"DATABASE_URL": url} if url else {}))
    assert told == "('closed', 'the pool was closed')"
