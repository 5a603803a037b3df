"""Turns for requests of pages and of the JSON API: few at a time, addresses in rotation.

Each has a thread of Django's, and threads that compute hold up the loop that hands out ticks: with
hundreds of them, for hundreds of milliseconds. So a few compute at a time, and whoever came least
recently is next: a hundred addresses that ask without end take a second of somebody else's page.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Any

from streaming.addresses import address_group
from streaming.routing import Application, Receive, Scope, Send

__all__ = ["PageTurns", "with_page_turns"]

# Where those under way wait themselves (for the database, for a hash) the next one begins after
# so long.
_PATIENCE_SECONDS = 0.03
# Of a body, that is taken before it needs a place.
_SMALL_BODY_BYTES = 8 * 1024
_MOST_REMEMBERED = 10_000
_AGAIN_SECONDS = 5

_Turn = asyncio.Future[bool]


class PageTurns:
    """Who may compute now. Belongs to one event loop.

    Args:
        at_once: how many are under way, before patience ends.
        most_waiting: how many wait; beyond it the newest of the address with most of them goes.
        patience_seconds: after how long in which none began one more does; None: never.
    """

    def __init__(
        self,
        *,
        at_once: int,
        most_waiting: int,
        patience_seconds: float | None = _PATIENCE_SECONDS,
    ) -> None:
        is_patient = patience_seconds is None or patience_seconds > 0
        if min(at_once, most_waiting) < 1 or not is_patient:
            raise ValueError("the bounds of turns must be positive")
        self._at_once = at_once
        self._patience_seconds = patience_seconds
        self._most_waiting = most_waiting
        self._running = 0
        self._waiting_count = 0
        # Who waits, by address, the first is the next one.
        self._waiting: dict[str, deque[_Turn]] = {}
        # Addresses that had a turn, those served last at the end; the value is their place.
        self._served: OrderedDict[str, int] = OrderedDict()
        self._turns = 0  # so far
        self._timer: asyncio.TimerHandle | None = None  # while somebody waits

    def __repr__(self) -> str:
        return f"<PageTurns running={self._running} waiting={self._waiting_count}>"

    def take(self, address: str) -> _Turn:
        """Ask for a turn. The future says whether there is one; ``end`` or ``give_up`` follows."""
        group = address_group(address)
        turn: _Turn = asyncio.get_running_loop().create_future()
        if self._running < self._at_once and not self._waiting:
            self._begin(group, turn)
            return turn
        self._waiting.setdefault(group, deque()).append(turn)
        self._waiting_count += 1
        if self._waiting_count > self._most_waiting:
            self._refuse_one()
        self._watch()
        return turn

    def end(self) -> None:
        """Give a turn back."""
        self._running -= 1
        self._let_in(self._at_once - self._running)

    def give_up(self, address: str, turn: _Turn) -> None:
        """Wait no more, or give the turn back that came meanwhile."""
        if turn.done():
            if not turn.cancelled() and turn.result():
                self.end()
            return
        turn.cancel()
        group = address_group(address)
        self._waiting[group].remove(turn)
        self._forget(group)

    def _forget(self, group: str) -> None:
        """Note that one of a group waits no more."""
        self._waiting_count -= 1
        if not self._waiting[group]:
            del self._waiting[group]

    def _begin(self, group: str, turn: _Turn) -> None:
        self._running += 1
        self._turns += 1
        self._served[group] = self._turns
        self._served.move_to_end(group)
        if len(self._served) > _MOST_REMEMBERED:
            self._served.popitem(last=False)
        turn.set_result(True)

    def _let_in(self, most: int) -> None:
        """Begin the turns of up to so many: of the addresses that were served least recently."""
        for _ in range(most):
            if not self._waiting:
                return
            group = min(self._waiting, key=lambda each: self._served.get(each, 0))
            turn = self._waiting[group].popleft()
            self._forget(group)
            self._begin(group, turn)
            self._watch()

    def _refuse_one(self) -> None:
        group = max(self._waiting, key=lambda each: len(self._waiting[each]))
        turn = self._waiting[group].pop()
        self._forget(group)
        turn.set_result(False)

    def _watch(self) -> None:
        """Begin to be patient, from now on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and self._patience_seconds is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._patience_seconds, self._lose_patience)

    def _lose_patience(self) -> None:
        self._timer = None
        self._let_in(1)
        self._watch()


def with_page_turns(
    application: Callable[..., Awaitable[None]],
    turns: PageTurns,
    *,
    bodies: PageTurns,
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
        request = _Request(scope, receive, send, turns, bodies)
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
        self, scope: Scope, receive: Receive, send: Send, turns: PageTurns, bodies: PageTurns
    ) -> None:
        self._address = (scope.get("client") or ("unknown",))[0]
        self._receive, self._send, self._turns = receive, send, turns
        self._bodies = bodies
        self._has_turn = self._has_place = self._is_whole = False
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
        if is_large and not self._has_place and not await self._wait_for_place():
            return {"type": "http.disconnect"}
        is_last = message["type"] == "http.request" and not message.get("more_body", False)
        if self._is_whole or not is_last:
            return message
        self._is_whole = True
        return message if await self._wait() else {"type": "http.disconnect"}

    async def _wait(self) -> bool:
        """Wait for the turn; False: there is none, or nobody wants it any more."""
        turn = self._turns.take(self._address)
        try:
            if not turn.done():
                self._next = asyncio.ensure_future(self._receive())
                await asyncio.wait({turn, self._next}, return_when=asyncio.FIRST_COMPLETED)
                if not turn.done():
                    return False  # the client is gone
            self.is_refused = not turn.result()
            self._has_turn = turn.result()
            return self._has_turn
        finally:
            if not self._has_turn:
                self._turns.give_up(self._address, turn)

    async def _wait_for_place(self) -> bool:
        """Wait until the rest of the body may be read; False: it may not."""
        place = self._bodies.take(self._address)
        try:
            self._has_place = await place
            self.is_refused = not self._has_place
            return self._has_place
        finally:
            if not self._has_place:
                self._bodies.give_up(self._address, place)

    async def send(self, message: dict[str, Any]) -> None:
        """Send; from here on others have the turn."""
        self._end_turn()
        await self._send(message)

    def end(self) -> None:
        """Let go of everything. Idempotent."""
        self._end_turn()
        if self._has_place:
            self._has_place = False
            self._bodies.end()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._turns.end()


async def _refuse(send: Send) -> None:
    body = b"Too many requests wait already; try again in a few seconds.\n"
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"%d" % _AGAIN_SECONDS),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
