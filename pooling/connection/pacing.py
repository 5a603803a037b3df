"""The pace of one connection: everything that a broker counts as a message waits for its turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pooling.clock import Clock
from pooling.exceptions import MessageTooLongError

__all__ = ["Pacer", "check_message_size"]


class Pacer:
    """Keeps the least time between two messages on one socket. Used on one loop only.

    Args:
        clock: where time is read.
        interval_seconds: the least time; 0: any pace.
    """

    def __init__(self, *, clock: Clock, interval_seconds: float) -> None:
        if interval_seconds < 0:
            raise ValueError("interval_seconds must not be negative")
        self._clock = clock
        self._interval = interval_seconds  # ``reset`` may change it
        self._turn = asyncio.Lock()
        self._last: float | None = None  # when the last message had its turn on this socket

    def reset(self, interval_seconds: float | None = None) -> None:
        """Start over for a new socket, which has sent nothing yet; None: at the same pace."""
        self._last = None
        if interval_seconds is not None:
            self._interval = interval_seconds

    async def until_due(self) -> None:
        """Wait until a message might be sent now; takes no turn."""
        if self._last is not None:
            wait = self._last + self._interval - self._clock.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until one message may be sent; it is to be sent in the block.

        In the order of asking. A cancelled wait takes nobody's turn; a block that sends nothing has
        used up its own.
        """
        async with self._turn:
            await self.until_due()
            self._last = self._clock.monotonic()
            yield


def check_message_size(message: str | bytes, max_bytes: int | None) -> None:
    """Raise MessageTooLongError for a message that is longer than ``max_bytes`` (None: any)."""
    size = len(message.encode()) if isinstance(message, str) else len(message)
    if max_bytes is not None and size > max_bytes:
        raise MessageTooLongError(size, max_bytes)
