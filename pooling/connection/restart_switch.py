"""Order to connect again: at once if a connection is open, and without waiting if it is not."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from pooling.exceptions import PlannedReconnectError

__all__ = ["RestartSwitch"]


class RestartSwitch:
    """Remembers that a restart was asked for until a new adapter was taken. On one loop only."""

    def __init__(self) -> None:
        self._reason = ""  # of the last restart that was asked for
        self._asked = asyncio.Event()  # until its new adapter is taken
        self._hurry = asyncio.Event()  # a restart that no attempt has begun after

    def ask(self, reason: str) -> None:
        """Ask for a restart."""
        self._reason = reason
        self._asked.set()
        self._hurry.set()

    def attempt_begins(self) -> None:
        """Note an attempt: a restart asked for before it needs no hurry any more."""
        self._hurry.clear()

    def take(self) -> bool:
        """Return whether a new adapter is due; taken once."""
        was_asked = self._asked.is_set()
        self._asked.clear()
        return was_asked

    async def until_asked(self) -> None:
        """Wait for a restart; always raises PlannedReconnectError with its reason."""
        await self._asked.wait()
        raise PlannedReconnectError(self._reason)

    async def wait(self, seconds: float) -> None:
        """Wait so long; a restart that came since the last attempt began is not kept waiting."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
