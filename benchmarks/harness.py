"""Processes, cores, clocks and medians: what every scenario needs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "RUNS",
    "SECONDS",
    "Child",
    "ManageCommand",
    "Measured",
    "Result",
    "busy_seconds",
    "cores",
    "describe_environment",
    "median",
    "percentile",
    "pin",
]

ROOT = Path(__file__).resolve().parents[1]
SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cores() -> tuple[int, int]:
    """Return the server's core and the load's core; the same one on a single-core machine."""
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[-1]


def pin(core: int) -> None:
    """Pin this process to one core."""
    os.sched_setaffinity(0, {core})


def median(values: Sequence[float]) -> float:
    """Return the median; NaN of nothing."""
    return statistics.median(values) if values else float("nan")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` (0 to 1) of ``values`` lie; NaN of nothing."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def busy_seconds(core: int) -> float:
    """Return how long a core has been busy so far, whoever kept it so, from the kernel."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, *others = (int(field) for field in fields[:8])
            return (user + nice + system + sum(others)) / _TICKS_PER_SECOND
    return float("nan")


def _processes(root: int) -> list[int]:
    """Return a process and all that it has started."""
    found = [root]
    for process in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{process}/task").iterdir():
                found += (int(child) for child in (task / "children").read_text().split())
    return found


@dataclass
class Result:
    """One row of the table: a scenario, its figures with units in their names, and its check."""

    scenario: str
    figures: dict[str, float | int | str]
    correct: bool
    notes: str = ""
    runs: int = 1

    def row(self) -> str:
        """Return the row as text."""
        shown = "  ".join(
            f"{name}={value:,.4g}"
            if isinstance(value, float)
            else f"{name}={value:,}"
            if isinstance(value, int)
            else f"{name}={value}"
            for name, value in self.figures.items()
        )
        return f"{self.scenario:<44} {'ok ' if self.correct else 'BAD'} {shown}" + (
            f"  ({self.notes})" if self.notes else ""
        )


class Measured:
    """A process whose CPU time and memory the kernel tells."""

    process: asyncio.subprocess.Process | None = None

    def cpu_seconds(self) -> float:
        """Return user and system time so far, of it and all that it started, from the kernel."""
        return sum(self.cpu_seconds_by_process().values())

    def cpu_seconds_by_process(self) -> dict[int, float]:
        """Return the same for each of them, by process id."""
        assert self.process is not None
        found = {}
        for process in _processes(self.process.pid):
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
                found[process] = (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
        return found

    def memory_bytes(self) -> int:
        """Return the resident set now."""
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def proportional_bytes(self) -> int:
        """Return the memory that is its own, with its share of what it shares (PSS)."""
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        return 0

    async def stop(self) -> None:
        """End it, by force if it does not go by itself."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), 10)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@dataclass
class ManageCommand(Measured):
    """A command of the project, pinned to a core (None: to none); its output passes through.

    ``niceness`` is how far it stands behind others on its core.
    """

    name: str
    core: int | None
    environment: dict[str, str]
    arguments: Sequence[str] = ()
    niceness: int = 0
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; it may take a while until it answers."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "manage.py",
            self.name,
            *self.arguments,
            cwd=ROOT,
            env=self.environment,
            preexec_fn=self._place,
        )

    async def kill(self) -> None:
        """End it without a word, and wait until it has."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def _place(self) -> None:
        """Go where it belongs; in the new process, before it is the command."""
        if self.core is not None:
            pin(self.core)
        os.nice(self.niceness)


@dataclass
class Child(Measured):
    """A process of a scenario: started on a core, asked over JSON lines, measured, ended.

    It answers each line on its standard input with one JSON line on its standard output.
    """

    module: str
    core: int
    arguments: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> dict[str, Any]:
        """Start it and return its first line."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self.module,
            *self.arguments,
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=64 * 1024 * 1024,
            preexec_fn=lambda: os.sched_setaffinity(0, {self.core}),
        )
        return await self.read()

    async def read(self, timeout: float = 120.0) -> dict[str, Any]:
        """Return the next JSON line; other lines are passed through."""
        assert self.process is not None
        assert self.process.stdout is not None
        while True:
            line = await asyncio.wait_for(self.process.stdout.readline(), timeout)
            if not line:
                raise RuntimeError(f"{self.module} ended: {await self.process.wait()}")
            if line.startswith(b"{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
            sys.stderr.buffer.write(line)

    async def ask(self, timeout: float = 120.0, **request: Any) -> dict[str, Any]:
        """Send one request and return its answer."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        await self.process.stdin.drain()
        return await self.read(timeout)


def describe_environment() -> dict[str, str]:
    """Return what a reader needs in order to compare: machine, versions, cores."""
    model = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    import msgspec
    import uvicorn
    import uvloop
    import websockets
    import zmq

    return {
        "cpu": model,
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "uvicorn": uvicorn.__version__,
        "uvloop": uvloop.__version__,
        "websockets": websockets.__version__,
        "pyzmq": zmq.__version__,
        "libzmq": zmq.zmq_version(),
        "msgspec": msgspec.__version__,
    }
