"""Freshness of an open socket: how long it may say nothing before its prices are old. Pure.

Two kinds of brokers. One sends something about every second or two, market or not (a heartbeat of
at most 5 s): when two beats are missing the prices are stale, within 6 s. From the others silence
says nothing: their instruments may rest for hours. There any byte (a frame, a ping of theirs, the
answer to a ping of ours, which goes out every 10 s) proves for 25 s that the link works, and a
working link is live.

One more thing is judged, and for both kinds alike: a link that was busy and dries up. Where ticks
came in at least 30 seconds of the minute before the silence, 25 s without one are no rest, and
prices are stale, whatever else still arrives: beats, answers, texts, packets of nothing that is
subscribed. Seconds are counted and not ticks, so that what a few thousand subscriptions begin with,
at night, too, is not taken for a busy link. A market's close looks the same and is told the same:
the prices are old then, too. None of this reconnects; only *liveness*, no byte at all, does.

A link whose frames cannot be read is no better: where there were such in 10 seconds of a minute and
no tick for 25 s, or never, as at an endpoint that speaks another dialect, prices are stale, too.

A link that had plenty and was lost is *unproven* on the next socket: a broker begins with the last
prices that it knows, and what is behind it may be as dead as before. Its prices are stale until
``pooling.connection.news`` has found any. A link that had little is believed at once: what a broker
sends of an illiquid instrument is its current last price, and the exchange's time beside it says
how old.

Ticks bring a link back that dried up, but not those that a new subscription begins with: a broker
sends its last known price then, however old that is.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import NamedTuple

__all__ = ["Freshness", "LastHeard"]

STEADY_HEARTBEAT_SECONDS = 5.0
MISSED_BEATS = 2.5
LEAST_SECONDS = 5.0
QUIET_SECONDS = 25.0
BUSY_COUNT = 30  # seconds with ticks
BUSY_SECONDS = 60.0
BROKEN_COUNT = 10  # seconds with frames that cannot be read
# What arrives this soon behind a request may be its answer.
ANSWER_SECONDS = 2.0
# Where requests follow one another without end: seconds with ticks, and of how many.
FLOWING_COUNT = 5
FLOWING_SECONDS = 10.0
# Of so few instruments a single one may have been all that was busy.
FEW_INSTRUMENTS = 10
# Plenty so long ago still asks for proof: a link may be lost again before it had plenty once more.
PLENTY_SECONDS = 300.0
UNPROVEN = "connected again, and nothing newer than the last known prices has come"
_NEVER, _ALWAYS = float("inf"), float("-inf")


class LastHeard(NamedTuple):
    """Last moments at which something came on a link, monotonic seconds.

    Of the ``byte``s, answers to pings are some; ``tick`` is one of something subscribed, None:
    there was none.
    """

    frame: float
    byte: float
    tick: float | None


class Freshness:
    """Judges the silence of one socket after another of a connection.

    ``has_dried_up`` while the link has no ticks although it had plenty, or has frames;
    ``is_unproven`` from the socket after such a one until ``prove``. Ticks are to be told
    (``note``) when they come at or after ``counts_from``, in monotonic seconds: about one in a
    second is enough.

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
        # As the class says; all of it is the connection's, on its loop.
        self.has_dried_up = False
        self.is_unproven = False
        self.counts_from = _ALWAYS
        self._plenty_at = _ALWAYS  # when the link last had plenty, as far as sockets ended since
        self._seconds: deque[float] = deque(maxlen=int(BUSY_SECONDS) + 1)  # those with ticks
        self._broken: deque[float] = deque(maxlen=BROKEN_COUNT)  # with frames that cannot be read
        self._broken_since = _NEVER  # when nothing but such frames began
        self._why = ""  # it dried up
        self._asked_at = _ALWAYS  # when something was last subscribed or changed
        self._carried = 0  # instruments now
        self._most_carried = 0  # while ``_seconds`` were collected

    @property
    def doubt(self) -> str:
        """Why what comes may be old, however fresh it looks; "": nothing is known against it."""
        return UNPROVEN if self.is_unproven else self._why if self.has_dried_up else ""

    def reset(self, now: float) -> None:
        """Begin with a new socket."""
        if self._has_plenty():
            self._plenty_at = self._seconds[-1]
        plenty_at = self._plenty_at
        is_unproven = self.is_unproven or self.has_dried_up or now < plenty_at + PLENTY_SECONDS
        self._carried = 0
        self._asked_at = _ALWAYS
        self._forget()
        self.is_unproven, self._plenty_at = is_unproven, plenty_at

    def prove(self) -> None:
        """Note that the new socket brings news."""
        self.is_unproven = False

    def asked(self, now: float, *, came: int = 0, left: int = 0, changed: int = 0) -> None:
        """Note that so many instruments are being subscribed, let go, and changed in their mode.

        Where what made a link busy may have been let go, what is left begins again.
        """
        self._asked_at = now
        self._carried = max(0, self._carried + came - left)
        self._most_carried = max(self._most_carried, self._carried)
        if self.has_dried_up or self.is_unproven:
            is_another = not self._carried
        else:
            is_small = self._carried < FEW_INSTRUMENTS or 2 * self._carried <= self._most_carried
            is_another = is_small and bool(left or changed)
        if is_another:
            self._forget()

    def note(self, now: float, *, is_first_word: bool) -> bool:
        """Take note of ticks; returns whether the link can be trusted.

        Args:
            now: when they came, monotonic seconds.
            is_first_word: whether all of them are the first of what was subscribed.
        """
        if self.is_unproven:
            return False
        if not self.has_dried_up:
            if now >= self.counts_from:
                self._seconds.append(now)
                self.counts_from = now + 1.0
            return True
        if is_first_word:
            return False
        if not self._seconds or now >= self._seconds[-1] + 1.0:
            self._seconds.append(now)
        if now >= self._asked_at + ANSWER_SECONDS or self._is_flowing(now):
            self.has_dried_up = False
        return not self.has_dried_up

    def note_broken(self, now: float) -> None:
        """Take note of a frame that cannot be read."""
        if not self._broken:
            self._broken_since = now
        if not self._broken or now >= self._broken[-1] + 1.0:
            self._broken.append(now)

    def judge(self, now: float, last: LastHeard) -> str:
        """Return why prices are stale, "" while they are fresh."""
        # The same sums as in ``due``: a difference may round to just below the limit at the very
        # moment that was waited for, and the next look would come seconds later.
        limit = self.limit_seconds
        if self.is_steady and now >= last.frame + limit:
            return f"no data for {limit:g} s"
        if not self.is_steady and now >= last.byte + limit:
            return f"nothing was heard for {limit:g} s"
        if self.is_unproven:
            return UNPROVEN
        if not self.has_dried_up and (why := self._dries_up(now, last.tick)):
            self.has_dried_up, self.counts_from, self._why = True, _ALWAYS, why
        return self._why if self.has_dried_up else ""

    def due(self, last: LastHeard) -> tuple[float, ...]:
        """Return when the judgement may next change if nothing more is heard."""
        dry_at = _NEVER if last.tick is None else last.tick + QUIET_SECONDS
        return last.frame + self.limit_seconds, last.byte + self.limit_seconds, dry_at

    def _dries_up(self, now: float, last_tick: float | None) -> str:
        if last_tick is not None and now < last_tick + QUIET_SECONDS:
            return ""
        is_broken = len(self._broken) == BROKEN_COUNT and self._broken[0] >= now - BUSY_SECONDS
        if is_broken and now >= self._broken_since + QUIET_SECONDS:
            return f"frames come that cannot be read, and no tick for {QUIET_SECONDS:g} s"
        since = _NEVER if last_tick is None else last_tick - BUSY_SECONDS
        if sum(at >= since for at in self._seconds) >= BUSY_COUNT:
            return f"no data for {QUIET_SECONDS:g} s on a link that had plenty"
        return ""

    def _has_plenty(self) -> bool:
        """Tell whether there was plenty in the minute before the last tick."""
        return sum(at >= self._seconds[-1] - BUSY_SECONDS for at in self._seconds) >= BUSY_COUNT

    def _is_flowing(self, now: float) -> bool:
        latest = islice(reversed(self._seconds), FLOWING_COUNT)
        return sum(at > now - FLOWING_SECONDS for at in latest) == FLOWING_COUNT

    def _forget(self) -> None:
        self.has_dried_up, self.counts_from = False, _ALWAYS
        self.is_unproven, self._plenty_at = False, _ALWAYS
        self._seconds.clear()
        self._broken.clear()
        self._most_carried = self._carried
