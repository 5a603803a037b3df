"""The server of the stand-in site: pages, scripted prices, and the verbs of tests over HTTP.

Imported only inside the stand-in's own process, when Django is set up with ``fake_settings``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.utils import timezone

from tests.browser.fake_market import FakeMarket
from tests.browser.fake_site import PASSWORD, USERNAME
from tests.browser.fake_urls import STATE

__all__ = ["serve"]

Verb = Callable[..., Awaitable[Any]]


async def is_session(key: str) -> bool:
    """Tell whether a browser with this session is still logged in."""
    alive = Session.objects.filter(session_key=key, expire_date__gt=timezone.now())
    return await alive.aexists()


def verbs_of(market: FakeMarket) -> dict[str, Verb]:
    """What a test may say to the site."""

    async def reset() -> None:
        STATE.update(watchlists={}, fail=[], used=9, pool={}, other_pools=[], written_ago_ms=300)
        STATE.update(reason="", preferred="")
        market.reset()

    async def set_state(**values: Any) -> None:
        STATE.update(values)

    async def state(name: str) -> Any:
        return STATE.get(name)

    async def set_market(**values: Any) -> None:
        for name, value in values.items():
            setattr(market, name, value)

    async def requests() -> list[dict[str, Any]]:
        return market.requests

    async def watchlists() -> Any:
        return STATE["watchlists"]

    async def log_everyone_out() -> None:
        await Session.objects.all().adelete()

    return {
        "reset": reset,
        "state": state,
        "set_state": set_state,
        "set_market": set_market,
        "requests": requests,
        "watchlists": watchlists,
        "log_everyone_out": log_everyone_out,
        "tick": market.tick,
        "feed": market.feed,
        "end": market.end,
        "close": market.close,
        "restart": market.restart,
    }


class Site:
    """The ASGI application: sockets to the market, ``/fake/`` to the verbs, the rest to Django."""

    def __init__(self, market: FakeMarket) -> None:
        self._market = market
        self._verbs = verbs_of(market)
        self._pages = ASGIStaticFilesHandler(get_asgi_application())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self._market.serve(scope, receive, send)
        elif scope["path"].startswith("/fake/"):
            await self._obey(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    async def _obey(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        verb = self._verbs[scope["path"].removeprefix("/fake/")]
        answer = await verb(**json.loads(body))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def run(port: int) -> None:
    """Serve until killed; says ``ready`` when the port takes connections."""
    market = FakeMarket(is_session)
    config = uvicorn.Config(
        Site(market), host="127.0.0.1", port=port, log_level="warning", lifespan="off"
    )
    listener = config.bind_socket()
    listener.listen()
    print("ready", flush=True)  # noqa: T201
    ticking = asyncio.create_task(market.run())
    await uvicorn.Server(config).serve([listener])
    ticking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await ticking


def serve(port: int) -> None:
    """Prepare the database and serve."""
    call_command("migrate", verbosity=0)
    if not User.objects.filter(username=USERNAME).exists():
        User.objects.create_user(USERNAME, password=PASSWORD)
    asyncio.run(run(port))
