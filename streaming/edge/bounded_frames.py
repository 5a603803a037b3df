"""The WebSocket protocol with every bound on what a connection may send in it.

| what | bound | beyond it |
| --- | --- | --- |
| frames of every kind | a token bucket, small before authentication | 4429 |
| pieces of a message | ``pieces_per_message`` | 4429 |
| large messages of a user | ``user_large_messages`` under way, some more wait | 4429 |
| time of a large message | ``request_timeout_seconds``, a second for each 16 KiB | 4429 |
| bytes of a message | ``unauthenticated_frame_bytes``, then what the route allows | 1009 |
| what is parsed in one turn | ``turn_bytes``, 64 frames of all (strangers 8, in turn) | next turn |
| messages that wait for the application | one; none before authentication | when it asks |
| connections without authentication | ``Strangers`` | 4429 |

Nothing is read from the network while something waits here, so what a client sends beyond waits on
its own side.
"""

from __future__ import annotations

import asyncio
from asyncio import BaseTransport
from typing import Any

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from websockets.exceptions import PayloadTooBig
from websockets.http11 import Request
from websockets.protocol import CONNECTING, OPEN

from streaming.edge.frame_gate import FrameGate, FrameRefusedError
from streaming.edge.frame_turns import frame_cost
from streaming.edge.kernel_buffer import bound_kernel_buffer
from streaming.edge.large_messages import Place
from streaming.edge.places import Edge
from streaming.edge.uvicorn_frames import SharedFramesProtocol
from streaming.edge_limits import Refusal
from streaming.protocol.vocabulary import CloseCode

__all__ = ["ADMITTED_EXTENSION", "COMES_FROM_EXTENSION", "BoundedFramesProtocol"]

# Name of the ASGI extension by which the application says that it knows who is there:
# ``admitted(most_bytes, user_id)``, with how large a message may be from now on.
ADMITTED_EXTENSION = "tickpool.admitted"
# The same for who is behind a proxy: ``comes_from(address)``.
COMES_FROM_EXTENSION = "tickpool.comes_from"

_STRANGERS_TURN_FRAMES = 8
# How long, and with how much more to come, whoever was refused may read why.
_FAREWELL_SECONDS = 1.0
_FAREWELL_BYTES = 1024 * 1024
# A large message that comes at least as fast may take longer than a request's time.
_BYTES_PER_SECOND = 16 * 1024
# Whoever is late has this much more: what had arrived while this process stood still is read first.
_GRACE_SECONDS = 1.0
# What the kernel takes of a client beyond what was read, and so about what one read brings: as much
# is kept of each client whose large message waits for a place. Of strangers it takes less.
_KERNEL_BYTES = 64 * 1024


class BoundedFramesProtocol(SharedFramesProtocol):
    """Gives uvicorn's parser no more than a connection may send.

    Args:
        edge: bounds and counts.
    """

    def __init__(self, edge: Edge, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._edge = edge
        self._gate = FrameGate(edge.limits)
        self._is_due = False  # ``_work`` is called in one of the next turns
        self._app_waits = False  # the application wants the next message
        self._user_id: int | None = None  # whose client it is, from ``admitted`` on
        # It has a place for a large message, from the header that makes it so until it is served.
        self._is_placed = False
        self._dropped_bytes: int | None = None  # since the connection was refused
        self._in_time: asyncio.TimerHandle | None = None  # while a large message comes
        self.conn.max_message_size = edge.limits.unauthenticated_frame_bytes

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._edge.greet(self, self.client[0] if self.client else None)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            extensions: dict[str, object] = self.scope["extensions"]  # type: ignore[assignment]
            extensions[ADMITTED_EXTENSION] = self.admitted
            extensions[COMES_FROM_EXTENSION] = self.comes_from

    def admitted(self, most_bytes: int, user_id: int) -> None:
        """Apply the bounds of clients that are known, and ``most_bytes`` to their messages."""
        self._gate.admit(most_bytes)
        self._user_id = user_id
        self.conn.max_message_size = most_bytes
        self._edge.strangers.leave(self)
        bound_kernel_buffer(self.transport, _KERNEL_BYTES)  # it may be gone by now

    def comes_from(self, address: str) -> None:
        """Count a client of a proxy as of its own address."""
        self._edge.strangers.comes_from(self, address)

    def data_received(self, data: bytes) -> None:
        if self._dropped_bytes is not None:
            self._dropped_bytes += len(data)
            if self._dropped_bytes > _FAREWELL_BYTES:
                self.transport.abort()
        elif not self.handshake_initiated:
            self._begin(data)
        else:
            self._gate.feed(data)
            is_known = self._gate.is_admitted and not self._is_due
            if is_known and self._edge.frames.has_room(self._user_id):
                self._work()
            else:
                self._go_on()

    def _begin(self, data: bytes) -> None:
        """Take the request; one that is none for uvicorn's parser is answered and ended here."""
        super().data_received(data)
        if not self.handshake_initiated:
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def _go_on(self) -> None:
        """Do the rest in one of the next turns, when it is this one's."""
        if not self._is_due:
            self._is_due = True
            if self._gate.is_admitted:
                self._edge.frames.join(self._user_id, self._work)
            else:
                self._edge.strangers.heard(self, is_more_due=False)
                self._edge.lane.join(self._work)
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def _work(self) -> None:
        """Parse what one turn may have."""
        self._is_due = False
        self._edge.strangers.heard(self, is_more_due=self._app_waits)
        now, frames = self._edge.clock(), self._edge.frames
        is_known = self._gate.is_admitted
        bytes_left = self._edge.limits.turn_bytes
        frames_left = frames.left if is_known else _STRANGERS_TURN_FRAMES
        before = frames_left
        while bytes_left > 0 and frames_left > 0 and self._may_parse():
            try:
                part = self._gate.take(bytes_left, now, with_data=self._takes_data())
            except FrameRefusedError as refusal:
                self.end(refusal.refusal, str(refusal))
                break
            if not part:
                if self._gate.wants_place and self._takes_place():
                    continue
                break
            super().data_received(part)
            bytes_left -= len(part)
            frames_left -= frame_cost(len(part)) if is_known else 1
        if is_known:
            frames.use(before - frames_left)
        if self._gate.is_large == (self._in_time is None):
            self._time_message()
        self._settle(is_turn_over=not (bytes_left > 0 and frames_left > 0))

    def _settle(self, *, is_turn_over: bool) -> None:
        """See to it that what waits goes on in time, and that nothing is read before."""
        if self._dropped_bytes is not None or self.transport.is_closing():
            self._gate.clear()
        elif not self._may_parse() or (self._gate.waiting_bytes and not self._takes_data()):
            self.transport.pause_reading()  # until the application wants something
        elif self._gate.wants_place:
            self.transport.pause_reading()  # until others of the user are done
        elif is_turn_over and self._gate.waiting_bytes:
            self._go_on()
        else:
            self.transport.resume_reading()

    def _takes_place(self) -> bool:
        """Take a place for a large message; False: it waits for one unread, or was refused."""
        place = self._edge.large.ask(self._user_id, self)
        if place is Place.TAKEN:
            self._gate.may_be_large = self._is_placed = True
        elif place is Place.REFUSED:
            self.end(Refusal.LARGE_MESSAGES, "too many large messages of this user at once")
        return self._gate.may_be_large

    def has_place(self) -> None:
        """Go on with the large message that waited for others of the user."""
        self._is_placed = self._gate.may_be_large = True
        self._gate.wants_place = False
        self._look_again()

    def _give_place(self) -> None:
        """Give up the place of a large message that was served; the next one may wait for it."""
        self._is_placed = False
        heir = self._edge.large.served(self._user_id, self)
        if heir is not None:
            heir.has_place()

    def _time_message(self) -> None:
        """Expect a large message that has begun in time, and no more one that is there."""
        if self._in_time is not None:
            self._in_time.cancel()
            self._in_time = None
        elif self._dropped_bytes is None:
            seconds = self._edge.limits.request_timeout_seconds
            seconds += (self.conn.max_message_size or 0) / _BYTES_PER_SECOND
            self._in_time = self.loop.call_later(seconds, self._is_late)

    def _is_late(self) -> None:
        self._in_time = self.loop.call_later(_GRACE_SECONDS, self._is_too_late)

    def _is_too_late(self) -> None:
        self.end(Refusal.SLOW_MESSAGE, "a message that took too long to arrive")

    def _may_parse(self) -> bool:
        return not (
            self.read_paused
            or self._dropped_bytes is not None
            or self.conn.state is CONNECTING
            or self.transport.is_closing()
        )

    def _takes_data(self) -> bool:
        """Whether data frames are parsed, and not only control frames in front of them.

        What a stranger sends is judged when its turn comes: by then it may be known.
        """
        return self._app_waits or self._gate.is_admitted or self.close_sent

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next event; what waits is parsed when the application wants it."""
        self._app_waits = True
        if not self._gate.is_admitted:
            self._edge.strangers.expect_word(self)
        elif self._is_placed and not self._gate.may_be_large and self.queue.empty():
            self._give_place()  # what it was for has been served
        try:
            self._look_again()
            message = await self.queue.get()
        finally:
            self._app_waits = False
        if not self._gate.is_admitted:
            self._edge.strangers.serve(self)
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self._look_again()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        """Send; what waited for the handshake, or for a close frame of ours, is parsed then."""
        await super().send(message)
        if self._gate.waiting_bytes:
            self._look_again()

    def _look_again(self) -> None:
        """Go on with what waits, if it may be parsed now."""
        if not self._is_due and self._may_parse() and not self._gate.wants_place:
            if self._gate.waiting_bytes and self._takes_data():
                self._go_on()
            elif not self._gate.waiting_bytes:
                self.transport.resume_reading()

    def handle_parser_exception(self) -> None:
        """End the connection with the close frame that the parser has made."""
        if isinstance(self.conn.parser_exc, PayloadTooBig):
            self._edge.refused[Refusal.FRAME_BYTES] += 1
        self._part()

    def end(self, refusal: Refusal, words: str = "too many connections") -> None:
        """End a connection that met a bound; one that was told something already is cut off."""
        self._edge.refused[refusal] += 1
        self._edge.strangers.leave(self)
        if self.close_sent or self.conn.state is not OPEN or not self._edge.may_part():
            self.transport.abort()
            return
        self.conn.send_close(CloseCode.RATE_LIMITED, words)
        self._part()

    def _part(self) -> None:
        """Send the close frame, read no more of what comes, and end shortly.

        A socket that is closed with bytes unread is reset, which would take the close frame along.
        """
        sent = self.conn.close_sent
        if sent is not None:
            self.queue.put_nowait(
                {"type": "websocket.disconnect", "code": sent.code, "reason": sent.reason}
            )
        self.stop_keepalive()
        self._forget()
        self._dropped_bytes = 0
        self.close_sent = True
        if self.close_timer is not None:
            self.close_timer.cancel()
        self._edge.parting += 1
        self.close_timer = self.loop.call_later(_FAREWELL_SECONDS, self.transport.abort)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()
        self.transport.resume_reading()

    def _forget(self) -> None:
        """Let go of what the client sent and of what was kept for it."""
        self._is_placed = self._gate.may_be_large = self._gate.wants_place = False
        heir = self._edge.large.leave(self._user_id, self)
        if heir is not None:
            heir.has_place()
        self._gate.clear()
        if self._in_time is not None:
            self._in_time.cancel()
            self._in_time = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._edge.leave(self)
        if self._dropped_bytes is not None:
            self._edge.parting -= 1
        super().connection_lost(exc)
