"""Record that a local exchange keeps of what its clients did, and what of it is wrong. Pure.

A real broker punishes violations weeks later; the local exchange writes them down at once, so that
a test can ask ``record.complaints()``.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

__all__ = [
    "ConnectionCounters",
    "ConnectionRecord",
    "Judgement",
    "KeyRecord",
    "Record",
    "Recorder",
    "key_label",
]

_MAX_REMEMBERED = 256  # keys and closed connections; the oldest are forgotten first


def key_label(api_key: str) -> str:
    """Return the name under which the record keeps an API key: it never holds the key itself."""
    return hashlib.sha256(api_key.encode()).hexdigest()[:12]


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The connections of one API key. ``refused`` counts upgrades refused, whatever the status."""

    opened: int = 0
    refused: int = 0
    open: int = 0
    peak: int = 0


class ConnectionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Deeds of one connection. ``subscribed`` is now, the rest since it opened.

    ``duplicates``: tokens subscribed that already were. ``unknown``: tokens that do not exist.
    ``not_subscribed``: unsubscribes and mode changes of tokens that were not subscribed.
    ``over_limit``: tokens refused because the connection was full. ``rate_exceeded``: messages
    beyond the rate allowed. ``peak_messages_per_second``: over whole seconds. ``frames_skipped``:
    not sent, because the link was silent or its client far behind.
    """

    id: int
    key: str
    open: bool = True
    subscribed: int = 0
    peak_subscribed: int = 0
    messages: int = 0
    peak_messages_per_second: int = 0
    malformed: int = 0
    duplicates: int = 0
    unknown: int = 0
    not_subscribed: int = 0
    over_limit: int = 0
    rate_exceeded: int = 0
    frames_sent: int = 0
    ticks_sent: int = 0
    frames_skipped: int = 0


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Everything since the start or the last reset. Sums and peaks are over ``connections``.

    ``refused`` counts refused upgrades by HTTP status, or by the broker's own number (from 600 on)
    where it refuses, or ends, a connection that is open. ``frames_by_stream`` is for a replay.
    """

    opened: int
    open: int
    refused: Mapping[str, int]
    keys: Mapping[str, KeyRecord]
    connections: Sequence[ConnectionRecord]
    frames_by_stream: Mapping[str, int] = {}

    @property
    def peak_connections(self) -> int:
        """The most connections that any one key had open at a time."""
        return max((key.peak for key in self.keys.values()), default=0)

    @property
    def peak_subscribed(self) -> int:
        """The most instruments that any one connection had subscribed."""
        return max((item.peak_subscribed for item in self.connections), default=0)

    @property
    def subscribed(self) -> int:
        """Instruments subscribed now, over all open connections."""
        return sum(item.subscribed for item in self.connections if item.open)

    @property
    def messages(self) -> int:
        return sum(item.messages for item in self.connections)

    @property
    def ticks_sent(self) -> int:
        return sum(item.ticks_sent for item in self.connections)

    @property
    def frames_sent(self) -> int:
        return sum(item.frames_sent for item in self.connections)

    def total(self, name: str) -> int:
        """Sum one counter of all connections, named as in ``ConnectionRecord``."""
        return sum(getattr(item, name) for item in self.connections)

    def complaints(self) -> list[str]:
        """Say in sentences what a broker would hold against these clients; empty: nothing."""
        said = [
            f"{count} upgrade(s) refused with {'HTTP' if int(status) < 600 else 'code'} {status}"
            for status, count in sorted(self.refused.items())
        ]
        for name, words in (
            ("malformed", "malformed message(s)"),
            ("duplicates", "duplicate subscription(s)"),
            ("unknown", "unknown instrument(s) subscribed"),
            ("not_subscribed", "change(s) of instruments that were not subscribed"),
            ("over_limit", "subscription(s) over the limit"),
            ("rate_exceeded", "message(s) faster than allowed"),
        ):
            if count := self.total(name):
                said.append(f"{count} {words}")
        return said


class Judgement(Protocol):
    """Findings of a broker's book in one message; counts as in ``ConnectionRecord``."""

    @property
    def duplicates(self) -> int: ...
    @property
    def unknown(self) -> int: ...
    @property
    def not_subscribed(self) -> int: ...
    @property
    def over_limit(self) -> int: ...


class ConnectionCounters:
    """The counters of one connection while it lives; ``to_record`` freezes them."""

    def __init__(self, *, id: int, api_key: str) -> None:
        self.id = id
        self.key = key_label(api_key)
        self.is_open = True
        # Instruments that are subscribed now; a reset leaves them.
        self.subscribed = 0
        self.reset()

    def reset(self) -> None:
        """Start the counters from zero; what is subscribed stays subscribed."""
        self.peak_subscribed = self.subscribed
        self.messages = 0
        self.malformed = 0
        self.duplicates = 0
        self.unknown = 0
        self.not_subscribed = 0
        self.over_limit = 0
        self.rate_exceeded = 0
        self.frames_sent = 0
        self.ticks_sent = 0
        self.frames_skipped = 0
        self._second = -1
        self._in_second = 0
        self._peak_in_second = 0

    def heard(self, now: float) -> None:
        """Count one message of the client at ``now``, in seconds of any clock."""
        self.messages += 1
        if int(now) != self._second:
            self._second = int(now)
            self._in_second = 0
        self._in_second += 1
        self._peak_in_second = max(self._peak_in_second, self._in_second)

    def judged(self, message: Judgement, *, holds: int) -> None:
        """Count what was wrong with a message, and note how many instruments are subscribed now."""
        self.duplicates += message.duplicates
        self.unknown += message.unknown
        self.not_subscribed += message.not_subscribed
        self.over_limit += message.over_limit
        self.holds(holds)

    def holds(self, subscribed: int) -> None:
        """Note how many instruments the connection has subscribed now."""
        self.subscribed = subscribed
        self.peak_subscribed = max(self.peak_subscribed, subscribed)

    def to_record(self) -> ConnectionRecord:
        return ConnectionRecord(
            id=self.id,
            key=self.key,
            open=self.is_open,
            subscribed=self.subscribed,
            peak_subscribed=self.peak_subscribed,
            messages=self.messages,
            peak_messages_per_second=self._peak_in_second,
            malformed=self.malformed,
            duplicates=self.duplicates,
            unknown=self.unknown,
            not_subscribed=self.not_subscribed,
            over_limit=self.over_limit,
            rate_exceeded=self.rate_exceeded,
            frames_sent=self.frames_sent,
            ticks_sent=self.ticks_sent,
            frames_skipped=self.frames_skipped,
        )


class Recorder:
    """The record being written. Bounded: of keys and of closed connections the oldest go first."""

    def __init__(self) -> None:
        # By number, closed ones too; bounded, as the keys are.
        self._connections: dict[int, ConnectionCounters] = {}
        # By label, which is not the key itself.
        self._keys: dict[str, KeyRecord] = {}
        # By status; by stream below, for a replay; and how many connections were opened.
        self._refused: Counter[str] = Counter()
        self._frames_by_stream: Counter[str] = Counter()
        self._opened = 0

    def opened(self, *, id: int, api_key: str) -> ConnectionCounters:
        """Note a new connection and return its counters."""
        counters = ConnectionCounters(id=id, api_key=api_key)
        self._opened += 1
        self._connections[id] = counters
        known = self._key(counters.key)
        self._keys[counters.key] = msgspec.structs.replace(
            known,
            opened=known.opened + 1,
            open=known.open + 1,
            peak=max(known.peak, known.open + 1),
        )
        self._forget_oldest()
        return counters

    def closed(self, counters: ConnectionCounters) -> None:
        """Note that a connection ended."""
        counters.is_open = False
        known = self._key(counters.key)
        self._keys[counters.key] = msgspec.structs.replace(known, open=max(0, known.open - 1))

    def refused(self, *, status: int, api_key: str) -> None:
        """Note an upgrade refused with an HTTP status, or a connection with the broker's number."""
        self._refused[str(status)] += 1
        if api_key:
            label = key_label(api_key)
            known = self._key(label)
            self._keys[label] = msgspec.structs.replace(known, refused=known.refused + 1)

    def streamed(self, stream: str) -> None:
        """Count one frame of a replayed stream."""
        self._frames_by_stream[stream] += 1

    def reset(self) -> None:
        """Forget everything but the connections that are open, whose counters start from zero."""
        still_open = [item for item in self._connections.values() if item.is_open]
        self._refused.clear()
        self._frames_by_stream.clear()
        self._opened = 0
        self._connections = {item.id: item for item in still_open}
        now_open = Counter(item.key for item in still_open)
        self._keys = {key: KeyRecord(open=n, peak=n) for key, n in now_open.items()}
        for item in still_open:
            item.reset()

    def to_record(self) -> Record:
        return Record(
            opened=self._opened,
            open=sum(item.is_open for item in self._connections.values()),
            refused=dict(self._refused),
            keys=dict(self._keys),
            connections=tuple(item.to_record() for item in self._connections.values()),
            frames_by_stream=dict(self._frames_by_stream),
        )

    def _key(self, label: str) -> KeyRecord:
        known = self._keys.get(label)
        if known is None:
            if len(self._keys) >= _MAX_REMEMBERED:
                idle = next((name for name, key in self._keys.items() if not key.open), None)
                if idle is not None:
                    del self._keys[idle]
            known = self._keys[label] = KeyRecord()
        return known

    def _forget_oldest(self) -> None:
        if len(self._connections) > _MAX_REMEMBERED:
            gone = next((id for id, item in self._connections.items() if not item.is_open), None)
            if gone is not None:
                del self._connections[gone]
