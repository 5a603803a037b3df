"""One client's socket as the hub sees it: an outbox, and the task that empties it into a sender."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from streaming.batches import BatchOutbox, Cohort
from streaming.conflation import Outbox
from streaming.limits import EdgeLimits
from streaming.protocol import CloseCode
from streaming.session import ClientSession, SessionState

__all__ = ["AsgiSender", "Client", "Sender"]

logger = logging.getLogger("streaming")

# Frames handed over in one go. They cannot be purged any more, so it stays small.
_BATCH_FRAMES = 64

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


class Client:
    """A connected client. Lives on the gateway's loop; everything but ``run`` is synchronous.

    Args:
        client_id: unique within the gateway.
        address: where the client comes from, for limits.
        sender: how frames leave.
        limits: bounds of the outbox.
        cohort: whose batches the client gets; None: a frame per tick.
    """

    def __init__(
        self,
        *,
        client_id: str,
        address: str,
        sender: Sender,
        limits: EdgeLimits,
        cohort: Cohort | None = None,
    ) -> None:
        self.id = client_id
        self.address = address
        self.session = ClientSession(max_instruments=limits.max_instruments_per_client)
        bounds: dict[str, Any] = {
            "on_ready": self._wake,
            "max_bytes": limits.max_unsent_bytes,
            "stall_seconds": limits.stall_seconds,
        }
        self.batches = BatchOutbox(cohort=cohort, **bounds) if cohort is not None else None
        self.outbox = Outbox(**bounds) if self.batches is None else self.batches
        self.push_tick = self.outbox.push_tick
        self.pools: set[str] = set()  # every pool that this client ever asked for something
        # Orders what is said to the pools about this client, whoever says it.
        self.upstream_lock = asyncio.Lock()
        self.writer: asyncio.Task[None] | None = None
        self._sender = sender
        self._ready = asyncio.Event()
        self._closing: tuple[int, str, float] | None = None
        self._close_timeout = limits.close_timeout_seconds
        self.closed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Client {self.id} {self.session!r} {self.outbox!r}>"

    def send(self, payload: str) -> None:
        """Queue a frame that must arrive."""
        self.outbox.push_control(payload)

    def send_behind_ticks(self, payload: str) -> None:
        """Queue a frame that must arrive, and after every tick that came before it."""
        if self.batches is not None:
            self.batches.push_behind(payload)
        else:
            self.outbox.push_control(payload)

    def close(self, code: CloseCode, reason: str, *, delay_seconds: float = 0.0) -> None:
        """Stop the ticks, let waiting answers out, then close; the first call counts.

        A client that does not take its answers in time is aborted.
        """
        if self._closing is not None:
            return
        self._closing = (int(code), reason, delay_seconds)
        self.session.move(SessionState.CLOSED)
        self.outbox.finish()
        self._ready.set()
        loop = asyncio.get_running_loop()
        loop.call_later(delay_seconds + self._close_timeout, self.abort, code, reason)

    def abort(self, code: CloseCode, reason: str) -> None:
        """End the client now, whether or not it reads; does nothing once it is closed."""
        if self.closed.is_set():
            return
        self.session.move(SessionState.CLOSED)
        self.outbox.finish()
        self._sender.abort(int(code), reason)
        self.closed.set()

    async def run(self) -> None:
        """Send what the outbox holds until the client is closed or gone. Run once, as a task."""
        try:
            while True:
                payloads = self.outbox.take(_BATCH_FRAMES)
                if payloads:
                    await self._sender.send(payloads)
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

    def _wake(self) -> None:
        self._ready.set()
