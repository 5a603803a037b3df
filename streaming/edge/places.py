"""Places, turns and counts that all connections of a gateway process share at its edge."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Protocol

from streaming.addresses import Network, is_among
from streaming.edge.frame_turns import FrameTurns
from streaming.edge.large_messages import LargeMessages
from streaming.edge.strangers import Strangers
from streaming.edge_limits import EdgeLimits, Refusal

__all__ = ["Edge", "Guest", "Lane", "Sender"]

# Each takes a tenth of a millisecond or two, and begins what takes longer: a handshake, a page.
_STRANGERS_A_TURN = 3
_SWEEP_SECONDS = 1.0
# An end takes a tenth of a millisecond: thousands that came together are late together.
_ENDS_A_TURN = 20
# One more than comes, so that there is room again.
_ENDS_AN_ENTRY = 2
_MOST_PARTING = 50


class Lane:
    """Lets few of those who wait do a piece of work in one turn of the loop, first come first.

    However many wait, everybody else has the loop in between. Belongs to one event loop.
    """

    def __init__(self, *, per_turn: int = _STRANGERS_A_TURN) -> None:
        if per_turn < 1:
            raise ValueError("per_turn must be at least 1")
        self._per_turn = per_turn
        self._waiting: deque[Callable[[], None]] = deque()  # each is in it once: whoever joins sees
        self._is_due = False  # a turn is set

    def __repr__(self) -> str:
        return f"<Lane waiting={len(self._waiting)}>"

    def join(self, work: Callable[[], None]) -> None:
        """Call ``work`` once, in one of the next turns."""
        self._waiting.append(work)
        self._go_on()

    def _go_on(self) -> None:
        if self._waiting and not self._is_due:
            self._is_due = True
            # Of no connection: what a turn begins must not live in another one's context.
            asyncio.get_running_loop().call_soon(self._turn, context=contextvars.Context())

    def _turn(self) -> None:
        self._is_due = False
        try:
            for _ in range(min(self._per_turn, len(self._waiting))):
                self._waiting.popleft()()
        finally:
            self._go_on()


class Guest(Protocol):
    """A connection, as the edge sees it."""

    def end(self, refusal: Refusal) -> None:
        """End it for this reason."""


class Sender(Protocol):
    """A client's connection, as the places of large messages see it."""

    def has_place(self) -> None:
        """Go on: the place that was waited for is there."""


class Edge:
    """The edge of one process. Belongs to the event loop that serves.

    Args:
        limits: the bounds.
        clock: monotonic seconds.
        proxies: whose connections are those of others, who are counted once they are known.
    """

    def __init__(
        self,
        limits: EdgeLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        proxies: Sequence[Network] = (),
    ) -> None:
        self.limits = limits or EdgeLimits()
        self.clock = clock
        self.lane = Lane()  # of strangers
        self.frames = FrameTurns()  # of clients
        self.strangers: Strangers[Guest] = Strangers(self.limits)
        self.large: LargeMessages[Sender] = LargeMessages(self.limits)  # of clients
        self.refused: Counter[Refusal] = Counter()  # since the start
        self.connections = 0  # that are open, known or not
        self.parting = 0  # of them, those that were refused and may read why
        self.max_connections: int | None = None  # what the limit of files leaves; None: no limit
        self._proxies = proxies
        self._sweep_handle: asyncio.TimerHandle | None = None  # while there is anybody
        # Who was found to have to go, by a sweep and for others; both may have mended it since.
        self._overdue: deque[tuple[Guest, Refusal]] = deque()
        self._making_room: deque[tuple[Guest, Refusal]] = deque()

    def enter(self, guest: Guest, address: str | None) -> Refusal | None:
        """Count one in, as a stranger; return why it has to go, if it has to. ``leave`` follows."""
        self.connections += 1
        now, strangers = self.clock(), self.strangers
        is_over = self.max_connections is not None and self.connections > self.max_connections
        if is_over or strangers.is_full:
            if not self._making_room:
                found = strangers.making_room(now)
                self._making_room.extend((other, Refusal.STRANGERS) for other in found)
            self._end_some(self._making_room, _ENDS_AN_ENTRY)
            if is_over or strangers.is_full:
                return Refusal.FILES if is_over else Refusal.STRANGERS
        self.greet(guest, address)
        return None

    def greet(self, guest: Guest, address: str | None) -> None:
        """Take one for a stranger that is counted among the connections already."""
        if address is not None and is_among(address, self._proxies):
            address = None
        self.strangers.enter(guest, address, self.clock())
        if self._sweep_handle is None:
            self._sweep_later()

    def leave(self, guest: Guest) -> None:
        """Count one out that is gone."""
        self.connections -= 1
        self.strangers.leave(guest)

    def may_part(self) -> bool:
        """Whether another one that is refused may stay to read why: it costs a file meanwhile."""
        return self.parting < _MOST_PARTING

    def _sweep_later(self) -> None:
        seconds = min(_SWEEP_SECONDS, self.limits.request_timeout_seconds / 4)
        self._sweep_handle = asyncio.get_running_loop().call_later(seconds, self._sweep)

    def _sweep(self) -> None:
        self._sweep_handle = None
        if not self.strangers.is_full:
            self._making_room.clear()  # they may be gone, and are kept by nothing else
        if not self._overdue:
            self._overdue.extend(self.strangers.overdue(self.clock()))
            self._end_overdue()
        if len(self.strangers):
            self._sweep_later()

    def _end_overdue(self) -> None:
        """End those that are overdue, a few in a turn."""
        self._end_some(self._overdue, _ENDS_A_TURN)
        if self._overdue:
            asyncio.get_running_loop().call_soon(self._end_overdue)

    def _end_some(self, going: deque[tuple[Guest, Refusal]], most: int) -> None:
        """End up to so many of those that still have to go."""
        now, ended = self.clock(), 0
        while going and ended < most:
            guest, refusal = going.popleft()
            if self.strangers.must_go(guest, refusal, now):
                guest.end(refusal)
                ended += 1
