"""Shares of each user in the JSON API: so much by cost, and so many requests at a time.

Every request has a thread of Django's, and threads that compute hold up the loop that hands out
ticks. One user's requests therefore wait for each other, and what they ask of the database counts.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

from brokers.words import counted, verb
from streaming.edge_limits import EdgeLimits
from streaming.protocol.vocabulary import ProtocolError
from streaming.shares.budget import Cost, UserBudgets

__all__ = ["ApiShares", "OverShareError"]

_PATIENCE_SECONDS = 20.0
_AGAIN_SECONDS = 5


class OverShareError(Exception):
    """A user asks for more than its share; ``retry_after`` says in how many seconds to come."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ApiShares:
    """Shares of all users in a process. Safe from any thread.

    Args:
        limits: how large each share is.
        clock: monotonic seconds.
        patience_seconds: how long a request waits for the same user's others.
    """

    def __init__(
        self,
        *,
        limits: EdgeLimits,
        clock: Callable[[], float] = time.monotonic,
        patience_seconds: float = _PATIENCE_SECONDS,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._on_wait = on_wait  # called by a request that has to wait, before it does
        # Guards all that follows; also what a request waits on.
        self._changed = threading.Condition()
        self._budgets = UserBudgets(limits=limits)  # look-ups that each user has left
        self._running: Counter[int] = Counter()  # requests under way, by user
        self._waiting: Counter[int] = Counter()  # requests that wait for one of those, by user
        self._refused_at_once = 0  # refused because too many waited already

    @property
    def refused(self) -> dict[str, int]:
        """Number of requests refused, by reason."""
        with self._changed:
            queries = self._budgets.refused[Cost.QUERIES]
            return {"api_queries": queries, "api_at_once": self._refused_at_once}

    @contextlib.contextmanager
    def taken(self, user_id: int, cost: float) -> Iterator[None]:
        """Have a request of ``cost`` look-ups under way; waits for the same user's others.

        Raises:
            OverShareError: the look-ups are used up, or too many requests wait already.
        """
        with self._changed:
            try:
                self._budgets.of(user_id).spend(Cost.QUERIES, cost, self._clock())
            except ProtocolError as refusal:
                again = refusal.retry_after or _AGAIN_SECONDS
                raise OverShareError(refusal.message, again) from None
            will_wait = self._running[user_id] >= self._limits.user_api_requests_at_once
        if will_wait:
            self._on_wait()
        with self._changed:
            self._wait(user_id)
            self._running[user_id] += 1
        try:
            yield
        finally:
            with self._changed:
                self._running[user_id] -= 1
                if not self._running[user_id]:
                    del self._running[user_id]
                self._changed.notify_all()

    def charge(self, user_id: int, cost: float) -> None:
        """Count look-ups that were not known before; what comes next waits for them."""
        with self._changed:
            self._budgets.of(user_id).charge(Cost.QUERIES, cost, self._clock())

    def _wait(self, user_id: int) -> None:
        most = self._limits.user_api_requests_at_once
        if self._running[user_id] < most:
            return
        may_wait = self._waiting[user_id] < self._limits.user_api_requests_waiting
        self._waiting[user_id] += 1
        try:
            if may_wait and self._changed.wait_for(
                lambda: self._running[user_id] < most, self._patience_seconds
            ):
                return
        finally:
            self._waiting[user_id] -= 1
            if not self._waiting[user_id]:
                del self._waiting[user_id]
        self._refused_at_once += 1
        raise OverShareError(
            f"{counted(most, 'request')} of this user {verb(most, 'is', 'are')} served at a time, "
            "and too many others wait; ask again once they are answered.",
            _AGAIN_SECONDS,
        )
