"""How long an open socket may say nothing before its prices are not to be trusted. Pure.

Two kinds of brokers. One sends something about every second or two, market or not (a heartbeat of
at most 5 s): when two beats are missing the prices are stale, within 6 s. From the others silence
says nothing: their instruments may rest for hours. There any byte (a frame, a ping of theirs, the
answer to a ping of ours, which goes out every 10 s) proves for 25 s that the link works, and a
working link is live.

One more thing is judged there: a link that was busy and dries up. Where at least 30 frames came in
the minute before the silence, 25 s without one are no rest, and prices are stale until the next
frame, however well pings are answered. A market's close looks the same and is told the same: the
prices are old then, too. None of this reconnects; only *liveness*, no byte at all, does.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Freshness"]

STEADY_HEARTBEAT_SECONDS = 5.0
MISSED_BEATS = 2.5
LEAST_SECONDS = 5.0
QUIET_SECONDS = 25.0
BUSY_FRAMES = 30
BUSY_SECONDS = 60.0


class Freshness:
    """Judges the silence of one socket after another of a connection.

    Args:
        heartbeat_seconds: how often an idle link carries a byte from the broker; None: never.
    """

    def __init__(self, heartbeat_seconds: float | None) -> None:
        self.is_steady = (
            heartbeat_seconds is not None and heartbeat_seconds <= STEADY_HEARTBEAT_SECONDS
        )
        self.limit_seconds = QUIET_SECONDS
        if self.is_steady and heartbeat_seconds is not None:
            self.limit_seconds = max(MISSED_BEATS * heartbeat_seconds, LEAST_SECONDS)
        self._samples: deque[tuple[float, int]] = deque()
        self._dried_up_at: int | None = None  # how many frames had come then

    def reset(self) -> None:
        """Begin with a new socket."""
        self._samples.clear()
        self._dried_up_at = None

    def sample(self, now: float, frames: int) -> None:
        """Note how many frames have come so far; called every 10 s or more often."""
        self._samples.append((now, frames))
        while len(self._samples) > 1 and self._samples[1][0] <= now - BUSY_SECONDS - QUIET_SECONDS:
            self._samples.popleft()

    def judge(self, now: float, *, last_frame: float, last_byte: float, frames: int) -> str:
        """Return why prices are stale, "" while they are fresh.

        Args:
            now: monotonic seconds.
            last_frame: when the last frame came.
            last_byte: when the last byte of any kind came, answers to pings included.
            frames: how many frames have come so far.
        """
        # The same sums as in ``due``: a difference may round to just below the limit at the very
        # moment that was waited for, and the next look would come seconds later.
        limit = self.limit_seconds
        if self.is_steady:
            return f"no data for {limit:g} s" if now >= last_frame + limit else ""
        if now >= last_byte + limit:
            return f"nothing was heard for {limit:g} s"
        if now >= last_frame + limit and self._has_dried_up(last_frame, frames):
            return f"no data for {limit:g} s on a link that had plenty"
        return ""

    def due(self, *, last_frame: float, last_byte: float) -> tuple[float, ...]:
        """Return when the judgement may next change if nothing more is heard."""
        return tuple(at + self.limit_seconds for at in (last_frame, last_byte))

    def _has_dried_up(self, last_frame: float, frames: int) -> bool:
        if self._dried_up_at != frames:
            before = [seen for at, seen in self._samples if at >= last_frame - BUSY_SECONDS]
            was_busy = bool(before) and frames - before[0] >= BUSY_FRAMES
            self._dried_up_at = frames if was_busy else None
        return self._dried_up_at == frames
