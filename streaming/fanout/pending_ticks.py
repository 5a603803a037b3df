"""Ticks that arrive while a subscribe is under way, so that none is lost before the join. Pure.

Between the worker's snapshot and the moment when a client joins its lines, newer ticks may come off
the bus. Both are kept here, the newest of each mode, for the topics that somebody is waiting for:
once, however many requests wait for thousands of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from brokers.types import InstrumentKey
from streaming.fanout.line_body import line_body
from streaming.ports.link import TickMessage
from streaming.protocol.held import Line
from streaming.wire.topics import parse_tick_topic, tick_topic

__all__ = ["Arrivals"]


class Arrivals:
    """The newest ticks of topics that are being subscribed. False while there are none."""

    def __init__(self) -> None:
        # How many subscribes under way wait for each topic.
        self._expected: Counter[bytes] = Counter()
        # One of each mode: nearly always one.
        self._newest: dict[bytes, tuple[TickMessage, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._expected)

    def expect(self, topics: Iterable[bytes]) -> None:
        """Begin to keep ticks of ``topics``; counted, so several may expect the same."""
        self._expected.update(topics)

    def forget(self, topics: Iterable[bytes]) -> None:
        """Undo one ``expect``."""
        for topic in topics:
            self._expected[topic] -= 1
            if self._expected[topic] <= 0:
                del self._expected[topic]
                self._newest.pop(topic, None)

    def note(self, message: TickMessage) -> None:
        """Keep a tick when somebody expects its topic."""
        topic = message.topic
        if topic in self._expected:
            others = (it for it in self._newest.get(topic, ()) if it.mode != message.mode)
            self._newest[topic] = (message, *others)

    def offer(self, snapshots: Iterable[TickMessage]) -> None:
        """Keep last values as far as nothing newer has come."""
        for message in snapshots:
            held = self._newest.get(message.topic, ())
            if not any(it.mode == message.mode and _order(it) >= _order(message) for it in held):
                self.note(message)

    def void(self, pool_id: str, keys: Iterable[InstrumentKey] | None) -> None:
        """Hand out what came of ``keys`` (None: of the pool) no more: it was told to be old."""
        topics: Iterable[bytes] = (tick_topic(pool_id, key) for key in keys or ())
        if keys is None:
            topics = [it for it in self._newest if parse_tick_topic(it).pool_id == pool_id]
        for topic in topics:
            self._newest.pop(topic, None)

    def newest(self, topic: bytes) -> TickMessage | None:
        """Return the newest message of a topic, whatever its mode."""
        return max(self._newest.get(topic, ()), key=_order, default=None)

    def newest_body(self, topic: bytes, line: Line) -> bytes | None:
        """Return the newest object for ``line``, from a snapshot or from what arrived since."""
        candidates = sorted(self._newest.get(topic, ()), key=_order, reverse=True)
        bodies = (line_body(message, line) for message in candidates)
        return next((body for body in bodies if body is not None), None)


def _order(message: TickMessage) -> tuple[int, int]:
    """Return what is higher of a newer message."""
    return message.epoch, message.sequence
