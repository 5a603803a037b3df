"""Events of pools, which people may read later, on their way to the store."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from brokers.words import counted
from pooling.contracts import AccountStore

__all__ = ["EventQueue"]

logger = logging.getLogger("pooling")

MAX_EVENTS = 256


class EventQueue:
    """Events that wait to be written: at most ``MAX_EVENTS``, later ones are dropped and counted.

    Used on the worker's loop only.

    Args:
        store: where they go.
        worker_id: for logs.
    """

    def __init__(self, *, store: AccountStore, worker_id: str) -> None:
        self._store = store
        self._worker_id = worker_id
        # (pool id, kind, message), the oldest first; one leaves once it is written.
        self._events: deque[tuple[str, str, str]] = deque()
        self._dropped = 0  # since the last line that said so
        self._added = asyncio.Event()  # there is something to write
        self._is_failing = False  # from the begin of an attempt until it wrote everything

    def add(self, pool_id: str, kind: str, message: str) -> None:
        """Keep an event until it is written."""
        if len(self._events) >= MAX_EVENTS:
            self._dropped += 1
            return
        self._events.append((pool_id, kind, message))
        self._added.set()

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt to write failed."""
        return self._is_failing

    async def wait_and_flush(self) -> None:
        """Wait for an event, then write all. What could not be written waits for the next call."""
        await self._added.wait()
        await self.flush()
        self._added.clear()

    async def flush(self) -> None:
        """Write all that waits."""
        self._is_failing = True
        while self._events:
            pool_id, kind, message = self._events[0]
            await self._store.record_event(pool_id, kind, message)
            self._events.popleft()
        if self._dropped:
            dropped = counted(self._dropped, "event")
            logger.warning("worker %s dropped %s", self._worker_id, dropped)
            self._dropped = 0
        self._is_failing = False
