"""Clients that do not keep up: found once a second, and cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from streaming.clients.client import Client
from streaming.edge_limits import EdgeLimits

__all__ = ["SlowClients", "SlowClientsHub"]

_SWEEP_SECONDS = 1.0
_SHORT_SWEEP_SECONDS = 0.1


class SlowClientsHub(Protocol):
    """The hub, as the look at slow clients sees it."""

    clients: set[Client]
    clock: Callable[[], float]
    limits: EdgeLimits

    def abort_slow(self, client: Client) -> None:
        """End a client that does not keep up."""


class SlowClients:
    """The look at slow clients of one hub, on its event loop."""

    def __init__(self, *, hub: SlowClientsHub) -> None:
        self._hub = hub

    async def sweep(self) -> None:
        """End slow clients, for ever."""
        while True:
            is_long = self._hub.limits.stall_seconds >= 5
            await asyncio.sleep(_SWEEP_SECONDS if is_long else _SHORT_SWEEP_SECONDS)
            self._sweep_once()

    def _sweep_once(self) -> None:
        """End slow clients; by itself, so that no name keeps the last one until the next look."""
        hub, now = self._hub, self._hub.clock()
        for client in [client for client in hub.clients if client.is_too_slow(now)]:
            if not client.closed.is_set():
                hub.abort_slow(client)
