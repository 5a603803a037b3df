"""One user's share of the process, as a request of one of its clients takes from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streaming.protocol.vocabulary import RequestId
from streaming.shares.budget import Cost, UserBudget
from streaming.shares.turns import Turns
from streaming.slices import SLICE

__all__ = ["Share"]


class Share:
    """A user's budget and turns. Belongs to the event loop.

    Args:
        user_id: whose it is.
        budget: what the user may spend.
        turns: where its work has its turns.
        clock: monotonic seconds.
    """

    __slots__ = ("_budget", "_clock", "_turns", "_user_id")

    def __init__(
        self, *, user_id: int, budget: UserBudget, turns: Turns, clock: Callable[[], float]
    ) -> None:
        self._user_id = user_id
        self._budget = budget
        self._turns = turns
        self._clock = clock

    async def turn(self, items: float = SLICE) -> None:
        """Wait for a turn with so much work; it must follow at once. May be cancelled."""
        await self._turns.take(self._user_id, items)

    def place(self) -> asyncio.Semaphore:
        """Return what a long request holds for as long as it is under way, turns included."""
        return self._turns.place(self._user_id)

    def spend(self, what: Cost, amount: float, request_id: RequestId = None) -> None:
        """Count a cost. Raises ProtocolError when the budget is used up."""
        self._budget.spend(what, amount, self._clock(), request_id=request_id)

    def try_spend(self, what: Cost, amount: float) -> bool:
        """Count a cost; False, and nothing counted, when the budget is used up."""
        return self._budget.try_spend(what, amount, self._clock())

    def charge(self, what: Cost, amount: float) -> None:
        """Count a cost that was not known before; what comes next waits for it."""
        self._budget.charge(what, amount, self._clock())

    def room(self) -> int:
        """Return how many instruments the user may hold in addition."""
        return self._budget.room()
