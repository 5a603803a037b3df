"""From any thread onto the loop that a pool lives on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

__all__ = ["LoopCalls"]


class LoopCalls:
    """Runs calls on the loop of ``open``, and one standing call at most once per turn of it.

    Any thread. What is asked for before ``open`` or after ``close`` is dropped.

    Args:
        lock: guards it; not held by callers.
        perform: the standing call; it says ``performing`` first.
    """

    def __init__(self, *, lock: threading.Lock, perform: Callable[[], None]) -> None:
        self._lock = lock
        self._perform = perform
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_poked = False
        self.is_closed = False

    @property
    def is_open(self) -> bool:
        """Whether ``open`` was called."""
        return self._loop is not None

    def open(self) -> None:
        """Use the running loop from now on. Under the lock."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> bool:
        """Drop everything from now on; returns whether that was so before. Under the lock."""
        was_closed, self.is_closed = self.is_closed, True
        return was_closed

    def poke(self) -> None:
        """Have the standing call made soon, once for any number of pokes."""
        with self._lock:
            if self._is_poked or self.is_closed or self._loop is None:
                return
            self._is_poked = True
            loop = self._loop
        loop.call_soon_threadsafe(self._perform)

    def performing(self) -> bool:
        """Take the pokes until now as answered; False once closed. Under the lock."""
        self._is_poked = False
        return not self.is_closed

    def call(self, call: Callable[[], None]) -> None:
        """Make one call soon."""
        with self._lock:
            loop = None if self.is_closed else self._loop
        if loop is not None:
            loop.call_soon_threadsafe(call)
