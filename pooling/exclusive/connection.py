"""An exclusive connection: the link, through all its holders, and what each holder has of it.

A link is one WebSocket and those that follow it: read, kept alive, opened again while held. One
task reads all the time, so that a loss is noticed whether or not anybody waits for a message; what
it reads waits in a bounded inbox and nothing is dropped: a holder that does not read makes the
broker wait. What arrives while nobody holds the link is discarded.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import Self

from brokers.exceptions import BrokerAuthError, BrokerConfigError, BrokerError
from brokers.words import one_line
from pooling.clock import Clock
from pooling.connection.pacing import Pacer, check_message_size
from pooling.connectors.websocket import Transport
from pooling.exceptions import (
    ConnectionLostError,
    ConnectionReleasedError,
    SilentConnectionError,
)
from pooling.exclusive.options import (
    ConnectionTerms,
    ExclusiveConnectionStats,
    ExclusiveOptions,
    LinkState,
)
from pooling.retry_waits import Backoff, Randomness

__all__ = ["ExclusiveConnection", "ExclusiveLink"]

logger = logging.getLogger("pooling")

MAX_INBOX = 1024
LOOK_SECONDS = 0.01
PING_SECONDS = 10.0
NORMAL_CODES = (1000, 1001)


class ExclusiveLink:
    """A connection of an ``ExclusivePool``, through all its holders. Used on one loop only.

    ``lend`` names a lease; what a holder does with a lease that is over raises.

    Args:
        number: the link's number in its pool.
        uri: where it leads.
        address: the same, as people may see it.
        options: of the pool; what they say of reconnecting, heartbeats and messages holds where a
            lease says nothing else.
        connect: opens a socket; its errors are ``BrokerError``.
        clock: where time is read.
        rng: jitter of reconnects.
        on_broken: told once that the link is lost for good; must not raise.
    """

    def __init__(
        self,
        *,
        number: int,
        uri: str,
        address: str,
        options: ExclusiveOptions,
        connect: Callable[[str], Awaitable[Transport]],
        clock: Clock,
        rng: Randomness,
        on_broken: Callable[[ExclusiveLink], None],
    ) -> None:
        self.number = number
        self.uri = uri
        self.address = address
        self.uses = self.sent = self.received = self.discarded = self.reconnects = 0  # ever
        self._options = options
        self._terms = options.terms  # of the present lease
        self._connect = connect
        self._clock = clock
        self._rng = rng
        self._on_broken = on_broken
        self._state = LinkState.IDLE
        self._lease = 0  # the present one's number; counted up as it is lent and as it comes back
        self._on_reconnect: Callable[[], Awaitable[None]] | None = None  # of the present lease
        self._transport: Transport | None = None  # None: not open, or being reopened
        self._backoff = self._make_backoff()  # of the present lease
        self._tasks: set[asyncio.Task[None]] = set()  # that run; ``close`` ends them
        self._heartbeat: asyncio.Task[None] | None = None  # of the present lease
        self._inbox: deque[str | bytes] = deque()  # read, and not yet taken by the holder
        self._news = asyncio.Event()  # for the holder: a message, a failure or the lease's end
        self._room = asyncio.Event()  # for the reader: the inbox is not full any more
        self._failure: BrokerError | None = None  # why the link is lost for good
        self._silence: SilentConnectionError | None = None  # why the heartbeat dropped the socket
        self._pacer = Pacer(clock=clock, interval_seconds=options.message_interval_seconds)
        self._opened_at = self._up_since = clock.monotonic()  # the link; its socket or lease
        self._latency: float | None = None  # seconds of the last ping that was answered
        self._last_close = ""  # why the last socket ended

    def __repr__(self) -> str:
        return f"<ExclusiveLink {self.number} {self.address} {self._state}>"

    @property
    def state(self) -> LinkState:
        """The link's place in its life."""
        return self._state

    @property
    def is_fit(self) -> bool:
        """Whether its socket is open, as far as is known."""
        return self._transport is not None and self._state in (LinkState.IDLE, LinkState.ACTIVE)

    # -- Life ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the socket. Cancelling it leaves nothing behind. Raises BrokerError."""
        self._transport = await self._connect(self.uri)
        self._opened_at = self._up_since = self._clock.monotonic()
        self._spawn("reader", self._run(self._transport))

    def lend(
        self,
        on_reconnect: Callable[[], Awaitable[None]] | None,
        terms: ConnectionTerms | None = None,
    ) -> int:
        """Start a lease and return its number. ``terms`` None takes the pool's."""
        self._terms = terms or self._options.terms
        self._lease += 1
        self.uses += 1
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            self._heartbeat = None
        if self._terms.heartbeat_seconds is not None:
            self._heartbeat = self._spawn("heartbeat", self._beat(self._terms.heartbeat_seconds))
        self._state = LinkState.ACTIVE
        self._on_reconnect = on_reconnect
        self._backoff = self._make_backoff()
        self._up_since = self._clock.monotonic()
        return self._lease

    def is_lent(self, lease: int) -> bool:
        """Tell whether the lease still runs."""
        return lease == self._lease

    def take_back(self) -> None:
        """End the lease. A link that is not fit afterwards is of no use to anybody."""
        self._lease += 1
        self._on_reconnect = None
        self.discarded += len(self._inbox)
        self._inbox.clear()
        if self._state is LinkState.ACTIVE:
            self._state = LinkState.IDLE
        elif self._state is LinkState.RECONNECTING:
            self._state = LinkState.BROKEN
        self._room.set()
        self._news.set()

    def abort(self) -> None:
        """Drop the socket at once, without a close frame."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Close the socket and end every task. Idempotent; cancelling it drops the socket."""
        self._state = LinkState.CLOSED
        self._failure = self._failure or ConnectionLostError("the connection was closed by us")
        self._news.set()
        try:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            if self._transport is not None:
                await self._transport.close()
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._transport = None

    # -- The holder's -------------------------------------------------------------------------

    async def send(self, lease: int, message: str | bytes) -> None:
        """Send at the broker's pace; see ``ExclusiveConnection.send``."""
        self._check(lease)
        check_message_size(message, self._terms.max_message_bytes)
        async with self._pacer.turn():
            self._check(lease)
            await self._open_transport().send(message)
            self.sent += 1

    async def recv(self, lease: int) -> str | bytes:
        """Return the next message; see ``ExclusiveConnection.recv``."""
        self._check(lease)
        while not self._inbox:
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            await self._news.wait()
            self._check(lease)
        message = self._inbox.popleft()
        self._room.set()
        return message

    async def ping(self, lease: int, timeout: float) -> float:
        """Return the seconds of a round trip; see ``ExclusiveConnection.ping``."""
        self._check(lease)
        if not await self.answers(timeout):
            raise SilentConnectionError(f"no pong came within {timeout:g} s")
        self._check(lease)
        return self._latency or 0.0

    async def answers(self, timeout: float) -> bool:
        """Ping and tell whether a pong came in time. Raises ConnectionLostError."""
        transport = self._open_transport()
        async with self._pacer.turn():
            sent_at = self._clock.monotonic()
            pong = await transport.ping()
        if pong is None:
            is_alive = await self._sees_pong(transport, sent_at, timeout)
        else:
            await asyncio.wait([pong], timeout=timeout)
            is_alive = pong.done() and not pong.cancelled() and pong.exception() is None
        if is_alive:
            self._latency = self._clock.monotonic() - sent_at
        return is_alive

    async def proves_fit(self, timeout: float) -> bool:
        """Check it before it is handed over: one round trip, not a handshake."""
        await asyncio.sleep(0)  # a loss that the loop knows of reaches the reader first
        try:
            return self.is_fit and await self.answers(timeout) and self.is_fit
        except BrokerError:
            return False

    async def _sees_pong(self, transport: Transport, sent_at: float, timeout: float) -> bool:
        """Look for a pong now and then, at a transport that does not tell."""
        while transport.pong_at < sent_at:
            if self._clock.monotonic() - sent_at >= timeout or transport is not self._transport:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    def to_stats(self, idle_since: float | None) -> ExclusiveConnectionStats:
        """Return the link as it is now."""
        now = self._clock.monotonic()
        return ExclusiveConnectionStats(
            number=self.number,
            address=self.address,
            state=self._state,
            age_seconds=now - self._opened_at,
            uses=self.uses,
            messages_sent=self.sent,
            messages_received=self.received,
            messages_discarded=self.discarded,
            reconnects=self.reconnects,
            idle_seconds=None if idle_since is None else now - idle_since,
            latency_seconds=self._latency,
            last_close=self._last_close,
        )

    # -- Tasks --------------------------------------------------------------------------------

    def _spawn(self, role: str, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"exclusive-{self.number}-{role}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, transport: Transport) -> None:
        failure: BrokerError
        while True:
            try:
                await self._read(transport)
            except BrokerError as error:
                failure = self._silence or error
            except Exception:
                # Supervision point: a defect costs this connection, and its holder is told.
                logger.exception("exclusive connection %s failed unexpectedly", self.address)
                failure = ConnectionLostError("internal error")
            self._transport = self._silence = None
            self._last_close = str(failure)
            transport.abort()
            next_transport = await self._reopen(failure)
            if next_transport is None:
                return
            transport = next_transport

    async def _read(self, transport: Transport) -> None:
        while True:
            message = await transport.recv()
            lease = self._lease
            while self._state is LinkState.ACTIVE and len(self._inbox) >= MAX_INBOX:
                self._room.clear()
                await self._room.wait()
            if self._state is LinkState.ACTIVE and lease == self._lease:
                self.received += 1
                self._inbox.append(message)
                self._news.set()
            else:
                self.discarded += 1

    async def _reopen(self, failure: BrokerError) -> Transport | None:
        """Open the next socket while the lease runs; None: the link is lost for good."""
        reconnect = self._terms.reconnect
        attempts = 0
        if self._state is LinkState.ACTIVE and reconnect is not None:
            self._state = LinkState.RECONNECTING
            self._backoff.was_healthy(self._clock.monotonic() - self._up_since)
        while reconnect is not None and self._state is LinkState.RECONNECTING:
            is_hopeless = isinstance(failure, BrokerAuthError | BrokerConfigError)
            if is_hopeless or attempts == reconnect.max_attempts:
                break
            attempts += 1
            await asyncio.sleep(self._backoff.delay_seconds(failure))
            if self._state is not LinkState.RECONNECTING:
                break
            try:
                transport = await self._connect(self.uri)
            except BrokerError as error:
                failure = error
                self._last_close = str(error)
                continue
            return self._take_over(transport)
        self._give_up(failure)
        return None

    def _take_over(self, transport: Transport) -> Transport:
        self._transport = transport
        self._pacer.reset()
        self._up_since = self._clock.monotonic()
        self.reconnects += 1
        if self._state is LinkState.RECONNECTING:
            self._state = LinkState.ACTIVE
            if self._on_reconnect is not None:
                self._spawn("reconnected", self._tell_reconnected(self._on_reconnect, self._lease))
        return transport

    async def _tell_reconnected(self, tell: Callable[[], Awaitable[None]], lease: int) -> None:
        try:
            await tell()
        except (BrokerError, ConnectionReleasedError) as error:
            # The next reconnect tells again, and what is released needs no telling.
            why = one_line(error)
            logger.info("exclusive connection %s: after its reconnect: %s", self.address, why)
        except Exception:
            # Supervision point: the holder's own code; without it the stream would stay silent.
            logger.exception("exclusive connection %s: its holder's hook failed", self.address)
            if self.is_lent(lease):
                self._give_up(ConnectionLostError("the hook that follows a reconnect failed"))
                self.abort()

    def _give_up(self, failure: BrokerError) -> None:
        if self._state in (LinkState.CLOSED, LinkState.BROKEN):
            is_news = False
        else:
            self._state, is_news = LinkState.BROKEN, True
        self._failure = self._failure or failure
        self._news.set()
        if is_news:
            self._on_broken(self)

    async def _beat(self, seconds: float) -> None:
        """Ping while held: a broker that answers no more is dropped, and the reader notices."""
        while True:
            await asyncio.sleep(seconds)
            transport = self._transport
            is_clogged = len(self._inbox) >= MAX_INBOX  # its pong would wait behind the messages
            if transport is None or self._state is not LinkState.ACTIVE or is_clogged:
                continue
            try:
                is_alive = await self.answers(seconds)
            except BrokerError:
                continue
            if not is_alive and transport is self._transport and len(self._inbox) < MAX_INBOX:
                self._silence = SilentConnectionError(f"no pong came within {seconds:g} s")
                transport.abort()

    def _open_transport(self) -> Transport:
        if self._transport is not None:
            return self._transport
        raise self._failure or ConnectionLostError("the connection is lost; it is being reopened")

    def _check(self, lease: int) -> None:
        if lease != self._lease:
            raise ConnectionReleasedError("the connection was released")

    def _make_backoff(self) -> Backoff:
        reconnect = self._terms.reconnect
        if reconnect is None:
            return Backoff(rng=self._rng)
        return Backoff(
            rng=self._rng,
            base_seconds=reconnect.base_seconds,
            cap_seconds=reconnect.cap_seconds,
        )


class ExclusiveConnection:
    """One connection, for one holder, from ``acquire`` until ``release``. On the pool's loop only.

    With reconnecting on, a loss shows only as a gap: ``recv`` waits through it, ``send`` and
    ``ping`` raise ``ConnectionLostError`` while it lasts. After ``release`` everything raises
    ``ConnectionReleasedError``.
    """

    def __init__(
        self,
        *,
        link: ExclusiveLink,
        give_back: Callable[[ExclusiveLink], None],
        hook: Callable[[ExclusiveConnection], Awaitable[None]] | None,
        terms: ConnectionTerms | None = None,
    ) -> None:
        self._link = link
        self._give_back = give_back
        # The link counts its leases: a number that is not its present one is over.
        self._lease = link.lend(None if hook is None else partial(hook, self), terms)

    def __repr__(self) -> str:
        state = self._link.state if self._is_held else "released"
        return f"<ExclusiveConnection {self._link.address} {state}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.release()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.recv()
        except ConnectionLostError as error:
            if error.code in NORMAL_CODES:
                raise StopAsyncIteration from None
            raise

    @property
    def uri(self) -> str:
        """The URI it leads to; may hold a credential."""
        return self._link.uri

    @property
    def reconnects(self) -> int:
        """Times that its socket was opened again, under earlier holders too."""
        return self._link.reconnects

    async def send(self, message: str | bytes) -> None:
        """Send one message, at the pace of the pool's options. Cancelled, it may have been sent.

        Raises:
            BrokerLimitError: it is longer than may be sent; nothing was.
            ConnectionLostError: the socket is gone, or is being reopened; nothing was sent.
            ConnectionReleasedError: the connection was given back.
        """
        await self._link.send(self._lease, message)

    async def recv(self) -> str | bytes:
        """Return the next message. May be cancelled without loss.

        Raises:
            BrokerError: the connection is lost for good, and why.
            ConnectionReleasedError: the connection was given back.
        """
        return await self._link.recv(self._lease)

    async def ping(self, timeout: float = PING_SECONDS) -> float:
        """Return the seconds of a round trip. A pong waits behind messages that are not read.

        Raises:
            SilentConnectionError: no pong came in time.
            ConnectionLostError: the socket is gone, or is being reopened.
            ConnectionReleasedError: the connection was given back.
        """
        return await self._link.ping(self._lease, timeout)

    async def release(self) -> None:
        """Give the connection back. Idempotent; a broken one is closed and not lent again."""
        if self._is_held:
            self._give_back(self._link)

    @property
    def _is_held(self) -> bool:
        return self._link.is_lent(self._lease)
