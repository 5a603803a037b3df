"""Whether a run was without fault, and if not, why. Pure: facts in, violations out.

A disconnection is explained by the event that caused it, such as the restart of the client's own
gateway; no time is a bound for how fast anything has to be, beyond what a person would call dead.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from tests.soak.plan import Happening

__all__ = [
    "Bounds",
    "Event",
    "ExpectedLine",
    "Judge",
    "LogLine",
    "Lost",
    "Names",
    "Sample",
    "Seen",
    "Verdict",
    "bounds_of",
    "growth",
    "unexpected_lines",
]

GATEWAY_EVENTS = frozenset({Happening.GATEWAY_STOPPED, Happening.GATEWAY_KILLED})
_BEFORE_SECONDS = 1.0  # two clocks are read one after the other
_INTERRUPTED_SECONDS = 15.0  # no interruption is shorter: what is younger cannot be of before it
_MAX_SHOWN = 20
_ENOUGH_SAMPLES = 4
_LONG_SECONDS = 2400.0
_TASKS_OF_A_CLIENT = 2  # its connection's and its consumer's


class Event(NamedTuple):
    """What was done, to whom, from when until everything was back, in unix seconds.

    ``number``: of the exchange whose prices it interrupts; 0: of none. ``error``: why it could not
    be done.
    """

    happening: Happening
    target: str
    begin: float
    end: float
    number: int = 0
    error: str = ""


class Lost(NamedTuple):
    """A socket that ended without its client's doing, or a connection that was refused.

    ``gateway`` is the one that it was connected to; "" where that is not known.
    """

    client: str
    at: float
    gateway: str
    why: str
    is_refusal: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """Ticks of one name that one client got, all with one exchange and one instrument in the price.

    ``age`` is the greatest of them in seconds, ``age_at`` when that tick came.
    """

    client: str
    exchange: str
    symbol: str
    number: int
    index: int
    count: int
    age: float
    age_at: float
    last_at: float


class Sample(NamedTuple):
    """What a process used at a time. ``tasks`` is -1 where it is not known."""

    process: str
    pid: int
    at: float
    memory: int
    descriptors: int
    threads: int
    tasks: int
    clients: int


class LogLine(NamedTuple):
    """A line of a process's log that is above WARNING, or that is no log line at all."""

    process: str
    at: float | None
    text: str


class ExpectedLine(NamedTuple):
    """A line that is no fault: by whom, what it says, and during which events (empty: always)."""

    process: str
    pattern: str
    during: tuple[Happening, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is still right; seconds and shares.

    Growth is within ``growth_share`` of what there was, or within the allowance if that is more:
    what a heap takes from the system at a time, the threads of a pool that were not needed before.
    """

    old_seconds: float = 45.0
    names_seconds: float = 20.0
    explained_seconds: float = 15.0
    growth_share: float = 0.02
    memory_allowance: int = 2 * 1024 * 1024
    descriptors_allowance: int = 6
    threads_allowance: int = 6
    tasks_allowance: int = 6


@dataclass(slots=True)
class _Meaning:
    """What a name means from a time on, and until when it does."""

    since: float
    index: int | None
    until: float = float("inf")


def bounds_of(seconds: float) -> Bounds:
    """Return the bounds of a run: in a short one what is done for the first time looks like growth.

    Modules that a failure loads, caches, connections of a pool: they are there once every event
    has been. A long run has several rounds of them.
    """
    return Bounds() if seconds >= _LONG_SECONDS else Bounds(memory_allowance=5 * 1024 * 1024)


class Names:
    """Which instrument a name means, and since when: loads of instruments change it."""

    def __init__(self, names: Mapping[tuple[str, str], int]) -> None:
        # What each has meant, in order; index None: the name is no longer there.
        self._known: dict[tuple[str, str], list[_Meaning]] = {
            name: [_Meaning(0.0, index)] for name, index in names.items()
        }

    def may_change(self, at: float, names: Mapping[tuple[str, str], int | None]) -> None:
        """From ``at`` on these may mean something else (None: nothing), or what they did."""
        for name, index in names.items():
            known = self._known.setdefault(name, [_Meaning(0.0, None)])
            known.append(_Meaning(at, index))

    def have_changed(self, at: float, names: Iterable[tuple[str, str]]) -> None:
        """From ``at`` on these mean nothing but what they may have meant last."""
        for name in names:
            for meaning in self._known[name][:-1]:
                meaning.until = min(meaning.until, at)

    def is_right(self, name: tuple[str, str], index: int, at: float, grace: float) -> bool:
        """Whether ``name`` meant ``index`` at some time from ``grace`` seconds before ``at`` on."""
        return any(
            each.index == index and each.since <= at and at - grace < each.until
            for each in self._known.get(name, ())
        )

    def there(self, name: tuple[str, str]) -> bool:
        """Whether the name means anything now."""
        known = self._known.get(name)
        return known is not None and known[-1].index is not None


@dataclass
class Verdict:
    """What was wrong, by kind: how often, and the first cases in words."""

    counts: Counter[str] = field(default_factory=Counter)
    cases: list[str] = field(default_factory=list)

    @property
    def is_green(self) -> bool:
        return not self.counts

    def add(self, kind: str, case: str, count: int = 1) -> None:
        """Note a violation; only the first cases of a kind are kept in words."""
        self.counts[kind] += count
        if sum(each.startswith(kind) for each in self.cases) < _MAX_SHOWN:
            self.cases.append(f"{kind}: {case}")


class Judge:
    """Judges facts as they come and what needs the whole run at its end.

    Args:
        numbers: the exchange that each client's user has, by client.
        names: what names mean, by exchange's number.
        gateways: which process listens on an address of ``Lost.gateway``.
    """

    def __init__(
        self,
        *,
        numbers: Mapping[str, frozenset[int]],
        names: Mapping[int, Names],
        gateways: Mapping[str, str],
        bounds: Bounds | None = None,
    ) -> None:
        self._numbers = numbers
        self._names = names
        self._gateways = gateways
        self._bounds = bounds or Bounds()
        self._losses: list[Lost] = []
        self._oldest: list[Seen] = []
        self.verdict = Verdict()
        self.ticks = 0
        self.explained: Counter[str] = Counter()

    def seen(self, seen: Seen) -> None:
        """Judge ticks: whose, of which instrument, how old."""
        self.ticks += seen.count
        bounds, name = self._bounds, (seen.exchange, seen.symbol)
        words = f"{seen.client} got {seen.exchange}:{seen.symbol}"
        if seen.number not in self._numbers.get(seen.client, frozenset()):
            self.verdict.add("foreign tick", f"{words} of exchange {seen.number}", seen.count)
            return
        names = self._names[seen.number]
        if not names.is_right(name, seen.index, seen.last_at, bounds.names_seconds):
            case = f"{words} with the price of instrument {seen.index} at {seen.last_at:.1f}"
            self.verdict.add("wrong tick", case, seen.count)
        if seen.age > bounds.old_seconds:
            self.verdict.add("old price", f"{words}, {seen.age:.0f} s old, at {seen.age_at:.1f}")
        elif seen.age > _INTERRUPTED_SECONDS:
            self._oldest.append(seen)  # whether it is of before an interruption is known later

    def lost(self, lost: Lost) -> None:
        """Take in an end; what explains it may not have been written down yet."""
        self._losses.append(lost)

    def events(self, events: Sequence[Event]) -> None:
        """Judge ends and ages by what was done; once, at the end."""
        for event in events:
            if event.error:
                case = f"{event.happening} {event.target}: {event.error}"
                self.verdict.add("event failed", case)
        for lost in self._losses:
            cause = self._cause(lost, events)
            if cause is None:
                where = self._gateways.get(lost.gateway, lost.gateway or "no gateway")
                kind = "refused connection" if lost.is_refusal else "unexplained disconnect"
                self.verdict.add(kind, f"{lost.client} from {where} at {lost.at:.1f}: {lost.why}")
            else:
                self.explained[f"{cause.happening} {cause.target}".strip()] += 1
        for event in events:
            if event.number:
                self._interrupted(event)

    def _cause(self, lost: Lost, events: Iterable[Event]) -> Event | None:
        after = self._bounds.explained_seconds
        own = self._gateways.get(lost.gateway)
        for event in events:
            # While the database is away somebody may be turned away; nobody is cut.
            is_of_own = own is None or own == event.target
            is_meant = event.happening in GATEWAY_EVENTS and is_of_own
            is_meant |= lost.is_refusal and event.happening is Happening.POSTGRES_RESTARTED
            if is_meant and event.begin - _BEFORE_SECONDS <= lost.at <= event.end + after:
                return event
        return None

    def _interrupted(self, event: Event) -> None:
        """Nothing that was published before an interruption is handed out after it."""
        for seen in self._oldest:
            stamped = seen.age_at - seen.age
            is_of_before = stamped < event.begin - _BEFORE_SECONDS
            if seen.number == event.number and seen.age_at > event.end + 2 and is_of_before:
                self.verdict.add(
                    "old price",
                    f"{seen.client} got {seen.exchange}:{seen.symbol}, {seen.age:.0f} s old, "
                    f"after {event.happening}",
                )

    def deaf(
        self, holds: Mapping[str, Iterable[tuple[str, str]]], heard: Mapping[str, Mapping]
    ) -> None:
        """At the end, when all is well, everybody hears everything that they hold.

        Args:
            holds: what each client holds.
            heard: the names of which a tick came since all is well, by client.
        """
        for client, names in holds.items():
            for name in names:
                is_there = any(self._names[n].there(name) for n in self._numbers[client])
                if is_there and name not in heard.get(client, {}):
                    self.verdict.add("deaf client", f"{client} hears nothing of {':'.join(name)}")

    def grown(
        self, samples: Iterable[Sample], since: float, wanted: Iterable[str] = ()
    ) -> dict[str, dict[str, float]]:
        """Judge growth from ``since`` on; returns it by process and what, as a share.

        ``wanted``: of which processes there must be enough samples to tell.
        """
        by_process: dict[str, list[Sample]] = {}
        for sample in samples:
            if sample.at >= since:
                by_process.setdefault(sample.process, []).append(sample)
        for process in wanted:
            if len(by_process.get(process, ())) < _ENOUGH_SAMPLES:
                self.verdict.add("no samples", process)
        found: dict[str, dict[str, float]] = {}
        for process, rows in sorted(by_process.items()):
            if len({row.pid for row in rows}) > 1:
                self.verdict.add("process ended", f"{process} was replaced by nobody's doing")
                continue
            found[process] = self._grown(process, rows)
        return found

    def _grown(self, process: str, rows: Sequence[Sample]) -> dict[str, float]:
        bounds, shares = self._bounds, {}
        for what, allowance in (
            ("memory", bounds.memory_allowance),
            ("descriptors", bounds.descriptors_allowance),
            ("threads", bounds.threads_allowance),
            ("tasks", bounds.tasks_allowance),
        ):
            values = [_of_one_client_count(row, what) for row in rows]
            values = [value for value in values if value >= 0]
            if len(values) < _ENOUGH_SAMPLES:
                continue
            first, last = growth(values)
            shares[what] = (last - first) / first if first else 0.0
            if last - first > max(bounds.growth_share * first, allowance):
                case = f"{process} from {first:,.0f} to {last:,.0f} ({shares[what]:+.1%})"
                self.verdict.add(f"{what} grew", case)
        return shares

    def lines(
        self, lines: Iterable[LogLine], expected: Sequence[ExpectedLine], events: Sequence[Event]
    ) -> None:
        """Judge what the logs say above WARNING."""
        for line in unexpected_lines(lines, expected, events):
            self.verdict.add("log line", f"{line.process}: {line.text[:300]}")


def growth(values: Sequence[float]) -> tuple[float, float]:
    """Return the medians of the first and the last quarter."""
    quarter = max(1, len(values) // 4)
    return median(values[:quarter]), median(values[-quarter:])


def _of_one_client_count(row: Sample, what: str) -> float:
    """Return a figure without what each connected client has by right: a descriptor, its tasks."""
    value: int = getattr(row, what)
    if value < 0:
        return value
    if what == "descriptors":
        return max(0, value - max(0, row.clients))
    if what == "tasks":
        return max(0, value - _TASKS_OF_A_CLIENT * max(0, row.clients))
    return value


def unexpected_lines(
    lines: Iterable[LogLine], expected: Sequence[ExpectedLine], events: Sequence[Event]
) -> list[LogLine]:
    """Return the lines that no expectation covers."""

    def is_expected(line: LogLine) -> bool:
        for each in expected:
            if not re.fullmatch(each.process, line.process) or not re.search(
                each.pattern, line.text
            ):
                continue
            if not each.during or line.at is None:
                return True
            for event in events:
                is_then = event.begin - 1 <= line.at <= event.end + 15
                if event.happening in each.during and is_then:
                    return True
        return False

    return [line for line in lines if not is_expected(line)]
