"""Several gateway processes behind one port: one dies, all are drained, the parent is killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.fix_running_time import RunningTime
from tests.fix_services import RedisServer
from tests.support import eventually_sync, free_port, is_running, metrics_headers

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(480)


def manage(folder: Path, *arguments: str, **settings: str) -> str:
    """Run a management command on the data of ``folder`` and return what it prints."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATA_DIR": str(folder), **settings},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


class Gateways:
    """A ``rungateway --workers 2`` with a database of its own and one API key."""

    def __init__(self, folder: Path, key: str, **settings: str) -> None:
        self.folder = folder
        self.key = key
        self.ports = {name: str(free_port()) for name in ("PORT", "OPENALGO_PORT", "ZMQ_PORT")}
        self.env = {**os.environ, **self.ports, "DATA_DIR": str(folder), **settings}
        self.env.pop("GATEWAY_WORKERS", None)
        self.log = folder / "gateway.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "rungateway", "--workers", "2"],
                cwd=ROOT,
                env=self.env,
                stdout=log,
                stderr=log,
            )
        eventually_sync(lambda: self.said("gateway: 2 processes"), timeout=120)

    def said(self, words: str) -> bool:
        return words in self.log.read_text()

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def client(self) -> ClientConnection:
        url = f"ws://127.0.0.1:{self.ports['OPENALGO_PORT']}/"
        client = connect(url, proxy=None, legacy=True, open_timeout=60)
        client.send(json.dumps({"action": "authenticate", "api_key": self.key}))
        assert json.loads(client.recv(60))["status"] == "success"
        return client

    def scraped(self) -> str:
        url = f"http://127.0.0.1:{self.ports['PORT']}/metrics"
        request = urllib.request.Request(url, headers=metrics_headers(self.folder))
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""  # a process that listens and does not serve yet had it

    def degraded(self) -> list[str]:
        """What any one process says to be amiss beside the worker, which is not there."""
        url = f"http://127.0.0.1:{self.ports['PORT']}/readyz"
        with urllib.request.urlopen(url, timeout=30) as answer:
            found: list[str] = json.load(answer)["degraded"]
        return [each for each in found if "worker" not in each]

    def in_both(self, make: Callable[[], ClientConnection]) -> list[ClientConnection]:
        """Return clients of which each process has one."""
        clients: list[ClientConnection] = []
        while self.serving() != {"1", "2"}:
            assert len(clients) < 200, "one process takes every connection"
            clients.append(make())
        return clients

    def serving(self) -> set[str]:
        """The processes that have clients, as an answer for all of them says."""
        counts = re.findall(r'^tickpool_clients\{gateway="(\d)"\} (\d+)', self.scraped(), re.M)
        return {number for number, count in counts if count != "0"}

    def close(self) -> None:
        self.process.kill()
        self.process.wait(60)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Make data with one user and return its folder and his API key; for copies only."""
    folder = tmp_path_factory.mktemp("prepared")
    manage(folder, "migrate", "--verbosity", "0")
    code = "from django.contrib.auth.models import User; User.objects.create_user('trader')"
    manage(folder, "shell", "-c", code)
    return folder, manage(folder, "createapikey", "--user", "trader").strip()


@pytest.fixture
def gateways(prepared: tuple[Path, str], tmp_path: Path) -> Iterator[Gateways]:
    folder, key = prepared
    gateways = Gateways(shutil.copytree(folder, tmp_path / "own"), key)
    yield gateways
    gateways.close()


def close_code(client: ClientConnection) -> int | None:
    try:
        while True:
            client.recv(60)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def test_a_revoked_key_closes_its_clients_in_every_process(
    gateways: Gateways, running_time: RunningTime
) -> None:
    """The channel layer in memory does not reach the others; looking again every 2 s does."""
    clients = gateways.in_both(gateways.client)
    manage(
        gateways.folder,
        "shell",
        "-c",
        "from streaming.models import ApiKey; ApiKey.objects.get().revoke()",
    )
    revoked = running_time.seconds
    assert {close_code(client) for client in clients} == {4401}
    assert running_time.seconds - revoked < 5


@pytest.mark.redis
def test_redis_is_killed_and_comes_back(
    prepared: tuple[Path, str], tmp_path: Path, own_redis: RedisServer
) -> None:
    """No process loses a client; a command's notice is heard at once before and afterwards."""
    folder, key = prepared
    own_redis.start()
    url = {"REDIS_URL": own_redis.url}
    gateways = Gateways(shutil.copytree(folder, tmp_path / "own"), key, **url)
    try:
        eventually_sync(lambda: gateways.scraped().count('live{gateway="') == 2, timeout=60)
        clients = gateways.in_both(gateways.client)

        def is_live(value: int) -> bool:
            text = gateways.scraped()
            return all(f'live{{gateway="{n}"}} {value}.0' in text for n in (1, 2))

        eventually_sync(lambda: is_live(1), timeout=60)
        assert gateways.degraded() == []
        own_redis.kill()
        eventually_sync(lambda: is_live(0), timeout=60)
        assert "Redis" in gateways.degraded()[0]
        clients.append(gateways.client())
        own_redis.start()
        eventually_sync(lambda: is_live(1), timeout=60)
        for client in clients:
            client.send('{"action": "ping"}')
            assert "pong" in str(client.recv(60))
        revoke = "from streaming.models import ApiKey; ApiKey.objects.get().revoke()"
        manage(gateways.folder, "shell", "-c", revoke, **url)
        assert {close_code(client) for client in clients} == {4401}
        word = r'notices_total{gateway="\d",result="received"} (\d)'
        eventually_sync(lambda: re.findall(word, gateways.scraped()) == ["1", "1"], timeout=60)
        assert not gateways.said("Traceback")
        lines = gateways.log.read_text().splitlines()
        assert sum("channel layer" in line for line in lines) <= 2 * len(gateways.children())
    finally:
        gateways.close()


def test_a_dead_process_is_replaced_while_the_other_serves(gateways: Gateways) -> None:
    victim, other = gateways.children()
    os.kill(victim, signal.SIGKILL)
    # A connection dealt to it before the kernel has closed its sockets is reset; none later is.
    eventually_sync(lambda: not is_running(victim), timeout=30)
    for _ in range(8):
        gateways.client().close()
    eventually_sync(lambda: len(set(gateways.children()) - {victim, other}) == 1, timeout=60)
    assert other in gateways.children()
    assert gateways.said("was killed by SIGKILL; it is started again in")


def test_a_signal_tells_the_clients_of_all_and_ends_with_0(
    gateways: Gateways, running_time: RunningTime
) -> None:
    clients = [gateways.client() for _ in range(8)]
    children = gateways.children()
    started = running_time.seconds
    gateways.process.send_signal(signal.SIGTERM)
    assert {close_code(client) for client in clients} == {1012}
    assert gateways.process.wait(60) == 0
    assert running_time.seconds - started < 10
    assert not any(map(is_running, children))


def test_a_killed_parent_leaves_no_orphan(gateways: Gateways) -> None:
    children = gateways.children()
    assert len(children) == 2
    gateways.process.kill()
    eventually_sync(lambda: not any(map(is_running, children)), timeout=30)


def test_a_second_signal_does_not_wait_for_anybody(
    gateways: Gateways, running_time: RunningTime
) -> None:
    for pid in gateways.children():
        os.kill(pid, signal.SIGSTOP)  # deaf to every polite request
    gateways.process.send_signal(signal.SIGTERM)
    eventually_sync(lambda: gateways.said("gateways: stopping"), timeout=30)
    time.sleep(1.2)  # an earlier repeat counts as the same wish
    started = running_time.seconds
    gateways.process.send_signal(signal.SIGTERM)
    assert gateways.process.wait(60) == 0
    assert running_time.seconds - started < 5
    assert gateways.said("gateways: stopping at once")


def test_any_process_answers_a_scrape_for_all(gateways: Gateways) -> None:
    """The replacement of a dead one included, under its predecessor's number."""

    def is_complete() -> bool:
        text = gateways.scraped()
        return "tickpool_gateway_processes 2.0" in text and all(
            f'tickpool_clients{{gateway="{number}"}}' in text for number in (1, 2)
        )

    # A process that is kept from the processor for a second is left out of an answer.
    eventually_sync(is_complete, timeout=60, interval=0.1)
    victim = gateways.children()[0]
    os.kill(victim, signal.SIGKILL)
    eventually_sync(lambda: victim not in gateways.children(), timeout=30)
    eventually_sync(is_complete, timeout=60, interval=0.1)
