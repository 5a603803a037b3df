"""uvicorn's HTTP protocol, which leaves nothing behind.

A connection that is gone shall be freed at once, by its last reference: the collector of cycles
runs rarely in a gateway, because each run makes every client wait. uvicorn's parser, cycle of
request and response, and protocol refer to each other.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["GatewayHttpProtocol"]


class GatewayHttpProtocol(HttpToolsProtocol):
    """Serves HTTP, and hands WebSockets over."""

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        # Nothing comes here any more: the transport has another protocol now.
        self._let_go()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._let_go()

    def _let_go(self) -> None:
        self.parser = None  # type: ignore[assignment]
        self.cycle = None  # type: ignore[assignment]
        self.pipeline.clear()
