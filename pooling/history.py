"""Days, records and last moments of a pool, remembered beyond the life of its worker. Pure.

A day begins at midnight of the worker's time zone. Usage samples are cut there, so that each
belongs to one day; ``PoolStats.recent`` therefore holds nothing of the day before once the first
sample of the day was taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo

import msgspec

from brokers.pool_service import ConnectionStats, Peak, Peaks, PoolStats

__all__ = ["PoolHistory", "PoolPast", "higher", "next_sample_ms", "start_of_day_ms"]

MEASURES = ("symbols", "connections", "clients", "ticks_per_second")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPast:
    """The past that earlier workers left behind. ``reconnects_today`` is by slot.

    What is of another day than today's is left out by who reads it.
    """

    today: Peaks | None = None
    all_time: Peaks | None = None
    reconnects_today: Mapping[int, int] = field(default_factory=dict)
    last_frame_ms: int | None = None
    last_tick_ms: int | None = None


def start_of_day_ms(now_ms: int, zone: tzinfo) -> int:
    """Return the last midnight in ``zone`` as epoch milliseconds."""
    return _midnight_ms(_local(now_ms, zone), zone)


def next_sample_ms(now_ms: int, interval_seconds: float, zone: tzinfo) -> int:
    """Return when the next usage sample is due: on the interval counted from midnight, or midnight.

    Five minutes give :00, :05, :10 and so on, whenever the worker started.
    """
    today = _local(now_ms, zone)
    midnight = _midnight_ms(today, zone)
    tomorrow = _midnight_ms(today + timedelta(days=1), zone)
    interval_ms = max(1, round(interval_seconds * 1000))
    return min(midnight + ((now_ms - midnight) // interval_ms + 1) * interval_ms, tomorrow)


def higher(first: Peaks | None, *others: Peaks | None) -> Peaks | None:
    """Return the higher value of each measure; of equal ones that of the first that has it."""
    found = first
    for other in others:
        if found is None or other is None:
            found = found or other
            continue
        found = Peaks(
            symbols=_higher(found.symbols, other.symbols),
            connections=_higher(found.connections, other.connections),
            clients=_higher(found.clients, other.clients),
            ticks_per_second=_higher(found.ticks_per_second, other.ticks_per_second),
        )
    return found


class PoolHistory:
    """Puts today, all time and the last moments into a pool's statistics. Not thread-safe.

    Args:
        now_ms: epoch milliseconds.
        zone: where midnight is.
        past: what earlier workers left behind.
    """

    def __init__(self, *, now_ms: int, zone: tzinfo, past: PoolPast | None = None) -> None:
        past = past or PoolPast()
        self._zone = zone
        self._today = _floor(now_ms)
        self._begin_day(now_ms)
        self._today = _since(past.today, self._day_ms) or self._today
        self._all_time = past.all_time or _floor(now_ms)
        self._reconnects.update(past.reconnects_today)
        self._counted: dict[int, int] = {}
        self._last_frame_ms = past.last_frame_ms
        self._last_tick_ms = past.last_tick_ms

    def enrich(self, stats: PoolStats, now_ms: int) -> PoolStats:
        """Return the statistics with everything that the pool itself does not know."""
        if now_ms >= self._next_day_ms:
            self._begin_day(now_ms)
        self._today = higher(self._today, _since(stats.recent, self._day_ms)) or self._today
        self._all_time = higher(self._all_time, stats.recent) or self._all_time
        self._count_reconnects(stats.connections)
        ages = [connection.last_frame_age_ms for connection in stats.connections]
        self._last_frame_ms = _latest(self._last_frame_ms, ages, now_ms)
        ages = [connection.last_tick_age_ms for connection in stats.connections]
        self._last_tick_ms = _latest(self._last_tick_ms, ages, now_ms)
        connections = [
            msgspec.structs.replace(each, reconnects_today=self._reconnects.get(each.slot, 0))
            for each in stats.connections
        ]
        return msgspec.structs.replace(
            stats,
            connections=connections,
            today=self._today,
            all_time=self._all_time,
            reconnects_today=sum(self._reconnects.values()),
            last_frame_ms=self._last_frame_ms,
            last_tick_ms=self._last_tick_ms,
        )

    def _begin_day(self, now_ms: int) -> None:
        local = _local(now_ms, self._zone)
        self._day_ms = _midnight_ms(local, self._zone)
        self._next_day_ms = _midnight_ms(local + timedelta(days=1), self._zone)
        self._today = _floor(self._day_ms)
        self._reconnects: dict[int, int] = {}

    def _count_reconnects(self, connections: Iterable[ConnectionStats]) -> None:
        seen: dict[int, int] = {}
        for connection in connections:
            slot, count = connection.slot, connection.reconnects
            seen[slot] = count
            before = self._counted.get(slot, 0)
            # A smaller count is that of another connection which took over the slot.
            added = count - before if count >= before else count
            if added:
                self._reconnects[slot] = self._reconnects.get(slot, 0) + added
        self._counted = seen


def _local(at_ms: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)


def _midnight_ms(local: datetime, zone: tzinfo) -> int:
    return round(datetime.combine(local.date(), time(), zone).timestamp() * 1000)


def _floor(at_ms: int) -> Peaks:
    nothing = Peak(0, at_ms)
    return Peaks(symbols=nothing, connections=nothing, clients=nothing, ticks_per_second=nothing)


def _since(peaks: Peaks | None, start_ms: int) -> Peaks | None:
    """Return the peaks with those before ``start_ms`` at nothing."""
    if peaks is None:
        return None
    measures = {name: getattr(peaks, name) for name in MEASURES}
    floor = Peak(0, start_ms)
    return Peaks(
        **{name: peak if peak.at_ms >= start_ms else floor for name, peak in measures.items()}
    )


def _higher(first: Peak, second: Peak) -> Peak:
    return second if second.value > first.value else first


def _latest(known: int | None, ages: Iterable[int | None], now_ms: int) -> int | None:
    moments = [now_ms - age for age in ages if age is not None]
    if known is not None:
        moments.append(known)
    return max(moments, default=None)
