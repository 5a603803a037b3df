"""``manage.py pool`` as a terminal sees it: the live view, and output that nobody reads on."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.site.processes.test_runpool import ACCOUNT, ROOT, Installation
from tests.support import eventually_sync

pytestmark = pytest.mark.timeout(240)

BEFORE = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    made = Installation(tmp_path_factory.mktemp("terminal"))
    code, out = made.run("-c", BEFORE + ACCOUNT)
    assert code == 0, out
    return made


class Terminal:
    """A terminal of 24 lines and 100 columns with a command in it."""

    def __init__(self, installation: Installation, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**installation.env, "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._seen = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._ours, 65_536):
                self._seen += data
        except OSError:
            pass  # the other end is closed

    @property
    def text(self) -> str:
        """Everything that was written, without what moves the cursor and paints."""
        return re.sub(
            r"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>])", " ", self._seen.decode(errors="replace")
        )

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        os.close(self._ours)


@contextmanager
def terminal(installation: Installation, *arguments: str) -> Iterator[Terminal]:
    made = Terminal(installation, *arguments)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("end", ["q", "interrupt"])
def test_top_shows_the_pools_and_renews_itself_until_it_is_ended(
    installation: Installation, end: str
) -> None:
    """The clock of its first line moves, and both q and Ctrl-C leave the terminal as it was."""
    with terminal(installation, "pool", "top", "--interval", "0.2") as screen:
        eventually_sync(lambda: "asha/zerodha/main" in screen.text, timeout=60)
        before = len(screen.text)
        eventually_sync(lambda: len(screen.text) > before, timeout=60, message="it stands still")
        if end == "q":
            screen.press("q")
        else:
            screen.process.send_signal(signal.SIGINT)  # as Ctrl-C does
        assert screen.process.wait(60) == 0
        assert "Traceback" not in screen.text


def test_a_reader_that_has_seen_enough_is_no_error(
    installation: Installation, tmp_path: Path
) -> None:
    """As with ``pool list | head -1``: no traceback, no complaint at the interpreter's end."""
    read, write = os.pipe()
    os.close(read)
    errors = tmp_path / "errors"
    with errors.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "pool", "list"],
            cwd=ROOT,
            env=installation.env,
            stdout=write,
            stderr=file,
        )
    os.close(write)
    assert process.wait(60) == 0
    assert errors.read_text() == ""
