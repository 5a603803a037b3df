"""Ctrl-C on a run: a sentence, and nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fix_services import require
from tests.soak.command_line import Ended, until_signal
from tests.soak.processes import ROOT, ManagedProcess
from tests.soak.servers import missing_programs

SLEEPS = ["-c", "import time; time.sleep(600)"]


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of processes that have to do with ``folder``."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (each / "cmdline").read_bytes(), (each / "environ").read_bytes()
        except OSError:
            continue  # it has ended meanwhile, or is not ours
        if os.fsencode(folder) in command + environment:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_everything_ends_before_the_command_does(tmp_path: Path) -> None:
    """And a second Ctrl-C does not disturb that end."""
    process = ManagedProcess("sleeper", SLEEPS, {}, tmp_path / "log")
    done: list[str] = []

    async def work() -> None:
        await process.start()
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(600)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.05)  # it is handled by the loop, if by anybody
            await process.end()
            done.append("ended")

    with pytest.raises(Ended, match=r"Ended by SIGINT: nothing was judged") as ended:
        until_signal(work())
    assert ended.value.code == 130
    assert done == ["ended"]
    assert process.process is not None
    assert process.process.returncode == -signal.SIGTERM


def test_what_fails_by_itself_is_told_as_it_is() -> None:
    async def work() -> None:
        raise RuntimeError("the clients ended")

    with pytest.raises(RuntimeError, match="the clients ended"):
        until_signal(work())


@pytest.mark.parametrize("module", ["tests.soak", "tests.soak.restarts"])
@pytest.mark.soak
def test_ctrl_c_ends_a_run_with_a_sentence(module: str) -> None:
    missing = missing_programs()
    require(", ".join(missing) or "All", not missing, "scripts/install-test-services")
    run = subprocess.Popen(
        [sys.executable, "-u", "-m", module],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout
    folder = Path(run.stdout.readline().strip().rpartition(" ")[2])
    while not (folder.exists() and any(folder.rglob("*.out"))):  # a server of it is started
        assert run.poll() is None
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 130, errors
    assert errors.splitlines() == [
        "SIGINT: ending what was started",
        "Ended by SIGINT: nothing was judged, nothing runs on.",
    ]
    assert processes_of(folder) == []
