"""The outbox of a client of the batch subprotocol, and the frames that ticks wait for in it. Pure.

What is special about one client (a snapshot, a transport that is still busy) waits here, latest
tick of each line only, and goes out with its next batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import Any, Protocol

from streaming.clients.frames import TickPayload
from streaming.clients.outbox import Outbox

__all__ = ["BATCH_LINE", "BatchOutbox", "BatchSource", "encode_batch"]

# The key under which a whole batch waits in a client's outbox.
BATCH_LINE = object()


def encode_batch(bodies: Iterable[bytes]) -> bytes:
    """Return the object that carries these ``market_data`` objects."""
    return b'{"type":"ticks","ticks":[' + b",".join(bodies) + b"]}"


class BatchSource(Protocol):
    """The part of a cohort that an outbox which it feeds needs."""

    max_frame_bytes: int

    @property
    def is_waiting(self) -> bool:
        """Whether ticks wait for the next batch."""

    def waiting(self, line: Hashable) -> bytes | None:
        """Return the tick of ``line`` that waits for the next batch."""

    def enter(self, outbox: BatchOutbox, line: Hashable) -> bool:
        """Count a reader of ``line`` in; True for the first."""

    def leave(self, outbox: BatchOutbox, line: Hashable) -> bool:
        """Count a reader of ``line`` out; True for the last."""

    def expect(self, outbox: BatchOutbox) -> None:
        """Have ``outbox`` released at the next moment."""


class BatchOutbox(Outbox[Any]):
    """The outbox of a batch client. Not thread-safe.

    Control frames go out at once and before ticks that wait, so an answer precedes the ticks that
    it announces and follows those that it ends.

    Args:
        cohort: whose batches the client gets.
        wants_frames: whether batches are taken as ready frames instead of as texts.
        bounds: see ``Outbox``.
    """

    __slots__ = (
        "_backlog",
        "_behind",
        "_behind_bytes",
        "_is_busy",
        "_is_releasing",
        "_seen",
        "_stuck_at",
        "_stuck_since",
        "_takes",
        "_wants_frames",
        "cohort",
        "lines",
        "write_now",
    )

    def __init__(
        self,
        *,
        cohort: BatchSource,
        wants_frames: bool = False,
        on_ready: Callable[[], None] = lambda: None,
        max_bytes: int = 1024 * 1024,
        allowance: Callable[[], int] = lambda: 0,
        stall_seconds: float = 10.0,
    ) -> None:
        super().__init__(
            on_ready=on_ready,
            max_bytes=max_bytes,
            allowance=allowance,
            stall_seconds=stall_seconds,
        )
        self.cohort = cohort
        self.lines: set[Hashable] = set()  # that it reads from the cohort
        self._wants_frames = wants_frames
        # Writes a ready frame at once, or returns False when something is in its way: a batch then
        # waits for its turn like everything else. None: there is no such way.
        self.write_now: Callable[[bytes], bool] | None = None
        # Latest tick of each line for its next batch, for this client alone.
        self._backlog: dict[Hashable, bytes] = {}
        # What the cohort had of a line when it was joined: the snapshot is at least as new.
        self._seen: dict[Hashable, bytes] = {}
        self._behind: list[Any] = []  # control frames that follow the ticks that wait
        self._behind_bytes = 0  # of them
        self._is_releasing = False  # the moment has come: the backlog goes with the next takes
        self._is_busy = False  # what was taken last may still be on its way out
        self._takes = 0  # that brought something
        # When a backlog was first found behind a batch that is not taken.
        self._stuck_since: float | None = None
        self._stuck_at = 0  # ``_takes`` at that time

    def join(self, line: Hashable) -> bool:
        """Read ``line`` from the cohort; True when nobody of the cohort did before."""
        if line in self.lines:
            return False
        self.lines.add(line)
        self._note_seen(line)  # an older tick than the answer is none of this client's
        return self.cohort.enter(self, line)

    def leave(self, line: Hashable) -> bool:
        """Read ``line`` no more; True when nobody of the cohort does now."""
        if line not in self.lines:
            return False
        self.lines.discard(line)
        self.purge((line,))
        return self.cohort.leave(self, line)

    def push_tick(self, line: Hashable, payload: bytes) -> None:
        """Queue a tick's object for this client alone, as a snapshot, for its next batch."""
        if self.finished:
            return
        if line in self._backlog:
            self.conflated += 1
        self._backlog[line] = payload
        self._note_seen(line)
        self.cohort.expect(self)

    def push_behind(self, payload: Any) -> None:
        """Queue a control frame behind the ticks that wait, as what is said of their feed."""
        if self._behind or self._backlog or self.cohort.is_waiting:
            if self._is_full(len(self._behind), self._behind_bytes):
                self.overflowed = True
                return
            self._behind.append(payload)
            self._behind_bytes += len(payload)
            self.cohort.expect(self)
        else:
            self.push_control(payload)

    def deliver(self, share: Mapping[Hashable, bytes], batch: TickPayload | None) -> None:
        """Take this client's part of a batch, and the batch itself if one frame can carry it."""
        if self.finished:
            return
        if batch is not None and not (self._backlog or self._seen or self.tick_bytes):
            # Whoever writes at once knows whether what was taken is still on its way.
            if self.write_now is not None and self.write_now(batch.frame):
                return
            if not self._is_busy:
                super().push_tick(BATCH_LINE, self._wire(batch))
                return
        for line, payload in share.items():
            if self._seen.get(line) is payload:
                continue
            if line in self._backlog:
                self.conflated += 1
            self._backlog[line] = payload
        self.cohort.expect(self)

    def release(self) -> None:
        """Let out what waits: the cohort's moment has come."""
        self._seen.clear()
        if self._backlog:
            self._is_releasing = True
            self._on_ready()
        else:
            self._push_what_is_behind()

    def take(self, max_frames: int) -> list[Any]:
        """See ``Outbox``; a batch that was held back comes when nothing else waits."""
        taken = super().take(max_frames)
        if not taken and self._is_releasing:
            if self._backlog:
                taken.append(self._next_frame())
            if not self._backlog:
                self._is_releasing = False
                self._push_what_is_behind()
        self._is_busy = bool(taken)
        self._takes += self._is_busy
        return taken

    def purge(self, lines: Collection[Hashable]) -> None:
        """Drop every waiting tick of ``lines``; a finished batch goes out before what follows."""
        for line in lines:
            if self._backlog.pop(line, None) is not None:
                self.dropped_unsubscribed += 1
            self._seen.pop(line, None)

    def drop_ticks(self) -> None:
        """See ``Outbox``; what is behind them comes at the cohort's next moment."""
        super().drop_ticks()
        self.conflated += len(self._backlog)
        self._backlog.clear()
        self._seen.clear()
        self._stuck_since = None
        self.cohort.expect(self)

    def finish(self) -> None:
        """See ``Outbox``."""
        self._push_what_is_behind()
        super().finish()
        self.dropped_closed += len(self._backlog)
        self._backlog.clear()
        self._seen.clear()
        self._is_releasing = False

    def let_go(self) -> None:
        """See ``Outbox``."""
        super().let_go()
        self.write_now = None

    def is_too_slow(self, now: float) -> bool:
        """See ``Outbox``; ticks that wait behind a batch not taken count as well."""
        if super().is_too_slow(now):
            return True
        if not (self._is_busy and self._backlog):
            self._stuck_since = None
        elif self._stuck_since is None or self._stuck_at != self._takes:
            self._stuck_since, self._stuck_at = now, self._takes
        else:
            return now - self._stuck_since >= self.stall_seconds
        return False

    def _note_seen(self, line: Hashable) -> None:
        waiting = self.cohort.waiting(line)
        if waiting is not None:
            self._seen[line] = waiting
            self.cohort.expect(self)

    def _wire(self, batch: TickPayload) -> str | bytes:
        return batch.frame if self._wants_frames else batch.text

    def _next_frame(self) -> str | bytes:
        size = 0
        chosen: list[Hashable] = []
        for line, payload in self._backlog.items():
            size += len(payload) + 1
            if chosen and size > self.cohort.max_frame_bytes:
                break
            chosen.append(line)
        bodies = [self._backlog.pop(line) for line in chosen]
        return self._wire(TickPayload(BATCH_LINE, encode_batch(bodies)))

    def _push_what_is_behind(self) -> None:
        behind, self._behind, self._behind_bytes = self._behind, [], 0
        for payload in behind:
            self.push_control(payload)
