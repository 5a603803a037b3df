"""One gateway, as a worker knows it: its requests in lanes that keep their order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from streaming.wire.control import ReleaseRequest, WantRequest

__all__ = ["GatewayLanes"]

_Request = WantRequest | ReleaseRequest


class GatewayLanes:
    """Runs a gateway's requests: in order for one (pool, client), side by side for others.

    Args:
        answer: does and answers one request; must not raise.
        max_queued: requests waiting in all lanes together; ``put`` refuses more.
        after: a task to wait for before the first request, as the release of a predecessor.
    """

    def __init__(
        self,
        *,
        gateway_id: str,
        answer: Callable[[str, _Request], Awaitable[None]],
        max_queued: int,
        after: asyncio.Task[None] | None = None,
    ) -> None:
        self.gateway_id = gateway_id
        self.last_seen = 0.0
        self.gaps = 0
        self.missed_event = False
        self._answer = answer
        self._max_queued = max_queued
        self._after = after
        self._queued = 0  # requests in all lanes
        # By pool and client; each is served in order.
        self._lanes: dict[tuple[str, str], deque[_Request]] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # one for each lane that is served

    def put(self, request: _Request) -> bool:
        """Queue a request; False when too many wait already."""
        if self._queued >= self._max_queued:
            return False
        self._queued += 1
        name = (request.pool_id, request.client)
        lane = self._lanes.get(name)
        if lane is not None:
            lane.append(request)
            return True
        lane = self._lanes[name] = deque([request])
        task = asyncio.create_task(self._run(name, lane), name=f"lane-{self.gateway_id}-{name[1]}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def cancel(self) -> None:
        """Drop what waits, cancel what runs, and return when nothing does any more."""
        self._lanes.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self, name: tuple[str, str], lane: deque[_Request]) -> None:
        if self._after is not None:
            await asyncio.wait({self._after})
        while lane:
            request = lane.popleft()
            self._queued -= 1
            await self._answer(self.gateway_id, request)
        self._lanes.pop(name, None)
