"""Histograms of the time that ticks take on their way, as Prometheus counts it. Pure."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from enum import StrEnum

from streaming.ports.link import TickMessage

__all__ = ["BUCKETS_SECONDS", "Histogram", "Latency", "Stage"]

BUCKETS_SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0
)  # fmt: skip
_BUCKETS_US = tuple(round(bound * 1_000_000) for bound in BUCKETS_SECONDS)
_EVENT_TIME = re.compile(rb'"timestamp":(\d{1,16})')


class Stage(StrEnum):
    """Parts of a tick's way, in their order.

    ``EXCHANGE`` ends with the receipt by the worker, ``WORKER`` with the publication, ``BUS`` with
    the gateway's reading it, ``GATEWAY`` with its frame at the transport of every client that
    had room.
    """

    EXCHANGE = "exchange"
    WORKER = "worker"
    BUS = "bus"
    GATEWAY = "gateway"


class Histogram:
    """Counts durations in ``BUCKETS_SECONDS``, the last bucket without an end."""

    __slots__ = ("counts", "sum_us")

    def __init__(self) -> None:
        # No list: each of its numbers is an object, which lasts until its bucket counts again.
        self.counts = array("Q", bytes(8 * (len(_BUCKETS_US) + 1)))
        self.sum_us = 0  # of all that was counted

    def observe(self, microseconds: int) -> None:
        """Count one duration; less than nothing, as of clocks that differ, counts as nothing."""
        microseconds = max(0, microseconds)
        self.counts[bisect_left(_BUCKETS_US, microseconds)] += 1
        self.sum_us += microseconds

    def cumulative(self) -> list[tuple[str, int]]:
        """Return each upper bound in seconds with the number of durations up to it."""
        total, found = 0, []
        for bound, count in zip([*map(str, BUCKETS_SECONDS), "+Inf"], self.counts, strict=True):
            total += count
            found.append((bound, total))
        return found


class Latency:
    """A histogram for each stage, fed by the ticks that carry the time of their publication."""

    def __init__(self) -> None:
        self.stages = {stage: Histogram() for stage in Stage}
        # Exchange's stamps that were whole seconds: those durations are up to a second too long.
        self.whole_seconds = 0

    def arrived(self, messages: Iterable[TickMessage], read_at_us: int) -> None:
        """Count timed ticks that came off the bus at ``read_at_us`` (epoch microseconds)."""
        stages = self.stages
        for message in messages:
            received_us = message.ts_received_us
            event = _EVENT_TIME.search(message.body)
            if event is not None:
                event_ms = int(event[1])
                stages[Stage.EXCHANGE].observe(received_us - event_ms * 1000)
                self.whole_seconds += event_ms % 1000 == 0
            stages[Stage.WORKER].observe(message.published_after_us)
            published_us = received_us + message.published_after_us
            stages[Stage.BUS].observe(read_at_us - published_us)

    def sent(self, read_at_us: int, now_us: int) -> None:
        """Count the time since a batch with a timed tick was read, once its frames are out."""
        self.stages[Stage.GATEWAY].observe(now_us - read_at_us)
