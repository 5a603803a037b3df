"""What restarts of one server cost, and whether they may. Pure: facts in, faults out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median
from typing import NamedTuple

__all__ = ["Kind", "Refused", "Restart", "RestartResult", "as_text", "faults"]

BACK_SECONDS = 15.0  # after the server's return; who is refused later is refused by nobody's fault
# What is away for so long is named by ``/readyz``: a layer's silence is noticed after six seconds.
NAMED_SECONDS = {"redis": 10.0, "postgres": 4.0}
_BEFORE_SECONDS = 1.0
_UNAVAILABLE = "HTTP 503"
_TOLD_TO_COME_AGAIN = "SERVER_ERROR, then 4503"
_MAX_SHOWN = 10


class Kind(StrEnum):
    """What is restarted."""

    REDIS = "redis"
    POSTGRES = "postgres"
    WORKER = "worker"


@dataclass(slots=True, kw_only=True)
class Restart:
    """One restart; times are unix seconds, ``None`` is never.

    ``named`` is when ``/readyz`` said so first, ``ready`` when it said so no more, ``admitted``
    when the first new key was let in of those that came when the server was back. ``silence`` is
    the longest of any client between two ticks, in seconds.
    """

    way: str
    begin: float
    back: float = 0.0
    named: float | None = None
    ready: float | None = None
    admitted: float | None = None
    silence: float = 0.0


class Refused(NamedTuple):
    """A new client or a request that got no: who, from when to when, and in which words."""

    who: str
    since: float
    at: float
    why: str


@dataclass(kw_only=True)
class RestartResult:
    """All that a run has found; ticks are those of all clients together."""

    kind: Kind
    clients: int
    restarts: list[Restart] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    came: int = 0
    requests: int = 0
    ticks: int = 0
    lost: list[str] = field(default_factory=list)
    missed: int = 0
    backwards: int = 0
    unfinished: int = 0  # clients whose last ticks are not the exchange's
    log_lines: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def faults(result: RestartResult) -> list[str]:
    """Return what must not be, in sentences; none is what a green run has."""
    kind = result.kind
    found = [f"client socket lost: {each}" for each in result.lost]
    if kind is not Kind.WORKER:
        # A worker's links end with it, and the exchange counts anew.
        found += [f"{result.missed} ticks missed"] * bool(result.missed)
        found += [f"{result.backwards} ticks came again or late"] * bool(result.backwards)
    found += [f"{result.unfinished} clients lack the last ticks"] * bool(result.unfinished)
    found += [f"no ticks at all in {result.kind} run"] * (not result.ticks)
    found += [
        f"{each.who} got {each.why} at {each.at:.1f}"
        for each in result.refused
        if not _is_explained(each, result)
    ]
    found += [f"log line: {line}" for line in result.log_lines]
    found += [f"a client was told: {line}" for line in result.said]
    for number, each in enumerate(result.restarts, 1):
        away = each.back - each.begin
        if each.named is None and away >= NAMED_SECONDS.get(kind, float("inf")):
            found.append(f"restart {number}: /readyz never said so in {away:.1f} s")
        if each.ready is None:
            found.append(f"restart {number}: /readyz did not get back")
        if each.admitted is None:
            found.append(f"restart {number}: no new client was let in afterwards")
    return found


def _is_explained(refused: Refused, result: RestartResult) -> bool:
    """Whether the database was away, and it was said as the protocol has it; or it was cut."""
    if result.kind is not Kind.POSTGRES:
        return False
    for each in result.restarts:
        was_then = refused.since <= each.back + BACK_SECONDS and (
            refused.at >= each.begin - _BEFORE_SECONDS
        )
        was_under_way = refused.since <= each.begin <= refused.at
        is_told = refused.why in (_UNAVAILABLE, _TOLD_TO_COME_AGAIN)
        if was_then and (is_told or was_under_way):
            return True
    return False


def as_text(result: RestartResult) -> str:
    """Return the report for a person."""
    wrong = faults(result)
    restarts = result.restarts
    ways = Counter(each.way for each in restarts)
    lines = [
        f"{'RED' if wrong else 'GREEN'}: {result.kind} {len(restarts)} times under "
        f"{result.clients} clients: " + ", ".join(f"{n} by {way}" for way, n in ways.items()),
        f"  client sockets lost      {len(result.lost)}",
        f"  ticks                    {result.ticks:,}, missed {_missed(result)}",
        f"  new clients let in       {result.came:,}; refused: {_counted(result, 'key')}",
        f"  requests for pages       {result.requests:,}; failed: {_counted(result, 'page')}",
        _figure("away for", [each.back - each.begin for each in restarts]),
        _figure("longest silence", [each.silence for each in restarts]),
        _figure("until a new key came in", _after(restarts, "admitted")),
        _figure(
            "until /readyz named it",
            [each.named - each.begin for each in restarts if each.named is not None],
        ),
        _figure("until /readyz got back", _after(restarts, "ready")),
        f"  log lines off the list   {len(result.log_lines)}",
    ]
    lines += [f"  FAULT: {each}" for each in wrong[:_MAX_SHOWN]]
    if len(wrong) > _MAX_SHOWN:
        lines.append(f"  and {len(wrong) - _MAX_SHOWN} more: see restarts.json")
    return "\n".join(lines) + "\n"


def _missed(result: RestartResult) -> str:
    if result.kind is Kind.WORKER:
        return "not counted: the exchange begins anew with each link"
    return str(result.missed)


def _counted(result: RestartResult, what: str) -> str:
    found = Counter(f"{each.who}: {each.why}" for each in result.refused if each.who.endswith(what))
    return ", ".join(f"{count} x {why}" for why, count in found.most_common(6)) or "none"


def _after(restarts: Sequence[Restart], what: str) -> list[float]:
    moments = [(getattr(each, what), each.back) for each in restarts]
    return [at - back for at, back in moments if at is not None]


def _figure(name: str, values: Iterable[float]) -> str:
    found = list(values)
    if not found:
        return f"  {name:24} never"
    return f"  {name:24} median {median(found):.2f} s, worst {max(found):.2f} s, {len(found)} times"
