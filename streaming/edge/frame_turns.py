"""Turns of the loop for what clients send: so many frames in one turn, users in rotation.

However many clients of a user send as much as each may, parsing it takes a millisecond or two of a
turn. The rest waits on their own side of the network, and ticks and everybody else's frames have
their turns in between.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Hashable

__all__ = ["FrameTurns", "frame_cost"]

PER_TURN = 64
# Of these, what is left for whoever does not wait: a client that sends a frame now and then.
_KEPT = PER_TURN // 4
_BYTES_A_FRAME = 2048


def frame_cost(size: int) -> int:
    """Return what parsing ``size`` bytes of a frame costs, in short frames."""
    return 1 + size // _BYTES_A_FRAME


class FrameTurns:
    """Says who may parse now, and calls those that wait. Belongs to one event loop."""

    def __init__(self) -> None:
        self.left = PER_TURN  # of the turn under way, in short frames; may fall below zero
        self._is_due = False  # a turn is set
        # Works that wait, by user; the first user is the next one. Each is in it once: whoever
        # joins sees to it.
        self._waiting: dict[Hashable, deque[Callable[[], None]]] = {}

    def __repr__(self) -> str:
        return f"<FrameTurns waiting={sum(map(len, self._waiting.values()))}>"

    def has_room(self, owner: Hashable) -> bool:
        """Whether a frame of ``owner`` is parsed at once: none of its other clients waits."""
        return self.left > 0 and owner not in self._waiting

    def use(self, cost: int) -> None:
        """Count what was parsed."""
        self.left -= cost
        self._go_on()

    def join(self, owner: Hashable, work: Callable[[], None]) -> None:
        """Call ``work`` once, in one of the next turns; what it parses it counts."""
        self._waiting.setdefault(owner, deque()).append(work)
        self._go_on()

    def _go_on(self) -> None:
        if not self._is_due:
            self._is_due = True
            # Of no connection: what a turn begins must not live in another one's context.
            asyncio.get_running_loop().call_soon(self._turn, context=contextvars.Context())

    def _turn(self) -> None:
        self._is_due = False
        self.left = PER_TURN - _KEPT
        # Each once at most: one that has more to do joins again, behind all others.
        most = sum(map(len, self._waiting.values())) if self._waiting else 0
        try:
            while self.left > 0 and self._waiting and most:
                most -= 1
                self._next()()
        finally:
            self.left += _KEPT
            if self._waiting:
                self._go_on()

    def _next(self) -> Callable[[], None]:
        """Take the next user's first work; the user goes to the end."""
        owner = next(iter(self._waiting))
        works = self._waiting.pop(owner)
        work = works.popleft()
        if works:
            self._waiting[owner] = works
        return work
