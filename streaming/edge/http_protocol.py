"""uvicorn's HTTP protocol with every bound on what a connection may send in it.

| what | bound | beyond it |
| --- | --- | --- |
| bytes around a body: request line, headers, chunks, trailers | ``header_bytes`` | 431 |
| requests sent before the answer to an earlier one | 8 | 429 |
| time from accept, or from a later request's first byte, to a whole request, less that in which a body waits for us | ``request_timeout_seconds``, and a second for each 16 KiB of body | 408 |
| connections without authentication, in all and by address | ``Strangers`` | 503, 429 |
| open connections | the limit of files without ``reserved_files`` | 503 |
| bytes of a body behind the answer to it | 1 MiB | reset |
| what is parsed in one turn of the loop | 4 KiB; connections take turns | next turn |
| of a body that nobody takes | 8 KiB | when the application wants more |

Bodies that somebody wants are bounded where they are read: ``openalgo_site/web/bodies.py``.

A connection that is gone must be freed at once, by its last reference: the collector of cycles
runs rarely in a gateway, because each run makes every client wait. uvicorn's parser, cycle of
request and response, and protocol refer to each other.
"""  # noqa: E501 - a table

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from streaming.edge.kernel_buffer import bound_kernel_buffer
from streaming.edge.places import Edge
from streaming.edge.security import BARE_HEADERS
from streaming.edge_limits import Refusal

__all__ = ["GatewayHttpProtocol"]

_HEADER_LINES = "".join(f"{name.lower()}: {value}\r\n" for name, value in BARE_HEADERS.items())
_TURN_BYTES = 4096
_MOST_PIPELINED = 8
# Of a body, that is kept for an application which does not take it now; uvicorn keeps 64 KiB.
_BODY_BYTES = 8 * 1024
# What the kernel takes of a connection beyond what was read: an upload waits at its sender.
_KERNEL_BYTES = 16 * 1024
# How long, and with how much more to come, whoever was refused may read why.
_FAREWELL_SECONDS = 1.0
_FAREWELL_BYTES = 1024 * 1024
_ANSWERS = {
    Refusal.HEADER_BYTES: (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large.",
    ),
    Refusal.PIPELINED: (HTTPStatus.TOO_MANY_REQUESTS, "Too many requests before an answer."),
    Refusal.SLOW_REQUEST: (HTTPStatus.REQUEST_TIMEOUT, "The request took too long to arrive."),
    Refusal.STRANGERS: (HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections; try again later."),
    Refusal.STRANGERS_OF_ADDRESS: (
        HTTPStatus.TOO_MANY_REQUESTS, "Too many connections of your address; try again later.",
    ),
    Refusal.FILES: (HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections; try again later."),
}  # fmt: skip


class _RefusedError(Exception):
    """Ends uvicorn's parser within one of its callbacks."""


class _Flow(FlowControl):
    """uvicorn's flow control, which tells when the application wants more of a body."""

    def __init__(self, transport: asyncio.Transport, on_wanted: Callable[[], None]) -> None:
        super().__init__(transport)
        self.on_wanted = on_wanted

    def resume_reading(self) -> None:
        super().resume_reading()
        self.on_wanted()


class GatewayHttpProtocol(HttpToolsProtocol):
    """Serves HTTP, and hands WebSockets over.

    Args:
        edge: bounds and counts.
    """

    def __init__(self, edge: Edge, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._edge = edge
        self._waiting = bytearray()  # read and not yet parsed
        self._is_due = False  # ``_work`` is called in one of the next turns
        self._refusal: Refusal | None = None  # from when on nothing is parsed any more
        self._dropped_bytes = 0  # since then
        # Ends a connection that does not read its refusal.
        self._farewell: asyncio.TimerHandle | None = None
        self._is_idle = False  # answered, and nothing asked since
        self._is_counted = False  # among the edge's connections, until handed over or gone
        self._unanswered: list[RequestResponseCycle] = []  # requests, the oldest first
        # Of the request under way: bytes given to the parser, those of headers that are whole, and
        # those of its body. ``_part`` is what the parser has just been given.
        self._given = self._head = self._body = self._part = 0
        self._unwanted_bytes = 0  # of its body, behind the answer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport, self._read_on)
        bound_kernel_buffer(transport, _KERNEL_BYTES)
        address = self.client[0] if self.client else None
        refusal = self._edge.enter(self, address)
        self._is_counted = True
        if refusal is not None:
            self.end(refusal)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            self._dropped_bytes += len(data)
            if self._dropped_bytes > _FAREWELL_BYTES:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        self._waiting += data
        self._go_on()

    def _read_on(self) -> None:
        """Wait for the client again: the application wants more of a body."""
        self._edge.strangers.resume(self, self._edge.clock())
        self._go_on()

    def _go_on(self) -> None:
        """Parse what waits in one of the next turns, if there is anything."""
        if self._waiting and not self._is_due and not self.transport.is_closing():
            self._is_due = True
            self._edge.strangers.heard(self, is_more_due=False)
            self.transport.pause_reading()
            self._edge.lane.join(self._work)

    def _work(self) -> None:
        """Parse what one turn may have."""
        self._is_due = False
        if self._refusal is not None or self.transport.is_closing():
            self._waiting.clear()
            return
        if self.flow.read_paused or self._is_answering():
            return  # whoever reads the body, or has the answer, goes on
        part = bytes(self._waiting[:_TURN_BYTES])
        del self._waiting[:_TURN_BYTES]
        self._part = len(part)
        self._given += len(part)
        super().data_received(part)
        self._edge.strangers.heard(self, is_more_due=not self._is_answering())
        around = self._given - self._body
        if around > self._edge.limits.header_bytes + _TURN_BYTES + self._body // 4:
            self.end(Refusal.HEADER_BYTES)
        elif self._waiting:
            self._go_on()
        elif not self.flow.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def _is_answering(self) -> bool:
        """Whether a whole request waits for its answer; what follows it waits for that."""
        cycle = self.cycle
        return cycle is not None and not cycle.more_body and not cycle.response_complete

    # What the parser finds.

    def on_message_begin(self) -> None:
        self._given, self._head, self._body = self._part, 0, 0
        self._unwanted_bytes = 0
        self._is_idle = False
        if len(self.pipeline) >= _MOST_PIPELINED:
            self._stop(Refusal.PIPELINED)
        if self.cycle is not None and self.cycle.response_complete:
            self._edge.strangers.expect(self, self._edge.clock())
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self._unanswered.append(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        if self.cycle is not None and self.cycle.response_complete:
            self._drop(len(body))
            return
        self._edge.strangers.allow_for(self, len(body))
        super().on_body(body)
        cycle = self.cycle
        if cycle is not None and len(cycle.body) > _BODY_BYTES:
            self.flow.pause_reading()
            self._edge.strangers.pause(self, self._edge.clock())  # it waits for us

    def _drop(self, size: int) -> None:
        """Bound what comes of a body whose request is answered already; it gives no time either."""
        self._unwanted_bytes += size
        if self._unwanted_bytes > _FAREWELL_BYTES and self._refusal is None:
            self._refusal = Refusal.BODY_BYTES
            self._edge.refused[Refusal.BODY_BYTES] += 1
            self.transport.abort()

    def on_message_complete(self) -> None:
        self._edge.strangers.serve(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._unanswered = [each for each in self._unanswered if not each.response_complete]
        super().on_response_complete()
        if not self._is_answering():
            self._is_idle = not self._waiting
            self._expect()
        self._go_on()

    def _count_head(self, size: int) -> None:
        self._head += size
        if self._head > self._edge.limits.header_bytes:
            self._stop(Refusal.HEADER_BYTES)

    def _stop(self, refusal: Refusal) -> None:
        """Let the parser find no more; ``send_400_response`` then says why."""
        self._refusal = refusal
        raise _RefusedError

    # A client that does not read.

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect()

    def _expect(self) -> None:
        """Wait for a request, or until what was answered is read."""
        strangers = self._edge.strangers
        strangers.expect(self, self._edge.clock())
        strangers.allow_for(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.cycle is not None and not self.cycle.response_complete:
            self._edge.strangers.serve(self)

    # How it ends.

    def send_400_response(self, msg: str) -> None:
        if self._refusal is None:
            self._answer(HTTPStatus.BAD_REQUEST, msg)
            self.transport.close()
        else:
            refusal, self._refusal = self._refusal, None
            self.end(refusal)

    def end(self, refusal: Refusal) -> None:
        """End the connection, with an answer where none was begun, and time to read it."""
        if self._refusal is not None:
            return
        self._refusal = refusal
        self._edge.refused[refusal] += 1
        self._edge.strangers.leave(self)
        self._waiting.clear()
        self._unset_keepalive_if_required()
        cycle = self.cycle
        is_answering = cycle is not None and cycle.response_started and not cycle.response_complete
        is_unread = self.flow.write_paused or self.transport.is_closing()
        if is_answering or is_unread or not self._edge.may_part():
            self.transport.abort()
            return
        if self._is_idle:
            self.transport.close()  # an answer would be taken for that to the next request
            return
        self._answer_no_more()
        self._answer(*_ANSWERS[refusal])
        self.transport.write_eof()
        self.transport.resume_reading()
        self._edge.parting += 1
        self._farewell = self.loop.call_later(_FAREWELL_SECONDS, self.transport.abort)

    def _answer(self, status: HTTPStatus, words: str) -> None:
        """Write an answer of our own, with the headers that all others have."""
        self.transport.write(
            (
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain\r\n"
                f"content-length: {len(words) + 1}\r\n{_HEADER_LINES}connection: close\r\n\r\n"
                f"{words}\n"
            ).encode()
        )

    def handle_websocket_upgrade(self) -> None:
        self._edge.strangers.leave(self)
        self._is_counted = False  # from here on the other protocol is
        super().handle_websocket_upgrade()
        # Nothing comes here any more: the transport has another protocol now.
        self._let_go()

    def _answer_no_more(self) -> None:
        """Let nothing be sent by requests under way; uvicorn knows of the newest one only."""
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
        self._unanswered = []

    def connection_lost(self, exc: Exception | None) -> None:
        self._answer_no_more()
        super().connection_lost(exc)
        if self._is_counted:
            self._is_counted = False
            self._edge.leave(self)
        if self._farewell is not None:
            self._edge.parting -= 1
            self._farewell.cancel()
            self._farewell = None
        self._let_go()

    def _let_go(self) -> None:
        self.parser = None  # type: ignore[assignment]
        self.cycle = None  # type: ignore[assignment]
        self.pipeline.clear()
        self._waiting.clear()
        if isinstance(self.flow, _Flow):
            self.flow.on_wanted = _nothing


def _nothing() -> None:
    """Stand in for a connection that is gone."""
