"""What all connections of a gateway process share at its edge: turns of strangers, and counts."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable

from streaming.limits import EdgeLimits, Refusal

__all__ = ["Edge", "Lane"]

# Each takes a tenth of a millisecond or two, and begins what takes as long again.
_STRANGERS_A_TURN = 8


class Lane:
    """Lets few of those who wait do a piece of work in one turn of the loop, first come first.

    However many wait, everybody else has the loop in between. Belongs to one event loop.
    """

    def __init__(self, *, per_turn: int = _STRANGERS_A_TURN) -> None:
        if per_turn < 1:
            raise ValueError("per_turn must be at least 1")
        self._per_turn = per_turn
        self._waiting: deque[Callable[[], None]] = deque()  # each is in it once: whoever joins sees
        self._is_due = False

    def __repr__(self) -> str:
        return f"<Lane waiting={len(self._waiting)}>"

    def join(self, work: Callable[[], None]) -> None:
        """Call ``work`` once, in one of the next turns."""
        self._waiting.append(work)
        self._go_on()

    def _go_on(self) -> None:
        if self._waiting and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_due = False
        try:
            for _ in range(min(self._per_turn, len(self._waiting))):
                self._waiting.popleft()()
        finally:
            self._go_on()


class Edge:
    """The edge of one process. Belongs to the event loop that serves.

    Args:
        limits: the bounds.
        clock: monotonic seconds.
    """

    def __init__(
        self, limits: EdgeLimits | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits or EdgeLimits()
        self.clock = clock
        self.lane = Lane()
        self.refused: Counter[Refusal] = Counter()  # since the start
