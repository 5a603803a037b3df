"""Turns for requests of pages and of the JSON API: few at a time, users and addresses in rotation.

Each has a thread of Django's, and threads that compute hold up the loop that hands out ticks: with
hundreds of them, for hundreds of milliseconds. So a few compute at a time, fewer of one user, and
who is next is up to ``openalgo_site/turns/requests.py``.

| line | what comes there |
| --- | --- |
| ``pages`` | pages and the JSON API |
| ``light`` | files, health and metrics, which pages that take long do not keep waiting |
| ``bodies`` | a body of more than a few KiB, before it is read |
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

from django.conf import settings

from openalgo_site.turns.requests import Crowd, Place, RequestTurns, TurnRefusedError, Visitor
from streaming.edge_limits import EdgeLimits, Refusal
from streaming.gateway.routing import Application, Receive, Scope, Send

__all__ = ["PageLines", "PageTurns", "with_page_turns"]

# Where those under way wait themselves (for the database, for a hash) the next one begins after
# so long.
_PATIENCE_SECONDS = 0.03
# Of a body, that is taken before it needs a place.
_SMALL_BODY_BYTES = 8 * 1024
# How long a larger one waits for its place.
_PLACE_SECONDS = 30.0
_AGAIN_SECONDS = 5
# Two for strangers, one of which may hash a password, and one for users.
_LEAST = 3
_LIGHT = frozenset({"/livez", "/readyz", "/metrics", "/favicon.ico"})


class _Turn:
    """A request's turn, from when it is asked for until it is given back."""

    def __init__(self) -> None:
        # Whether there is one; undecided while it is waited for.
        self.decided: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.place: Place | None = None  # None: there was none

    def decide(self, is_served: bool) -> None:
        if not self.decided.done():
            self.decided.set_result(is_served)


class PageTurns:
    """Who may compute now. Belongs to one event loop.

    Args:
        turns: decide who is next, and how many there are.
        patience_seconds: after how long in which no turn ended one more begins, as far as ``turns``
            has it; None: never.
    """

    def __init__(
        self, turns: RequestTurns, *, patience_seconds: float | None = _PATIENCE_SECONDS
    ) -> None:
        if patience_seconds is not None and patience_seconds <= 0:
            raise ValueError("patience_seconds must be positive")
        self._turns = turns
        self._patience_seconds = patience_seconds
        self._timer: asyncio.TimerHandle | None = None  # while somebody waits

    def __repr__(self) -> str:
        return f"<PageTurns {self._turns!r}>"

    def __len__(self) -> int:
        """Return how many have a turn or wait for one."""
        return len(self._turns)

    def take(self, visitor: Visitor) -> _Turn:
        """Ask for a turn; ``end`` follows, whatever is decided."""
        turn = _Turn()
        try:
            turn.place = self._turns.enter(
                visitor, lambda: turn.decide(True), lambda: turn.decide(False)
            )
            self._turns.wait(turn.place)
        except TurnRefusedError:
            turn.decide(False)
        if self._timer is None and not turn.decided.done():
            self._watch()
        return turn

    def end(self, turn: _Turn) -> None:
        """Give a turn back, or wait for it no more. Idempotent."""
        if turn.place is None:
            return
        was_served = turn.place.is_served
        self._turns.leave(turn.place)
        turn.place = None
        if was_served:
            self._watch()
        turn.decided.cancel()

    def _watch(self) -> None:
        """Begin to be patient, from now on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._patience_seconds is not None and self._turns.is_waited_for:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._patience_seconds, self._lose_patience)

    def _lose_patience(self) -> None:
        self._timer = None
        self._turns.serve_one_more()
        self._watch()


@dataclass(frozen=True, kw_only=True)
class PageLines:
    """What a request may have to wait for."""

    pages: PageTurns
    light: PageTurns
    bodies: PageTurns

    @classmethod
    def of(cls, limits: EdgeLimits, *, connections: int | None) -> Self:
        """Return the lines of a process.

        Args:
            limits: how many of each.
            connections: of the database, that pages may use at a time; None: any number.
        """
        most = limits.most_pages_at_once
        if connections is not None:
            most = min(most, max(_LEAST, connections))
        few = min(limits.pages_at_once, most)
        # Strangers have half of them, and one beside that whose password is hashed.
        pages = _turns(limits, few, most, strangers=max(min(2, most), most // 2))
        light = _turns(limits, limits.pages_at_once, limits.most_pages_at_once)
        most = limits.bodies_at_once
        bodies = _turns(limits, most, most, strangers=max(1, most // 2))
        return cls(
            pages=PageTurns(pages),
            light=PageTurns(light),
            bodies=PageTurns(bodies, patience_seconds=None),
        )


def _turns(
    limits: EdgeLimits, at_once: int, most: int, *, strangers: int | None = None
) -> RequestTurns:
    waiting = limits.pages_waiting
    return RequestTurns(
        at_once=at_once,
        most_at_once=most,
        client_at_once=min(limits.user_pages_at_once, at_once),
        known=Crowd(at_once=most, most=most + waiting),
        strangers=Crowd(at_once=strangers or most, most=most + waiting),
        most_of_client=most + waiting,
        refusal=Refusal.PAGES,
    )


def with_page_turns(
    application: Callable[..., Awaitable[None]],
    lines: PageLines,
    *,
    visitor_of: Callable[[Scope], Visitor],
    on_refused: Callable[[], None] = lambda: None,
) -> Application:
    """Let ``application`` have a request once its body is whole and its turn has come.

    A body of more than a few KiB is read once it has a place among ``bodies``, and keeps it until
    the answer has gone: all that may be under way would take gigabytes.
    The turn ends with the head of the answer. One that finds no place is answered 503, for which
    ``on_refused`` is called, and one that leaves meanwhile takes no turn.
    """

    async def in_turn(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        line = lines.light if _is_light(scope["path"]) else lines.pages
        request = _Request(visitor_of(scope), receive, send, line, lines.bodies)
        try:
            await application(scope, request.receive, request.send)
        finally:
            request.end()
        if request.is_refused:
            on_refused()
            await _refuse(send)

    return in_turn


class _Request:
    """One request on its way through."""

    def __init__(
        self, visitor: Visitor, receive: Receive, send: Send, turns: PageTurns, bodies: PageTurns
    ) -> None:
        self._visitor = visitor
        self._receive, self._send, self._turns = receive, send, turns
        self._bodies = bodies
        self._turn: _Turn | None = None  # from when it is waited for to the head of the answer
        self._place: _Turn | None = None  # of a large body
        self._is_whole = False
        self._size = 0  # of the body so far
        # Notices that the client leaves while the turn is waited for; the application gets it then.
        self._next: asyncio.Task[Any] | None = None
        self.is_refused = False

    async def receive(self) -> Any:
        """Return the next message; the last of the body once the turn has come."""
        if self._next is not None:
            task, self._next = self._next, None
            return await task
        message = await self._receive()
        self._size += len(message.get("body", b""))
        is_large = self._size > _SMALL_BODY_BYTES and not self._is_whole
        if is_large and self._place is None and not await self._wait_for_place():
            return {"type": "http.disconnect"}
        is_last = message["type"] == "http.request" and not message.get("more_body", False)
        if self._is_whole or not is_last:
            return message
        self._is_whole = True
        return message if await self._wait() else {"type": "http.disconnect"}

    async def _wait(self) -> bool:
        """Wait for the turn; False: there is none, or nobody wants it any more."""
        self._turn = self._turns.take(self._visitor)
        decided = self._turn.decided
        if not decided.done():
            self._next = asyncio.ensure_future(self._receive())
            await asyncio.wait({decided, self._next}, return_when=asyncio.FIRST_COMPLETED)
            if not decided.done():
                self._end_turn()
                return False  # the client is gone
        self.is_refused = not decided.result()
        return decided.result()

    async def _wait_for_place(self) -> bool:
        """Wait until the rest of the body may be read; False: it may not."""
        self._place = self._bodies.take(self._visitor)
        decided = self._place.decided
        if not decided.done():
            await asyncio.wait({decided}, timeout=_PLACE_SECONDS)
        is_given = decided.done() and decided.result()
        self.is_refused = not is_given
        return is_given

    async def send(self, message: dict[str, Any]) -> None:
        """Send; from here on others have the turn."""
        self._end_turn()
        await self._send(message)

    def end(self) -> None:
        """Let go of everything. Idempotent."""
        self._end_turn()
        if self._place is not None:
            self._bodies.end(self._place)
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._turns.end(self._turn)


def _is_light(path: str) -> bool:
    return path in _LIGHT or path.startswith(settings.STATIC_URL)


async def _refuse(send: Send) -> None:
    body = b"Too many requests wait already; try again in a few seconds.\n"
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"%d" % _AGAIN_SECONDS),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
