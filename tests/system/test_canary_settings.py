"""A password in an address that a setting holds shows nowhere, also when nobody answers there.

What fails to connect tells the most: at DEBUG, with tracebacks, to whoever reads the log.
"""

from __future__ import annotations

import os
import subprocess
import sys
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
    """Their words, logs and command lines, each until it has said that it cannot connect."""
    create_key_file(tmp_path / "credentials.key")
    env = environment(tmp_path)
    with ExitStack() as exits:
        said = [exits.enter_context(Started(command, env, tmp_path)) for command in COMMANDS]
        for each in said:
            eventually_sync(each.has_failed, timeout=90, message=f"{each.name} said nothing")
            for password in PASSWORDS:
                assert password not in each.words(), each.name
                assert password not in each.command_line, each.name


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

    def has_failed(self) -> bool:
        """Whether it has given up, or, when it never does, has tried again."""
        failures = self.words().count("connection failed")
        return failures > 1 or (failures == 1 and self._process.poll() is not None)
