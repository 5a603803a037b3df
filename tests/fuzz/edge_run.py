"""One run against the client edge in a process of its own, whose log is looked through."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.edge import EdgePorts, Outcome, fuzz_edge

__all__ = ["run_edge", "tracebacks"]

ROOT = Path(__file__).resolve().parents[2]


def tracebacks(log: str) -> list[str]:
    """Return the lines of a log that no input may cause."""
    bad = ("Traceback", "never retrieved", "was never awaited", "Exception in")
    return [line for line in log.splitlines() if any(word in line for word in bad)]


def run_edge(*, seed: int, frames: int) -> None:
    """Run, and print what was found. Raises if the server or the neighbour minded."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("w") as errors, _server(folder, errors.fileno()) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            ports = EdgePorts(**json.loads(server.stdout.readline()))
            before = server.stdout.readline().strip()
            outcome = asyncio.run(
                fuzz_edge(ports, seed=seed, frames=frames, on_progress=_tell_progress)
            )
            server.stdin.close()
            after = server.stdout.readline().strip()
            server.wait(60)
        found = tracebacks(log.read_text())
    sys.stdout.write(
        f"edge: seed {seed}, {_words(outcome)}, {time.monotonic() - started:.0f} s; "
        f"{len(found)} tracebacks; memory of the server before {before}, after {after}\n"
    )
    sys.stdout.flush()
    if found:
        raise AssertionError("\n".join(found[:20]))


def _server(folder: str, errors: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.edge_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        cwd=ROOT,
        env={
            **os.environ, "DATA_DIR": folder, "DJANGO_SETTINGS_MODULE": "openalgo_site.settings",
        },
    )  # fmt: skip


def _words(outcome: Outcome) -> str:
    return (
        f"{outcome.frames:,} frames, {outcome.connections:,} connections "
        f"({outcome.answered:,} answered to the end), {outcome.ticks:,} ticks and "
        f"{outcome.pings:,} pings of the neighbour, the worst {outcome.worst_ping_seconds:.2f} s"
    )


def _tell_progress(outcome: Outcome) -> None:
    sys.stderr.write(f"{_words(outcome)}\n")
    sys.stderr.flush()
