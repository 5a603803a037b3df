"""Telemetry of a pool: ticks, reconnects and peaks counted, and their statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from brokers.pool_service import PoolStats
from brokers.words import counted
from pooling.clock import Clock
from pooling.connection.connection import Connection
from pooling.contracts import AccountSpec, UsageSample
from pooling.feed_health import FeedHealth
from pooling.pool.stats import Gauge, PoolMeters, RateWindow
from pooling.subscriptions.book import SubscriptionBook

__all__ = ["PoolTelemetry"]


class PoolTelemetry:
    """Counters and peaks of one pool. The pool calls it under its lock, ``count_ticks`` excepted.

    Args:
        clock: where time is read.
        book: what is subscribed; read only.
        connections: the pool's table of connections; read only.
    """

    def __init__(
        self, *, clock: Clock, book: SubscriptionBook, connections: Mapping[int, Connection]
    ) -> None:
        self._clock = clock
        self._book = book
        self._connections = connections
        self._meters = PoolMeters(now_ms=clock.time_ms())
        self._rate = RateWindow()
        self._ticks = 0  # published since the start; the loop alone writes it
        # The counters of connections that left the table; under the pool's lock.
        self._retired_losses: Counter[str] = Counter()
        self._retired_reconnects = self._retired_malformed = self._retired_unknown = 0

    def count_ticks(self, count: int) -> None:
        """Count published ticks. Called on the loop without a lock: nobody else writes these."""
        self._ticks += count
        self._rate.add(count, self._clock.monotonic())

    def observe(self) -> None:
        """Take the present values into the peaks."""
        now_ms = self._clock.time_ms()
        up = sum(connection.is_up for connection in self._connections.values())
        observe = self._meters.observe
        observe(Gauge.SYMBOLS, self._book.symbols, now_ms)
        observe(Gauge.CONNECTIONS, up, now_ms)
        observe(Gauge.CLIENTS, self._book.clients, now_ms)
        observe(Gauge.TICKS_PER_SECOND, self._rate.rate(self._clock.monotonic()), now_ms)

    def retire(self, connection: Connection) -> None:
        """Keep the counters of a connection that leaves the table."""
        self._retired_losses.update(connection.losses)
        self._retired_reconnects += connection.reconnects
        self._retired_malformed += connection.frames_malformed
        self._retired_unknown += connection.ticks_unknown

    def to_stats(self, spec: AccountSpec, health: FeedHealth) -> PoolStats:
        """Return the pool as it is now."""
        self.observe()
        book, slots = self._book, self._book.slots
        limits, peak = book.limits, self._meters.peak
        connections = tuple(
            connection.to_stats(
                used=slots[slot].used if slot in slots else 0,
                capacity=limits.units,
                symbols=slots[slot].symbols if slot in slots else 0,
            )
            for slot, connection in sorted(self._connections.items())
        )
        return PoolStats(
            pool_id=spec.pool_id,
            broker=spec.broker,
            status=health.status,
            reason=health.reason,
            since_ms=health.since_ms,
            connections=connections,
            max_connections=limits.max_connections,
            symbols_per_connection=limits.symbols_per_connection,
            used=book.used,
            capacity=limits.capacity,
            wanted=book.held,
            confirmed=book.confirmed,
            clients=book.clients,
            ticks_received=self._ticks,
            ticks_per_second=self._rate.rate(self._clock.monotonic()),
            frames_malformed=self._frames_malformed(),
            ticks_unknown=self._ticks_unknown(),
            reconnects=self._reconnects(),
            losses=self._losses(),
            peak_symbols=peak(Gauge.SYMBOLS),
            peak_connections=peak(Gauge.CONNECTIONS),
            peak_clients=peak(Gauge.CLIENTS),
            peak_ticks_per_second=peak(Gauge.TICKS_PER_SECOND),
            config_revision=spec.options.revision,
            waiting=len(book.waiting),
            symbols=book.symbols,
            recent=self._meters.recent,
        )

    def take_usage_sample(self, pool_id: str) -> UsageSample:
        """Return the peaks since the last call and start the next interval."""
        self.observe()
        now_ms = self._clock.time_ms()
        limits = self._book.limits
        sample = self._meters.take(
            pool_id,
            now_ms,
            ticks=self._ticks,
            reconnects=self._reconnects(),
            drops=self._frames_malformed() + self._ticks_unknown(),
        )
        return replace(
            sample,
            max_connections=limits.max_connections,
            symbols_per_connection=limits.symbols_per_connection,
            capacity=limits.capacity,
        )

    def describe_peaks(self) -> str:
        """Return the peaks since the start in words. Any thread, no lock needed."""
        peak = self._meters.peak
        counts = [
            counted(round(peak(gauge).value), gauge.value.removesuffix("s"))
            for gauge in Gauge
            if gauge is not Gauge.TICKS_PER_SECOND
        ]
        return ", ".join([*counts, f"{peak(Gauge.TICKS_PER_SECOND).value:,.0f} ticks/s"])

    def _frames_malformed(self) -> int:
        now = sum(connection.frames_malformed for connection in self._connections.values())
        return self._retired_malformed + now

    def _ticks_unknown(self) -> int:
        now = sum(connection.ticks_unknown for connection in self._connections.values())
        return self._retired_unknown + now

    def _losses(self) -> Counter[str]:
        losses = Counter(self._retired_losses)
        for connection in self._connections.values():
            losses.update(connection.losses)
        return losses

    def _reconnects(self) -> int:
        return self._retired_reconnects + sum(c.reconnects for c in self._connections.values())
