"""Ticks that arrive while a subscribe is under way, so that none is lost before the join. Pure.

Between the worker's snapshot and the moment when a client joins its lines, newer ticks may come off
the bus. They are kept here, the newest of each mode, for the topics that somebody is waiting for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from streaming.fanout.line_body import line_body
from streaming.ports.link import TickMessage
from streaming.protocol.held import Line

__all__ = ["Arrivals"]


class Arrivals:
    """The newest ticks of topics that are being subscribed. False while there are none."""

    def __init__(self) -> None:
        self._expected: Counter[bytes] = Counter()
        self._newest: dict[bytes, dict[int, TickMessage]] = {}

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
        if message.topic in self._expected:
            self._newest.setdefault(message.topic, {})[message.mode] = message

    def newest_body(self, topic: bytes, snapshot: TickMessage | None, line: Line) -> bytes | None:
        """Return the newest object for ``line``, from the snapshot or from what arrived since."""
        candidates = list(self._newest.get(topic, {}).values())
        if snapshot is not None:
            candidates.append(snapshot)
        candidates.sort(key=lambda message: (message.epoch, message.sequence), reverse=True)
        bodies = (line_body(message, line) for message in candidates)
        return next((body for body in bodies if body is not None), None)
