"""A filter of the bus: ticks that a gateway passes on, and its memory of each topic. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from streaming.exceptions import MalformedMessageError
from streaming.ports.link import TickMessage
from streaming.wire.message import is_tick, unpack_held, unpack_message

__all__ = ["BusCounters", "Offered", "TickFilter"]


class BusCounters(msgspec.Struct):
    """Counts of what a gateway saw on the bus since it started.

    ``gaps`` are ticks known to be missed; ``repeats`` and ``old_epochs`` were dropped as such;
    ``unwanted`` came after the last client had gone; ``healed`` are last values fetched after a
    gap and newer than what had come.
    """

    received: int = 0
    gaps: int = 0
    repeats: int = 0
    old_epochs: int = 0
    unwanted: int = 0
    malformed: int = 0
    healed: int = 0


class Offered(NamedTuple):
    """Snapshots that became a topic's last message: its first one, or a newer one."""

    first: list[TickMessage]
    newer: list[TickMessage]


class _Absent:
    """Marks a topic that nobody holds; a held one without a tick yet has None."""


_ABSENT = _Absent()


class TickFilter:
    """Knows the topics that are held and the last message of each.

    A topic is *fresh* until its first snapshot was offered: up to then ticks may have been
    published that never came here, afterwards the stream alone is complete.
    """

    def __init__(self) -> None:
        self.counters = BusCounters()
        # One that may not be handed out any more has no body; its counts still tell repeats.
        self._last: dict[bytes, TickMessage | None] = {}
        self._fresh: set[bytes] = set()  # topics whose first snapshot is still to be offered

    def hold(self, topic: bytes) -> None:
        """Accept ticks of ``topic`` from now on."""
        if topic not in self._last:
            self._last[topic] = None
            self._fresh.add(topic)

    def release(self, topic: bytes) -> None:
        """Accept ticks of ``topic`` no longer and forget what was seen."""
        self._last.pop(topic, None)
        self._fresh.discard(topic)

    def void(self, topics: Iterable[bytes]) -> None:
        """Hand out the last messages of ``topics`` no more: their prices were told to be old.

        The next message of each is news again, as is a snapshot that the publisher still vouches
        for.
        """
        for topic in topics:
            last = self._last.get(topic)
            if last is not None:
                self._last[topic] = last._replace(body=b"")

    def refresh(self, topics: Iterable[bytes], epoch: int) -> None:
        """Make held topics fresh again: their publisher is another one or was out of reach.

        A successor of a lower ``epoch`` (its clock was set back) would never be heard next to what
        is remembered, so that is dropped.
        """
        for topic in topics:
            if topic not in self._last:
                continue
            self._fresh.add(topic)
            last = self._last[topic]
            if last is not None and last.epoch > epoch:
                self._last[topic] = None

    def forget(self) -> None:
        """Remember of no topic what came last: clients may not have got it, so that it is news."""
        for topic in self._last:
            self._last[topic] = None
        self._fresh.update(self._last)

    def newest(self, topic: bytes) -> TickMessage | None:
        """Return the last message of a topic, or None if there is none to be shown."""
        last = self._last.get(topic)
        return None if last is None or not last.body else last

    def accept(self, batch: Iterable[bytes]) -> tuple[list[TickMessage], list[bytes]]:
        """Return the ticks to pass on, and the messages that are no ticks."""
        last, counters = self._last, self.counters
        accepted: list[TickMessage] = []
        others: list[bytes] = []
        for data in batch:
            # What nobody holds costs a look at its topic; it is not taken apart.
            topic = data[: data.find(b"\0") + 1]
            previous = last.get(topic, _ABSENT)
            if isinstance(previous, _Absent):
                if is_tick(data, len(topic)):
                    counters.unwanted += 1
                else:
                    others.append(data)
                continue
            try:
                message = unpack_held(data, topic)
            except MalformedMessageError:
                others.append(data)
                continue
            if previous is None:
                pass
            elif message.epoch == previous.epoch:
                missed = message.sequence - previous.sequence - 1
                if missed < 0:
                    counters.repeats += 1
                    continue
                counters.gaps += missed
            elif message.epoch < previous.epoch:
                counters.old_epochs += 1
                continue
            last[topic] = message
            accepted.append(message)
        counters.received += len(accepted)
        return accepted, others

    def offer(self, topics: Iterable[bytes], snapshots: Sequence[bytes]) -> Offered:
        """Take the snapshots that came with the open path of ``topics``, as far as they are news.

        Of a topic whose path was open before, what is newer here is already on its way on the bus;
        taking it from the snapshot would make the ticks in between look like repeats.
        """
        fresh = self._fresh.intersection(topics)
        self._fresh -= fresh
        first, newer = [], []
        for message in _unpack_all(snapshots):
            if message.topic not in fresh:
                continue
            previous = self._last.get(message.topic)
            if previous is None:
                first.append(message)
            elif (message.epoch, message.sequence) > (previous.epoch, previous.sequence):
                newer.append(message)
            elif (message.epoch, message.sequence) < (previous.epoch, previous.sequence):
                continue
            # The same one, too: whoever sends it vouches for it again.
            self._last[message.topic] = message
        return Offered(first, newer)

    def is_behind(self, tails: Iterable[tuple[bytes, int]], epoch: int) -> bool:
        """Tell whether a tick of a topic that fell silent was lost.

        Args:
            tails: topics with their last sequences, sent behind all of their ticks.
            epoch: of their publisher.
        """
        for topic, sequence in tails:
            previous = self._last.get(topic, _ABSENT)
            if isinstance(previous, _Absent) or topic in self._fresh:
                continue
            if previous is None or (previous.epoch == epoch and previous.sequence < sequence):
                return True
        return False

    def heal(self, snapshots: Sequence[bytes]) -> list[TickMessage]:
        """Take snapshots of which it is certain that the bus has nothing older under way.

        What is newer here than the last message was lost, itself included, and is counted so.
        """
        healed = []
        for message in _unpack_all(snapshots):
            previous = self._last.get(message.topic, _ABSENT)
            if isinstance(previous, _Absent):
                continue
            if previous is None:
                # How many came before its first one is not known; of a fresh topic nothing is.
                missed = int(message.topic not in self._fresh)
            elif previous.epoch == message.epoch:
                missed = message.sequence - previous.sequence
            else:
                continue
            if missed > 0:
                self.counters.gaps += missed
                self._last[message.topic] = message
                healed.append(message)
        self.counters.healed += len(healed)
        return healed


def _unpack_all(snapshots: Sequence[bytes]) -> Iterable[TickMessage]:
    for data in snapshots:
        try:
            yield unpack_message(data)
        except MalformedMessageError:
            continue
