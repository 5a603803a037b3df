"""One client as the hub sees it: its session, its way out, and the task that empties its outbox."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from streaming.clients.batch_outbox import BatchOutbox
from streaming.clients.batches import Cohort
from streaming.clients.frames import FrameJoiner, TickPayload
from streaming.clients.outbox import Outbox
from streaming.clients.senders import (
    TRANSPORT_BYTES,
    ClientSocket,
    FrameWriter,
    Sender,
    sender_of,
)
from streaming.edge_limits import EdgeLimits
from streaming.protocol.session import ClientSession, SessionState
from streaming.protocol.vocabulary import CloseCode
from streaming.waiters import Signal

__all__ = ["AsgiSocket", "Client"]

logger = logging.getLogger("streaming")

# Frames handed over in one go. They cannot be purged any more, so it stays small.
_BATCH_FRAMES = 64

ForceClose = Callable[[int, str], None]


class AsgiSocket:
    """A ``ClientSocket`` that sends with plain ASGI messages, on any server.

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
        """See ``ClientSocket``. Cancelled, it has sent some of the payloads, each of them whole."""
        for payload in payloads:
            await self._send({"type": "websocket.send", "text": payload})

    async def close(self, code: int, reason: str) -> None:
        """See ``ClientSocket``."""
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def abort(self, code: int, reason: str) -> None:
        """See ``ClientSocket``; without the server's help it ends when its consumer returns."""
        if self._force_close is not None:
            self._force_close(code, reason)


class Client:
    """A connected client. Lives on the gateway's loop; everything but ``run`` is synchronous.

    Args:
        client_id: unique within the gateway.
        address: where the client comes from, for limits.
        socket: the server's way for texts, and to end the connection.
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
        socket: ClientSocket,
        limits: EdgeLimits,
        cohort: Cohort | None = None,
        frames: FrameWriter | None = None,
        user_agent: str = "",
    ) -> None:
        self.id = client_id
        self.address = address
        self.user_agent = user_agent
        self.connected_ms = 0  # epoch milliseconds, from ``GatewayHub.enter`` on
        self.session = session = ClientSession(max_instruments=limits.max_instruments_per_client)
        self._ready = Signal()  # something waits in the outbox, or the client is to be closed
        self._room = Signal()  # set whenever ``wait_for_room`` has to look again
        self.sender: Sender = sender_of(
            socket,
            frames=frames,
            cohort=cohort,
            limits=limits,
            wished=lambda: session.wished,
            on_ready=self._ready.set,
            on_drained=self._room.set,
        )
        self.outbox: Outbox[Any] = self.sender.outbox
        self.batches: BatchOutbox | None = self.sender.batches
        # The sender's own methods, so that a tick takes no step more; see there.
        self.push: Callable[[TickPayload], None] = self.sender.push  # nobody's after ``leave``
        self.flush: Callable[[FrameJoiner], None] = self.sender.flush
        self._sending_bytes = 0  # of frames that ``run`` took and that are not handed over yet
        self.answered_bytes = 0  # characters of all frames that were no ticks
        self.pools: set[str] = set()  # every pool that this client ever asked for something
        # Orders what is said to the pools about this client, whoever says it.
        self.upstream_lock = asyncio.Lock()
        self.writer: asyncio.Task[None] | None = None  # runs ``run``, from ``GatewayHub.enter`` on
        self._socket = socket
        # Code, reason and delay of the close frame, from ``close`` on.
        self._closing: tuple[int, str, float] | None = None
        self._abort_timer: asyncio.TimerHandle | None = None  # from ``close`` on
        self._close_timeout = limits.close_timeout_seconds
        self.closed = Signal()  # nothing is sent any more

    def __repr__(self) -> str:
        return f"<Client {self.id} {self.session!r} {self.outbox!r}>"

    def send(self, payload: str) -> None:
        """Queue a frame that must arrive."""
        self.answered_bytes += len(payload)
        self.sender.send(payload)

    def send_behind_ticks(self, payload: str) -> None:
        """Queue a frame that must arrive, and after every tick that came before it."""
        self.answered_bytes += len(payload)
        self.sender.send_behind_ticks(payload)

    async def wait_for_room(self) -> None:
        """Wait while earlier answers are not read: no further request is served meanwhile.

        However long an answer is, one waits: in the outbox, on its way, or with the transport. Ends
        when the client is closed or gone, too. May be cancelled.
        """
        while not (self._may_ask() or self.outbox.finished or self.closed.is_set()):
            self._room.clear()
            await self._room.wait()

    def _may_ask(self) -> bool:
        beside = self._sending_bytes + self.sender.unsent_bytes - TRANSPORT_BYTES
        return self.outbox.has_room(max(beside, 0))

    def drop_waiting(self) -> None:
        """Drop ticks that wait, by a fault of this process's own: no client is too slow for it."""
        self.sender.drop_ticks()

    def is_too_slow(self, now: float) -> bool:
        """Tell whether the client must go; see ``Outbox.is_too_slow``."""
        return self.sender.is_too_slow(now)

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
        self._socket.abort(int(code), reason)
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
        self.push = _drop
        self.sender.leave()

    async def run(self) -> None:
        """Send what the outbox holds until the client is closed or gone. Run once, as a task."""
        try:
            while True:
                payloads = self.outbox.take(_BATCH_FRAMES)
                if payloads:
                    self._room.set()
                    self._sending_bytes = sum(map(len, payloads))
                    await self.sender.hand_over(payloads)
                    self._sending_bytes = 0
                    self._room.set()
                    # A transport with room never suspends this task; other clients get their turn.
                    await asyncio.sleep(0)
                elif self._closing is not None:
                    code, reason, delay_seconds = self._closing
                    await asyncio.sleep(delay_seconds)
                    await self._socket.close(code, reason)
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


def _drop(payload: TickPayload) -> None:
    """Take a tick of a client that is gone."""
