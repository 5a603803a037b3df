"""A password in an address that a setting holds shows nowhere, also when nobody answers there.

What fails to connect tells the most: at DEBUG, with tracebacks, to whoever reads the log.
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from pooling.keys.files import create_key_file
from tests.support import eventually_sync, free_port

ROOT = Path(__file__).resolve().parents[2]
PASSWORDS = ("canarydatabasepassword83c1", "canaryredispassword5f0e")
COMMANDS = (("pool", "doctor", "--json"), ("pool", "list"), ("runpool",), ("rungateway",))

pytestmark = pytest.mark.timeout(180)


def environment(data_dir: Path) -> dict[str, str]:
    """Addresses where nobody is, each with a password."""
    nobody = free_port()
    return {
        **os.environ,
        "DATA_DIR": str(data_dir),
        "LOG_LEVEL": "DEBUG",
        "LOG_LIBRARIES_LEVEL": "DEBUG",
        "DB_CONNECTION_TIMEOUT": "1",
        "PYTHONUNBUFFERED": "1",
        "DATABASE_URL": f"postgresql://tickpool:{PASSWORDS[0]}@127.0.0.1:{nobody}/tickpool",
        "REDIS_URL": f"redis://:{PASSWORDS[1]}@127.0.0.1:{nobody}/0",
        **{name: str(free_port()) for name in ("PORT", "OPENALGO_PORT", "ZMQ_PORT")},
    }


def test_commands_that_reach_no_database_tell_no_password(tmp_path: Path) -> None:
    """Their words, logs and command lines, each until it has said that it cannot connect.

    The gateway, which serves on, says it a second time when somebody asks for a page: that of which
    it fails by itself it repeats once a minute.
    """
    create_key_file(tmp_path / "credentials.key")
    env = environment(tmp_path)
    with ExitStack() as exits:
        said = [exits.enter_context(Started(command, env, tmp_path)) for command in COMMANDS]
        gateway = said[COMMANDS.index(("rungateway",))]
        eventually_sync(lambda: gateway.failures, timeout=90, message="the gateway said nothing")
        status, page = answer(f"http://127.0.0.1:{env['PORT']}/login/")
        assert status == 503
        assert not any(password in page for password in PASSWORDS)
        for each in said:
            eventually_sync(each.has_failed, timeout=90, message=f"{each.name} said nothing")
            for password in PASSWORDS:
                assert password not in each.words(), each.name
                assert password not in each.command_line, each.name


def answer(url: str) -> tuple[int, str]:
    """Ask as a browser that was logged in; return status and body of what comes."""
    request = urllib.request.Request(url, headers={"Cookie": "sessionid=" + "a" * 32})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


class Started:
    """A command of the project while it runs, and what it says."""

    def __init__(self, command: Sequence[str], env: dict[str, str], folder: Path) -> None:
        self.name = " ".join(command)
        self._output = folder / f"{self.name}.log"
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", *command],
                cwd=ROOT,
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.command_line = Path(f"/proc/{self._process.pid}/cmdline").read_text()

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def words(self) -> str:
        return self._output.read_text()

    @property
    def failures(self) -> int:
        """How often it has said that it cannot connect."""
        return self.words().count("connection failed")

    def has_failed(self) -> bool:
        """Whether it has given up, or, when it never does, has failed again."""
        return self.failures > 1 or (self.failures == 1 and self._process.poll() is not None)
