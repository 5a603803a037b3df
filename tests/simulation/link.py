"""One socket of a simulation: the pool's ``Transport`` on one side, a session on the other."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from brokers.types import FeedMode
from pooling.exceptions import ConnectionLostError

__all__ = ["Ending", "SimulatedLink"]

HEARTBEAT = b"\x00"
FAR_END = "the simulated exchange hung up"


class Ending(Protocol):
    """What a link asks of its exchange."""

    def now(self) -> float: ...

    def hear(self, link: SimulatedLink, message: str | bytes) -> None: ...

    def forget(self, link: SimulatedLink, how: str) -> None: ...


class SimulatedLink:
    """One socket. ``endpoint`` is the host that it leads to, ``refused`` what it was denied.

    ``asked_again`` was subscribed, ended and subscribed once more; ``unnamed_at`` is when it last
    told of a refusal without saying what was refused.
    """

    def __init__(self, exchange: Ending, number: int, endpoint: str) -> None:
        self.number = number
        self.endpoint = endpoint
        self.modes: dict[int, FeedMode] = {}
        self.asked_at: dict[int, float] = {}
        self.ready_at: dict[int, float] = {}
        self.refused: set[int] = set()
        self.ended: set[int] = set()
        self.asked_again: set[int] = set()
        self.unnamed_at = float("-inf")
        self.is_open = True
        self.is_silent = False
        self.silent_since = float("-inf")
        self.opened_at = self.heard_at = self.pong_at = exchange.now()
        self.spoke_at = float("-inf")  # when a silence ended last
        self.last_message_at: float | None = None
        self.frame: bytes | None = None
        self._exchange = exchange
        self._incoming: deque[str | bytes] = deque()
        self._held_back: list[str | bytes] = []
        self._reader: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"link {self.number} with {len(self.modes)}"

    async def send(self, message: str | bytes) -> None:
        if not self.is_open:
            raise ConnectionLostError(FAR_END)
        self._exchange.hear(self, message)

    async def recv(self) -> str | bytes:
        while not self._incoming:
            if not self.is_open:
                raise ConnectionLostError(FAR_END)
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._incoming.popleft()

    async def ping(self) -> None:
        if self.is_open and not self.is_silent:
            self.pong_at = self._exchange.now()

    async def close(self) -> None:
        self._end("closed")

    def abort(self) -> None:
        self._end("aborted")

    def hang_up(self) -> None:
        """End the link from the exchange's side; what it had not delivered is lost."""
        self._end("ended")

    def deliver(self, frame: str | bytes) -> bool:
        """Send a frame, or hold it back while the link is silent; tells whether it went out."""
        if not self.is_open:
            return False
        if self.is_silent:
            self._held_back.append(frame)
            return False
        self.heard_at = self._exchange.now()
        if isinstance(frame, str) and '"tokens":[]' in frame:
            self.unnamed_at = self.heard_at
        self._incoming.append(frame)
        self._wake()
        return True

    def go_silent(self) -> None:
        """Deliver nothing until ``speak``."""
        if not self.is_silent:
            self.is_silent, self.silent_since = True, self._exchange.now()

    def speak(self) -> None:
        """End the silence; a stream loses nothing, it is late."""
        self.is_silent = False
        self.spoke_at = self._exchange.now()
        held, self._held_back = self._held_back, []
        for frame in held:
            self.deliver(frame)

    def drop_held_back(self) -> None:
        """Lose the prices that a silence holds back: beats come late instead, and texts."""
        self._held_back = [f if isinstance(f, str) else HEARTBEAT for f in self._held_back]

    def _end(self, how: str) -> None:
        if self.is_open:
            self.is_open = False
            self._incoming.clear()
            self._exchange.forget(self, how)
            self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
