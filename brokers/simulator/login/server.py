"""A small HTTP server on loopback: one request a connection, of any method, with a bounded body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

import h11
import msgspec

__all__ = ["Answer", "Call", "LoginServer", "html", "json", "see_other", "text"]

LOOPBACK = "127.0.0.1"
MAX_BODY_BYTES = 64 * 1024
READ_SECONDS = 10.0
_CHUNK = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. ``query`` and ``form`` are pairs in their order; headers are in lower case."""

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def asked(self, name: str) -> str:
        """Return a parameter of the query, "" for none."""
        return dict(self.query).get(name, "")

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    @property
    def json(self) -> dict[str, object]:
        """The object of a JSON body; empty for anything else."""
        try:
            return msgspec.json.decode(self.body, type=dict[str, object])
        except msgspec.MsgspecError:
            return {}

    @property
    def content_type(self) -> str:
        """What the client says that its body is."""
        return self.headers.get("content-type", "").partition(";")[0].strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer. ``hangs`` leaves the client without one, ``is_cut`` ends the connection."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()
    hangs: bool = False
    is_cut: bool = False


def json(value: object, status: int = 200) -> Answer:
    """Return ``value`` as JSON."""
    return Answer(status=status, body=msgspec.json.encode(value), content_type="application/json")


def html(page: str, status: int = 200) -> Answer:
    """Return a page."""
    return Answer(status=status, body=page.encode(), content_type="text/html; charset=utf-8")


def text(words: str, status: int) -> Answer:
    """Return plain text."""
    return Answer(status=status, body=words.encode(), content_type="text/plain")


def see_other(url: str) -> Answer:
    """Send the browser elsewhere."""
    return Answer(status=302, headers=(("Location", url),))


class LoginServer:
    """Serves one handler on loopback. Belongs to the loop that opens it.

    Args:
        handler: answers a request; called on the loop.
        port: 0 takes a free one.
        date: the header ``Date`` of an answer.
    """

    def __init__(
        self, handler: Callable[[Call], Answer], *, port: int = 0, date: Callable[[], str]
    ) -> None:
        self._handler = handler
        self._date = date
        self._requested_port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # connections that are being served

    async def open(self) -> None:
        """Begin to serve. Raises OSError where the port cannot be had."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self._requested_port)

    async def close(self) -> None:
        """Stop, without waiting for clients that say nothing or hang; idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()

    @property
    def url(self) -> str:
        """Where it listens. Raises RuntimeError while it is closed."""
        if self._server is None:
            raise RuntimeError("the login server is not open")
        return f"http://{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- a server's callback runs in one
        self._tasks.add(task)
        try:
            async with asyncio.timeout(READ_SECONDS):
                call = await _read(reader)
            answer = self._handler(call) if call else text("Bad request\n", 400)
            if answer.hangs:
                await asyncio.Event().wait()  # until the client has enough, or the exchange closes
            elif not answer.is_cut:
                writer.write(_encoded(answer, self._date()))
                await writer.drain()
        except (TimeoutError, ConnectionError, h11.ProtocolError):
            pass  # a client that is gone, or speaks something else, is owed nothing
        finally:
            self._tasks.discard(task)
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Call | None:
    """Return the request, or None for one that is too long."""
    connection = h11.Connection(h11.SERVER)
    request: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(_CHUNK)
            connection.receive_data(data)
            if not data and request is None:
                raise ConnectionError
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY_BYTES:
                return None
        elif isinstance(event, h11.EndOfMessage):
            break
        else:
            raise ConnectionError
    if request is None:
        return None
    try:
        parts = urlsplit(request.target.decode("ascii"))
    except ValueError:
        return None
    return Call(
        method=request.method.decode("ascii"),
        path=parts.path,
        query=parse_qsl(parts.query, keep_blank_values=True),
        headers={name.decode(): value.decode("latin-1") for name, value in request.headers},
        body=bytes(body),
    )


def _encoded(answer: Answer, date: str) -> bytes:
    if any(not value.isascii() or not value.isprintable() for _, value in answer.headers):
        answer = text("Bad request\n", 400)  # an address to go back to that is none
    phrase = HTTPStatus(answer.status).phrase
    headers = [
        ("Content-Type", answer.content_type),
        ("Content-Length", str(len(answer.body))),
        ("Cache-Control", "no-store"),
        ("Date", date),
        ("Connection", "close"),
        *answer.headers,
    ]
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {answer.status} {phrase}\r\n{head}\r\n".encode("latin-1") + answer.body
