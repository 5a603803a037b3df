"""Children that die, fail to start, will not stop, or lose their supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from openalgo_site.processes.supervisor import ChildFailedError, ChildSpec, Supervisor
from tests.support import eventually, eventually_sync, is_running

ROOT = Path(__file__).resolve().parents[2]


def child(code: str, name: str = "child") -> ChildSpec:
    return ChildSpec(name=name, argv=(sys.executable, "-u", "-c", code), env=dict(os.environ))


SLEEP = "import time; print('up'); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP
PARENT = (
    "import subprocess, sys, time\n"
    "grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print('grandchild', grandchild.pid)\n"
    "time.sleep(600)\n"
)


class Said(list[str]):
    """What the supervisor printed."""

    def has(self, words: str) -> bool:
        return any(words in line for line in self)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
async def supervisor(said: Said) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(say=said.append)
    yield supervisor
    await supervisor.stop([], grace_seconds=0.1)


async def test_output_is_passed_on_with_the_childs_name(supervisor: Supervisor, said: Said) -> None:
    code = "import sys; print('to out'); print('to err', file=sys.stderr); " + SLEEP
    supervisor.start(child(code, "worker"))
    await eventually(lambda: said.has("up"), timeout=60)
    assert {"worker    | to out", "worker    | to err"} <= set(said)


@pytest.mark.parametrize("is_settled", [True, False])
async def test_a_killed_child_comes_back_and_it_is_said(
    supervisor: Supervisor, said: Said, is_settled: bool
) -> None:
    supervisor.start(child(SLEEP))
    await eventually(lambda: said.has("up"), timeout=60)
    if is_settled:
        supervisor.settled()
    first = supervisor.pid("child")
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: said.has("runs again"), timeout=60)
    assert said.has("child was killed by SIGKILL; it is started again in 0.5 s")
    assert said.has(f"child runs again, process {supervisor.pid('child')}")
    assert supervisor.pid("child") != first


async def test_a_child_that_cannot_start_is_a_failure_after_some_attempts(
    said: Said,
) -> None:
    supervisor = Supervisor(say=said.append, start_attempts=2)
    supervisor.start(child("raise SystemExit('port taken')"))
    with pytest.raises(ChildFailedError, match="child cannot be started: it ended with code 1"):
        await asyncio.wait_for(supervisor.failure(), 90)
    assert said.has("port taken")
    await supervisor.stop([["child"]])


async def test_a_configuration_error_is_a_failure_at_once(
    supervisor: Supervisor, said: Said
) -> None:
    supervisor.start(child("raise SystemExit(78)"))
    with pytest.raises(ChildFailedError, match="ended with code 78"):
        await asyncio.wait_for(supervisor.failure(), 90)
    assert not said.has("started again")


async def test_a_program_that_does_not_exist_is_a_failure(said: Said) -> None:
    supervisor = Supervisor(say=said.append, start_attempts=1)
    supervisor.start(ChildSpec(name="child", argv=("/no/such/program",), env={}))
    with pytest.raises(ChildFailedError):
        await asyncio.wait_for(supervisor.failure(), 90)
    await supervisor.stop([["child"]])


async def test_stop_ends_children_in_their_order(supervisor: Supervisor, said: Said) -> None:
    polite = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); "
    for name in ("exchange", "worker"):
        supervisor.start(
            child(polite + f"import atexit; atexit.register(print, 'bye'); {SLEEP}", name)
        )
    await eventually(lambda: sum("up" in line for line in said) == 2, timeout=60)
    pids = [supervisor.pid(name) for name in ("exchange", "worker")]
    await supervisor.stop([["worker"], ["exchange"]], grace_seconds=60)
    assert [line for line in said if "bye" in line] == ["worker    | bye", "exchange  | bye"]
    assert not any(is_running(pid) for pid in pids)


async def test_a_child_that_will_not_stop_is_killed(supervisor: Supervisor, said: Said) -> None:
    supervisor.start(child(STUBBORN))
    await eventually(lambda: said.has("up"), timeout=60)
    pid = supervisor.pid("child")
    await supervisor.stop([["child"]], grace_seconds=0.3)
    assert not is_running(pid)


async def test_what_a_child_started_ends_with_it(supervisor: Supervisor, said: Said) -> None:
    supervisor.start(child(PARENT))
    await eventually(lambda: said.has("grandchild"), timeout=60)
    grandchild = int(said[0].split()[-1])
    os.kill(supervisor.pid("child"), signal.SIGKILL)
    await eventually(lambda: not is_running(grandchild), timeout=60)


SUPERVISE = f"""
import asyncio, os, sys
from openalgo_site.processes.supervisor import ChildSpec, Supervisor

async def main():
    supervisor = Supervisor(say=print)
    for code in ({SLEEP!r}, {STUBBORN!r}):
        argv = (sys.executable, "-c", code)
        supervisor.start(ChildSpec(name=str(len(code)), argv=argv, env={{}}))
    while True:
        await asyncio.sleep(0.05)
        if len(supervisor._processes) == 2:
            print("pids", *(process.pid for process in supervisor._processes.values()), flush=True)
            await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of it")
def test_children_die_with_a_supervisor_that_is_killed() -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-u", "-c", SUPERVISE], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    pids: list[int] = []
    for line in supervisor.stdout:
        if line.startswith("pids"):
            pids = [int(text) for text in line.split()[1:]]
            break
    assert len(pids) == 2
    assert all(is_running(pid) for pid in pids)
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    eventually_sync(lambda: not any(is_running(pid) for pid in pids), timeout=30)
