"""Shipped fake for tests of presence: a store in memory that fails by verbs."""

from __future__ import annotations

from collections.abc import Sequence

from streaming.exceptions import PresenceUnavailableError
from streaming.monitoring.presence import ClientSeen, GatewayFigures, PresenceChange

__all__ = ["InMemoryPresence"]


class InMemoryPresence:
    """A ``PresenceStore`` of dictionaries; ``go_down`` makes every call fail."""

    def __init__(self) -> None:
        self.gateways: dict[str, GatewayFigures] = {}
        self.clients: dict[str, ClientSeen] = {}
        self.symbols: dict[str, int] = {}
        self.leaving: set[str] = set()
        self.batches: list[PresenceChange] = []
        self._is_down = False

    def go_down(self) -> None:
        """Fail every call from now on."""
        self._is_down = True

    def come_back(self) -> None:
        """Answer again."""
        self._is_down = False

    def lose_everything(self) -> None:
        """Forget the gateways, as when another took this one for dead."""
        self.gateways.clear()
        self.clients.clear()

    def disconnect(self, client: str) -> None:
        """Ask for a client to be disconnected."""
        self.leaving.add(client)

    async def save_gateway(self, figures: GatewayFigures) -> bool:
        """Keep the figures."""
        self._check_up()
        is_new = figures.gateway not in self.gateways
        self.gateways[figures.gateway] = figures
        return is_new

    async def save_clients(self, gateway: str, change: PresenceChange) -> None:
        """Follow a change."""
        self._check_up()
        self.batches.append(change)
        for client in change.left:
            self.clients.pop(client, None)
        for seen in change.joined:
            self.clients[seen.client] = seen
            self.symbols[seen.client] = seen.symbols
        self.symbols.update(change.symbols)

    async def asked_to_leave(self, gateway: str) -> Sequence[str]:
        """Return whom ``disconnect`` named."""
        self._check_up()
        return [client for client in self.clients if client in self.leaving]

    async def forget_gateway(self, gateway: str) -> None:
        """Forget it and its clients."""
        self._check_up()
        self.gateways.pop(gateway, None)
        self.clients.clear()

    def _check_up(self) -> None:
        if self._is_down:
            raise PresenceUnavailableError("the store is down")
