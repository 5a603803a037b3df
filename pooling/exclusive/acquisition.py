"""What ``acquire`` returns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType

from pooling.exclusive.lease import ExclusiveConnection

__all__ = ["Acquisition", "open_together"]


class Acquisition:
    """What ``acquire`` returns: ``async with`` it, or await it and release by hand."""

    def __init__(self, acquire: Callable[[], Awaitable[ExclusiveConnection]]) -> None:
        self._acquire = acquire
        self._connection: ExclusiveConnection | None = None

    def __await__(self) -> Generator[object, None, ExclusiveConnection]:
        return self._acquire().__await__()

    async def __aenter__(self) -> ExclusiveConnection:
        if self._connection is not None:
            raise RuntimeError("an acquisition is entered once; call acquire again")
        self._connection = await self._acquire()
        return self._connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            await self._connection.release()


async def open_together(acquire: Callable[[], Acquisition], count: int) -> None:
    """Have ``count`` connections open and idle; see ``ExclusivePool.warm_up``."""
    acquired: list[ExclusiveConnection] = []

    async def hold() -> None:
        acquired.append(await acquire())

    try:
        # All are held until the last one is open: one released early would be reused.
        results = await asyncio.gather(*(hold() for _ in range(count)), return_exceptions=True)
    finally:
        for connection in acquired:
            await connection.release()
    for result in results:
        if result is not None:
            raise result
