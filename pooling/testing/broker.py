"""A broker in memory, with faults as verbs and a record of what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from brokers.contract import Handshake
from pooling.connectors.websocket import UpgradeRefusedError
from pooling.exceptions import ConnectionLostError

__all__ = ["FakeBroker", "FakeTransport"]


class FakeTransport:
    """One socket to a ``FakeBroker``."""

    def __init__(self, broker: FakeBroker, token: str) -> None:
        self.broker = broker
        self.token = token
        self.heard_at = self.pong_at = broker.now()
        self.subscribed: dict[str, tuple[int, int]] = {}
        self.is_open = True
        self.closed_by_us = False
        self._incoming: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._unsaid: list[str | bytes] = []

    async def send(self, message: str | bytes) -> None:
        """Give a message to the broker."""
        if not self.is_open:
            raise ConnectionLostError("the fake broker hung up")
        self.broker.heard(self, message)

    async def recv(self) -> str | bytes:
        """Return what the broker says next."""
        frame = await self._incoming.get()
        if frame is None:
            raise ConnectionLostError("the fake broker hung up")
        return frame

    async def ping(self) -> None:
        """Have the broker answer, unless it is silent."""
        if not self.broker.is_silent:
            self.pong_at = self.broker.now()

    async def close(self) -> None:
        """Close from our side."""
        self.closed_by_us = True
        self.hang_up()

    def abort(self) -> None:
        """Drop from our side."""
        self.hang_up()

    def hang_up(self) -> None:
        """End the connection; the other side notices with its next read or write."""
        if self.is_open:
            self.is_open = False
            self._incoming.put_nowait(None)

    def say(self, frame: str | bytes) -> None:
        """Send a frame from the broker."""
        if self.broker.is_silent:
            self._unsaid.append(frame)
        elif self.is_open:
            self.heard_at = self.broker.now()
            self._incoming.put_nowait(frame)

    def catch_up(self) -> None:
        """Say what was held back by a silence: a stream loses nothing, it is late."""
        unsaid, self._unsaid = self._unsaid, []
        for frame in unsaid:
            self.say(frame)


class FakeBroker:
    """A broker in memory: a ``Connector`` for pools, with faults as verbs and a record.

    It confirms every subscription with one tick unless told not to. ``attempts`` has (time, token)
    of every connect, ``complaints`` what a real broker would hold against its client.
    """

    def __init__(self, *, symbols_per_connection: int = 10**9, confirms: bool = True) -> None:
        self.transports: list[FakeTransport] = []
        self.attempts: list[tuple[float, str]] = []
        self.messages: list[tuple[float, FakeTransport, dict[str, Any]]] = []
        self.complaints: list[str] = []
        self.good_tokens: set[str] | None = None
        self.is_silent = False
        self.price = 100  # of everything; each ``tick`` is another one
        self.confirms = confirms
        self.opened = asyncio.Event()
        self._limit = symbols_per_connection
        self._refusal: tuple[int, Mapping[str, str]] | None = None

    async def __call__(
        self, handshake: Handshake, *, open_timeout_seconds: float, max_frame_bytes: int
    ) -> FakeTransport:
        """Open a socket, or refuse it."""
        token = handshake.url.partition("?token=")[2]
        self.attempts.append((self.now(), token))
        await asyncio.sleep(0)
        if self._refusal is not None:
            status, headers = self._refusal
            raise UpgradeRefusedError(status, headers, b"")
        if self.good_tokens is not None and token not in self.good_tokens:
            raise UpgradeRefusedError(403, {}, b"")
        transport = FakeTransport(self, token)
        self.transports.append(transport)
        self.opened.set()
        return transport

    @property
    def open(self) -> list[FakeTransport]:
        """The sockets that are open."""
        return [transport for transport in self.transports if transport.is_open]

    @property
    def subscribed(self) -> dict[str, tuple[int, int]]:
        """Broker token to (mode, depth levels), over all open sockets."""
        return {t: level for transport in self.open for t, level in transport.subscribed.items()}

    def now(self) -> float:
        """Return the loop's time."""
        return asyncio.get_running_loop().time()

    def drop(self, transport: FakeTransport | None = None) -> None:
        """Cut one socket, or all."""
        for one in [transport] if transport else self.open:
            one.hang_up()

    def go_silent(self) -> None:
        """Say nothing more, pongs included."""
        self.is_silent = True

    def speak(self) -> None:
        """End the silence and say what was held back."""
        self.is_silent = False
        for transport in self.open:
            transport.catch_up()

    def refuse(self, status: int, **headers: str) -> None:
        """Answer every connect with an HTTP status; ``Retry_After="5"`` names a header."""
        self._refusal = (status, {name.replace("_", "-"): text for name, text in headers.items()})

    def accept(self) -> None:
        """End ``refuse``."""
        self._refusal = None

    def say(self, frame: str | bytes) -> None:
        """Send a frame on every socket."""
        for transport in self.open:
            transport.say(frame)

    def tick(self) -> None:
        """Send one tick of everything subscribed, at a new price."""
        self.price += 1
        self.repeat()

    def repeat(self) -> None:
        """Send the last price of everything subscribed once more."""
        for transport in self.open:
            transport.say(_say(ticks=list(transport.subscribed), price=self.price))

    def heard(self, transport: FakeTransport, message: str | bytes) -> None:
        """Take a client's message."""
        said = msgspec.json.decode(message)
        self.messages.append((self.now(), transport, said))
        tokens = {token: (mode, depth) for token, mode, depth in said["items"]}
        have = transport.subscribed
        if said["do"] == "unsubscribe":
            self.complaints += [f"{t} was not subscribed" for t in tokens if t not in have]
            for token in tokens:
                have.pop(token, None)
            return
        known = said["do"] == "mode"
        self.complaints += [f"{t}: {said['do']}" for t in tokens if (t in have) is not known]
        have.update(tokens)
        if len(have) > self._limit:
            self.complaints.append(f"{len(have)} subscribed")
        if self.confirms:
            transport.say(_say(ok=list(tokens), ticks=list(tokens), price=self.price))


def _say(**said: object) -> str:
    return msgspec.json.encode(said).decode()
