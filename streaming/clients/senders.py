"""Senders: how the answers and ticks of one client wait, and how they leave.

A ``TextSender`` hands texts to the server, a ``FrameSender`` writes ready frames at once while
nothing is in their way, and a ``BatchSender`` gives either of them whole batches instead of ticks.
``sender_of`` makes the one that a client needs, with the outbox that it empties.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Protocol

from streaming.clients.batch_outbox import BatchOutbox
from streaming.clients.batches import Cohort
from streaming.clients.frames import Chunk, FrameJoiner, TickPayload, text_frame
from streaming.clients.outbox import Outbox
from streaming.edge_limits import EdgeLimits
from streaming.waiters import Signal

__all__ = [
    "KERNEL_UNSENT_BYTES",
    "TRANSPORT_BYTES",
    "BatchSender",
    "ClientSocket",
    "FrameSender",
    "FrameWriter",
    "Sender",
    "TextSender",
    "sender_of",
]

# The high water mark of a transport (64 KiB) and the largest write above it.
TRANSPORT_BYTES = 320 * 1024
# What the kernel may hold that is not on the network yet, set by the server for each socket.
KERNEL_UNSENT_BYTES = 256 * 1024
# What is said of one symbol at once: of thousands, it waits beside everything else.
_BYTES_A_SYMBOL = 256


class ClientSocket(Protocol):
    """One client's WebSocket as its server takes texts for it."""

    async def send(self, payloads: Sequence[str]) -> None:
        """Send each payload as one text frame, in order; waits while the transport is congested.

        Raises:
            OSError: the client is gone.
        """

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame behind what was sent. Raises OSError when the client is gone."""

    def abort(self, code: int, reason: str) -> None:
        """End a client whose transport takes no more; never blocks. The close frame may be lost."""


class FrameWriter(Protocol):
    """A server's way to take ready frames for one client.

    ``is_congested`` is true from when the transport holds more than its high water mark until it
    is below its low one. ``on_drained`` is called then, and when the connection is lost.
    """

    is_congested: bool
    on_drained: Callable[[], None]

    @property
    def unsent_bytes(self) -> int:
        """Bytes that were written and that the kernel has not taken."""

    def write(self, frames: bytes) -> bool:
        """Write whole unmasked frames; False, and nothing written, when it is no longer open.

        Never waits: look at ``is_congested`` before.
        """


class Sender(Protocol):
    """The way out of one client. Belongs to the event loop; only ``hand_over`` waits."""

    @property
    def outbox(self) -> Outbox[Any]:
        """The frames that have to wait, and the bounds of them."""

    @property
    def batches(self) -> BatchOutbox | None:
        """The outbox of a client that gets batches; None: it gets a frame per tick."""

    @property
    def push(self) -> Callable[[TickPayload], None]:
        """The taker of a tick as the hub hands it out; ``flush`` follows within the same turn."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes that were handed over and wait with the transport, as far as it says so."""

    def flush(self, joiner: FrameJoiner) -> None:
        """Write the ticks pushed in this turn, or queue them behind what waits already."""

    def send(self, payload: str) -> None:
        """Send or queue a frame that must arrive."""

    def send_behind_ticks(self, payload: str) -> None:
        """Queue a frame that must arrive, and after every tick that came before it."""

    def drop_ticks(self) -> None:
        """Drop ticks that wait, by a fault of this process's own: no client is too slow for it."""

    def is_too_slow(self, now: float) -> bool:
        """Tell whether the client must go; see ``Outbox.is_too_slow``."""

    def hand_over(self, payloads: Sequence[Any]) -> Awaitable[None]:
        """Send what was taken from the outbox; waits while the transport is congested.

        Raises:
            OSError: the client is gone.
        """

    def leave(self) -> None:
        """Let go of what refers to the client, whose outbox is finished. Idempotent."""


class TextSender:
    """Queues each answer and each tick as a text, of which the server makes a frame."""

    __slots__ = ("_socket", "outbox")

    batches: ClassVar[None] = None
    unsent_bytes: ClassVar[int] = 0  # ``ClientSocket.send`` waits for the transport

    def __init__(self, outbox: Outbox[Any], socket: ClientSocket) -> None:
        self.outbox = outbox
        self._socket = socket

    def push(self, payload: TickPayload) -> None:
        """See ``Sender``."""
        self.outbox.push_tick(payload.line, payload.text)

    def flush(self, joiner: FrameJoiner) -> None:
        """Do nothing: every tick was queued when it was pushed."""

    def send(self, payload: str) -> None:
        """See ``Sender``."""
        self.outbox.push_control(payload)

    send_behind_ticks = send

    def encode(self, payload: str) -> str:
        """Return a frame as the outbox keeps it."""
        return payload

    def drop_ticks(self) -> None:
        """See ``Sender``."""
        self.outbox.drop_ticks()

    def is_too_slow(self, now: float) -> bool:
        """See ``Sender``."""
        return self.outbox.is_too_slow(now)

    def hand_over(self, payloads: Sequence[str]) -> Awaitable[None]:
        """See ``Sender``."""
        return self._socket.send(payloads)

    def leave(self) -> None:
        """See ``Sender``."""
        self.outbox.let_go()


class FrameSender:
    """Writes ready frames while the transport has room and nothing else waits, or queues them.

    Ticks of one turn are written at once.
    """

    __slots__ = (
        "_congested_since",
        "_drained",
        "_frames",
        "_is_sending",
        "_on_drained",
        "_pending",
        "outbox",
        "push",
    )

    batches: ClassVar[None] = None

    def __init__(
        self, outbox: Outbox[Any], frames: FrameWriter, on_drained: Callable[[], None]
    ) -> None:
        self.outbox = outbox
        self._frames = frames
        self._on_drained = on_drained  # the client's
        self._pending: list[TickPayload] = []  # ticks of this turn
        self.push: Callable[[TickPayload], None] = self._pending.append
        self._drained = Signal()  # what ``hand_over`` waits for
        self._is_sending = False  # what was taken from the outbox is not written yet
        # When ``is_too_slow`` first found the transport congested, without a pause since.
        self._congested_since: float | None = None
        frames.on_drained = self._go_on

    @property
    def unsent_bytes(self) -> int:
        """See ``Sender``."""
        return self._frames.unsent_bytes

    def flush(self, joiner: FrameJoiner) -> None:
        """See ``Sender``."""
        pending = self._pending
        if not pending:
            return
        if self.outbox.finished:
            pass
        elif self._has_room():
            self._write(joiner.join(pending))
        else:
            self._queue(pending)
        pending.clear()

    def send(self, payload: str) -> None:
        """See ``Sender``."""
        frame = self.encode(payload)
        if self.outbox.finished or not self._has_room():
            self.outbox.push_control(frame)
        else:
            self._frames.write(frame)

    send_behind_ticks = send

    def encode(self, payload: str) -> bytes:
        """Return a frame as the outbox keeps it."""
        return text_frame(payload.encode())

    def write_now(self, frame: bytes) -> bool:
        """Write a frame at once; False, and nothing written, when something is in its way."""
        return self._has_room() and self._frames.write(frame)

    def drop_ticks(self) -> None:
        """See ``Sender``."""
        self._congested_since = None
        self.outbox.drop_ticks()

    def is_too_slow(self, now: float) -> bool:
        """See ``Sender``; true as well once the transport was congested for as long."""
        if not self._frames.is_congested:
            self._congested_since = None
        elif self._congested_since is None:
            self._congested_since = now
        elif now - self._congested_since >= self.outbox.stall_seconds:
            return True
        return self.outbox.is_too_slow(now)

    async def hand_over(self, payloads: Sequence[bytes]) -> None:
        """See ``Sender``."""
        self._is_sending = True
        while self._frames.is_congested:
            self._drained.clear()
            await self._drained.wait()
        if not self._frames.write(b"".join(payloads)):
            raise ConnectionResetError("the client takes no more frames")
        self._is_sending = False

    def leave(self) -> None:
        """See ``Sender``."""
        self.outbox.let_go()
        self._pending.clear()
        self._frames.on_drained = _nothing

    def _go_on(self) -> None:
        self._congested_since = None
        self._drained.set()
        self._on_drained()

    def _has_room(self) -> bool:
        return not (self._frames.is_congested or self._is_sending or len(self.outbox))

    def _write(self, chunks: Sequence[Chunk]) -> None:
        frames = self._frames
        for chunk in chunks:
            if frames.is_congested:
                self._queue(chunk.payloads)
            else:
                frames.write(chunk.data)

    def _queue(self, payloads: Sequence[TickPayload]) -> None:
        push_tick = self.outbox.push_tick
        for payload in payloads:
            push_tick(payload.line, payload.frame)


class BatchSender:
    """Gives a client its ticks in the batches of its cohort; everything leaves through ``wire``."""

    __slots__ = ("_wire", "batches")

    def __init__(self, batches: BatchOutbox, wire: TextSender | FrameSender) -> None:
        self.batches = batches
        self._wire = wire

    @property
    def outbox(self) -> BatchOutbox:
        """See ``Sender``."""
        return self.batches

    @property
    def unsent_bytes(self) -> int:
        """See ``Sender``."""
        return self._wire.unsent_bytes

    def push(self, payload: TickPayload) -> None:
        """See ``Sender``: a tick for this client alone, as its snapshot is."""
        self.batches.push_tick(payload.line, payload.body)

    def flush(self, joiner: FrameJoiner) -> None:
        """Do nothing: ticks wait for the cohort's moment."""

    def send(self, payload: str) -> None:
        """See ``Sender``."""
        self._wire.send(payload)

    def send_behind_ticks(self, payload: str) -> None:
        """See ``Sender``."""
        self.batches.push_behind(self._wire.encode(payload))

    def drop_ticks(self) -> None:
        """See ``Sender``."""
        self._wire.drop_ticks()

    def is_too_slow(self, now: float) -> bool:
        """See ``Sender``."""
        return self._wire.is_too_slow(now)

    def hand_over(self, payloads: Sequence[Any]) -> Awaitable[None]:
        """See ``Sender``."""
        return self._wire.hand_over(payloads)

    def leave(self) -> None:
        """See ``Sender``."""
        self._wire.leave()


def sender_of(
    socket: ClientSocket,
    *,
    frames: FrameWriter | None,
    cohort: Cohort | None,
    limits: EdgeLimits,
    wished: Callable[[], int],
    on_ready: Callable[[], None],
    on_drained: Callable[[], None],
) -> Sender:
    """Return the sender of a client, with an outbox of its own.

    Args:
        socket: the server's way for texts.
        frames: its way for ready frames, where it has one.
        cohort: whose batches the client gets; None: a frame per tick.
        limits: bounds of the outbox.
        wished: how many symbols the client holds or asks for now; answers about them may wait.
        on_ready: see ``Outbox``.
        on_drained: called when a transport that was congested has room again.
    """
    # What transport and kernel may hold beside the outbox counts, too; while answers wait, both
    # are full.
    beside = TRANSPORT_BYTES + KERNEL_UNSENT_BYTES
    max_bytes = max(limits.max_unsent_bytes - beside, 1)

    def allowance() -> int:
        return beside + _BYTES_A_SYMBOL * wished()

    if cohort is None:
        outbox: Outbox[Any] = Outbox(
            on_ready=on_ready,
            max_bytes=max_bytes,
            allowance=allowance,
            stall_seconds=limits.stall_seconds,
        )
        return (
            TextSender(outbox, socket)
            if frames is None
            else FrameSender(outbox, frames, on_drained)
        )
    batches = BatchOutbox(
        cohort=cohort,
        wants_frames=frames is not None,
        on_ready=on_ready,
        max_bytes=max_bytes,
        allowance=allowance,
        stall_seconds=limits.stall_seconds,
    )
    if frames is None:
        return BatchSender(batches, TextSender(batches, socket))
    wire = FrameSender(batches, frames, on_drained)
    batches.write_now = wire.write_now
    return BatchSender(batches, wire)


def _nothing() -> None:
    """Stand in for a client that is gone."""
