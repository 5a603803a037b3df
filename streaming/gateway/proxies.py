"""Addresses behind proxies that are trusted, and a word about those that are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from streaming.addresses import Network, is_among, is_private
from streaming.gateway.routing import Application, Receive, Scope, Send

__all__ = ["behind_proxies"]

_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"forwarded", b"x-real-ip"})


def behind_proxies(
    application: Application,
    *,
    trusted: Sequence[Network],
    on_untrusted: Callable[[str], None] = lambda address: None,
) -> Application:
    """Let ``application`` see the clients of trusted proxies instead of the proxies.

    Address and scheme then are what ``X-Forwarded-For`` and ``X-Forwarded-Proto`` say; of anybody
    else these headers say nothing. ``on_untrusted`` is told the inside address of each request that
    a proxy sent on which is not trusted.
    """
    words = [str(each) for each in trusted]
    inner: Application = (
        ProxyHeadersMiddleware(application, trusted_hosts=words)  # type: ignore[assignment, arg-type]
        if trusted
        else application
    )

    async def forwarded(scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if client and any(name in _FORWARDED for name, _ in scope.get("headers") or ()):
            address = client[0]
            if is_private(address) and not is_among(address, trusted):
                on_untrusted(address)
        await inner(scope, receive, send)

    return forwarded
