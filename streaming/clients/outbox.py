"""The outbox of one client: frames that wait to be sent, and when they are too many. Pure.

Control frames (answers, orders, status) are never conflated. Ticks wait in order while all that
waits fits into ``max_bytes``. When it does not, only the latest tick of each line is kept, in the
place of the oldest one that still waits, until the client has read everything. What was
unsubscribed is purged, so no tick follows its unsubscribe's answer.

Bounds: all by ``max_bytes``, or one tick per line where that is more. Control frames may take as
much in addition as the client's ``allowance`` is, and the last of them is let in whole: an answer
about thousands of symbols is one frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable
from typing import Any, Generic, TypeVar

__all__ = ["Outbox"]

# Stands in the queue for "everything before me was queued when I was put here".
_MARK = object()


Frame = TypeVar("Frame", str, bytes)


class Outbox(Generic[Frame]):
    """Bounded queue of one client: of texts, or of ready frames. Not thread-safe.

    Args:
        on_ready: called when something waits after nothing did; must not take from the outbox.
        max_bytes: unsent bytes from which on ticks are conflated, and control frames make the
            client too slow at once.
        allowance: how many bytes of control frames may wait in addition now, as what is said of
            thousands of symbols at once takes them.
        max_control_frames: how many control frames may wait.
        stall_seconds: how long a frame may wait before the client is too slow.
    """

    __slots__ = (
        "_allowance",
        "_latest",
        "_marked_at",
        "_on_ready",
        "_queue",
        "conflated",
        "control_bytes",
        "control_frames",
        "dropped_closed",
        "dropped_unsubscribed",
        "finished",
        "max_bytes",
        "max_control_frames",
        "overflowed",
        "stall_seconds",
        "tick_bytes",
    )

    def __init__(
        self,
        *,
        on_ready: Callable[[], None] = lambda: None,
        max_bytes: int = 1024 * 1024,
        allowance: Callable[[], int] = lambda: 0,
        max_control_frames: int = 10_000,
        stall_seconds: float = 10.0,
    ) -> None:
        if min(max_bytes, max_control_frames) < 1 or stall_seconds <= 0:
            raise ValueError("the bounds of an outbox must be positive")
        self.max_bytes = max_bytes
        self.max_control_frames = max_control_frames
        self.stall_seconds = stall_seconds
        self.tick_bytes = 0  # of ticks that wait
        self.control_bytes = 0  # of control frames that wait
        self.control_frames = 0  # that wait
        self.conflated = 0  # ticks that a later one of the same line replaced
        self.dropped_unsubscribed = 0  # ticks that waited when their line was left
        self.dropped_closed = 0  # ticks that waited when the client was closed or gone
        self.overflowed = False  # a control frame found no room: the client is too slow
        self.finished = False  # takes nothing more; control frames may still leave
        self._on_ready = on_ready  # nobody's after ``let_go``
        self._allowance = allowance
        # Entries are (line, payload), line None: a control frame; or a line alone, which is never a
        # tuple: its payload is in _latest. Of thousands of lines a pair each takes half a megabyte.
        self._queue: deque[Any] = deque()
        self._latest: dict[Hashable, Frame] | None = None  # None: not congested
        # When the mark in the queue was put there; None: it has none.
        self._marked_at: float | None = None

    def __len__(self) -> int:
        return len(self._queue) - (self._marked_at is not None)

    def __repr__(self) -> str:
        return (
            f"<Outbox frames={len(self)} bytes={self.tick_bytes + self.control_bytes} "
            f"conflated={self.conflated}>"
        )

    @property
    def is_congested(self) -> bool:
        """Whether only the latest tick of each line is kept."""
        return self._latest is not None

    def push_control(self, payload: Frame) -> None:
        """Queue a frame that must arrive; beyond the bounds it is dropped, ``overflowed`` set."""
        if self.finished or self.overflowed:
            return
        if self._is_full(self.control_frames, self.control_bytes):
            self.overflowed = True
            return
        self.control_frames += 1
        self.control_bytes += len(payload)
        self._append((None, payload))

    def has_room(self, beside: int = 0) -> bool:
        """Tell whether the answer to a further request may be queued, however long it is.

        ``beside`` are bytes that were taken and are not sent, more than are there for ticks anyway.
        """
        return self.control_bytes + beside < self.max_bytes

    def _is_full(self, frames: int, size: int) -> bool:
        """Tell whether so much of control frames is as much as may wait."""
        return frames >= self.max_control_frames or (
            size >= self.max_bytes and size >= self.max_bytes + self._allowance()
        )

    def push_tick(self, line: Hashable, payload: Frame) -> None:
        """Queue a tick of ``line``."""
        if self.finished:
            return
        latest = self._latest
        if latest is not None:
            previous = latest.get(line)
            latest[line] = payload
            self.tick_bytes += len(payload)
            if previous is not None:
                self.tick_bytes -= len(previous)
                self.conflated += 1
                return
            self._append(line)
            return
        self.tick_bytes += len(payload)
        queue = self._queue
        queue.append((line, payload))
        if len(queue) == 1:
            self._on_ready()
        elif self.tick_bytes + self.control_bytes > self.max_bytes:
            self._congest()

    def take(self, max_frames: int) -> list[Frame]:
        """Remove and return the next frames, oldest first; empty when nothing waits."""
        taken: list[Frame] = []
        queue = self._queue
        while queue and len(taken) < max_frames:
            line, payload = _parts(queue.popleft())
            if line is _MARK:
                self._marked_at = None
                continue
            if line is None:
                assert payload is not None  # noqa: S101 - only ticks wait elsewhere
                self.control_frames -= 1
                self.control_bytes -= len(payload)
            else:
                if payload is None:
                    assert self._latest is not None  # noqa: S101 - congested entries only
                    payload = self._latest.pop(line)
                self.tick_bytes -= len(payload)
            taken.append(payload)
        if not queue:
            self._latest = None
        return taken

    def purge(self, lines: Collection[Hashable]) -> None:
        """Drop every waiting tick of ``lines``."""
        if not self._queue or not lines:
            return
        gone = lines if isinstance(lines, (set, frozenset)) else set(lines)
        kept = [entry for entry in self._queue if _parts(entry)[0] not in gone]
        if len(kept) == len(self._queue):
            return
        for line, payload in map(_parts, self._queue):
            if line in gone:
                if payload is None and self._latest is not None:
                    payload = self._latest.pop(line)
                self.tick_bytes -= len(payload) if payload is not None else 0
        self.dropped_unsubscribed += len(self._queue) - len(kept)
        self._queue = deque(kept)

    def drop_ticks(self) -> None:
        """Drop every waiting tick: later ones, which are on their way, take their places.

        How long the client has taken nothing is counted from now on.
        """
        ticks = len(self)
        kept = deque(entry for entry in self._queue if _parts(entry)[0] is None)
        self.conflated += ticks - len(kept)
        self._marked_at = None
        self._queue, self._latest, self.tick_bytes = kept, None, 0

    def finish(self) -> None:
        """Drop waiting ticks and take nothing more; waiting control frames can still be taken."""
        self.finished = True
        self._latest = None
        self.tick_bytes = 0
        kept = deque(entry for entry in self._queue if _parts(entry)[0] in (None, _MARK))
        self.dropped_closed += len(self._queue) - len(kept)
        self._queue = kept

    def let_go(self) -> None:
        """Forget who is told; call it after ``finish``, when nothing is taken any more."""
        self._on_ready = _nothing

    def is_too_slow(self, now: float) -> bool:
        """Tell whether the client must go; call it every second or so with a monotonic ``now``.

        True once control frames overflowed, or when something that waited at an earlier call has
        not been taken ``stall_seconds`` later.
        """
        if self.overflowed:
            return True
        if self._marked_at is not None:
            return now - self._marked_at >= self.stall_seconds
        if self._queue:
            self._marked_at = now
            self._queue.append((_MARK, None))
        return False

    def _append(self, entry: Any) -> None:
        self._queue.append(entry)
        if len(self._queue) == 1:
            self._on_ready()

    def _congest(self) -> None:
        latest: dict[Hashable, Frame] = {}
        kept: deque[Any] = deque()
        for entry in self._queue:
            line, payload = entry
            if line is None or payload is None:
                kept.append(entry)
                continue
            previous = latest.get(line)
            if previous is None:
                kept.append(line)
            else:
                self.conflated += 1
                self.tick_bytes -= len(previous)
            latest[line] = payload
        self._queue = kept
        self._latest = latest


def _parts(entry: Any) -> tuple[Any, Any]:
    """Return line and payload of an entry of the queue."""
    return entry if type(entry) is tuple else (entry, None)


def _nothing() -> None:
    """Stand in for whoever was told."""
