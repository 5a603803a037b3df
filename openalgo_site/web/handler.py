"""Django's ASGI handler, whose answers are freed as soon as they are sent.

Django tells itself by an exception that the client is gone, which every request ends with: the task
that listened keeps it, its traceback keeps the frame that served the request, and the frame keeps
the task. The answer, megabytes of a long list, would wait in that cycle for the collector, which
runs rarely in a gateway, because each run makes every client wait.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import django
from django.core.handlers.asgi import ASGIHandler

__all__ = ["SiteHandler", "site_handler"]

_Receive = Callable[[], Awaitable[Mapping[str, Any]]]


class SiteHandler(ASGIHandler):
    """Django's handler, without the cycle. Serves HTTP; safe for concurrent requests."""

    async def listen_for_disconnect(self, receive: _Receive) -> None:
        """Return once the client is gone, which ends the request just as raising does.

        Raises:
            AssertionError: the server sent something else behind the whole body.
        """
        message = await receive()
        if message["type"] != "http.disconnect":
            raise AssertionError(f"ASGI message behind a request's body: {message['type']}")


def site_handler() -> SiteHandler:
    """Return the site as an ASGI application, with all apps loaded."""
    django.setup(set_prefix=False)
    return SiteHandler()
