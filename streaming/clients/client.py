"""One client's socket as the hub sees it: an outbox, and the task that empties it into a sender."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from streaming.clients.batch_outbox import BatchOutbox
from streaming.clients.batches import Cohort
from streaming.clients.frames import Chunk, FrameJoiner, TickPayload, text_frame
from streaming.clients.outbox import Outbox
from streaming.edge.uvicorn_frames import FrameWriter
from streaming.edge_limits import EdgeLimits
from streaming.protocol.session import ClientSession, SessionState
from streaming.protocol.vocabulary import CloseCode
from streaming.waiters import Signal

__all__ = ["KERNEL_UNSENT_BYTES", "AsgiSender", "Client", "Sender"]

logger = logging.getLogger("streaming")

# Frames handed over in one go. They cannot be purged any more, so it stays small.
_BATCH_FRAMES = 64
# The high water mark of a transport (64 KiB) and the largest write above it.
_TRANSPORT_BYTES = 320 * 1024
# What the kernel may hold that is not on the network yet, set by the server for each socket.
KERNEL_UNSENT_BYTES = 256 * 1024
# What is said of one symbol at once: of thousands, it waits beside everything else.
_BYTES_A_SYMBOL = 256

ForceClose = Callable[[int, str], None]


class Sender(Protocol):
    """How frames reach one client; the only part of the way that knows the server."""

    async def send(self, payloads: Sequence[str]) -> None:
        """Send each payload as one text frame, in order; waits while the transport is congested.

        Raises:
            OSError: the client is gone.
        """

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame behind what was sent. Raises OSError when the client is gone."""

    def abort(self, code: int, reason: str) -> None:
        """End a client whose transport takes no more; never blocks. The close frame may be lost."""


class AsgiSender:
    """Sends with plain ASGI messages, on any server.

    Args:
        send: the ASGI ``send`` of the connection.
        force_close: the server's way past a congested transport, where it has one.
    """

    def __init__(
        self, send: Callable[[dict[str, Any]], Any], force_close: ForceClose | None = None
    ) -> None:
        self._send = send
        self._force_close = force_close

    async def send(self, payloads: Sequence[str]) -> None:
        """See ``Sender``. Cancelled, it has sent some of the payloads, each of them whole."""
        for payload in payloads:
            await self._send({"type": "websocket.send", "text": payload})

    async def close(self, code: int, reason: str) -> None:
        """See ``Sender``."""
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def abort(self, code: int, reason: str) -> None:
        """See ``Sender``; without the server's help the socket ends when its consumer returns."""
        if self._force_close is not None:
            self._force_close(code, reason)


class _FrameSender:
    """Sends ready frames, whole; everything else is left to ``fallback``."""

    def __init__(self, frames: FrameWriter, fallback: Sender) -> None:
        self._frames = frames
        self._fallback = fallback
        self._drained = Signal()

    def wake(self) -> None:
        """Look again whether there is room."""
        self._drained.set()

    async def send(self, payloads: Sequence[Any]) -> None:
        while self._frames.is_congested:
            self._drained.clear()
            await self._drained.wait()
        if not self._frames.write(b"".join(payloads)):
            raise ConnectionResetError("the client takes no more frames")

    async def close(self, code: int, reason: str) -> None:
        await self._fallback.close(code, reason)

    def abort(self, code: int, reason: str) -> None:
        self._fallback.abort(code, reason)


class Client:
    """A connected client. Lives on the gateway's loop; everything but ``run`` is synchronous.

    Args:
        client_id: unique within the gateway.
        address: where the client comes from, for limits.
        sender: how frames leave.
        limits: bounds of the outbox.
        cohort: whose batches the client gets; None: a frame per tick.
        frames: the server's way to take ready frames, where it has one.
        user_agent: what the client says it is, bounded and printable.

    With ``frames``, ticks of one turn are written at once while the transport has room and nothing
    else waits; everything that has to wait does so in the outbox, as it does without.
    """

    def __init__(
        self,
        *,
        client_id: str,
        address: str,
        sender: Sender,
        limits: EdgeLimits,
        cohort: Cohort | None = None,
        frames: FrameWriter | None = None,
        user_agent: str = "",
    ) -> None:
        self.id = client_id
        self.address = address
        self.user_agent = user_agent
        self.connected_ms = 0  # epoch milliseconds, from ``GatewayHub.enter`` on
        self.session = ClientSession(max_instruments=limits.max_instruments_per_client)
        # What transport and kernel may hold beside the outbox counts, too.
        beside = _TRANSPORT_BYTES + KERNEL_UNSENT_BYTES
        bounds: dict[str, Any] = {
            "on_ready": self._wake,
            "max_bytes": max(limits.max_unsent_bytes - beside, 1),
            "allowance": _allowance_of(self.session, beside),
            "stall_seconds": limits.stall_seconds,
        }
        self.batches: BatchOutbox | None = None
        self.outbox: Outbox[Any]
        # Takes a tick as the hub hands it out; ``flush`` follows within the same turn.
        self.push: Callable[[TickPayload], None]
        self._pending: list[TickPayload] = []
        self._frames = frames
        if cohort is not None:
            wants_frames = frames is not None
            self.batches = BatchOutbox(
                cohort=cohort,
                wants_frames=wants_frames,
                write_now=self._write_now if wants_frames else None,
                **bounds,
            )
            self.outbox = self.batches
            self.push = self._push_body
        else:
            self.outbox = Outbox(**bounds)
            self.push = self._push_text if frames is None else self._pending.append
        if frames is not None:
            frames.on_drained = self._wake_drained
            sender = _FrameSender(frames, sender)
        self._is_sending = False
        self._sending_bytes = 0  # of frames that were taken and that the sender has not handed over
        self._congested_since: float | None = None
        self.answered_bytes = 0  # characters of all frames that were no ticks
        self.pools: set[str] = set()  # every pool that this client ever asked for something
        # Orders what is said to the pools about this client, whoever says it.
        self.upstream_lock = asyncio.Lock()
        self.writer: asyncio.Task[None] | None = None
        self._sender = sender
        self._ready = Signal()
        self._room = Signal()  # set whenever ``wait_for_room`` has to look again
        self._closing: tuple[int, str, float] | None = None
        self._abort_timer: asyncio.TimerHandle | None = None  # from ``close`` on
        self._close_timeout = limits.close_timeout_seconds
        self.closed = Signal()

    def __repr__(self) -> str:
        return f"<Client {self.id} {self.session!r} {self.outbox!r}>"

    def send(self, payload: str) -> None:
        """Queue a frame that must arrive."""
        self.answered_bytes += len(payload)
        if self._frames is None:
            self.outbox.push_control(payload)
            return
        frame = text_frame(payload.encode())
        if self.outbox.finished or not self._has_room():
            self.outbox.push_control(frame)
        else:
            self._frames.write(frame)

    async def wait_for_room(self) -> None:
        """Wait while earlier answers are not read: no further request is served meanwhile.

        However long an answer is, one waits: in the outbox, on its way, or with the transport. Ends
        when the client is closed or gone, too. May be cancelled.
        """
        while not (self._may_ask() or self.outbox.finished or self.closed.is_set()):
            self._room.clear()
            await self._room.wait()

    def _may_ask(self) -> bool:
        beside = self._sending_bytes - _TRANSPORT_BYTES
        if self._frames is not None:
            beside += self._frames.unsent_bytes
        return self.outbox.has_room(max(beside, 0))

    def flush(self, joiner: FrameJoiner) -> None:
        """Write the ticks pushed in this turn, or queue them behind what waits already."""
        pending = self._pending
        if not pending or self._frames is None:
            return
        if self.outbox.finished:
            pass
        elif self._has_room():
            self._write(joiner.join(pending), self._frames)
        else:
            self._queue(pending)
        pending.clear()

    def drop_waiting(self) -> None:
        """Drop ticks that wait, by a fault of this process's own: no client is too slow for it."""
        self._congested_since = None
        self.outbox.drop_ticks()

    def is_too_slow(self, now: float) -> bool:
        """Tell whether the client must go; see ``Outbox.is_too_slow``.

        With ready frames it must as well once its transport was congested for as long.
        """
        if self._frames is None or not self._frames.is_congested:
            self._congested_since = None
        elif self._congested_since is None:
            self._congested_since = now
        elif now - self._congested_since >= self.outbox.stall_seconds:
            return True
        return self.outbox.is_too_slow(now)

    def send_behind_ticks(self, payload: str) -> None:
        """Queue a frame that must arrive, and after every tick that came before it."""
        if self.batches is not None:
            is_text = self._frames is None
            self.batches.push_behind(payload if is_text else text_frame(payload.encode()))
        else:
            self.send(payload)

    def close(self, code: CloseCode, reason: str, *, delay_seconds: float = 0.0) -> bool:
        """Stop the ticks, let waiting answers out, then close; True for the first, which counts.

        A client that does not take its answers in time is aborted.
        """
        if self._closing is not None:
            return False
        self._closing = (int(code), reason, delay_seconds)
        self.session.move(SessionState.CLOSED)
        self.outbox.finish()
        self._ready.set()
        self._room.set()
        loop = asyncio.get_running_loop()
        seconds = delay_seconds + self._close_timeout
        self._abort_timer = loop.call_later(seconds, self.abort, code, reason)
        return True

    def abort(self, code: CloseCode, reason: str) -> None:
        """End the client now, whether or not it reads; does nothing once it is closed."""
        if self.closed.is_set():
            return
        self.session.move(SessionState.CLOSED)
        self.outbox.finish()
        self._sender.abort(int(code), reason)
        self.closed.set()
        self._room.set()

    def leave(self) -> None:
        """End what the client does and let go of what refers to it. Idempotent.

        It is then freed by its last reference: the collector of cycles runs rarely in a gateway,
        because each run makes every client wait.
        """
        self.outbox.finish()
        if self.session.state is not SessionState.CLOSED:
            self.session.move(SessionState.CLOSED)
        if self.writer is not None:
            self.writer.cancel()
            self.writer = None
        if self._abort_timer is not None:
            self._abort_timer.cancel()
            self._abort_timer = None
        self.outbox.let_go()
        self.push = _drop
        self._pending.clear()
        if self._frames is not None:
            self._frames.on_drained = _nothing

    async def run(self) -> None:
        """Send what the outbox holds until the client is closed or gone. Run once, as a task."""
        try:
            while True:
                payloads = self.outbox.take(_BATCH_FRAMES)
                if payloads:
                    self._room.set()
                    self._is_sending, self._sending_bytes = True, sum(map(len, payloads))
                    await self._sender.send(payloads)
                    self._is_sending, self._sending_bytes = False, 0
                    self._room.set()
                    # A transport with room never suspends this task; other clients get their turn.
                    await asyncio.sleep(0)
                elif self._closing is not None:
                    code, reason, delay_seconds = self._closing
                    await asyncio.sleep(delay_seconds)
                    await self._sender.close(code, reason)
                    return
                else:
                    self._ready.clear()
                    await self._ready.wait()
        except OSError:
            logger.debug("client %s went away while frames were sent to it", self.id)
        except Exception:  # supervision point: one client's failure is no other client's
            logger.exception("client %s: sending failed; closing it", self.id)
            self.abort(CloseCode.BACKEND_DOWN, "server error")
        finally:
            self.closed.set()
            self._room.set()

    def _wake(self) -> None:
        self._ready.set()

    def _wake_drained(self) -> None:
        self._congested_since = None
        self._room.set()
        if isinstance(self._sender, _FrameSender):
            self._sender.wake()

    def _push_body(self, payload: TickPayload) -> None:
        self.outbox.push_tick(payload.line, payload.body)

    def _push_text(self, payload: TickPayload) -> None:
        self.outbox.push_tick(payload.line, payload.text)

    def _has_room(self) -> bool:
        frames = self._frames
        return (
            frames is not None
            and not frames.is_congested
            and not self._is_sending
            and not len(self.outbox)
        )

    def _write_now(self, frame: bytes) -> bool:
        frames = self._frames
        return frames is not None and self._has_room() and frames.write(frame)

    def _write(self, chunks: Sequence[Chunk], frames: FrameWriter) -> None:
        for chunk in chunks:
            if frames.is_congested:
                self._queue(chunk.payloads)
            else:
                frames.write(chunk.data)

    def _queue(self, payloads: Sequence[TickPayload]) -> None:
        push_tick = self.outbox.push_tick
        for payload in payloads:
            push_tick(payload.line, payload.frame)


def _allowance_of(session: ClientSession, beside: int) -> Callable[[], int]:
    """Return what says how many bytes of answers may wait beside everything else.

    ``beside`` are those that transport and kernel may hold: while answers wait, they are full.
    """
    return lambda: beside + _BYTES_A_SYMBOL * session.wished


def _drop(payload: TickPayload) -> None:
    """Take a tick of a client that is gone."""


def _nothing() -> None:
    """Stand in for a client that is gone."""
