"""Keeps children running: starts them, passes on what they say, restarts the dead, stops all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openalgo_site.processes.lines import LineSplitter
from openalgo_site.processes.restart_policy import CONFIGURATION_EXIT, RestartPolicy, describe_exit

__all__ = ["ChildFailedError", "ChildSpec", "Supervisor"]

GUARDED = str(Path(__file__).with_name("guarded.py"))
READ_BYTES = 64 * 1024
OUTPUT_GRACE_SECONDS = 1.0
# A machine that stands still for a while costs one turn, not the last words of a child.
OUTPUT_GRACE_TURNS = 5


class ChildFailedError(Exception):
    """A child cannot be started in a way that trying again would mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """A program to keep running. ``argv[0]`` is an absolute path.

    ``pass_fds`` are descriptors of this process that the child gets under the same numbers.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    pass_fds: tuple[int, ...] = ()


class Supervisor:
    """Children of this process, each in a process group of its own.

    A group of its own keeps a terminal's Ctrl-C away from them: they are told to stop in order,
    once. They die with this process even if it is killed (``guarded.py``). Belongs to one loop.

    Args:
        say: prints one line for people.
        start_attempts: deaths in a row of one child, before ``settled``, that count as a failure.
    """

    def __init__(self, *, say: Callable[[str], None], start_attempts: int = 3) -> None:
        if start_attempts < 1:
            raise ValueError("start_attempts must be at least 1")
        self._say = say
        self._start_attempts = start_attempts
        self._settled = False
        self._stopping = asyncio.Event()
        self._failed = asyncio.Event()
        self._failure = ""
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, spec: ChildSpec) -> None:
        """Begin to keep a child running; returns at once."""
        if spec.name in self._tasks:
            raise ValueError(f"child {spec.name!r} is started already")
        self._tasks[spec.name] = asyncio.create_task(self._keep(spec), name=f"demo.{spec.name}")

    def settled(self) -> None:
        """From now on a child that dies is restarted for ever."""
        self._settled = True

    def pid(self, name: str) -> int:
        """Return the child's process id. Raises KeyError while it does not run."""
        return self._processes[name].pid

    async def failure(self) -> None:
        """Wait for a failure that no restart mends. Raises ChildFailedError, never returns."""
        await self._failed.wait()
        raise ChildFailedError(self._failure)

    async def stop(self, order: Sequence[Sequence[str]], *, grace_seconds: float = 8.0) -> None:
        """Ask the children to end, those of one step together; kill what is left at the end.

        Idempotent, and safe to call again while a stop is in progress.
        """
        self._stopping.set()
        deadline = time.monotonic() + grace_seconds
        for step in order:
            tasks = [self._tasks[name] for name in step if name in self._tasks]
            self._signal(step, signal.SIGTERM)
            if tasks:
                # The last steps end at once; they need no share of the time.
                await asyncio.wait(tasks, timeout=max(0.0, deadline - time.monotonic()))
        self.kill()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def kill(self) -> None:
        """End every child at once."""
        self._stopping.set()
        self._signal(list(self._processes), signal.SIGKILL)

    def _signal(self, names: Sequence[str], number: int) -> None:
        for name in names:
            if name in self._processes:
                _signal_group(self._processes[name].pid, number)

    async def _keep(self, spec: ChildSpec) -> None:
        policy = RestartPolicy()
        is_again = False
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                returncode = await self._run(spec, is_again)
            except OSError as error:  # no process, memory or file descriptor to be had
                self._fail(f"{spec.name} cannot be started: {error.strerror}")
                return
            if self._stopping.is_set():
                return
            is_again = True
            now = time.monotonic()
            delay = policy.delay_after(now - started, now)
            end = describe_exit(returncode)
            if not self._settled and (
                returncode == CONFIGURATION_EXIT or policy.deaths_in_a_row >= self._start_attempts
            ):
                self._fail(f"{spec.name} cannot be started: it {end} (its words are above)")
                return
            self._say(f"{spec.name} {end}; it is started again in {delay:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    def _fail(self, sentence: str) -> None:
        self._failure = sentence
        self._failed.set()

    async def _run(self, spec: ChildSpec, is_again: bool) -> int:
        """Run the child once, to its end."""
        # A pipe of our own: with asyncio's, waiting for the child would also wait for whatever
        # inherited its output.
        read_end, write_end = os.pipe()
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", 0)
        )
        output = asyncio.create_task(
            self._pass_on(spec.name, reader), name=f"demo.{spec.name}.output"
        )
        try:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-I",
                    GUARDED,
                    str(os.getpid()),
                    *spec.argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=write_end,
                    stderr=write_end,
                    env=dict(spec.env),
                    process_group=0,
                    pass_fds=spec.pass_fds,
                )
            finally:
                os.close(write_end)
            self._processes[spec.name] = process
            if self._stopping.is_set():  # asked to stop while it was being made
                _signal_group(process.pid, signal.SIGKILL)
            elif is_again:
                self._say(f"{spec.name} runs again, process {process.pid}")
            returncode = await process.wait()
            del self._processes[spec.name]
            # What it started must not outlive it with its ports and its output.
            _signal_group(process.pid, signal.SIGKILL)
            for _ in range(OUTPUT_GRACE_TURNS):
                await asyncio.wait([output], timeout=OUTPUT_GRACE_SECONDS / OUTPUT_GRACE_TURNS)
        finally:
            output.cancel()
            await asyncio.wait([output])
            transport.close()
        return returncode

    async def _pass_on(self, name: str, reader: asyncio.StreamReader) -> None:
        splitter = LineSplitter()
        while data := await reader.read(READ_BYTES):
            for line in splitter.feed(data):
                self._say(f"{name:<9} | {line}")
        for line in splitter.end():
            self._say(f"{name:<9} | {line}")


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)
