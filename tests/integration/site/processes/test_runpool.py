"""The worker's command: what it refuses to start with, and how it ends."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from openalgo_site.processes.stopping import StopPolicy
from tests.support import free_port

ROOT = Path(__file__).resolve().parents[4]
CONFIGURATION = 78
REPEAT_SECONDS = StopPolicy().repeat_seconds
ACCOUNT = """
import django; django.setup()
from django.contrib.auth.models import User
from pooling.models import BrokerAccount
BrokerAccount.objects.create(user=User.objects.create_user("asha"), broker="zerodha")
"""


class Installation:
    """A data directory and the commands that are run in it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "openalgo_site.settings",
            "DATA_DIR": str(data_dir),
            "ZMQ_PORT": str(free_port()),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out.strip()

    def manage(self, *arguments: str) -> tuple[int, str]:
        return self.run("manage.py", *arguments)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation that is complete, with one account."""
    installation = Installation(tmp_path_factory.mktemp("installation"))
    assert installation.manage("createkeyfile")[0] == 0
    assert installation.manage("migrate", "-v0") == (0, "")
    assert installation.run("-c", ACCOUNT) == (0, "")
    return installation


def test_a_missing_key_file_is_exit_78_with_the_cure(tmp_path: Path) -> None:
    code, out = Installation(tmp_path).manage("runpool")
    assert code == CONFIGURATION
    assert "createkeyfile" in out
    assert len(out.splitlines()) == 1
    assert not (tmp_path / "credentials.key").exists()


def test_a_database_that_is_not_migrated_is_exit_78_with_the_cure(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.manage("createkeyfile")
    code, out = installation.manage("runpool")
    assert (code, len(out.splitlines())) == (CONFIGURATION, 1)
    assert "manage.py migrate" in out


def test_a_key_file_that_others_may_read_is_exit_78(prepared: Installation) -> None:
    path = prepared.data_dir / "credentials.key"
    path.chmod(0o644)
    try:
        code, out = prepared.manage("runpool")
    finally:
        path.chmod(0o600)
    assert code == CONFIGURATION
    assert "chmod 600" in out


def test_an_account_that_does_not_exist_is_exit_78(prepared: Installation) -> None:
    code, out = prepared.manage("runpool", "--account", "999")
    assert code == CONFIGURATION
    assert "no broker account 999" in out


def test_an_open_bus_address_without_keys_is_exit_78(prepared: Installation) -> None:
    installation = Installation(prepared.data_dir)
    installation.env["ZMQ_HOST"] = "0.0.0.0"
    code, out = installation.manage("runpool")
    assert code == CONFIGURATION
    assert "ZMQ_CURVE_KEY_FILE" in out


def test_another_worker_s_bus_is_exit_1_and_named(prepared: Installation) -> None:
    folder = prepared.data_dir / "bus"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / f"{prepared.env['ZMQ_PORT']}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, out = prepared.manage("runpool")
    assert code == 1
    assert "another worker of this installation" in out
    assert "ZMQ_PORT" in out
    assert "Traceback" not in out


def test_a_folder_that_others_could_use_is_exit_78(prepared: Installation, tmp_path: Path) -> None:
    installation = Installation(prepared.data_dir)
    (tmp_path / "file").touch()
    installation.env["ZMQ_SOCKET_DIR"] = str(tmp_path / "file")
    code, out = installation.manage("runpool")
    assert code == CONFIGURATION
    assert "ZMQ_SOCKET_DIR" in out
    assert "Traceback" not in out


def test_whoever_takes_the_port_keeps_no_worker_out(prepared: Installation) -> None:
    """Gateways do not come that way, and who might is told."""
    installation = Installation(prepared.data_dir)
    installation.env["ZMQ_CURVE_KEY_FILE"] = str(prepared.data_dir / "subscribers.key")
    code, out = installation.manage(
        "createkeyfile", "--bus", installation.env["ZMQ_CURVE_KEY_FILE"]
    )
    assert code == 0, out
    with socket.create_server(("127.0.0.1", int(installation.env["ZMQ_PORT"]))):
        process = serving(installation)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_exits_0(prepared: Installation, number: signal.Signals) -> None:
    process = serving(prepared)
    assert process.stdout is not None
    started = time.monotonic()
    process.send_signal(number)
    process.send_signal(number)  # the same Ctrl-C, from the terminal and from a parent
    rest = process.stdout.read()
    assert process.wait(10) == 0
    assert time.monotonic() - started < 10
    process.stdout.close()
    assert "Traceback" not in rest


def test_a_locked_database_does_not_hold_up_the_end(prepared: Installation) -> None:
    """Its last statistics are lost then; the brokers and gateways were taken leave of."""
    process = serving(prepared)
    with locked(prepared):
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0
        assert time.monotonic() - started < 10


def test_a_second_signal_ends_it_at_once(prepared: Installation) -> None:
    """With the database locked the drain takes its two seconds; whoever insists waits for none."""
    # On a busy machine the second one may come when everything is over.
    codes = (insist(prepared) for _ in range(5))
    assert 1 in codes


def insist(installation: Installation) -> int:
    """Signal a worker that cannot end soon twice; returns its exit code."""
    process = serving(installation)
    with locked(installation):
        process.send_signal(signal.SIGTERM)
        until(process, " drains")
        time.sleep(REPEAT_SECONDS + 0.05)
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=30)[0]
    assert "Traceback" not in rest or process.returncode == 0
    return process.returncode


def serving(installation: Installation) -> subprocess.Popen[str]:
    """Start a worker and return it once it serves."""
    process = installation.start("manage.py", "runpool")
    until(process, "serves 1 pool")
    return process


def until(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdout is not None
    assert any(words in line for line in process.stdout), f"it ended without {words!r}"


@contextmanager
def locked(installation: Installation) -> Iterator[None]:
    """Keep everybody from writing to the database."""
    (path,) = installation.data_dir.glob("*.sqlite3")
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


def test_the_key_file_is_made_once(prepared: Installation) -> None:
    path = prepared.data_dir / "credentials.key"
    before = path.read_bytes()
    code, out = prepared.manage("createkeyfile")
    assert code == 1
    assert "left alone" in out
    assert path.read_bytes() == before
