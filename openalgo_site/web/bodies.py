"""Bodies of HTTP requests, bounded before anything of them is kept.

Django reads a body whole before it asks whose it is: into memory, then into a file, on the loop.
What counts is the first row that a path begins with:

| path begins with | limit | what comes there |
| --- | --- | --- |
| ``/admin/streaming/watchlist/`` | ``upload_body_bytes`` | a whole list in a field of a form |
| ``/api/watchlists`` | ``form_body_bytes`` | a whole list in JSON |
| ``/api/`` | ``api_body_bytes`` | credentials, preferences |
| ``/login/``, ``/admin/login/`` | ``login_body_bytes`` | a name and a password |
| ``/`` | ``form_body_bytes`` | forms of pages and of the admin |

Whatever the method, and whether the length is told before or not. Django itself takes no form of
more than ``DATA_UPLOAD_MAX_MEMORY_SIZE``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from openalgo_site.web.failures import API_PREFIX
from streaming.edge_limits import EdgeLimits
from streaming.gateway.routing import Application, Receive, Scope, Send

__all__ = ["body_bounds", "with_bounded_bodies"]

# How long, and with how much more to come, whoever was refused may read why: a connection that is
# closed on what is still on its way is reset, and the answer with it.
_FAREWELL_SECONDS = 1.0
_FAREWELL_BYTES = 1024 * 1024


def body_bounds(limits: EdgeLimits) -> Sequence[tuple[str, int]]:
    """Return what paths begin with and how many bytes they take; the first that fits counts."""
    return (
        ("/admin/streaming/watchlist/", limits.upload_body_bytes),
        (f"{API_PREFIX}watchlists", limits.form_body_bytes),
        (API_PREFIX, limits.api_body_bytes),
        ("/login/", limits.login_body_bytes),
        ("/admin/login/", limits.login_body_bytes),
        ("/", limits.form_body_bytes),
    )


def with_bounded_bodies(
    application: Callable[..., Awaitable[None]],
    *,
    limits: EdgeLimits,
    on_refused: Callable[[], None] = lambda: None,
) -> Application:
    """Answer 413 to a body that is larger than its path takes.

    ``application`` is not asked where the length is told, and otherwise sees a client that left.
    The connection is closed: what is still on its way is dropped, and read no longer than the
    client may need to see the answer. ``on_refused`` is called for each, to count them.
    """
    bounds = body_bounds(limits)

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        # No path but that of ``OPTIONS *`` begins otherwise; it takes what a page does.
        prefix, most_bytes = next((row for row in bounds if path.startswith(row[0])), bounds[-1])
        size = 0  # of what came; of what was told, once that is too much
        is_whole = False

        async def counted() -> dict[str, Any]:
            nonlocal size, is_whole
            message: dict[str, Any] = await receive()
            size += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            return message if size <= most_bytes else {"type": "http.disconnect"}

        if (told := _declared(scope)) > most_bytes:
            size = told
        else:
            await application(scope, counted, send)
        if size > most_bytes:
            on_refused()
            await _answer(scope, send, prefix, most_bytes)
            if not is_whole:
                await _drop(receive)
            await send({"type": "http.response.body"})

    return bounded


def _declared(scope: Scope) -> int:
    """Return the length that was told; of one that has too many digits, some that is too much."""
    lengths = [value[:18] for name, value in scope["headers"] if name == b"content-length"]
    return max((int(value) for value in lengths if value.isdigit()), default=0)


async def _answer(scope: Scope, send: Send, prefix: str, most_bytes: int) -> None:
    """Send an answer that is whole, though it is not said yet that it is."""
    words = f"The body is larger than {most_bytes:,} bytes, the most that is taken at {prefix}."
    is_api = scope["path"].startswith(API_PREFIX)
    body = msgspec.json.encode({"status": "error", "message": words}) if is_api else words.encode()
    headers = [
        (b"content-type", b"application/json" if is_api else b"text/plain"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _drop(receive: Receive) -> None:
    """Read on for a while, or until the client has sent all or left."""
    dropped = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_FAREWELL_SECONDS):
            while dropped <= _FAREWELL_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
