"""Logins in turns, in front of the hash of a password: who waits is a task of the loop.

It holds neither a thread, nor a connection of the database, nor a turn of the pages. The body is
read before it waits: whoever sends one slowly keeps nobody else waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse

from openalgo_site.login.known_browsers import COOKIE, browser_id
from openalgo_site.turns.requests import Crowd, Place, RequestTurns, TurnRefusedError, Visitor
from openalgo_site.turns.visitors import KNOWN_BY, address_of, cookies_of
from streaming.edge.security import POLICY, content_security_policy
from streaming.edge_limits import EdgeLimits, Refusal
from streaming.gateway.routing import Application, Receive, Scope, Send

__all__ = ["BUSY_SECONDS", "with_login_turns"]

BUSY_SECONDS = 5  # told to whoever is refused
_TITLE = "Too many people are logging in at this moment"
_WORDS = (
    "Your password was not looked at, and this counts as no attempt. Try again in a few seconds."
)


class _ClientLeftError(Exception):
    """There is nobody to answer any more."""


class _Login:
    """One login on its way."""

    def __init__(self, turns: RequestTurns, visitor: Visitor, receive: Receive, send: Send) -> None:
        """Take no place yet: whoever sends a body slowly would keep it from others."""
        self._turns, self._visitor, self._receive, self._send = turns, visitor, receive, send
        # True: it is served; False: it had to make room.
        self._turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._place: Place | None = None  # taken once the body is whole; ``end`` gives it back
        self._body: bytes | None = None  # read, and not yet given to the application
        # Notices that the client leaves while the turn is waited for; the application gets it then.
        self._next: asyncio.Task[Any] | None = None

    async def wait(self, seconds: float) -> None:
        """Read the body and wait for the turn.

        Raises:
            TurnRefusedError: there was no room, it had to make some, or it waited for too long.
            _ClientLeftError: the client is gone.
        """
        self._body = await self._read()
        self._place = self._turns.enter(
            self._visitor, lambda: self._decide(True), lambda: self._decide(False)
        )
        self._turns.wait(self._place)
        if not self._turn.done():
            self._next = asyncio.create_task(self._behind(), name="client of a waiting login")
            await asyncio.wait(
                (self._turn, self._next), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if not self._turn.done() and self._next.done():
                raise _ClientLeftError
        if not self._turn.done() or not self._turn.result():
            raise TurnRefusedError(Refusal.LOGINS)

    async def receive(self) -> Any:
        """Stand in for the server's ``receive``."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        if self._next is not None:
            return await asyncio.shield(self._next)
        return await self._receive()

    async def send(self, message: dict[str, Any]) -> None:
        """Stand in for the server's ``send``: from the answer on the next one has the turn."""
        if self._place is not None:
            self._turns.answered(self._place)
        await self._send(message)

    async def end(self) -> None:
        """Give back whatever it has. Idempotent."""
        if self._place is not None:
            self._turns.leave(self._place)
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait((self._next,))

    async def _read(self) -> bytes:
        parts, more = [], True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise _ClientLeftError
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        return b"".join(parts)

    async def _behind(self) -> Any:
        return await self._receive()

    def _decide(self, is_served: bool) -> None:
        if not self._turn.done():
            self._turn.set_result(is_served)


def with_login_turns(
    application: Callable[..., Awaitable[None]],
    *,
    limits: EdgeLimits,
    on_refused: Callable[[], None] = lambda: None,
) -> Application:
    """Let one stranger and one known browser log in at a time; others wait, so many and so long.

    Beyond that a login is answered 503 with ``Retry-After`` and a sentence, for which
    ``on_refused`` is called. One whose client leaves meanwhile is not served. Cancelling one gives
    its turn back. Every other request passes.
    """
    crowd = Crowd(at_once=1, most=limits.max_logins_waiting + 1)
    turns = RequestTurns(
        at_once=2,
        client_at_once=1,
        known=crowd,
        strangers=crowd,
        most_of_client=limits.max_logins_waiting + 1,
        refusal=Refusal.LOGINS,
    )

    async def in_turn(scope: Scope, receive: Receive, send: Send) -> None:
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        if not is_post or scope["path"] not in _login_paths():
            await application(scope, receive, send)
            return
        try:
            visitor = _visitor(scope)
            if visitor.is_known:  # one at a time: it is no stranger to the pages either
                scope = {**scope, KNOWN_BY: visitor}
            login = _Login(turns, visitor, receive, send)
            try:
                await login.wait(limits.login_wait_seconds)
                await application(scope, login.receive, login.send)
            finally:
                await login.end()
        except _ClientLeftError:
            return
        except TurnRefusedError:
            on_refused()
            await _refuse(send)

    return in_turn


def _visitor(scope: Scope) -> Visitor:
    """Return who logs in: a browser that somebody has logged in with before, or an address."""
    browser = browser_id(cookies_of(scope).get(COOKIE, ""))
    if browser is not None:
        return Visitor(browser, is_known=True)
    return Visitor(address_of(scope), is_known=False)


@lru_cache(maxsize=1)
def _login_paths() -> frozenset[str]:
    return frozenset({reverse(settings.LOGIN_URL), reverse("admin:login")})


async def _refuse(send: Send) -> None:
    body = render_to_string("busy.html", {"title": _TITLE, "words": _WORDS}).encode()
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"%d" % BUSY_SECONDS),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
        (POLICY.lower().encode(), content_security_policy(None).encode()),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
