"""The budget of one user in a gateway process, by cost: all its clients and keys together. Pure.

A request costs what it makes the process do, not one: the instruments that it names, the bytes that
come and go for it, the questions that it makes the database or a worker answer. Each has a budget
of its own, and who has used it up is told so, and when to come again.
"""

from __future__ import annotations

import math
from collections import Counter
from enum import StrEnum
from typing import Protocol

from streaming.edge_limits import EdgeLimits, TokenBucket
from streaming.protocol.vocabulary import ErrorCode, ProtocolError, RequestId

__all__ = ["REFUSED_FOR", "Cost", "Holder", "UserBudget", "UserBudgets"]


class Cost(StrEnum):
    """What a request uses; also what a refusal is counted under."""

    ITEMS = "items"  # instruments named by requests, and a tenth of those in a list
    BYTES = "bytes"  # of frames received and of answers
    QUERIES = "queries"  # questions to the database or to a worker


# What refusals are counted under: the costs, what a client sends, and what a user's clients hold.
REFUSED_FOR = (*Cost, "messages", "sockets", "instruments")


class Holder(Protocol):
    """One client of a user, as far as it takes something for as long as it is there."""

    @property
    def wished(self) -> int:
        """How many instruments it holds, and asks for in addition right now."""


class UserBudget:
    """One user's share of a process. Not thread-safe."""

    __slots__ = ("_buckets", "_limits", "_refused", "holders")

    def __init__(self, *, limits: EdgeLimits, refused: Counter[str]) -> None:
        self._limits = limits
        self._refused = refused
        self._buckets = {
            Cost.ITEMS: TokenBucket(
                rate=limits.user_items_per_second, burst=limits.user_item_burst
            ),
            Cost.BYTES: TokenBucket(
                rate=limits.user_bytes_per_second, burst=limits.user_byte_burst
            ),
            Cost.QUERIES: TokenBucket(
                rate=limits.user_queries_per_second, burst=limits.user_query_burst
            ),
        }
        self.holders: set[Holder] = set()  # the user's clients

    def try_spend(self, what: Cost, amount: float, now: float) -> bool:
        """Count a cost, unless the budget is used up: then nothing is counted and it is False."""
        return self._buckets[what].allows(now, amount)

    def spend(self, what: Cost, amount: float, now: float, *, request_id: RequestId = None) -> None:
        """Count a cost.

        Raises:
            ProtocolError: the budget is used up; nothing is counted. It says when to come again.
        """
        if amount <= 0 or self.try_spend(what, amount, now):
            return
        wait = math.ceil(self._buckets[what].wait_seconds(now))
        self._refused[what] += 1
        raise ProtocolError(
            ErrorCode.RATE_LIMITED,
            self._sentence(what, wait),
            request_id=request_id,
            retry_after=wait,
        )

    def charge(self, what: Cost, amount: float, now: float) -> None:
        """Count a cost that was not known before; what comes next waits for it."""
        self._buckets[what].charge(now, amount)

    def room(self) -> int:
        """Return how many instruments the user may hold in addition, at all its clients."""
        wished = sum(holder.wished for holder in self.holders)
        return max(0, self._limits.max_instruments_per_user - wished)

    def _sentence(self, what: Cost, wait: int) -> str:
        limits = self._limits
        match what:
            case Cost.ITEMS:
                rate, burst = limits.user_items_per_second, limits.user_item_burst
                things, mend = "instruments", "keep what is subscribed instead of asking again"
            case Cost.BYTES:
                rate, burst = limits.user_bytes_per_second, limits.user_byte_burst
                things, mend = "bytes of requests and answers", "ask less often"
            case Cost.QUERIES:
                rate, burst = limits.user_queries_per_second, limits.user_query_burst
                things, mend = "look-ups", "ask less often"
        return (
            f"All connections of this user together may cause {rate:,.0f} {things} a second, and "
            f"{burst:,} at once; wait {wait} s, and {mend}."
        )


class UserBudgets:
    """The budgets of all users of a process, and what was refused by reason. Not thread-safe.

    One is kept for each user that ever came: there are no more than the site has.
    """

    def __init__(self, *, limits: EdgeLimits) -> None:
        self._limits = limits
        self._by_user: dict[int, UserBudget] = {}  # of users that were ever here
        # By what was used up, "sockets" and "instruments" beside the costs.
        self.refused: Counter[str] = Counter()

    def of(self, user_id: int) -> UserBudget:
        """Return the budget of a user."""
        budget = self._by_user.get(user_id)
        if budget is None:
            budget = self._by_user[user_id] = UserBudget(limits=self._limits, refused=self.refused)
        return budget

    def enter(self, user_id: int, holder: Holder) -> None:
        """Count one client in.

        Raises:
            ProtocolError: the user has as many as it may have.
        """
        holders = self.of(user_id).holders
        most = self._limits.max_clients_per_user
        if len(holders) >= most:
            self.refused["sockets"] += 1
            raise ProtocolError(
                ErrorCode.RATE_LIMITED,
                f"This user has {most:,} connections here, which is the most; close one first.",
            )
        holders.add(holder)

    def leave(self, user_id: int, holder: Holder) -> None:
        """Count one client out, if it was counted in."""
        self.of(user_id).holders.discard(holder)
