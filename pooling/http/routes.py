"""The ways that requests take: direct, or through the proxy that the rules name."""

from __future__ import annotations

from collections.abc import Callable

import httpx2

from pooling.proxies import ProxyRules

__all__ = ["RoutedTransport"]

MakeTransport = Callable[[str | None], httpx2.AsyncBaseTransport]


class RoutedTransport(httpx2.AsyncBaseTransport):
    """Requests over kept connections, each by the way that ``proxies`` names for its URL.

    A redirect is a request of its own, and so is its way. Belongs to one event loop.

    Args:
        proxies: the rules; BrokerConfigError of an unusable one passes to whoever asked.
        make: a transport for a proxy's URL, or for None, the direct way. Called once for each.
    """

    def __init__(self, *, proxies: ProxyRules, make: MakeTransport) -> None:
        self._proxies = proxies
        self._make = make
        # By the proxy's URL, None for the direct way. Only the loop's tasks touch it.
        self._ways: dict[str | None, httpx2.AsyncBaseTransport] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request by its way."""
        proxy = self._proxies.proxy_for(str(request.url))
        url = proxy.url if proxy else None
        way = self._ways.get(url)
        if way is None:
            way = self._ways[url] = self._make(url)
        return await way.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections of all ways."""
        for way in self._ways.values():
            await way.aclose()
