"""Turns of the loop for what clients ask: so much in one turn, users in rotation.

However many clients ask at once and however much, what they ask takes a few milliseconds of a turn;
the rest waits, and ticks and everybody's frames have their turns in between.
"""

from __future__ import annotations

import asyncio
from collections import deque

from streaming.slices import SLICE

__all__ = ["FRAME_COST", "LONG_AT_ONCE", "Turns"]

# What serving a frame costs, in items of a long request: a frame of one symbol.
FRAME_COST = 20.0
# Requests of one user about thousands of symbols that are under way at a time: while it has its
# turns, each holds megabytes.
LONG_AT_ONCE = 2
# What of short requests is served in a turn that a long one has used up.
_SHORT_ITEMS = SLICE / 2

_Waiting = tuple[float, asyncio.Future[None]]


class Turns:
    """Lets ``SLICE`` items of work through in one turn. Belongs to one event loop.

    Args:
        rounds: of the loop in one turn, at least two: whoever is let through works in the next one.
            What others are answered meanwhile needs one or two more.
    """

    def __init__(self, *, rounds: int = 3) -> None:
        if rounds < 2:
            raise ValueError("a turn has at least two rounds")
        self._rounds_each = rounds
        # Items left of the turn under way, and beside them of short requests.
        self._left = self._short_left = 0.0
        self._rounds = 0  # of the loop until the next turn; 0: none is under way
        # Who waits, by user; the first user is the next one.
        self._waiting: dict[int, deque[_Waiting]] = {}
        # Places of long requests, by user; there are no more of those than the site has.
        self._places: dict[int, asyncio.Semaphore] = {}

    def __repr__(self) -> str:
        return f"<Turns waiting={sum(map(len, self._waiting.values()))}>"

    def place(self, user_id: int) -> asyncio.Semaphore:
        """Return what a long request of a user holds for as long as it is under way."""
        place = self._places.get(user_id)
        if place is None:
            place = self._places[user_id] = asyncio.Semaphore(LONG_AT_ONCE)
        return place

    async def take(self, user_id: int, cost: float = SLICE) -> None:
        """Wait until ``cost`` items of a user's work have their turn; often that is now.

        The work must follow without waiting for anything. What is more than a turn has one of its
        own. Cancelling is safe.
        """
        if user_id not in self._waiting and self._fits(cost):
            self._use(cost)
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user_id, deque()).append((cost, future))
        await future

    def _fits(self, cost: float) -> bool:
        is_short = cost <= FRAME_COST
        return self._rounds == 0 or cost <= self._left or (is_short and cost <= self._short_left)

    def _use(self, cost: float) -> None:
        if self._rounds == 0:
            self._left, self._short_left = float(SLICE), _SHORT_ITEMS
            self._rounds = self._rounds_each
            asyncio.get_running_loop().call_soon(self._on_round)
        elif cost > self._left:
            self._short_left -= cost
            return
        self._left -= cost

    def _on_round(self) -> None:
        self._rounds -= 1
        if self._rounds > 0:
            asyncio.get_running_loop().call_soon(self._on_round)
            return
        has_granted = True
        while has_granted:
            has_granted = False
            for user_id in list(self._waiting):
                has_granted |= self._grant(user_id)

    def _grant(self, user_id: int) -> bool:
        """Let the next of a user's waiting through; False: there is none, or no room for it."""
        queue = self._waiting[user_id]
        while queue and queue[0][1].done():
            queue.popleft()  # nobody waits there any more
        if queue and not self._fits(queue[0][0]):
            return False
        # Others come first before this user comes again.
        del self._waiting[user_id]
        if not queue:
            return False
        cost, future = queue.popleft()
        self._use(cost)
        future.set_result(None)
        if queue:
            self._waiting[user_id] = queue
        return True
