"""Sinks for adapters that live outside of a pool: each process gets one publisher, when needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from brokers.types import Instrument, InstrumentKey, Tick, TickSink
from streaming.wire.address import BusAddress
from streaming.worker.publisher import SharedZmqPublisher

__all__ = ["StandaloneBus"]


class StandaloneBus:
    """Opens a publisher at the first tick of any adapter of this process that has no pool.

    Every method may be called from any thread.
    """

    def __init__(
        self,
        *,
        bus: BusAddress,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._bus = bus
        self._now_ms = now_ms
        self._lock = threading.Lock()
        # Made by the first adapter of this process.
        self._publisher: SharedZmqPublisher | None = None

    def sink(self, broker: str) -> TickSink:
        """Return a sink whose pool id is ``standalone-<broker>``; opens nothing yet."""
        return _StandaloneSink(bus=self, broker=broker)

    def publisher(self) -> SharedZmqPublisher:
        """Return the open publisher, opening it the first time.

        Raises:
            BusError: the address is taken or cannot be bound.
        """
        with self._lock:
            if self._publisher is None:
                publisher = SharedZmqPublisher(bus=self._bus, epoch=self._now_ms())
                try:
                    publisher.open()
                except BaseException:
                    publisher.close()
                    raise
                self._publisher = publisher
            return self._publisher

    def close(self) -> None:
        """Close the publisher if there is one; a later tick opens another. Idempotent."""
        with self._lock:
            publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close()


class _StandaloneSink(TickSink):
    def __init__(self, *, bus: StandaloneBus, broker: str) -> None:
        self._bus = bus
        self._broker = broker

    def publish(self, instrument: Instrument, tick: Tick, ts_received_us: int) -> None:
        self._sink().publish(instrument, tick, ts_received_us)

    def forget(self, keys: Iterable[InstrumentKey] | None) -> None:
        self._sink().forget(keys)

    def close(self) -> None:
        self._sink().close()

    def _sink(self) -> TickSink:
        return self._bus.publisher().for_pool(f"standalone-{self._broker}", self._broker)
