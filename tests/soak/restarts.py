"""``python -m tests.soak.restarts``: one server again and again, under clients that hold symbols.

Redis, PostgreSQL or the worker is ended in one way after the other, is away for one to fifteen
seconds (a worker: not at all) and comes back. Exit code 0 green, 1 red, 2 usage, 3 not possible, or
130 where Ctrl-C ended it; then everything that it started has ended, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness import Child, cores
from tests.soak.clients import ClientProcess
from tests.soak.command_line import Ended, report_folder, until_signal
from tests.soak.logs import EXPECTED, grave_lines
from tests.soak.market import Name, tradable
from tests.soak.plan import Happening
from tests.soak.processes import answer_of, module_answer
from tests.soak.restart_verdict import Kind, Refused, Restart, RestartResult, as_text, faults
from tests.soak.system import System
from tests.soak.verdict import Event, unexpected_lines

_AWAY_SECONDS = (1.0, 8.0, 2.0, 15.0, 4.0)
_WAYS = {
    # PostgreSQL's words for them are smart and then fast, immediate, and none.
    Kind.REDIS: (signal.SIGTERM, signal.SIGKILL),
    Kind.POSTGRES: (signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL),
    Kind.WORKER: (signal.SIGKILL,),
}
_HAPPENING = {
    Kind.REDIS: Happening.REDIS_RESTARTED,
    Kind.POSTGRES: Happening.POSTGRES_RESTARTED,
    Kind.WORKER: Happening.WORKER_KILLED,
}
_NAMED = {Kind.REDIS: "Redis", Kind.POSTGRES: "database", Kind.WORKER: "worker"}
_SMART_SECONDS = 1.0  # in which sessions may end by themselves
_SYMBOLS, _RATE = 10, 100.0
_NEW_KEYS = 200  # at one a second each is forgotten before it comes again
_COMERS_PER_SECOND = 2.0
_LOOK_SECONDS = 0.1
_ASK_SECONDS = 0.5
_PAGE_SECONDS = 60.0  # nobody waits longer, and who waits is told how it went
_REST_SECONDS = 2.0
_BACK_SECONDS = 60.0


class Restarts:
    """A run over a system that is up: restarts of one kind after the other, then the reckoning."""

    def __init__(self, system: System, exchange: Child, kind: Kind, clients: int) -> None:
        self._system, self._exchange, self._kind = system, exchange, kind
        self.result = RestartResult(kind=kind, clients=clients)
        self._states: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._open: set[str] = set()
        self._admitted: list[tuple[float, float]] = []  # new keys: since when, at which time
        self._clients: ClientProcess | None = None
        self._is_over = False  # what ends now, ends by this run's doing

    async def go(self, times: int, user: dict[str, Any], names: list[Name]) -> None:
        """Restart so many times and count."""
        given = {
            "url": f"ws://{self._system.site}",
            "holders": self.result.clients,
            "key": user["key"],
            "keys": user["keys"],
            "names": names,
            "comers_per_second": _COMERS_PER_SECOND,
        }
        command = [sys.executable, "-m", "tests.soak.counted_clients"]
        log = self._system.folder / f"{self._kind}-clients.out"
        self._clients = ClientProcess("clients", command, given, log, self._on_line)
        await self._clients.start()
        asking = asyncio.create_task(self._ask(user["key"]), name="requests")
        try:
            await self._until(lambda: len(self._open) == self.result.clients, 240)
            await self._all_hear(names)
            for number in range(times):
                await self._restart(number)
                await self._all_hear(names)
                self._check_alive(asking)
            await self._reckon()
        finally:
            self._is_over = True
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await self._clients.stop()

    async def _restart(self, number: int) -> None:
        ways = _WAYS[self._kind]
        way = ways[number % len(ways)]
        await self._state()  # the silence begins here
        restart = Restart(way=way.name, begin=time.time())
        self.result.restarts.append(restart)
        looking = asyncio.create_task(self._look(restart), name="readyz")
        try:
            if self._kind is Kind.WORKER:
                await self._system.worker.end(way)
                await self._system.worker.start()
            else:
                await self._end(way)
                away = _AWAY_SECONDS[number % len(_AWAY_SECONDS)]
                await asyncio.sleep(max(0.0, restart.begin + away - time.time()))
                await self._begin()
            restart.back = time.time()
            await self._until(lambda: self._has_let_in(restart), _BACK_SECONDS)
            await self._until(looking.done, _BACK_SECONDS)
        finally:
            looking.cancel()
        await asyncio.sleep(_REST_SECONDS)
        holders = await self._state()
        restart.silence = max(each["silence"] for each in holders.values())

    async def _end(self, way: signal.Signals) -> None:
        server = self._system.redis if self._kind is Kind.REDIS else self._system.postgres
        if way is signal.SIGTERM and self._kind is Kind.POSTGRES:
            # It waits for its sessions, and a pooler's do not end: then the fast way.
            assert server.process is not None
            server.process.send_signal(way)
            await asyncio.sleep(_SMART_SECONDS)
            await server.stop()
        else:
            await server.kill(way)

    async def _begin(self) -> None:
        system = self._system
        await (system.redis if self._kind is Kind.REDIS else system.postgres).start()

    def _has_let_in(self, restart: Restart) -> bool:
        """Whether a new key that came when the server was back was let in; note when."""
        later = [at for since, at in self._admitted if since >= restart.back]
        restart.admitted = min(later, default=None)
        return restart.admitted is not None

    async def _look(self, restart: Restart) -> None:
        """Ask both gateways whether they are ready, until the server is back and both are."""
        urls = [f"http://127.0.0.1:{each.port}/readyz" for each in self._system.gateways]
        while True:
            answers = [await asyncio.to_thread(answer_of, url) for url in urls]
            says_so = [_names(self._kind, *answer) for answer in answers]
            now = time.time()
            if any(says_so) and restart.named is None:
                restart.named = now
            if restart.back and not any(says_so) and all(code == 200 for code, _ in answers):
                restart.ready = now
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _ask(self, key: str) -> None:
        """Ask for pages as people and programs do."""
        pages = (("the login page", "/"), ("the API page", "/api/instruments?q=NIFTY"))
        headers = {"X-API-KEY": key}
        while True:
            for who, path in pages:
                since = time.time()
                url = f"http://{self._system.site}{path}"
                status, text = await asyncio.to_thread(answer_of, url, headers, _PAGE_SECONDS)
                self.result.requests += 1
                if status != 200:
                    why = f"HTTP {status}" if status else f"no answer: {text[:80]}"
                    self.result.refused.append(Refused(who, since, time.time(), why))
                await asyncio.sleep(_ASK_SECONDS)

    async def _state(self) -> dict[str, dict[str, Any]]:
        assert self._clients is not None
        await self._clients.tell({})
        holders: dict[str, dict[str, Any]] = await asyncio.wait_for(self._states.get(), 120)
        return holders

    async def _all_hear(self, names: list[Name]) -> None:
        """Wait until every client has got more of every symbol than it has now."""
        before = await self._state()
        deadline = time.monotonic() + _BACK_SECONDS
        while time.monotonic() < deadline:
            await asyncio.sleep(0.5)
            now = await self._state()
            if all(
                len(each["numbers"]) == len(names)
                and each["ticks"] >= before[name]["ticks"] + 2 * len(names)
                for name, each in now.items()
            ):
                return
        self.result.said.append("nothing of some symbol for 60 s, though all is back")

    async def _reckon(self) -> None:
        """Stop the exchange, let what is under way arrive, and compare."""
        answer = await self._exchange.ask(rate=0, sequences=True)
        sent = sorted(answer["sequences"].values())
        deadline = time.monotonic() + _BACK_SECONDS
        while True:
            holders = await self._state()
            unfinished = sum(each["numbers"] != sent for each in holders.values())
            if not unfinished or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.5)
        result = self.result
        result.unfinished = unfinished
        for each in holders.values():
            result.ticks += each["ticks"]
            result.missed += each["missed"]
            result.backwards += each["backwards"]
        await self._exchange.ask(rate=_RATE)

    def _on_line(self, line: dict[str, Any]) -> None:
        match line["kind"]:
            case "state":
                self._states.put_nowait(line["holders"])
            case "opened":
                self._open.add(line["client"])
            case _ if self._is_over:
                return
            case "lost":
                self.result.lost.append(f"{line['client']} at {line['at']:.1f}: {line['why']}")
            case "came":
                self.result.came += 1
                if line["client"] == "a new key":
                    self._admitted.append((line["since"], line["at"]))
            case "refused":
                since = line.get("since", line["at"])
                found = Refused(line["client"], since, line["at"], line["why"])
                self.result.refused.append(found)
            case _:
                self.result.said.append(f"{line['client']}: {line.get('text', '')}")

    def _check_alive(self, asking: asyncio.Task[None]) -> None:
        assert self._clients is not None
        if self._clients.has_ended or asking.done():
            raise RuntimeError("the clients ended: see their output in the folder")

    async def _until(self, is_so: Callable[[], bool], seconds: float) -> None:
        """Wait; what is not so in time is seen in the figures."""
        deadline = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def judge_logs(self) -> None:
        """Take in what logs say above WARNING and no list has."""
        events = [
            Event(_HAPPENING[self._kind], "", each.begin, each.back)
            for each in self.result.restarts
        ]
        for name, log in self._system.logs.items():
            lines = grave_lines(name, log.read_text(errors="replace").splitlines())
            self.result.log_lines += [
                f"{line.process}: {line.text[:300]}"
                for line in unexpected_lines(lines, EXPECTED, events)
            ]


def _names(kind: Kind, status: int, text: str) -> bool:
    """Whether an answer of ``/readyz`` says that it is this server that is away."""
    try:
        degraded = json.loads(text)["degraded"]
    except (ValueError, KeyError, TypeError):
        return False
    return any(_NAMED[kind] in each for each in degraded)


async def _run(kind: Kind, folder: Path, times: int, clients: int) -> RestartResult:
    async with AsyncExitStack() as exits:
        exchange = Child("benchmarks.stamped_exchange", cores()[1])
        exits.push_async_callback(exchange.stop)
        port = (await exchange.start())["port"]
        await exchange.ask(rate=_RATE)
        system = await exits.enter_async_context(System(folder, rate=5))
        user = {
            "name": "dan",
            "password": secrets.token_urlsafe(12),
            "broker": "zerodha",
            "endpoint": f"ws://127.0.0.1:{port}",
            "credentials": {"api_key": "counted", "access_token": "counted"},
            "symbols_per_connection": 100,
            "list": [],
        }
        made = await module_answer(
            system.environment, "tests.soak.installation", "add", user=user, keys=_NEW_KEYS
        )
        run = Restarts(system, exchange, kind, clients)
        await run.go(times, made, tradable(system.all_names["zerodha"], _SYMBOLS))
    run.judge_logs()
    return run.result


async def _all(folder: Path, given: argparse.Namespace) -> bool:
    """Run each kind in a system of its own."""
    is_green = True
    for name in given.kinds or [each.value for each in Kind]:
        own = folder / name
        own.mkdir()
        own.chmod(0o755)
        result = await _run(Kind(name), own, given.times, given.clients)
        text = as_text(result)
        print(text, flush=True)
        (own / "restarts.txt").write_text(text)
        report = asdict(result) | {"faults": faults(result)}
        (own / "restarts.json").write_text(json.dumps(report, indent=1) + "\n")
        is_green = is_green and not faults(result)
    return is_green


def main() -> int:
    """Parse arguments, run, say the verdict."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.restarts", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="of redis, postgres, worker")
    parser.add_argument("--times", type=int, default=20, help="restarts of each kind")
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--report", type=Path, help="a folder for reports and logs")
    given = parser.parse_args()
    if strangers := set(given.kinds) - set(Kind):
        parser.error(f"{sorted(strangers)[0]!r} is none of {', '.join(Kind)}")
    try:
        folder = report_folder(given.report, "tickpool-restarts-")
        print(f"Logs and reports: {folder}", flush=True)
        return 0 if until_signal(_all(folder, given)) else 1
    except Ended as ended:
        print(ended, file=sys.stderr)
        return ended.code


if __name__ == "__main__":
    sys.exit(main())
