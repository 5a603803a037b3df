"""A second worker of the same accounts is refused, and a restarted one does not wait."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.utils import timezone
from psycopg import sql

from openalgo_site.processes.workers import AnotherWorkerError, OtherWorkers
from pooling.models import BrokerAccount, PoolStatus
from tests.integration.site.admin.admin_kit import make_status
from tests.integration.site.processes.test_services import manage
from tests.support import free_port

ROOT = Path(__file__).resolve().parents[4]
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
    code = "import time; print(flush=True); time.sleep(600)  # runpool"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            # For a moment after it was started the system does not tell what a process runs.
            process.stdout.readline()
            yield f"{HOST}:{process.pid}"
        finally:
            process.kill()


@pytest.fixture
def ended_process() -> str:
    """The name of a worker that did."""
    with subprocess.Popen([sys.executable, "-c", "runpool = 0"]) as process:
        process.wait(60)
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
        OtherWorkers(None).refuse_second(sleep=passing)
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
    OtherWorkers(None).refuse_second(sleep=passing)
    assert not passing.pauses


@pytest.mark.django_db
def test_the_successor_of_one_that_was_stopped_does_not_wait_wherever(
    account: BrokerAccount,
) -> None:
    """A container that is made anew has another name."""
    make_status(account, owner="elsewhere:1", state="closed", reason="the pool was closed")
    passing = Passing()
    OtherWorkers(None).refuse_second(sleep=passing)
    assert not passing.pauses


@pytest.mark.django_db
def test_a_worker_elsewhere_that_writes_no_more_is_waited_for(account: BrokerAccount) -> None:
    """However its machine's clock goes: its row is of an hour ahead here."""
    make_status(account, owner="elsewhere:1")
    passing = Passing()
    OtherWorkers(None).refuse_second(sleep=passing)
    assert passing.pauses * 0.2 == pytest.approx(6)


@pytest.mark.django_db
@pytest.mark.parametrize("values", [{"enabled": False}, {}], ids=["disabled", "not served here"])
def test_other_accounts_are_anybodys(account: BrokerAccount, values: dict[str, Any]) -> None:
    make_status(account, owner="elsewhere:1")
    BrokerAccount.objects.filter(pk=account.pk).update(**values)
    passing = Passing(write_again)
    OtherWorkers(None if values else [account.pk + 1]).refuse_second(sleep=passing)
    assert not passing.pauses


@pytest.mark.django_db
def test_a_row_that_is_old_tells_of_nobody(account: BrokerAccount, lived_process: str) -> None:
    make_status(account, owner=lived_process, heartbeat=timezone.now() - timedelta(seconds=6))
    passing = Passing(write_again)
    OtherWorkers(None).refuse_second(sleep=passing)
    assert not passing.pauses


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """A complete installation with one account on the database named."""
    variables: dict[str, str] = {}
    if request.param == "postgresql":
        server_url = request.getfixturevalue("postgres_url")
        name = f"second_worker_{uuid.uuid4().hex}"
        with psycopg.connect(server_url, autocommit=True) as server:
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        variables["DATABASE_URL"] = server_url.rsplit("/", 1)[0] + f"/{name}"
    manage(PREPARE, tmp_path, **variables)
    return {**os.environ, **variables, "DATA_DIR": str(tmp_path)}


class Worker:
    """A ``runpool`` process whose every line is kept; no wait of it is longer than a minute."""

    def __init__(self, environment: dict[str, str], port: int, log: Path) -> None:
        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "runpool"],
                cwd=ROOT,
                env={**environment, "ZMQ_PORT": str(port), "PYTHONUNBUFFERED": "1"},
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def told(self) -> str:
        return self.log.read_text()

    def until_serving(self) -> str:
        deadline = time.monotonic() + 60
        while "serves 1 pool" not in (told := self.told()):
            assert self.process.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.02)
        return told

    def end(self) -> int:
        return self.process.wait(60)


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[[int], Worker]]:
    """Starts workers; none outlives the test, however that ends."""
    workers: list[Worker] = []

    def start_one(port: int) -> Worker:
        workers.append(Worker(environment, port, tmp_path / f"worker-{len(workers)}.log"))
        return workers[-1]

    yield start_one
    for worker in workers:
        worker.process.kill()
        worker.process.wait(60)


def stored_state(environment: dict[str, str]) -> str:
    code = (
        "import django; django.setup(); from pooling.models import PoolStatus; "
        "print(*PoolStatus.objects.values_list('owner', 'state', 'reason'))"
    )
    url = environment.get("DATABASE_URL")
    return manage(code, Path(environment["DATA_DIR"]), **({"DATABASE_URL": url} if url else {}))


def refusal(told: str) -> str:
    assert "Traceback" not in told
    (line,) = [line for line in told.splitlines() if "another worker" in line]
    return line


def test_two_workers_of_one_database(
    environment: dict[str, str], start: Callable[[int], Worker]
) -> None:
    """The second is refused while the first serves; killed, the first has a successor at once."""
    first_port = free_port()
    first = start(first_port)
    first.until_serving()
    second = start(free_port())
    assert second.end() == 1, second.told()
    line = refusal(second.told())
    assert f"process {first.process.pid} on {HOST}" in line
    assert f"ZMQ_PORT {first_port}" in line
    assert "serves 1 pool" not in second.told()
    assert first.process.poll() is None
    first.process.kill()
    first.end()
    successor = start(free_port())
    assert "still lives" not in successor.until_serving()
    successor.process.terminate()
    assert successor.end() == 0, successor.told()
    assert "Traceback" not in first.told() + successor.told()
    assert stored_state(environment) == (
        f"('{HOST}:{successor.process.pid}', 'closed', 'the pool was closed')"
    )


def test_of_two_workers_started_in_the_same_moment_one_stays(
    environment: dict[str, str], start: Callable[[int], Worker]
) -> None:
    """Whether or not one had written its row when the other looked."""
    pair = [start(free_port()) for _ in range(2)]
    deadline = time.monotonic() + 60
    while not (ended := [each for each in pair if each.process.poll() is not None]):
        assert time.monotonic() < deadline, [each.told() for each in pair]
        time.sleep(0.05)
    (loser,) = ended
    (winner,) = [each for each in pair if each is not loser]
    assert loser.end() == 1, loser.told()
    assert f"process {winner.process.pid} on {HOST}" in refusal(loser.told())
    winner.until_serving()
    winner.process.terminate()
    assert winner.end() == 0, winner.told()
    assert "Traceback" not in winner.told()
