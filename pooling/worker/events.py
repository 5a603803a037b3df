"""What pools want people to know, on its way to the store."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from pooling.contracts import AccountStore

__all__ = ["NoteKeeper"]

logger = logging.getLogger("pooling")

MAX_NOTES = 256


class NoteKeeper:
    """Events that wait to be written: at most ``MAX_NOTES``, later ones are dropped and counted.

    Used on the worker's loop only.

    Args:
        store: where they go.
        worker_id: for logs.
    """

    def __init__(self, *, store: AccountStore, worker_id: str) -> None:
        self._store = store
        self._worker_id = worker_id
        self._notes: deque[tuple[str, str, str]] = deque()
        self._dropped = 0
        self._added = asyncio.Event()
        self._is_failing = False

    def note(self, pool_id: str, kind: str, message: str) -> None:
        """Keep an event for the journal."""
        if len(self._notes) >= MAX_NOTES:
            self._dropped += 1
            return
        self._notes.append((pool_id, kind, message))
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
        while self._notes:
            pool_id, kind, message = self._notes[0]
            await self._store.record_event(pool_id, kind, message)
            self._notes.popleft()
        if self._dropped:
            logger.warning("worker %s dropped %d notes", self._worker_id, self._dropped)
            self._dropped = 0
        self._is_failing = False
