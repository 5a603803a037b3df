"""Readers of a worker's bus: straight off a socket file, or by ZeroMQ's socket with keys.

Both subscribe, reconnect by themselves, and hand over everything that arrived in a turn at once.

On the same machine a gateway speaks ZeroMQ's protocol itself (``streaming/wire/zmtp.py``). A ZeroMQ
socket has a thread that reads for it: each small batch then costs two wake-ups instead of one, a
queue between the two, and several system calls to look into it, together more than everything else
on a tick's way. Encryption stays ZeroMQ's business, so a bus with keys is read through its socket.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol, cast

import zmq

from brokers.times.doubling import doubled_seconds
from streaming.exceptions import BusFolderError, MalformedMessageError
from streaming.turn_pacing import TickRate
from streaming.wire import control as cm
from streaming.wire.address import BusAddress
from streaming.wire.short_waits import ShortWait
from streaming.wire.socket import LoopSocket, single_part
from streaming.wire.socket_files import SocketFiles
from streaming.wire.zmtp import GREETING, ZmtpSubscriber, subscription

__all__ = ["BusReader", "BusSocket", "BusStream", "prepare_client"]

logger = logging.getLogger("streaming.bus")

_RECONNECT_SECONDS = 0.05
_RECONNECT_MAX_SECONDS = 0.5
_CONNECT_TIMEOUT_SECONDS = 5.0
# From such a read on more is probably waiting; everyone else gets a turn first.
_LARGE_READ_BYTES = 64 * 1024
_SHORT_WAIT_SECONDS = 0.002
# A shorter wait costs more than the turn that it saves: the next ticks are there already.
_LEAST_WAIT_SECONDS = 0.00002

OnBatch = Callable[[list[bytes]], None]


class BusReader(Protocol):
    """The receiving end of one bus address; belongs to the loop that ``open`` was called on."""

    def open(self) -> None:
        """Begin to connect; returns at once, whether or not a worker is there."""

    def close(self) -> None:
        """Stop. Idempotent."""

    def subscribe(self, topic: bytes) -> None:
        """Hear ``topic``, now and after every reconnect; asked in the order of the calls."""

    def unsubscribe(self, topic: bytes) -> None:
        """Hear ``topic`` no longer."""


class BusStream(asyncio.Protocol):
    """Reads a bus through its socket file.

    A message that finds no room waits in the publisher, up to its own high-water mark: nothing is
    dropped on this side. A turn takes at most what one read brings (256 KiB or less), so a burst
    alone never fills what a client may have queued.

    After a reconnect topics are asked for in byte order, which has a barrier behind what it is for.

    Args:
        files: whose folder is looked at before each connection; name: of the publisher's file.
        on_batch: gets what one read completed.
        patience: asked after each batch; for so many seconds nothing is read, so that ticks that
            come one by one share a turn. A wait of a few milliseconds ends when the next ticks are
            due, if that is sooner. 0: read on.
    """

    def __init__(
        self,
        *,
        files: SocketFiles,
        name: str,
        on_batch: OnBatch,
        patience: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._files = files
        self._name = name
        self._on_batch = on_batch
        self._patience = patience
        self._topics: set[bytes] = set()  # that are to be heard, also after a reconnect
        self._unsent: list[bytes] = []  # subscriptions that were said in this turn
        self._peer = ZmtpSubscriber(max_bytes=cm.MAX_REPLY_BYTES)  # of the present connection
        self._transport: asyncio.Transport | None = None  # of it; None: there is none
        self._read_at = 0.0  # the last read that was followed by a short wait, monotonic seconds
        self._rate = TickRate()
        self._short_wait: ShortWait | None = None  # made when it is first needed
        self._told = ""  # of what is wrong with the folder
        self._settled = asyncio.Event()  # the handshake is over, one way or the other
        self._lost = asyncio.Event()
        self._running: asyncio.Task[None] | None = None  # from ``open`` on
        self._closed = False  # for good

    def __repr__(self) -> str:
        is_open, topics = self._peer.is_open, len(self._topics)
        return f"<BusStream {self._files.folder / self._name} open={is_open} topics={topics}>"

    def open(self) -> None:
        """See ``BusReader``."""
        if self._running is None and not self._closed:
            self._running = asyncio.create_task(self._run(), name=f"bus {self._name}")

    def close(self) -> None:
        """See ``BusReader``."""
        self._closed = True
        if self._running is not None:
            self._running.cancel()
        if self._transport is not None:
            self._transport.abort()
        if self._short_wait is not None:
            self._short_wait.close()
            self._short_wait = None

    def subscribe(self, topic: bytes) -> None:
        """See ``BusReader``."""
        self._topics.add(topic)
        self._say(subscription(topic, wanted=True))

    def unsubscribe(self, topic: bytes) -> None:
        """See ``BusReader``."""
        self._topics.discard(topic)
        self._say(subscription(topic, wanted=False))

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(GREETING)

    def data_received(self, data: bytes) -> None:
        """Take one read."""
        if self._closed:
            return
        peer = self._peer
        try:
            batch = peer.receive(data)
        except MalformedMessageError as error:
            logger.warning("bus %s: %s; connecting again", self._name, error)
            self._lose()
            return
        if peer.outgoing or not self._settled.is_set():
            self._answer(peer)
        is_large = len(data) >= _LARGE_READ_BYTES
        if is_large and self._transport is not None:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._read_on, self._transport)
        if batch:
            self._on_batch(batch)
            seconds = 0.0 if is_large else self._patience()
            if seconds:
                self._wait(seconds, len(batch))

    def connection_lost(self, exc: Exception | None) -> None:
        """Have ``_run`` connect again."""
        self._transport = None
        self._lost.set()
        self._settled.set()

    # Inside

    async def _run(self) -> None:
        failures = 0  # since a connection was of use last
        while True:
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_SECONDS):
                    await self._connect()
                    await self._settled.wait()
                if self._peer.is_open:
                    failures = 0
                await self._lost.wait()
            except OSError:  # also of a peer that never greets: TimeoutError
                self._lose()
            except BusFolderError as error:
                self._tell(str(error))
            most_seconds = _RECONNECT_MAX_SECONDS
            await asyncio.sleep(
                doubled_seconds(_RECONNECT_SECONDS, failures, most_seconds=most_seconds)
            )
            failures += 1

    def _tell(self, trouble: str) -> None:
        """Say once why a worker that may be there is not believed."""
        if trouble != self._told:
            self._told = trouble
            logger.error("bus %s: %s", self._name, trouble)

    async def _connect(self) -> None:
        self._peer = ZmtpSubscriber(max_bytes=cm.MAX_REPLY_BYTES)
        self._lost.clear()
        self._settled.clear()
        self._files.check()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connection, self._files.path(self._name))
            await loop.create_unix_connection(lambda: self, sock=connection)
        except BaseException:
            connection.close()
            raise

    def _answer(self, peer: ZmtpSubscriber) -> None:
        if peer.outgoing and self._transport is not None:
            self._transport.write(b"".join(peer.outgoing))
        peer.outgoing.clear()
        if peer.is_open and not self._settled.is_set():
            self._on_open()

    def _on_open(self) -> None:
        self._settled.set()
        if self._told:
            self._told = ""
            logger.info("bus %s: its worker is believed again", self._name)
        self._unsent.clear()
        if self._transport is not None:
            frames = [subscription(topic, wanted=True) for topic in sorted(self._topics)]
            self._transport.write(b"".join(frames))

    def _say(self, frame: bytes) -> None:
        """Send what was said in this turn in one write; a large subscribe has thousands of it."""
        if self._peer.is_open and self._transport is not None:
            if not self._unsent:
                asyncio.get_running_loop().call_soon(self._send_unsent)
            self._unsent.append(frame)

    def _send_unsent(self) -> None:
        if self._unsent and self._transport is not None:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _wait(self, seconds: float, ticks: int) -> None:
        transport = self._transport
        if transport is None:
            return
        if seconds > _SHORT_WAIT_SECONDS:
            transport.pause_reading()
            asyncio.get_running_loop().call_later(seconds, self._read_on, transport)
            return
        now = time.monotonic()
        seconds = min(seconds, self._rate.worthwhile_wait(now - self._read_at, ticks))
        self._read_at = now
        if seconds < _LEAST_WAIT_SECONDS:
            return
        transport.pause_reading()
        if self._short_wait is None:
            self._short_wait = ShortWait(self._on_waited)
        self._short_wait.begin(seconds)

    def _on_waited(self) -> None:
        if self._transport is not None:
            self._read_on(self._transport)

    def _read_on(self, transport: asyncio.Transport) -> None:
        if transport is self._transport and not transport.is_closing():
            transport.resume_reading()

    def _lose(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class BusSocket:
    """Reads a bus with keys through a ZeroMQ SUB socket.

    Args:
        context: of the socket.
        bus: whose port it is, and the keys for it.
        receive_hwm: ticks queued while the loop is busy; further ones wait in the publisher.
        on_batch: gets what one turn took off the socket.
    """

    def __init__(
        self,
        *,
        context: zmq.Context[zmq.Socket[bytes]],
        bus: BusAddress,
        receive_hwm: int,
        on_batch: OnBatch,
    ) -> None:
        target = context.socket(zmq.SUB)
        target.setsockopt(zmq.RCVHWM, receive_hwm)
        # A full queue of subscriptions would lose some without a word, so it has no bound; it is
        # never longer than the number of topics.
        target.setsockopt(zmq.SNDHWM, 0)
        prepare_client(target, bus, bus.tcp)
        self._bus = LoopSocket(socket=target, receive=single_part(target), on_batch=on_batch)

    def open(self) -> None:
        """See ``BusReader``."""
        self._bus.open()

    def close(self) -> None:
        """See ``BusReader``."""
        self._bus.close()

    def subscribe(self, topic: bytes) -> None:
        """See ``BusReader``."""
        self._set(zmq.SUBSCRIBE, topic)

    def unsubscribe(self, topic: bytes) -> None:
        """See ``BusReader``."""
        self._set(zmq.UNSUBSCRIBE, topic)

    def _set(self, option: int, topic: bytes) -> None:
        self._bus.socket.setsockopt(option, topic)
        self._bus.look()


def prepare_client(target: zmq.Socket[Any], bus: BusAddress, endpoint: str) -> None:
    """Set what every connecting socket of a gateway has in common, and connect."""
    target.setsockopt(zmq.LINGER, 0)
    target.setsockopt(zmq.RECONNECT_IVL, 50)
    target.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
    # A peer machine that vanishes without closing its connections is noticed by these.
    target.setsockopt(zmq.HEARTBEAT_IVL, 2000)
    target.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6000)
    target.setsockopt(zmq.MAXMSGSIZE, cm.MAX_REPLY_BYTES)
    if bus.files is None and bus.curve is not None:
        if endpoint.startswith("tcp://["):
            target.setsockopt(zmq.IPV6, 1)
        bus.curve.protect_client(target)
    target.connect(endpoint)
