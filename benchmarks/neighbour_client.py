"""The neighbour: one client with few symbols that asks for a pong every 50 ms and checks its ticks.

A process of its own, and nobody else's load is in it. Pings go out when they are due, whatever has
become of those before, so that a gateway that stands still for a second is seen by twenty of them.
Two figures beside the round trips say whose doing they are: how late the process itself woke up for
a ping, which is the machine's, and how much CPU time the gateway used while one was under way,
which is the product's and about the same on a busy machine. Argument: the gateway's process.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import uvloop

from benchmarks import load_client
from benchmarks.harness import percentile

_EVERY_SECONDS = 0.05
_ANSWER_SECONDS = 10.0  # for the last pings of a row


# The kernel's name for the CPU clock of a process (see clock_getcpuclockid), and it is exact.
_GATEWAY_CLOCK = ~int(sys.argv[1]) << 3 | 2


def _gateway_cpu() -> float:
    """Return the gateway's CPU time so far, of all its threads."""
    return time.clock_gettime(_GATEWAY_CLOCK)


class _Answers:
    """Takes the neighbour's answers as they come, in place of the queue of a ``Subscriber``."""

    def __init__(self) -> None:
        # When each ping went out that has no pong yet, and the gateway's CPU time then; seconds.
        self.sent: dict[int, tuple[float, float]] = {}
        self.round_trips: list[float] = []  # seconds, of the row under way
        self.cpu: list[float] = []  # that the gateway used meanwhile, of the same
        self.others: Counter[str] = Counter()  # what else came, by its type and code

    def put_nowait(self, message: dict[str, Any]) -> None:
        sent = self.sent.pop(message.get("_pingId", -1), None)
        if sent is not None:
            self.round_trips.append(time.monotonic() - sent[0])
            self.cpu.append(_gateway_cpu() - sent[1])
        else:
            self.others[f"{message.get('type', '')} {message.get('code', '')}".strip()] += 1


class NeighbourLoad(load_client.Load):
    """The one client, its pings, and what it has got of each symbol."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = _Answers()
        self.lateness: list[float] = []
        self.pings = 0
        self.mine: set[str] = set()
        self.pinging: asyncio.Task[None] | None = None

    async def connect(
        self, port: int, path: str, api_key: str, clients: int, symbols: list[str], mode: int
    ) -> dict:
        """Connect, and check every tick from then on."""
        self.is_checking = True
        answer = await super().connect(port, path, api_key, clients, symbols, mode)
        self.mine = set(symbols)
        self.clients[0].replies = self.answers  # type: ignore[assignment]
        return answer

    async def measure(self, seconds: float, check: bool, sample_all: bool) -> dict:
        """Ping for ``seconds``; return the round trips in milliseconds."""
        answers = self.answers
        answers.round_trips, answers.cpu, self.lateness, self.ages_us = [], [], [], []
        answers.others.clear()
        first = self.pings
        self.sample_all = sample_all
        await self._ping(seconds)
        for _ in range(round(_ANSWER_SECONDS / _EVERY_SECONDS)):
            if not answers.sent:
                break
            await asyncio.sleep(_EVERY_SECONDS)
        unanswered = len(answers.sent)
        answers.sent.clear()
        trips = [1000 * each for each in answers.round_trips]
        return {
            "count": self.pings - first,
            "unanswered": unanswered,
            "p50_ms": percentile(trips, 0.5),
            "p99_ms": percentile(trips, 0.99),
            "worst_ms": max(trips, default=float("nan")),
            "gateway_cpu_p99_ms": percentile([1000 * each for each in answers.cpu], 0.99),
            "late_p99_ms": percentile([1000 * each for each in self.lateness], 0.99),
            "tick_p99_ms": percentile(self.ages_us, 0.99) / 1000,
            "tick_worst_ms": max(self.ages_us, default=float("nan")) / 1000,
            "others": dict(answers.others),
        }

    async def _ping(self, seconds: float) -> None:
        client, started, number = self.clients[0], time.monotonic(), 0
        while number * _EVERY_SECONDS < seconds and not client.is_lost:
            due = started + number * _EVERY_SECONDS
            if (left := due - time.monotonic()) > 0:
                await asyncio.sleep(left)
            now = time.monotonic()
            self.lateness.append(now - due)
            self.pings += 1
            self.answers.sent[self.pings] = now, _gateway_cpu()
            request = {"action": "ping", "_pingId": self.pings}
            client.send_frame(0x81, json.dumps(request).encode())
            number += 1

    def close(self) -> dict:
        """Tell what has come so far; nothing is closed."""
        client = self.clients[0]
        names = {symbol.decode(): number for symbol, number in client.last.items()}
        return {
            "ticks": client.ticks,
            "sequences": names,
            "missed": client.missed,
            "backwards": client.backwards,
            "strange": sorted(set(names) - self.mine),
            "lost": client.is_lost,
        }


if __name__ == "__main__":
    load_client.Load = NeighbourLoad  # type: ignore[misc]
    uvloop.run(load_client._main())
