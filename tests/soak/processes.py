"""The project's own processes: started, asked whether they serve, ended one way or the other."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "ManagedProcess", "answer_of", "module_answer", "run_manage"]

ROOT = Path(__file__).resolve().parents[2]
_READY_SECONDS = 300.0
_END_SECONDS = 60.0


class ManagedProcess:
    """One long-lived process whose log is a file of its own, whichever of its lives wrote it."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environment = {**os.environ, **environment}
        self.process: Process | None = None

    @property
    def pid(self) -> int:
        """The process of its present life. Raises RuntimeError where there is none."""
        if self.process is None or self.process.returncode is not None:
            raise RuntimeError(f"{self.name} does not run")
        return self.process.pid

    async def start(self) -> None:
        """Start a life of it."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, *self._command),
                cwd=ROOT,
                env=self._environment,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the run, which ends this in its order
            )

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit code. One that hangs is killed."""
        if self.process is None or self.process.returncode is not None:
            return 0
        self.process.send_signal(number)
        try:
            return await asyncio.wait_for(self.process.wait(), _END_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            return await self.process.wait()

    async def answers(self, url: str, wanted: str = "") -> None:
        """Wait until a URL answers 200, and with ``wanted`` in it. Raises TimeoutError."""
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            status, text = await asyncio.to_thread(answer_of, url)
            if status == 200 and wanted in text:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} is not ready: {status} {text[:200]}")
            await asyncio.sleep(0.2)


def answer_of(
    url: str, headers: Mapping[str, str] | None = None, seconds: float = 10.0
) -> tuple[int, str]:
    """Return status and text of a URL; status 0 where nobody answers. Blocks up to ``seconds``."""
    request = urllib.request.Request(url, headers=dict(headers or {}))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        try:
            answer = opener.open(request, timeout=seconds)
        except urllib.error.HTTPError as refusal:
            answer = refusal
        with answer:
            return answer.status, answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)  # also where it ended within its answer


async def run_manage(environment: Mapping[str, str], *arguments: str) -> str:
    """Run a management command; returns what it prints. Raises RuntimeError where it fails."""
    return await _run(environment, ["manage.py", *arguments], b"")


async def module_answer(
    environment: Mapping[str, str], module: str, verb: str, **given: Any
) -> Any:
    """Run ``python -m module verb`` with JSON on its input; returns the JSON that it prints."""
    command = ["-m", module, verb]
    return json.loads(await _run(environment, command, json.dumps(given).encode()))


async def _run(environment: Mapping[str, str], command: Sequence[str], given: bytes) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_READY_SECONDS):
            out, errors = await process.communicate(given)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        words = errors.decode(errors="replace")[-800:]
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {words}")
    return out.decode()
