"""A stand-in for the whole site, in a process of its own: real pages, scripted prices.

``python -m tests.browser.fake_site`` serves it; ``FakeSite`` starts that process, stops it as a
server restart would, and passes a test's verbs on to its market. Logins live in a SQLite file, so
a browser stays logged in over a restart.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import django

from tests.support import free_port

__all__ = ["PASSWORD", "USERNAME", "FakeSite"]

ROOT = Path(__file__).resolve().parents[2]
USERNAME = "asha"
PASSWORD = "market watch 7"


class FakeSite:
    """The stand-in site as a test sees it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None
        self.port = free_port()  # not one that a client gets while the site is down
        self.username, self.password = USERNAME, PASSWORD
        self.cookies: list[Any] = []  # of a browser that logged in before

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Serve, on the same port each time."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.browser.fake_site", "--port", str(self.port)],
            cwd=ROOT,
            env={**os.environ, "FAKE_SITE_DIR": str(self._directory)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line.strip() == "ready", "the stand-in site did not start"

    def stop(self) -> None:
        """End at once, as a server that dies does."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdout
        self._process.stdout.close()
        self._process = None

    def freeze(self) -> None:
        """Do nothing from now on, with every socket open: a dead link looks the same."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on where ``freeze`` stopped."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def say(self, verb: str, **arguments: Any) -> Any:
        """Have the market do ``verb``: see ``fake_server.verbs``."""
        request = urllib.request.Request(
            f"{self.url}/fake/{verb}", data=json.dumps(arguments).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.browser.fake_settings"
    django.setup()
    # Only now: it imports models.
    importlib.import_module("tests.browser.fake_server").serve(parser.parse_args().port)
