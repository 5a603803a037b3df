"""Connects that a broker takes from one address within a time. Pure: times come in.

A connect counts from being let through until a whole window after its end, because when in between
the broker counted it is not known. So whichever window the broker looks at, it never sees more than
it allows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from brokers.contract import ConnectRate

__all__ = ["ConnectRateStats", "ConnectWindow"]

MAX_PROMISED_WINDOWS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectRateStats:
    """The connects to one endpoint as they are now. ``endpoint`` is scheme, host and port.

    ``used`` of ``attempts`` count within ``window_seconds``; ``attempts_held`` were refused for the
    time being since the worker started, and opened no socket.
    """

    endpoint: str
    attempts: int
    window_seconds: float
    used: int
    attempts_held: int


class ConnectWindow:
    """The connects to one endpoint. Not thread-safe: one loop uses it.

    Every attempt asks ``admit`` first and, once it was let through, tells its end with ``ended``.
    """

    def __init__(self, *, endpoint: str, rate: ConnectRate) -> None:
        self.endpoint = endpoint
        self._rate = rate
        self._under_way = 0  # let through, and not ended yet
        self._free_at: deque[float] = deque()  # ascending: when each that ended counts no more
        self._promised: list[float] = []
        self._held = 0  # refused for the time being, ever

    def __repr__(self) -> str:
        return f"<ConnectWindow {self.endpoint} {self._used} of {self._rate.attempts}>"

    @property
    def _used(self) -> int:
        return self._under_way + len(self._free_at)

    @property
    def is_idle(self) -> bool:
        """Whether it remembers nothing that matters, so that it may be forgotten."""
        return not self._used

    def admit(self, now: float) -> float:
        """Let an attempt through and return 0, or return how many seconds to wait before asking.

        Each who has to wait is named the time of another place, so that they do not all come back
        for the first one; the places themselves go to whoever asks.
        """
        self._forget_old(now)
        rate = self._rate
        if self._used < rate.attempts:
            self._under_way += 1
            return 0.0
        self._held += 1
        self._promised = [at for at in self._promised if at > now]
        rounds, place = divmod(len(self._promised), rate.attempts)
        # What is under way counts for a window more at least.
        ends = self._free_at[place] if place < len(self._free_at) else now + rate.window_seconds
        at = ends + rounds * rate.window_seconds
        if rounds < MAX_PROMISED_WINDOWS:
            self._promised.append(at)
        return at - now

    def ended(self, now: float, *, was_made: bool) -> None:
        """Note that an attempt is over; ``was_made`` False: the broker cannot have heard of it."""
        self._under_way -= 1
        if was_made:
            self._free_at.append(now + self._rate.window_seconds)

    def to_stats(self, now: float) -> ConnectRateStats:
        """Return the endpoint as it is now."""
        self._forget_old(now)
        return ConnectRateStats(
            endpoint=self.endpoint,
            attempts=self._rate.attempts,
            window_seconds=self._rate.window_seconds,
            used=self._used,
            attempts_held=self._held,
        )

    def _forget_old(self, now: float) -> None:
        while self._free_at and self._free_at[0] <= now:
            self._free_at.popleft()
