"""Base of every local exchange: a loopback server, faults as verbs, a record of its clients.

One port serves WebSocket upgrades and plain HTTP GETs. It binds 127.0.0.1 and nothing else. All
methods belong to the loop that opened it, except where they say otherwise.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from brokers.simulator.control import ControlError, run_verb
from brokers.simulator.link import Link
from brokers.simulator.responses import json_response, text_response
from brokers.simulator.violations import ConnectionCounters, Record, Recorder

__all__ = ["LocalExchange", "Upgrade"]

LOOPBACK = "127.0.0.1"
TURN_SECONDS = 0.015
MAX_LINKS = 256
MAX_MESSAGE_BYTES = 256 * 1024
MAX_DELAY_SECONDS = 30.0


class Upgrade(NamedTuple):
    """A client's request for a WebSocket: what a broker decides on."""

    path: str
    query: Mapping[str, str]
    headers: Headers


class LocalExchange(ABC):
    """A server on loopback that speaks a broker's protocol; open it with ``async with``.

    Args:
        port: 0 takes a free one, see ``url``.
        control_token: secret that lets other processes use the verbs over
            ``GET /control/<verb>`` (header ``X-Control-Token``); empty turns that off.
        clock: unix seconds, for what is sent.
    """

    def __init__(
        self, *, port: int = 0, control_token: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be within 0 and 65535, got {port}")
        self.clock = clock
        self._requested_port = port
        self._control_token = control_token
        # The record of clients; they are in it after they left, too.
        self._recorder = Recorder()
        # Open connections, with their counters in the record.
        self._links: dict[Link, ConnectionCounters] = {}
        # Connections being closed by a verb or a broker's rule.
        self._endings: set[asyncio.Task[None]] = set()
        # The number of the next connection in the record.
        self._next_id = 1
        # The server and the task that steps it, while it is open; then ``_closing`` is not set.
        self._server: Server | None = None
        self._turns: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        # What ``refuse`` answers upgrades with, and how often yet (None: until ``accept``).
        self._refusal: tuple[int, float | None] | None = None
        self._refusals_left: int | None = None
        # Whether connections that are opened from now on are silent.
        self._silent = False
        # What ``delay`` holds back from now on.
        self._handshake_delay_seconds = 0.0
        self._frame_delay_seconds = 0.0

    def __repr__(self) -> str:
        state = f"listening on {self.port}" if self._server else "closed"
        return f"<{type(self).__name__} {state}, {len(self._links)} connection(s)>"

    # Life cycle

    async def open(self) -> None:
        """Start to listen. Raises OSError where the port cannot be had."""
        self._closing.clear()
        self._server = await serve(
            self._converse,
            LOOPBACK,
            self._requested_port,
            process_request=self._answer,
            create_connection=Link,
            compression=None,
            ping_interval=None,
            close_timeout=0.5,
            open_timeout=2 * MAX_DELAY_SECONDS,
            max_size=MAX_MESSAGE_BYTES,
            server_header=None,
        )
        self._turns = asyncio.create_task(self._take_turns(), name=f"{type(self).__name__}.turns")

    async def close(self) -> None:
        """Close every connection and stop; idempotent. Raises what ended its own task."""
        if self._server is None:
            return
        server, self._server = self._server, None
        self._closing.set()
        server.close()
        await server.wait_closed()
        await asyncio.gather(*self._endings)
        turns, self._turns = self._turns, None
        if turns is not None:
            await turns

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def join(self) -> None:
        """Wait until the exchange is closed; raises what ended it otherwise."""
        if self._turns is not None:
            await asyncio.shield(self._turns)

    @property
    def port(self) -> int:
        """The port that it listens on. Raises RuntimeError while it is closed."""
        if self._server is None:
            raise RuntimeError("the exchange is not open")
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"ws://{LOOPBACK}:{self.port}"

    @property
    def http_url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    # The record

    def record(self) -> Record:
        """Return how the clients behaved since the start or the last reset."""
        return self._recorder.to_record()

    def reset_record(self) -> None:
        """Start the record again; open connections stay in it."""
        self._recorder.reset()

    # Faults

    def drop(self, connection: int | None = None) -> int:
        """Cut one connection by its record's id, or all, without a close frame; how many it was."""
        links = self._chosen(connection)
        for link in links:
            link.drop()
        return len(links)

    def go_silent(self, connection: int | None = None) -> int:
        """Send not one byte more on one connection, or on all, also those opened from now on.

        Upgrades are still answered. Returns how many open connections it concerns.
        """
        if connection is None:
            self._silent = True
        links = self._chosen(connection)
        for link in links:
            link.go_silent()
        return len(links)

    def speak(self) -> None:
        """End every silence."""
        self._silent = False
        for link in self._links:
            link.speak()

    def refuse(
        self, status: int = 503, retry_after: float | None = None, times: int | None = None
    ) -> None:
        """Answer upgrades with an HTTP status from now on, or so many; open connections stay."""
        if not 400 <= status <= 599:
            raise ValueError(f"status must be an HTTP error, got {status}")
        if times is not None and times < 1:
            raise ValueError(f"times must be at least 1, got {times}")
        text_response(status)  # raises for a status without a name
        self._refusal, self._refusals_left = (status, retry_after), times

    def accept(self) -> None:
        """End ``refuse``."""
        self._refusal = self._refusals_left = None

    def delay(self, seconds: float, *, handshakes: bool = True, frames: bool = True) -> None:
        """Make answers to upgrades and/or frames late from now on, by at most 30 s; 0 ends it."""
        if not 0 <= seconds <= MAX_DELAY_SECONDS:
            raise ValueError(f"seconds must be within 0 and {MAX_DELAY_SECONDS:g}, got {seconds}")
        if handshakes:
            self._handshake_delay_seconds = seconds
        if frames:
            self._frame_delay_seconds = seconds

    # What a kind of exchange fills in

    @abstractmethod
    def _admit(self, upgrade: Upgrade) -> HTTPStatus | Response | None:
        """Return what refuses or redirects an upgrade, or None to accept it."""

    @abstractmethod
    def _opened(self, link: Link, upgrade: Upgrade) -> None:
        """Note an accepted connection; its handshake is about to be answered."""

    @abstractmethod
    def _heard(self, link: Link, message: str | bytes) -> None:
        """Take one message of a client."""

    @abstractmethod
    def _turn(self, now: float) -> None:
        """Do what is due at ``now``, on the loop's clock. Called every 15 ms."""

    @abstractmethod
    def _closed(self, link: Link) -> None:
        """Forget a connection."""

    @abstractmethod
    def _get(self, path: str, query: Mapping[str, str]) -> Response | None:
        """Answer a plain GET, or None for a path that is not there."""

    def _key(self, upgrade: Upgrade) -> str:
        """Return the key under which the record counts an upgrade."""
        return upgrade.query.get("api_key", "")

    # Inside

    def _push(self, link: Link, data: bytes, *, text: bool = False, ticks: int = 0) -> bool:
        """Send a message with the delay in force and count it."""
        counters = self._links.get(link)
        if counters is None:
            return False
        sent = link.push(data, text=text, delay_seconds=self._frame_delay_seconds)
        if sent:
            counters.frames_sent += 1
            counters.ticks_sent += ticks
        else:
            counters.frames_skipped += 1
        return sent

    def _end(self, link: Link, code: int, reason: str) -> None:
        """Close one connection with a code, without waiting for it."""
        ending = asyncio.create_task(link.close(code, reason), name=f"close {link.number}")
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    def _chosen(self, connection: int | None) -> list[Link]:
        links = [link for link in self._links if connection is None or link.number == connection]
        if connection is not None and not links:
            raise ValueError(f"no open connection has the id {connection}")
        return links

    async def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a request: upgrade, plain GET, or refusal. Called by the websockets library."""
        parts = urlsplit(request.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if "Upgrade" not in request.headers:
            return self._respond(parts.path, query, request.headers)
        assert isinstance(connection, Link)  # noqa: S101 - create_connection makes nothing else
        if self._handshake_delay_seconds:
            await self._wait(self._handshake_delay_seconds)
        upgrade = Upgrade(parts.path, query, request.headers)
        refused = self._refuse_upgrade(upgrade)
        if refused is not None:
            if refused.status_code >= HTTPStatus.BAD_REQUEST:  # a redirection is no refusal
                self._recorder.refused(status=refused.status_code, api_key=self._key(upgrade))
            return refused
        # Taken before the handshake is answered: two upgrades cannot both get the last place.
        connection.number = self._next_id
        self._next_id += 1
        self._links[connection] = self._recorder.opened(
            id=connection.number, api_key=self._key(upgrade)
        )
        connection.on_lost = lambda: self._lost(connection)
        self._opened(connection, upgrade)
        return None

    def _refuse_upgrade(self, upgrade: Upgrade) -> Response | None:
        if self._refusal is not None:
            status, retry_after = self._refusal
            if self._refusals_left is not None:
                self._refusals_left -= 1
                if not self._refusals_left:
                    self.accept()
            response = text_response(status)
            if retry_after is not None:
                response.headers["Retry-After"] = f"{retry_after:g}"
            return response
        if self._closing.is_set() or len(self._links) >= MAX_LINKS:
            return text_response(HTTPStatus.SERVICE_UNAVAILABLE)
        admitted = self._admit(upgrade)
        return text_response(admitted) if isinstance(admitted, HTTPStatus) else admitted

    def _lost(self, link: Link) -> None:
        counters = self._links.pop(link)
        self._closed(link)
        counters.holds(0)
        self._recorder.closed(counters)

    async def _converse(self, connection: ServerConnection) -> None:
        """Read one connection to its end. Called by the websockets library."""
        assert isinstance(connection, Link)  # noqa: S101 - create_connection makes nothing else
        if self._silent:
            connection.go_silent()
        try:
            async for message in connection:
                counters = self._links.get(connection)
                if counters is None:
                    return
                counters.heard(connection.loop.time())
                self._heard(connection, message)
        except ConnectionClosed:
            return

    async def _take_turns(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._closing.is_set():
            now = loop.time()
            for link in list(self._links):
                link.flush_late(now)
            self._turn(now)
            due = max(due + TURN_SECONDS, loop.time())
            await self._wait(due - loop.time())

    async def _wait(self, seconds: float) -> None:
        """Sleep, but not beyond the closing of the exchange."""
        if seconds <= 0.1:
            await asyncio.sleep(seconds)
            return
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return

    def _respond(self, path: str, query: Mapping[str, str], headers: Headers) -> Response:
        if path == "/health":
            return json_response({"status": "ok", "connections": len(self._links)})
        if path == "/record":
            return json_response(
                {**msgspec.to_builtins(self.record()), "complaints": self.record().complaints()}
            )
        if path.startswith("/control/"):
            return self._control(path.removeprefix("/control/"), query, headers)
        return self._get(path, query) or text_response(HTTPStatus.NOT_FOUND)

    def _control(self, verb: str, query: Mapping[str, str], headers: Headers) -> Response:
        given = headers.get("X-Control-Token", "")
        if not self._control_token:
            return text_response(HTTPStatus.NOT_FOUND)
        if not hmac.compare_digest(given.encode(), self._control_token.encode()):
            return text_response(HTTPStatus.FORBIDDEN)
        try:
            return json_response({"verb": verb, "result": run_verb(self, verb, query)})
        except ControlError as error:
            return json_response({"verb": verb, "error": str(error)}, HTTPStatus.BAD_REQUEST)
