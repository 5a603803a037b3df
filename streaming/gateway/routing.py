"""Routes from URLs to consumers, and who may open a browser socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.sessions import CookieMiddleware
from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.urls import re_path

from streaming.gateway.consumers import BrowserConsumer, OpenAlgoConsumer
from streaming.gateway.gateway import Gateway
from streaming.gateway.origins import is_allowed_origin
from streaming.gateway.refused_origins import REFUSED_ORIGINS
from streaming.protocol.vocabulary import CloseCode

__all__ = ["GATEWAY_SCOPE_KEY", "Application", "build_application"]

# Where views find the gateway of their process: ``request.scope[GATEWAY_SCOPE_KEY]``.
GATEWAY_SCOPE_KEY = "tickpool.gateway"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def build_application(*, http: Callable[..., Awaitable[None]], gateway: Gateway) -> Application:
    """Join the site's HTTP application with the WebSocket routes of ``gateway``."""
    open_algo = OpenAlgoConsumer.as_asgi(gateway=gateway)
    # The directory looks the session up; Channels' own middleware would do so in the thread that
    # writes, and end the handshake with a traceback where the database is away.
    pages = CookieMiddleware(BrowserConsumer.as_asgi(gateway=gateway))
    websocket = URLRouter(
        [
            re_path(r"^ws/ticks/$", _SameOrigin(pages)),  # type: ignore[arg-type]
            re_path(r"^(ws/?)?$", open_algo),
            re_path(r"", _not_found),  # type: ignore[arg-type]
        ]
    )
    by_protocol = ProtocolTypeRouter({"http": http, "websocket": websocket})

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        scope[GATEWAY_SCOPE_KEY] = gateway
        await by_protocol(scope, receive, send)

    return application


class _SameOrigin:
    """Lets only pages of the site itself, or of trusted origins, through to ``inner``."""

    def __init__(self, inner: Application) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers[b"origin"].decode("latin-1") if b"origin" in headers else None
        is_ours = validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS)
        if is_ours and is_allowed_origin(
            origin,
            is_secure=scope.get("scheme") == "wss",
            host=host,
            trusted=settings.CSRF_TRUSTED_ORIGINS,
        ):
            await self._inner(scope, receive, send)
        else:
            REFUSED_ORIGINS.note("a page's socket", origin, host)
            await send({"type": "websocket.close", "code": CloseCode.FORBIDDEN})


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close"})
        return
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "websocket.http.response.start", "status": 404, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"No such WebSocket here.\n"})
