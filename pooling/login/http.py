"""The HTTP pool of logins: made at the first one, as most hours of a worker's life have none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pooling.http.policy import HttpReply

if TYPE_CHECKING:
    from pooling.http.pool import HttpPool

__all__ = ["LoginHttp"]


class LoginHttp:
    """An ``HttpPool`` that is opened when somebody logs in. Belongs to one loop.

    Args:
        make: makes the pool; what that needs is imported then and not before.
    """

    def __init__(self, make: Callable[[], HttpPool]) -> None:
        self._make = make
        self._opening = asyncio.Lock()  # held while the pool is made
        self._pool: HttpPool | None = None  # from the first request to ``close``

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes | None
    ) -> HttpReply:
        """Send a request once. Raises BrokerError; see ``HttpPool.request``."""
        async with self._opening:
            if self._pool is None:
                pool = await asyncio.to_thread(self._make)
                self._pool = await pool.__aenter__()
        return await self._pool.request(method, url, headers=headers, content=content)

    async def close(self) -> None:
        """Close the pool, if there is one. Idempotent."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()
