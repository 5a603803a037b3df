"""Bodies of HTTP requests, bounded before anything of them is kept.

Django reads a body whole before it asks whose it is: into memory, then into a file, on the loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from openalgo_site.failures import API_PREFIX
from streaming.routing import Application, Receive, Scope, Send

__all__ = ["with_bounded_bodies"]


def with_bounded_bodies(
    application: Callable[..., Awaitable[None]],
    *,
    most_bytes: int,
    on_refused: Callable[[], None] = lambda: None,
) -> Application:
    """Answer 413 to a body of more than ``most_bytes``, whether its length is told before or not.

    ``application`` is not asked where the length is told, and otherwise sees a client that left.
    The connection is closed: what is still on its way is not read. ``on_refused`` is called for
    each, to count them.
    """

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        if _declared(scope) > most_bytes:
            on_refused()
            await _refuse(scope, send, most_bytes)
            return
        seen = 0

        async def counted() -> dict[str, Any]:
            nonlocal seen
            message: dict[str, Any] = await receive()
            seen += len(message.get("body", b""))
            return message if seen <= most_bytes else {"type": "http.disconnect"}

        await application(scope, counted, send)
        if seen > most_bytes:
            on_refused()
            await _refuse(scope, send, most_bytes)

    return bounded


def _declared(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return max((int(value) for value in lengths if value.isdigit()), default=0)


async def _refuse(scope: Scope, send: Send, most_bytes: int) -> None:
    words = f"The body is larger than {most_bytes:,} bytes."
    is_api = scope["path"].startswith(API_PREFIX)
    body = msgspec.json.encode({"status": "error", "message": words}) if is_api else words.encode()
    headers = [
        (b"content-type", b"application/json" if is_api else b"text/plain"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
