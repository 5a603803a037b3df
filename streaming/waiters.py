"""The things that one task waits for, in a tenth of the memory of asyncio's events and queues.

Those keep a ``deque`` or three for their waiters, 700 bytes each. A gateway has thousands of
clients, and each of their events has one waiter.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

__all__ = ["Signal", "SmallQueue"]

_T = TypeVar("_T")


class Signal:
    """An ``asyncio.Event`` for one waiter at a time. Belongs to one event loop."""

    __slots__ = ("_is_set", "_waiter")

    def __init__(self) -> None:
        self._is_set = False  # ``wait`` returns at once
        self._waiter: asyncio.Future[None] | None = None  # who waits; None: nobody

    def __repr__(self) -> str:
        return f"<Signal {'set' if self._is_set else 'clear'}>"

    def is_set(self) -> bool:
        """Whether ``wait`` would return at once."""
        return self._is_set

    def set(self) -> None:
        """Let the waiter go on, even if ``clear`` is called before it runs. Idempotent."""
        self._is_set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def clear(self) -> None:
        """Let the next ``wait`` wait. Idempotent."""
        self._is_set = False

    async def wait(self) -> None:
        """Wait until it is set. Cancelling is safe.

        Raises:
            RuntimeError: another task waits already.
        """
        if self._is_set:
            return
        if self._waiter is not None:
            raise RuntimeError("a signal has one waiter")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


class SmallQueue(Generic[_T]):
    """As much of an unbounded ``asyncio.Queue`` as one reader needs; next to nothing while empty.

    Whoever puts bounds what it puts.
    """

    __slots__ = ("_filled", "_items")

    def __init__(self) -> None:
        self._filled = Signal()
        self._items: deque[_T] | None = None  # None while it is empty

    def __repr__(self) -> str:
        return f"<SmallQueue {len(self._items or ())}>"

    def empty(self) -> bool:
        """Whether ``get`` would wait."""
        return not self._items

    def put_nowait(self, item: _T) -> None:
        """Put one behind the others."""
        if self._items is None:
            self._items = deque()
        self._items.append(item)
        self._filled.set()

    async def get(self) -> _T:
        """Take the oldest, waiting for it. Cancelled, nothing is taken.

        Raises:
            RuntimeError: another task waits already.
        """
        while self._items is None:
            self._filled.clear()
            await self._filled.wait()
        item = self._items.popleft()
        if not self._items:
            self._items = None
        return item
