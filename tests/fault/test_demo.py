"""The whole demo as a person starts it, stops it and breaks it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fix_running_time import RunningTime
from tests.fix_services import require
from tests.support import SHARED_DATA, eventually_sync, free_port, is_running

ROOT = Path(__file__).resolve().parents[2]
CAPTURE = SHARED_DATA / "capture_BINANCE.ws.1.0"
READY_SECONDS = 200
LISTENED_ON = ("PORT", "OPENALGO_PORT", "SIMULATOR_PORT", "SIMULATOR_LOGIN_PORT")
PORTS = (*LISTENED_ON, "ZMQ_PORT")  # which names a socket file here
# Where nobody listens: everything of a demo is on this machine, which no proxy leads to.
PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "ALL_PROXY"), "http://127.0.0.1:9")

pytestmark = pytest.mark.timeout(600)


class RunningDemo:
    """A demo in a process group of its own, and what it prints."""

    def __init__(self, data_dir: Path, *command: str, **environment: str) -> None:
        self.ports = {name: str(free_port()) for name in PORTS}
        self.lines: list[str] = []
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            command or self.command(),
            cwd=ROOT,
            env={
                **os.environ,
                **self.ports,
                **PROXIES,
                "DATA_DIR": str(data_dir),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @staticmethod
    def command() -> tuple[str, ...]:
        """Return the demo's own command line, for further arguments behind it."""
        return (sys.executable, "manage.py", "demo")

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip())

    def said(self, words: str) -> bool:
        return any(words in line for line in self.lines)

    def ready(self) -> dict[str, Any]:
        def line() -> str | None:
            if self.process.poll() is not None:
                pytest.fail("the demo ended:\n" + "\n".join(self.lines[-40:]))
            return next((each for each in self.lines if each.startswith("ready ")), None)

        found = eventually_sync(line, timeout=READY_SECONDS, message="not ready")
        facts: dict[str, Any] = json.loads(str(found).removeprefix("ready "))
        return facts

    def wait(self, seconds: float) -> int:
        code = self.process.wait(seconds)
        self._reader.join(60)
        return code

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.wait(60)


@contextlib.contextmanager
def demo(data_dir: Path, *command: str, **environment: str) -> Iterator[RunningDemo]:
    running = RunningDemo(data_dir, *command, **environment)
    try:
        yield running
    finally:
        running.close()


def pids(ready: dict[str, Any]) -> list[int]:
    processes = ready["processes"]
    simulator = [processes["simulator"]] if processes["simulator"] else []
    return [processes["worker"], *processes["gateway"], *simulator]


def listens(pid: int, port: str) -> bool:
    """Tell whether this process itself takes connections at a port of 127.0.0.1."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A"}
    at_port = {f"socket:[{row[9]}]" for row in rows if row[1] == f"0100007F:{int(port):04X}"}
    held = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    return bool(listening & at_port & held)


def get(ready: dict[str, Any], path: str) -> Any:
    request = urllib.request.Request(ready["url"] + path, headers={"X-API-KEY": ready["api_key"]})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def set_limit(data_dir: Path, symbols: int) -> None:
    """Save a limit as the admin does; returns once it is in the database."""
    code = (
        "import django; django.setup(); from pooling.models import PoolConfig; "
        f"config = PoolConfig.objects.get(); config.symbols_per_connection = {symbols}; "
        "config.full_clean(); config.save()"
    )
    run_django(data_dir, code)


def doctor(data_dir: Path) -> dict[str, str]:
    """Ask it from another terminal, where the demo's ports are not set; returns what runs."""
    env = {name: value for name, value in os.environ.items() if name not in PORTS}
    done = subprocess.run(
        [sys.executable, "manage.py", "pool", "doctor", "--json"],
        cwd=ROOT,
        env={**env, "DATA_DIR": str(data_dir)},
        timeout=120,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    findings = json.loads(done.stdout[done.stdout.index("{") :])["findings"]
    parts = ("bus", "gateways", "workers")
    return {each["check"]: each["outcome"] for each in findings if each["check"] in parts}


def run_django(data_dir: Path, code: str) -> str:
    """Run a program beside the demo, on its database; returns what it prints."""
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "openalgo_site.settings",
        "DATA_DIR": str(data_dir),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=env,
        check=True,
        timeout=120,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def workers(ready: dict[str, Any]) -> int:
    return int(get(ready, "readyz")["workers"])


def test_demo_serves_survives_and_stops(tmp_path: Path, running_time: RunningTime) -> None:
    """First start, a limit changed, a worker killed, Ctrl-C; then a start that keeps the data."""
    with demo(tmp_path) as running:
        first = running.ready()
        assert first["instruments"] == 10_000
        assert first["url"] == f"http://127.0.0.1:{running.ports['PORT']}/"
        assert first["openalgo_url"] == f"ws://127.0.0.1:{running.ports['OPENALGO_PORT']}"
        assert all(is_running(pid) for pid in pids(first))
        assert len(get(first, "api/instruments?limit=10000")["results"]) == 10_000
        assert get(first, "api/pools")["results"][0]["capacity"] == 9_000
        assert {path.stat().st_mode & 0o077 for path in tmp_path.glob("*.key")} == {0}
        assert (tmp_path / "demo.json").stat().st_mode & 0o077 == 0

        assert doctor(tmp_path) == {"bus": "ok", "gateways": "ok", "workers": "ok"}

        set_limit(tmp_path, 100)
        saved = running_time.seconds
        eventually_sync(
            lambda: get(first, "api/pools")["results"][0]["capacity"] == 300, timeout=30
        )
        assert running_time.seconds - saved < 5

        os.kill(first["processes"]["worker"], signal.SIGKILL)
        eventually_sync(lambda: running.said("worker runs again"), timeout=60)
        assert running.said("worker was killed by SIGKILL; it is started again in 0.5 s")
        eventually_sync(lambda: workers(first) == 1, timeout=90)

        stopped = running_time.seconds
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.wait(60) == 0
        assert running_time.seconds - stopped < 10
        assert not any(is_running(pid) for pid in pids(first)[1:])
        assert not running.said("Traceback")

    with demo(tmp_path) as running:
        second = running.ready()
        kept = ("username", "password", "api_key", "instruments")
        assert [second[name] for name in kept] == [first[name] for name in kept]
        assert not running.said("instruments loaded")
        # Whatever ends the demo, nothing stays: not even its own end can prevent that.
        running.process.kill()
        eventually_sync(lambda: not any(is_running(pid) for pid in pids(second)), timeout=30)


def test_a_demo_with_several_gateways_names_and_keeps_them(tmp_path: Path) -> None:
    """All of them in the ready line; a killed one is replaced, and Ctrl-C ends them all."""
    with demo(tmp_path, GATEWAY_WORKERS="2") as running:
        ready = running.ready()
        gateways = ready["processes"]["gateway"]
        assert len(gateways) == 2
        assert all(listens(pid, running.ports["PORT"]) for pid in gateways)
        os.kill(gateways[0], signal.SIGKILL)  # either may have been started first
        again = re.compile(r"gateway +\| gateway-[12] runs again, process \d+")
        eventually_sync(lambda: any(map(again.fullmatch, running.lines)), timeout=90)
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.wait(60) == 0
        assert not any(map(is_running, pids(ready)))


def test_ending_make_ends_the_demo(tmp_path: Path, running_time: RunningTime) -> None:
    """SIGTERM to make alone, as a supervisor of make would send it."""
    require("make", shutil.which("make"), "apt-get install -y make")
    require("The .venv of make", (ROOT / ".venv/bin/python").exists(), "make install")
    with demo(tmp_path, "make", "--no-print-directory", "run") as running:
        ready = running.ready()
        os.kill(running.process.pid, signal.SIGTERM)
        started = running_time.seconds
        eventually_sync(lambda: not any(is_running(pid) for pid in pids(ready)), timeout=60)
        running.wait(60)
        assert running_time.seconds - started < 10
        assert running.said("stopping")


@pytest.mark.parametrize("variable", LISTENED_ON)
def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with demo(tmp_path / "data", **{variable: str(port)}) as running:
            assert running.wait(120) == 1
            (sentence,) = running.lines
            assert f"port {port}" in sentence
            assert variable in sentence
    assert not (tmp_path / "data" / "demo.json").exists()


def test_two_variables_with_one_port_are_one_sentence(tmp_path: Path) -> None:
    port = str(free_port())
    with demo(tmp_path, PORT=port, OPENALGO_PORT=port) as running:
        assert running.wait(120) == 1
        (sentence,) = running.lines
        assert f"PORT and OPENALGO_PORT both name port {port}" in sentence


def test_binance_without_internet_is_one_sentence(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:1"
    command = (sys.executable, "manage.py", "demo", "--broker", "binance")
    with demo(tmp_path, *command, HTTPS_PROXY=nowhere, https_proxy=nowhere) as running:
        assert running.wait(120) == 1
        (sentence,) = running.lines
        assert "Binance" in sentence
        assert "cannot be reached" in sentence


@pytest.mark.skipif(not CAPTURE.exists(), reason=f"no recorded data in {SHARED_DATA}")
def test_a_recorded_binance_session_is_replayed(tmp_path: Path) -> None:
    command = (sys.executable, "manage.py", "demo", "--replay", str(CAPTURE), "--speed", "5")
    with demo(tmp_path, *command) as running:
        ready = running.ready()
        assert ready["instruments"] > 0
        (pool,) = [each for each in get(ready, "api/pools")["results"] if each["enabled"]]
        assert pool["broker"] == "binance"
        running.process.terminate()
        assert running.wait(60) == 0


def test_a_file_that_cannot_be_replayed_is_one_sentence(tmp_path: Path) -> None:
    command = (sys.executable, "manage.py", "demo", "--replay", str(tmp_path / "none"))
    with demo(tmp_path, *command) as running:
        assert running.wait(120) == 1
        (sentence,) = running.lines
        assert "none is not a file" in sentence
