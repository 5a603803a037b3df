"""The batch subprotocol: many ticks in one frame, the latest of each line, at intervals. Pure.

Clients of one interval share *cohorts*. A tick costs one dictionary entry per cohort, however many
clients read it, and clients that read the same lines share one frame. A cohort without ticks has
no timer; the cohorts of one interval take turns, so that they do not all send at once.

What is special about one client waits in its outbox, ``streaming/clients/batch_outbox.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from urllib.parse import parse_qsl

from brokers.times.held_up import HELD_UP_SECONDS
from streaming.clients.batch_outbox import BATCH_LINE, BatchOutbox, encode_batch
from streaming.clients.frames import FrameJoiner, TickPayload

__all__ = [
    "BATCH_SUBPROTOCOL",
    "DEFAULT_INTERVAL_MS",
    "MAX_INTERVAL_MS",
    "BatchWheel",
    "Cohort",
    "interval_of",
]

BATCH_SUBPROTOCOL = "tickpool.batch.v1"
DEFAULT_INTERVAL_MS = 50
MAX_INTERVAL_MS = 1000
_MAX_FRAME_BYTES = 512 * 1024
# So many clients send at once before the next moment of the interval is used: each of them costs
# an entry for every tick and a waking, and so many writes keep the loop for about a millisecond.
_CLIENTS_PER_PHASE = 50
_PHASES = 4
# Reading the bus this often within an interval costs a batch a tenth of it on average.
_READS_PER_INTERVAL = 5
_MAX_PATIENCE_SECONDS = 0.01

# When a batch that the process itself was too late for is looked at again: later than whoever reads
# the bus looks at its clock.
_SECOND_TRY_SECONDS = 0.3

CallLater = Callable[[float, Callable[[], None]], object]


def interval_of(query_string: bytes) -> int:
    """Return the milliseconds that ``interval`` of a query string asks for, or the default.

    Raises:
        ValueError: it is no integer from 0 to ``MAX_INTERVAL_MS``; the text is fit for the client.
    """
    asked = dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)).get("interval")
    if asked is None:
        return DEFAULT_INTERVAL_MS
    # Not int() alone: it takes signs, blanks, underscores and any script's digits.
    if asked.isascii() and asked.isdigit() and len(asked) <= 4:
        milliseconds = int(asked)
        if milliseconds <= MAX_INTERVAL_MS:
            return milliseconds
    raise ValueError(f"interval is an integer from 0 to {MAX_INTERVAL_MS} milliseconds")


class Cohort:
    """Batch clients of one interval that send at the same moments. Not thread-safe.

    It reads a line, as one reader, while any of its clients does.

    Args:
        interval: seconds between two batches; 0: one in every turn of the loop.
        offset: where its moments lie within the interval, in seconds.
        clock: monotonic seconds.
        call_later: has a function called after some seconds, as the loop's.
        max_frame_bytes: how large a batch's frame gets before it is split.
    """

    def __init__(
        self,
        *,
        interval: float,
        clock: Callable[[], float],
        call_later: CallLater,
        offset: float = 0.0,
        max_frame_bytes: int = _MAX_FRAME_BYTES,
    ) -> None:
        if interval < 0 or max_frame_bytes < 1:
            raise ValueError("interval must not be negative and max_frame_bytes positive")
        self.max_frame_bytes = max_frame_bytes
        self.conflated = 0  # deliveries that a later tick of the same line made needless
        self._interval = interval
        self._offset = offset
        self._clock = clock
        self._call_later = call_later
        self._is_armed = False  # a call for the next batch is set
        self._not_before = float("-inf")  # the earliest moment of the next batch, by ``clock``
        self._due_at = 0.0  # of the moment that is armed
        self._dirty: dict[Hashable, bytes] = {}  # latest tick of each line since the last batch
        self._readers: dict[Hashable, int] = {}  # how many clients read each line
        self._expecting: set[BatchOutbox] = set()  # to be released at the next moment
        # Clients by what they read: those of one entry share their frames.
        self._alike: dict[frozenset[Hashable], set[BatchOutbox]] = {}
        # The entry of ``_alike`` that each client is in.
        self._sorted_as: dict[BatchOutbox, frozenset[Hashable]] = {}
        # Clients whose lines changed since they were sorted.
        self._unsorted: set[BatchOutbox] = set()

    def __repr__(self) -> str:
        return (
            f"<Cohort interval={self._interval:g} clients={len(self._sorted_as)} "
            f"lines={len(self._readers)}>"
        )

    @property
    def interval(self) -> float | None:
        """Seconds between two batches; None while nobody reads anything."""
        return self._interval if self._readers else None

    @property
    def is_waiting(self) -> bool:
        """Whether ticks wait for the next batch."""
        return bool(self._dirty)

    def waiting(self, line: Hashable) -> bytes | None:
        """Return the tick of ``line`` that waits for the next batch."""
        return self._dirty.get(line)

    def push_tick(self, line: Hashable, payload: bytes) -> None:
        """Take a tick's object for everyone who reads ``line``: the hot path."""
        dirty = self._dirty
        if line in dirty:
            self.conflated += self._readers.get(line, 0)
        elif not dirty:
            self._arm()
        dirty[line] = payload

    def push(self, payload: TickPayload) -> None:
        """Take a tick as the hub hands it out."""
        self.push_tick(payload.line, payload.body)

    def flush(self, joiner: FrameJoiner) -> None:
        """Do nothing at the end of a turn: a cohort has its own moments."""

    def drop_waiting(self) -> None:
        """Drop what waits for the next batch."""
        self.conflated += sum(self._readers.get(line, 0) for line in self._dirty)
        self._dirty.clear()

    def enter(self, outbox: BatchOutbox, line: Hashable) -> bool:
        """Count a reader of ``line`` in; True for the first."""
        self._unsorted.add(outbox)
        readers = self._readers.get(line, 0)
        self._readers[line] = readers + 1
        return not readers

    def leave(self, outbox: BatchOutbox, line: Hashable) -> bool:
        """Count a reader of ``line`` out; True for the last."""
        self._unsorted.add(outbox)
        if not self._is_armed:
            self._arm()  # so that it is not kept for as long as nothing ticks
        self._readers[line] -= 1
        if self._readers[line]:
            return False
        del self._readers[line]
        self._dirty.pop(line, None)
        return True

    def expect(self, outbox: BatchOutbox) -> None:
        """Have ``outbox`` released at the next moment."""
        self._expecting.add(outbox)
        self._arm()

    def _arm(self) -> None:
        if self._is_armed:
            return
        self._is_armed = True
        delay, now = 0.0, self._clock()
        if self._interval:
            until_moment = self._interval - (now - self._offset) % self._interval
            delay = max(until_moment, self._not_before - now)
        self._due_at = now + delay
        self._call_later(delay, self._send)

    def _send(self) -> None:
        now = self._clock()
        if now - self._due_at >= HELD_UP_SECONDS:
            # The process stood still. Whoever reads the bus finds that out, too, and has what
            # waits here dropped; this timer was just faster.
            self._due_at = now + _SECOND_TRY_SECONDS
            self._call_later(_SECOND_TRY_SECONDS, self._send)
            return
        self._is_armed = False
        self._not_before = now + self._interval
        dirty, self._dirty = self._dirty, {}
        expecting, self._expecting = self._expecting, set()
        self._sort()
        if dirty:
            for lines, outboxes in self._alike.items():
                self._share_out(dirty, lines, outboxes)
        # Those that deliver just found busy are in the new set already; they are due now as well.
        expecting |= self._expecting
        self._expecting = set()
        for outbox in expecting:
            outbox.release()

    def _share_out(
        self,
        dirty: Mapping[Hashable, bytes],
        lines: frozenset[Hashable],
        outboxes: Iterable[BatchOutbox],
    ) -> None:
        if len(lines) < len(dirty):
            share = {line: dirty[line] for line in lines if line in dirty}
        else:
            share = {line: payload for line, payload in dirty.items() if line in lines}
        if not share:
            return
        body = encode_batch(share.values())
        batch = TickPayload(BATCH_LINE, body) if len(body) <= self.max_frame_bytes else None
        for outbox in outboxes:
            outbox.deliver(share, batch)

    def _sort(self) -> None:
        unsorted, self._unsorted = self._unsorted, set()
        for outbox in unsorted:
            before = self._sorted_as.pop(outbox, None)
            if before is not None:
                alike = self._alike[before]
                alike.discard(outbox)
                if not alike:
                    del self._alike[before]
            if outbox.lines:
                lines = frozenset(outbox.lines)
                self._sorted_as[outbox] = lines
                self._alike.setdefault(lines, set()).add(outbox)


class BatchWheel:
    """All cohorts of a gateway; deals its batch clients to them. Not thread-safe.

    Args:
        clock: monotonic seconds.
        call_later: has a function called after some seconds, as the loop's.
    """

    def __init__(self, *, clock: Callable[[], float], call_later: CallLater) -> None:
        self._clock = clock
        self._call_later = call_later
        self._cohorts: dict[tuple[int, int], Cohort] = {}  # by interval (ms) and phase
        self._dealt: dict[int, int] = {}  # clients so far, by interval (ms)

    def __repr__(self) -> str:
        return f"<BatchWheel cohorts={len(self._cohorts)}>"

    @property
    def conflated(self) -> int:
        """Deliveries saved by sending only the latest tick of an interval."""
        return sum(cohort.conflated for cohort in self._cohorts.values())

    @property
    def patience_seconds(self) -> float:
        """How long ticks may wait for each other on the bus: a part of the shortest interval."""
        intervals = [cohort.interval for cohort in self._cohorts.values()]
        shortest = min((one for one in intervals if one is not None), default=0.0)
        return min(shortest / _READS_PER_INTERVAL, _MAX_PATIENCE_SECONDS)

    def drop_waiting(self) -> None:
        """Drop what waits for the next batches."""
        for cohort in self._cohorts.values():
            cohort.drop_waiting()

    def cohort(self, interval_ms: int) -> Cohort:
        """Return the cohort of the next client of this interval.

        Raises:
            ValueError: the interval is none that a client may have.
        """
        if not 0 <= interval_ms <= MAX_INTERVAL_MS:
            raise ValueError(f"interval_ms must be from 0 to {MAX_INTERVAL_MS}")
        dealt = self._dealt.get(interval_ms, 0)
        self._dealt[interval_ms] = dealt + 1
        phase = dealt // _CLIENTS_PER_PHASE % _PHASES if interval_ms else 0
        cohort = self._cohorts.get((interval_ms, phase))
        if cohort is None:
            interval = interval_ms / 1000
            cohort = self._cohorts[interval_ms, phase] = Cohort(
                interval=interval,
                offset=interval * phase / _PHASES,
                clock=self._clock,
                call_later=self._call_later,
            )
        return cohort
