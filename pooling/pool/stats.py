"""Rates and peaks of a pool. Pure: times come in.

Each measure has its own peak with its own time, kept twice: since the pool started, and since the
last usage sample was taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from brokers.pool_service import Peak, Peaks
from pooling.contracts import UsageSample

__all__ = ["Gauge", "PoolMeters", "RateWindow"]


class Gauge(Enum):
    """A measure that has a peak."""

    SYMBOLS = "symbols"
    CONNECTIONS = "connections"
    CLIENTS = "clients"
    TICKS_PER_SECOND = "ticks_per_second"


class RateWindow:
    """Events per second over the last few whole seconds.

    One thread adds; any thread may read, and sees at worst a second that is being cleared.
    """

    __slots__ = ("_counts", "_seconds", "_stamps", "_started")

    def __init__(self, *, seconds: int = 5) -> None:
        if seconds < 1:
            raise ValueError("seconds must be at least 1")
        self._seconds = seconds
        # Events of each second, which second that is, and the first one: one thread writes them.
        self._counts = [0] * (seconds + 1)
        self._stamps = [-1] * (seconds + 1)
        self._started: int | None = None

    def add(self, count: int, now: float) -> None:
        """Count ``count`` events at ``now`` (monotonic seconds)."""
        second = int(now)
        if self._started is None:
            self._started = second
        index = second % len(self._counts)
        if self._stamps[index] != second:
            self._stamps[index] = second
            self._counts[index] = 0
        self._counts[index] += count

    def rate(self, now: float) -> float:
        """Return events per second over whole seconds; the running one is left out."""
        if self._started is None:
            return 0.0
        second = int(now)
        span = min(self._seconds, second - self._started)
        if span < 1:
            return 0.0
        first = second - span
        total = sum(
            count
            for stamp, count in zip(self._stamps, self._counts, strict=True)
            if first <= stamp < second
        )
        return total / span


@dataclass(slots=True)
class _Meter:
    value: float
    peak: Peak
    interval_peak: Peak


class PoolMeters:
    """Gauges of one pool with their peaks. Not thread-safe: the pool holds its lock.

    Args:
        now_ms: epoch milliseconds of the start.
    """

    def __init__(self, *, now_ms: int) -> None:
        start = Peak(0, now_ms)
        self._meters = {gauge: _Meter(0, start, start) for gauge in Gauge}
        # When the interval of the next usage sample began, and the counters then.
        self._interval_started_ms = now_ms
        self._ticks_before = 0
        self._reconnects_before = 0
        self._drops_before = 0

    def observe(self, gauge: Gauge, value: float, now_ms: int) -> None:
        """Note the present value of a gauge."""
        meter = self._meters[gauge]
        meter.value = value
        if value > meter.peak.value:
            meter.peak = Peak(value, now_ms)
        if value > meter.interval_peak.value:
            meter.interval_peak = Peak(value, now_ms)

    def peak(self, gauge: Gauge) -> Peak:
        """Return the highest value since the start."""
        return self._meters[gauge].peak

    @property
    def recent(self) -> Peaks:
        """The peaks since the last usage sample was taken."""
        return Peaks(**{gauge.value: meter.interval_peak for gauge, meter in self._meters.items()})

    def take(
        self, pool_id: str, now_ms: int, *, ticks: int, reconnects: int, drops: int = 0
    ) -> UsageSample:
        """Return the peaks since the last call and start the next interval at the present values.

        Args:
            pool_id: whose sample it is.
            now_ms: epoch milliseconds.
            ticks: ticks received since the pool started.
            reconnects: reconnects since the pool started.
            drops: ticks and frames that reached nobody since the pool started.
        """
        symbols, connections, clients, rate = (self._meters[g].interval_peak for g in Gauge)
        sample = UsageSample(
            pool_id=pool_id,
            started_ms=self._interval_started_ms,
            ended_ms=now_ms,
            symbols=int(symbols.value),
            connections=int(connections.value),
            clients=int(clients.value),
            ticks_per_second=rate.value,
            symbols_at_ms=symbols.at_ms,
            connections_at_ms=connections.at_ms,
            clients_at_ms=clients.at_ms,
            ticks_per_second_at_ms=rate.at_ms,
            ticks_received=ticks - self._ticks_before,
            reconnects=reconnects - self._reconnects_before,
            drops=drops - self._drops_before,
        )
        for meter in self._meters.values():
            meter.interval_peak = Peak(meter.value, now_ms)
        self._interval_started_ms = now_ms
        self._ticks_before, self._reconnects_before = ticks, reconnects
        self._drops_before = drops
        return sample
