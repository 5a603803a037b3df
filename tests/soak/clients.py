"""The clients' processes: made of a crowd, started, listened to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.soak.market import Name
from tests.soak.plan import Crowd
from tests.soak.processes import ROOT

__all__ = ["ClientProcess", "Member", "User", "client_processes", "members_of"]

_PER_PROCESS = 20
_MODES = ("ltp", "quote", "depth")
_ORACLES = ROOT / ".venv-oracles"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody with an account and a key; ``names`` is what their clients may want."""

    name: str
    password: str
    key: str
    pool: str
    number: int
    names: Sequence[Name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One client of the crowd."""

    name: str
    kind: str
    user: User
    names: tuple[Name, ...]
    mode: str = "quote"
    is_changing: bool = False


def members_of(crowd: Crowd, users: Sequence[User], chance: random.Random) -> list[Member]:
    """Return the crowd, its users in turn; pages are of the first user."""
    found: list[Member] = []
    for kind, count in (("sdk1", crowd.sdk1), ("sdk2", crowd.sdk2), ("batch", crowd.batching)):
        for at in range(count):
            user = users[at % len(users)]
            is_quiet = at < crowd.quiet
            wanted = () if is_quiet else tuple(chance.sample(list(user.names), crowd.names))
            found.append(
                Member(
                    name=f"{kind}-{at + 1:03d}" + ("-quiet" if is_quiet else ""),
                    kind=kind,
                    user=user,
                    names=wanted,
                    mode=_MODES[at % 3],
                    is_changing=kind == "batch" and 0 <= at - crowd.quiet < crowd.changing,
                )
            )
    first = users[0]
    found += [
        Member(name=f"page-{at + 1}", kind="page", user=first, names=tuple(first.names[:10]))
        for at in range(crowd.pages)
    ]
    return found


class ClientProcess:
    """A process of clients; what it says goes line by line to ``on_line``."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        given: Mapping[str, Any],
        log: Path,
        on_line: Callable[[dict[str, Any]], None],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._command, self._given, self._log = command, given, log
        self._on_line = on_line
        self._environment = {**os.environ, **(environment or {})}
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it ended by itself, or is heard no more. Raises what ended the hearing."""
        if self._reading is not None and self._reading.done():
            self._reading.result()
        return self._process is not None and self._process.returncode is not None

    async def start(self) -> None:
        """Start it and tell it what its clients do."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                limit=16 * 1024 * 1024,
                start_new_session=True,  # Ctrl-C is for the run, which ends this in its order
            )
        self._reading = asyncio.create_task(self._read(), name=f"read {self.name}")
        await self.tell(self._given)

    async def tell(self, given: Mapping[str, Any]) -> None:
        """Send it a line; nothing happens where it has ended."""
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(json.dumps(given).encode() + b"\n")
            await self._process.stdin.drain()

    async def stop(self) -> None:
        """Let it end."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 60)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await self._reading

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.startswith(b"{"):
                self._on_line(json.loads(line))


def client_processes(
    members: Sequence[Member],
    crowd: Crowd,
    *,
    site: str,
    openalgo: str,
    folder: Path,
    on_line: Callable[[dict[str, Any]], None],
) -> list[ClientProcess]:
    """Return the processes of a crowd, some clients in each.

    Args:
        site, openalgo: the two ports of the front, as ``127.0.0.1:port``.
    """
    python = os.environ.get("TICKPOOL_ORACLE_PYTHON") or str(_ORACLES / "bin" / "python")
    given: dict[str, Any]
    found = []
    for kind, sdk in (("sdk1", ""), ("sdk2", str(_ORACLES / "openalgo2"))):
        for number, some in _parts([each for each in members if each.kind == kind]):
            given = {"url": f"ws://{openalgo}", "clients": [_sdk_client(each) for each in some]}
            command = [python, str(ROOT / "tests" / "soak" / "sdk_clients.py"), sdk]
            name = f"{kind}-clients-{number}"
            found.append(ClientProcess(name, command, given, folder / f"{name}.out", on_line))
    batching = [each for each in members if each.kind == "batch"]
    users = {each.user.name: each.user for each in members}
    given = {
        "url": f"ws://{site}",
        "clients": [_batch_client(each) for each in batching],
        "comers_per_second": crowd.comers_per_second,
        "comers": [{"key": user.key, "names": list(user.names)} for user in users.values()],
    }
    command = [sys.executable, "-m", "tests.soak.batch_clients"]
    log = folder / "batch-clients.out"
    found.append(ClientProcess("batch-clients", command, given, log, on_line))
    pages = [each for each in members if each.kind == "page"]
    given = {
        "url": f"http://{site}",
        "folder": str(folder),
        "pages": [
            {"name": each.name, "user": each.user.name, "password": each.user.password}
            for each in pages
        ],
    }
    command = [sys.executable, "-m", "tests.soak.pages"]
    found.append(ClientProcess("pages", command, given, folder / "pages.out", on_line))
    return found


def _parts(members: list[Member]) -> Iterator[tuple[int, list[Member]]]:
    for start in range(0, len(members), _PER_PROCESS):
        yield start // _PER_PROCESS + 1, members[start : start + _PER_PROCESS]


def _sdk_client(member: Member) -> dict[str, Any]:
    names = [{"exchange": exchange, "symbol": symbol} for exchange, symbol in member.names]
    return {"name": member.name, "key": member.user.key, "mode": member.mode, "names": names}


def _batch_client(member: Member) -> dict[str, Any]:
    return {
        "name": member.name,
        "key": member.user.key,
        "names": member.names,
        "pool": list(member.user.names),
        "is_changing": member.is_changing,
    }
