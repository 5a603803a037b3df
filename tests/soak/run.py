"""One run: system, clients, events, samples, and the verdict over all of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.soak.clients import ClientProcess, client_processes, members_of
from tests.soak.happenings import Actor
from tests.soak.logs import EXPECTED, grave_lines
from tests.soak.market import Name
from tests.soak.plan import crowd_of, schedule, steady_from
from tests.soak.processes import answer_of
from tests.soak.system import System
from tests.soak.verdict import Event, Judge, Lost, Names, Sample, Seen, Verdict, bounds_of

__all__ = ["Run", "RunResult", "soak"]

Say = Callable[[str], None]

_SAMPLE_SECONDS = 5.0
_ASK_SECONDS = 1.0
_ARRIVAL_SECONDS = 240.0
_REST_SECONDS = 180.0
_SETTLE_SECONDS = 10.0
_MAX_TOLD = 1000


@dataclass
class RunResult:
    """Everything that a report tells. Times are unix seconds."""

    begun: float
    steady: float
    verdict: Verdict
    crowd: dict[str, Any]
    ended: float = 0.0
    ticks: int = 0
    requests: int = 0
    explained: dict[str, int] = field(default_factory=dict)
    growth: dict[str, dict[str, float]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    ticks_by_second: Counter[int] = field(default_factory=Counter)
    losses_by_second: Counter[int] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    told: list[dict[str, Any]] = field(default_factory=list)


class Run:
    """A run over a system that is up."""

    def __init__(
        self, system: System, *, seconds: float, clients: int, seed: int, say: Say
    ) -> None:
        self._system = system
        self._say = say
        self._seconds = seconds
        self._crowd = crowd_of(clients)
        self._members = members_of(self._crowd, system.users, random.Random(seed))
        self._names = {
            user.number: Names(system.all_names[exchange.broker])
            for user, exchange in zip(system.users, system.exchanges, strict=True)
        }
        numbers = {each.name: frozenset({each.user.number}) for each in self._members}
        everybody = frozenset(user.number for user in system.users)
        self._judge = Judge(
            numbers=numbers | {"comers": everybody},
            names=self._names,
            gateways=system.gateway_names,
            bounds=bounds_of(seconds),
        )
        self._open: set[str] = set()
        # When each client last got a tick of each name.
        self._heard: dict[str, dict[Name, float]] = {}
        self._processes: list[ClientProcess] = []
        self._beside: list[asyncio.Task[None]] = []  # what goes on beside the events
        now = time.time()
        self.result = RunResult(
            begun=now,
            steady=now + steady_from(seconds),
            verdict=self._judge.verdict,
            crowd={name: getattr(self._crowd, name) for name in self._crowd.__slots__},
        )

    async def go(self) -> RunResult:
        """Run it to its end and judge it."""
        system, result = self._system, self.result
        self._processes = client_processes(
            self._members,
            self._crowd,
            site=system.site,
            openalgo=system.openalgo,
            folder=system.folder,
            on_line=self._heard_line,
        )
        try:
            for process in self._processes:
                await process.start()
            await self._all_here()
            self._say(
                f"{len(self._open)} clients are here after {time.time() - result.begun:.0f} s"
            )
            result.begun = time.time()
            result.steady = result.begun + steady_from(self._seconds)
            await self._beside_events()
            await self._at_rest()
        finally:
            for process in self._processes:
                await process.stop()
        return result

    def judge(self) -> None:
        """Judge the whole; after the system has ended, so that its logs are complete."""
        result, judge = self.result, self._judge
        judge.events(result.events)
        # On a busy machine processes may have been replaced later than planned.
        replaced = [each.end for each in result.events if each.target]
        result.steady = max(result.steady, *(end + _SETTLE_SECONDS for end in replaced))
        result.growth = judge.grown(
            result.samples,
            result.steady,
            wanted=["worker", *(gateway.name for gateway in self._system.gateways)],
        )
        for name, log in self._system.logs.items():
            lines = grave_lines(name, log.read_text(errors="replace").splitlines())
            judge.lines(lines, EXPECTED, result.events)
        result.ticks, result.explained = judge.ticks, dict(judge.explained)
        result.ended = result.ended or time.time()

    async def _all_here(self) -> None:
        """Wait until every client has arrived: what comes before is no part of the run."""
        everybody = {each.name for each in self._members}
        deadline = time.monotonic() + _ARRIVAL_SECONDS
        while not everybody <= self._open:
            if time.monotonic() > deadline:
                late = ", ".join(sorted(everybody - self._open))
                self._judge.verdict.add("client never came", late)
                return
            self._look_at_processes()
            await asyncio.sleep(0.5)

    async def _beside_events(self) -> None:
        self._beside = [
            asyncio.create_task(self._sample(), name="samples"),
            asyncio.create_task(self._ask(), name="requests"),
        ]
        actor = Actor(self._system, self._names, self._on_gone)
        try:
            for planned in schedule(self._seconds):
                await self._until(planned.at)
                event = await actor.do(planned)
                self.result.events.append(event)
                self._say(
                    f"{event.begin - self.result.begun:7.1f} s  {event.happening.value} "
                    f"{event.target}, {event.end - event.begin:.1f} s {event.error}"
                )
            await self._until(self._seconds)
        finally:
            for task in self._beside:
                task.cancel()
            await asyncio.gather(*self._beside, return_exceptions=True)

    async def _until(self, offset: float) -> None:
        """Wait until so many seconds after the beginning; whatever goes on meanwhile must go on."""
        while True:
            self._look_at_processes()
            if (left := self.result.begun + offset - time.time()) <= 0:
                return
            await asyncio.sleep(min(left, 1.0))

    def _look_at_processes(self) -> None:
        for process in self._processes:
            if process.has_ended:
                raise RuntimeError(f"{process.name} ended: see its output in the folder")
        for task in self._beside:
            if task.done():
                task.result()  # what nobody samples or asks any more looks as if all were well
                raise RuntimeError(f"{task.get_name()} ended")

    async def _on_gone(self, names: Sequence[Name]) -> None:
        for process in self._processes:
            if process.name == "batch-clients":
                await process.tell({"gone": [list(name) for name in names]})

    async def _at_rest(self) -> None:
        """Wait until everybody hears everything again; judge who does not."""
        since, deadline = time.time(), time.monotonic() + _REST_SECONDS
        holds = {each.name: each.names for each in self._members if not each.is_changing}
        while True:
            heard = {
                client: {name: at for name, at in names.items() if at > since}
                for client, names in self._heard.items()
            }
            missing = Verdict()
            kept, self._judge.verdict = self._judge.verdict, missing
            self._judge.deaf(holds, heard)
            self._judge.verdict = kept
            if missing.is_green or time.monotonic() > deadline:
                break
            await asyncio.sleep(1.0)
        self._judge.deaf(holds, heard)
        self.result.ended = time.time()

    async def _sample(self) -> None:
        while True:
            self.result.samples += await self._system.sample()
            await asyncio.sleep(_SAMPLE_SECONDS)

    async def _ask(self) -> None:
        """Ask the site for something every second, as a program does; no answer may be lost."""
        url = f"http://{self._system.site}/api/instruments?q=NIFTY"
        headers = {"X-API-KEY": self._system.users[0].key}
        while True:
            status, text = await asyncio.to_thread(answer_of, url, headers)
            self.result.requests += 1
            if status != 200:
                why = f"HTTP {status} {text[:120]}"
                self._judge.lost(Lost("a program", time.time(), "", why, is_refusal=True))
            await asyncio.sleep(_ASK_SECONDS)

    def _heard_line(self, line: dict[str, Any]) -> None:
        result, client = self.result, line["client"]
        match line["kind"]:
            case "ticks":
                for row in line["seen"]:
                    seen = Seen(client, *row)
                    self._judge.seen(seen)
                    result.ticks_by_second[int(seen.last_at)] += seen.count
                    heard = self._heard.setdefault(client, {})
                    heard[seen.exchange, seen.symbol] = seen.last_at
            case "opened":
                self._open.add(client)
            case "lost" | "refused" as kind:
                self._lost(line, is_refusal=kind == "refused")
            case kind:
                words = line.get("code") or line.get("text", "")
                result.said[f"{kind} {words}"[:100]] += 1
                if len(result.told) < _MAX_TOLD:
                    result.told.append(line | {"at": round(line["at"] - result.begun, 1)})

    def _lost(self, line: dict[str, Any], *, is_refusal: bool) -> None:
        why = f"{line.get('code', '')} {line.get('reason') or line.get('why', '')}".strip()
        lost = Lost(line["client"], line["at"], line.get("gateway", ""), why, is_refusal)
        self.result.losses_by_second[int(lost.at)] += 1
        self._judge.lost(lost)


async def soak(
    folder: Path,
    *,
    seconds: float,
    clients: int,
    rate: float,
    seed: int = 1,
    say: Say = lambda line: None,
) -> RunResult:
    """Bring everything up in ``folder``, run for ``seconds``, end everything, and judge.

    ``say`` gets a line for a person now and then.

    Raises:
        RuntimeError, TimeoutError: it could not be brought up.
    """
    async with System(folder, rate=rate) as system:
        run = Run(system, seconds=seconds, clients=clients, seed=seed, say=say)
        say("The system is up")
        await run.go()
    run.judge()
    return run.result
