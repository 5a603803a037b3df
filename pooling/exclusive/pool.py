"""Connections for one holder at a time, by path: waited for, opened, lent and given back.

For streams that cannot be shared, as private ones (a listen key in the path) or one socket per
path. The semantics are those of JetSocket's pool: released sockets are reused by whoever asks for
the same URI next, a caller waits for a free one for so long and gets ``PoolExhaustedError``, and
connection options (reconnect, heartbeat) hold for every connection of the pool.

``ExclusiveLedger`` decides who gets which connection. It is pure: it counts and queues, and
``ExclusivePool`` opens, lends and closes what it decided. Who follows an ``acquire`` reads down:
``acquire``, ``_acquire``, ``_wait``, the ledger's ``decide``, ``_open``; then ``connection.py``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import NamedTuple, Self

from brokers.contract import Handshake
from brokers.words import counted
from pooling.clock import Clock
from pooling.connectors.websocket import Connector, Transport
from pooling.exceptions import PoolClosedError, PoolExhaustedError
from pooling.exclusive.connection import ExclusiveConnection, ExclusiveLink
from pooling.exclusive.links import ANSWER_SECONDS, LinkTable
from pooling.exclusive.options import (
    ConnectionTerms,
    ExclusiveOptions,
    ExclusiveStats,
    Seats,
    describe_uri,
    resolve_uri,
)
from pooling.retry_waits import Randomness

__all__ = ["Acquisition", "Decision", "Evict", "ExclusiveLedger", "ExclusivePool", "Open", "Reuse"]

logger = logging.getLogger("pooling")

MAX_WAITING = 1024
CLOSE_SECONDS = 3.0
DRAIN_SECONDS = 2.0

Lend = Callable[[ExclusiveLink], ExclusiveConnection]


class Ticket:
    """One caller's place in the queue."""

    __slots__ = ("uri",)

    def __init__(self, uri: str) -> None:
        self.uri = uri


class Reuse(NamedTuple):
    """The caller gets an idle connection."""

    ticket: Ticket
    number: int


class Open(NamedTuple):
    """The caller may open a connection."""

    ticket: Ticket


class Evict(NamedTuple):
    """An idle connection is to be closed: its place is needed."""

    number: int


Decision = Reuse | Open | Evict


class ExclusiveLedger:
    """Counts and queue of one pool: who gets which connection. Pure. Not thread-safe.

    Callers are served in the order of their asking. An idle connection of the same URI is reused,
    the one used last first, so that those that are not needed grow old and are closed. Without one
    a further connection is opened; at the limit an idle one of another URI makes way. A later
    caller may be served before an earlier one only while the earlier one's place is being cleared.

    A connection counts from the decision to open it until its socket is closed: that is how a
    broker counts.

    Args:
        max_connections: how many may be open at once.
        seats: a limit shared with others; None: there is none.
    """

    def __init__(self, *, max_connections: int, seats: Seats | None = None) -> None:
        if max_connections < 1:
            raise ValueError("max_connections must be at least 1")
        self.max_connections = max_connections
        self._seats = seats
        self._waiting: dict[Ticket, None] = {}  # who has no connection yet, in order of asking
        self._active: set[int] = set()  # held
        self._idle: dict[int, tuple[str, float]] = {}  # URI and since when, longest idle first
        self._idle_of: dict[str, list[int]] = {}  # the idle ones of each URI, last used last
        self._closing: set[int] = set()  # let go of; they count until their sockets are closed
        self.opening = 0  # places that were granted, where nothing is open yet

    @property
    def waiting(self) -> int:
        """Callers that wait for a connection."""
        return len(self._waiting)

    @property
    def held(self) -> tuple[int, ...]:
        """The connections that are held."""
        return tuple(self._active)

    @property
    def idle(self) -> tuple[int, ...]:
        """The connections that nobody holds, the longest idle first."""
        return tuple(self._idle)

    @property
    def closing(self) -> int:
        """Connections that are being closed."""
        return len(self._closing)

    @property
    def occupied(self) -> int:
        """Connections that count against the limit."""
        return self.opening + len(self._active) + len(self._idle) + len(self._closing)

    def is_idle(self, number: int) -> bool:
        """Tell whether nobody holds the connection."""
        return number in self._idle

    def ask(self, uri: str) -> Ticket:
        """Join the queue."""
        ticket = Ticket(uri)
        self._waiting[ticket] = None
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        """Leave the queue; a ticket that was served is ignored."""
        self._waiting.pop(ticket, None)

    def decide(self) -> list[Decision]:
        """Serve whom it can; the decisions are in force when it returns."""
        decisions: list[Decision] = []
        cleared = len(self._closing)
        for ticket in list(self._waiting):
            if (number := self._take_idle(ticket.uri)) is not None:
                del self._waiting[ticket]
                decisions.append(Reuse(ticket, number))
            elif self._take_seat():
                del self._waiting[ticket]
                decisions.append(Open(ticket))
            elif cleared:
                cleared -= 1
            elif self._idle:
                decisions.append(self._evict())
            else:
                break
        while self._idle and self.occupied - len(self._closing) > self.max_connections:
            decisions.append(self._evict())
        return decisions

    def opened(self, number: int) -> None:
        """Note that an opening succeeded; the connection is held."""
        self.opening -= 1
        self._active.add(number)

    def abandoned(self) -> None:
        """Note that an opening failed."""
        self.opening -= 1
        self._give_seat_back()

    def replaced(self, number: int) -> None:
        """Note that a held connection is gone and another is being opened in its place."""
        self._active.remove(number)
        self.opening += 1

    def park(self, number: int, uri: str, now: float) -> None:
        """Note that a held connection was given back."""
        self._active.remove(number)
        self._idle[number] = (uri, now)
        self._idle_of.setdefault(uri, []).append(number)

    def start_closing(self, number: int) -> None:
        """Note that a held or idle connection is being closed."""
        if number in self._idle:
            self._forget_idle(number)
        else:
            self._active.remove(number)
        self._closing.add(number)

    def closed(self, number: int) -> None:
        """Note that its socket is closed."""
        self._closing.remove(number)
        self._give_seat_back()

    def evict(self, count: int) -> list[Evict]:
        """Have up to ``count`` idle connections closed, the longest idle first."""
        return [self._evict() for _ in range(min(count, len(self._idle)))]

    def expire(self, before: float) -> list[Evict]:
        """Have those closed that are idle since ``before`` or longer."""
        old = sum(1 for _, since in self._idle.values() if since <= before)
        return self.evict(old)

    def idle_since(self, number: int | None = None) -> float | None:
        """Return since when a connection is idle (None: the longest idle one), if it is."""
        if number is None:
            number = next(iter(self._idle), None)
        entry = None if number is None else self._idle.get(number)
        return None if entry is None else entry[1]

    def _take_idle(self, uri: str) -> int | None:
        numbers = self._idle_of.get(uri)
        if not numbers:
            return None
        number = numbers[-1]
        self._forget_idle(number)
        self._active.add(number)
        return number

    def _take_seat(self) -> bool:
        if self.occupied >= self.max_connections:
            return False
        if self._seats is not None and not self._seats.take():
            return False
        self.opening += 1
        return True

    def _give_seat_back(self) -> None:
        if self._seats is not None:
            self._seats.give_back()

    def _evict(self) -> Evict:
        number = next(iter(self._idle))
        self.start_closing(number)
        return Evict(number)

    def _forget_idle(self, number: int) -> None:
        uri, _ = self._idle.pop(number)
        numbers = self._idle_of[uri]
        numbers.remove(number)
        if not numbers:
            del self._idle_of[uri]


class Acquisition:
    """A connection that was asked for: ``async with`` it, or await it and release by hand."""

    def __init__(self, acquire: Callable[[], Awaitable[ExclusiveConnection]]) -> None:
        self._acquire = acquire
        self._connection: ExclusiveConnection | None = None  # what ``async with`` entered

    def __await__(self) -> Generator[object, None, ExclusiveConnection]:
        return self._acquire().__await__()

    async def __aenter__(self) -> ExclusiveConnection:
        if self._connection is not None:
            raise RuntimeError("an acquisition is entered once; call acquire again")
        self._connection = await self._acquire()
        return self._connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            await self._connection.release()


class ExclusivePool:
    """Exclusive connections of one endpoint. Used on one event loop only.

    Every coroutine may be cancelled anywhere: a caller that goes away gives on what it was about to
    get, and a place that it took is free again.

    Args:
        base_uri: what paths are relative to; None: full URIs only.
        connector: opens sockets.
        clock: where time is read.
        rng: jitter of reconnects.
        options: limits, timings and connection options.
        seats: a limit on connections that others take from too.
        is_bound: refuse URIs of other hosts than the base's.
        name: for task names and logs.
    """

    def __init__(
        self,
        *,
        base_uri: str | None = None,
        connector: Connector,
        clock: Clock,
        rng: Randomness,
        options: ExclusiveOptions | None = None,
        seats: Seats | None = None,
        is_bound: bool = False,
        name: str = "exclusive",
    ) -> None:
        if base_uri is not None:
            resolve_uri(None, base_uri)
        if is_bound and base_uri is None:
            raise ValueError("a pool that is bound to its base needs one")
        self._base_uri = base_uri  # of the endpoint in force
        self._connector = connector
        self._clock = clock
        self._rng = rng
        self._options = options or ExclusiveOptions()  # those in force
        self._is_bound = is_bound
        self._name = name
        self._ledger = ExclusiveLedger(max_connections=self._options.max_connections, seats=seats)
        self._links = LinkTable(
            name=name,
            clock=clock,
            options=self._options,
            places=self._ledger,
            on_free=self.serve,
        )
        # Who waits for a turn: a link is lent to it, None is leave to open one.
        self._callers: dict[Ticket, asyncio.Future[ExclusiveLink | None]] = {}
        self._openings: set[asyncio.Timeout] = set()  # handshakes under way, for ``close`` to end
        self._reuses = self._exhausted = 0  # hand-overs without a handshake; callers that got none
        self._changed = asyncio.Event()  # something was given back or closed, for ``close``
        self._is_closed = False

    def __repr__(self) -> str:
        ledger = self._ledger
        return (
            f"<ExclusivePool {self._name}: {len(ledger.held)} active, {len(ledger.idle)} idle "
            f"of {ledger.max_connections}>"
        )

    async def __aenter__(self) -> Self:
        self._check_open()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()

    def acquire(
        self,
        path_or_uri: str,
        timeout: float | None = None,
        *,
        on_reconnect: Callable[[ExclusiveConnection], Awaitable[None]] | None = None,
        terms: ConnectionTerms | None = None,
    ) -> Acquisition:
        """Lend a connection: ``async with pool.acquire("/ws/x") as connection``.

        Args:
            path_or_uri: relative to the pool's base, or a full URI.
            timeout: seconds to wait for a free connection, 0 not at all; None takes the pool's.
                Opening one is bounded by ``connect_timeout_seconds`` on its own.
            on_reconnect: called with the connection after each reconnect, to ask for its streams
                again; what it raises other than a loss ends the connection.
            terms: reconnecting, heartbeat and longest message while it is held, on a reused socket
                too; None takes the pool's, whose limit of a message is never lifted.

        Raises:
            ValueError: the URI or the timeout makes no sense.
            PoolExhaustedError: no connection became free in time.
            PoolClosedError: the pool was closed, before or meanwhile.
            BrokerError: a connection could not be opened.
        """
        uri = resolve_uri(self._base_uri, path_or_uri, is_bound=self._is_bound)
        seconds = self._options.acquire_timeout_seconds if timeout is None else timeout
        if not seconds >= 0:
            raise ValueError("timeout must not be negative")

        def lend(link: ExclusiveLink) -> ExclusiveConnection:
            # The options in force when it is lent, not those when it was opened.
            options = self._options
            own = (terms or options.terms).within(options.max_message_bytes)
            return ExclusiveConnection(
                link=link, give_back=self._give_back, hook=on_reconnect, terms=own
            )

        return Acquisition(lambda: self._acquire(uri, seconds, lend))

    def update_options(self, options: ExclusiveOptions) -> None:
        """Take over edited options. Held connections and their terms stay as they are.

        Idle connections beyond the limit are closed; open sockets keep their pace and frame limit.
        """
        self._options = options
        self._ledger.max_connections = options.max_connections
        self._links.apply(options)
        self.serve()

    def rebase(self, base_uri: str) -> None:
        """Take over another endpoint: idle connections are closed, held ones stay where they are.

        Raises:
            ValueError: it is no WebSocket URI.
        """
        resolve_uri(None, base_uri)
        self._base_uri = base_uri
        self.evict_idle(len(self._ledger.idle))

    def evict_idle(self, count: int) -> int:
        """Have up to ``count`` idle connections closed for the sake of others; returns how many."""
        evictions = self._ledger.evict(count)
        for eviction in evictions:
            self._links.close_soon(eviction.number)
        return len(evictions)

    def get_stats(self) -> ExclusiveStats:
        """Return the pool as it is now."""
        ledger = self._ledger
        return self._links.to_stats(
            active=len(ledger.held),
            max_connections=ledger.max_connections,
            opening=ledger.opening,
            closing=ledger.closing,
            waiting=ledger.waiting,
            reuses=self._reuses,
            exhausted=self._exhausted,
        )

    async def close(self, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Stop lending, wait for holders, then close what they still hold. Idempotent.

        Waiting callers get ``PoolClosedError`` at once.
        """
        self._is_closed = True
        await self._links.stop()
        for caller in self._callers.values():
            if not caller.done():
                caller.set_exception(PoolClosedError(f"pool {self._name} was closed"))
        for opening in self._openings:
            if not opening.expired():
                opening.reschedule(0)
        self.evict_idle(len(self._ledger.idle))
        try:
            async with asyncio.timeout(drain_seconds):
                while self._ledger.held or self._ledger.opening:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            held = counted(len(self._ledger.held), "held connection")
            logger.info("pool %s: closing %s", self._name, held)
        for number in self._ledger.held:
            self._links.start_closing(number)
        await self._links.wait_closed(CLOSE_SECONDS)

    def serve(self) -> None:
        """Give free connections to those who wait; call it when a shared seat became free."""
        is_settled = False
        while not is_settled:
            is_settled = True
            for decision in self._ledger.decide():
                if isinstance(decision, Evict):
                    self._links.close_soon(decision.number)
                elif not self._tell(decision):
                    is_settled = False
        self._changed.set()

    async def _acquire(self, uri: str, timeout: float, lend: Lend) -> ExclusiveConnection:
        self._check_open()
        self._links.start()
        link = await self._wait(uri, timeout)
        if link is None:
            return lend(await self._open(uri))
        try:
            is_fit = await link.proves_fit(ANSWER_SECONDS)
        except BaseException:
            self._give_back(link)
            raise
        if is_fit and not self._is_closed:
            self._reuses += 1
            return lend(link)
        if self._is_closed:
            self._give_back(link)
            self._check_open()
        self._ledger.replaced(link.number)  # its place is this caller's, for another one
        self._links.drop_dead(link)
        return lend(await self._open(uri))

    async def _wait(self, uri: str, timeout: float) -> ExclusiveLink | None:
        """Wait for one's turn; returns an idle connection, or None for leave to open one."""
        if self._ledger.waiting >= MAX_WAITING:
            raise self._exhaust(timeout)
        ticket = self._ledger.ask(uri)
        caller: asyncio.Future[ExclusiveLink | None] = asyncio.get_running_loop().create_future()
        self._callers[ticket] = caller
        try:
            self.serve()
            async with asyncio.timeout(timeout):
                return await caller
        except TimeoutError:
            self._refuse(ticket, caller)
            raise self._exhaust(timeout) from None
        except BaseException:
            self._refuse(ticket, caller)
            raise
        finally:
            del self._callers[ticket]

    def _refuse(self, ticket: Ticket, caller: asyncio.Future[ExclusiveLink | None]) -> None:
        """Give on what a caller got in the very moment in which it went away."""
        self._ledger.withdraw(ticket)
        if caller.done() and not caller.cancelled() and caller.exception() is None:
            self._give_back(caller.result())

    def _tell(self, decision: Reuse | Open) -> bool:
        """Tell a caller its turn; False if it has gone and the turn is another one's."""
        link = self._links[decision.number] if isinstance(decision, Reuse) else None
        caller = self._callers[decision.ticket]
        if caller.done():
            self._put_back(link)
            return False
        caller.set_result(link)
        return True

    async def _open(self, uri: str) -> ExclusiveLink:
        """Open a connection on a place that was granted; gives it back on any failure."""
        link = ExclusiveLink(
            number=self._links.next_number(),
            uri=uri,
            address=describe_uri(uri),
            options=self._options,
            connect=self._connect,
            clock=self._clock,
            rng=self._rng,
            on_broken=self._links.lost,
        )
        try:
            # Without a deadline of its own: it is there for ``close`` to end it.
            async with asyncio.timeout(None) as opening:
                self._openings.add(opening)
                try:
                    self._check_open()
                    await link.open()
                finally:
                    self._openings.discard(opening)
        except BaseException as error:
            self._ledger.abandoned()
            self.serve()
            if isinstance(error, TimeoutError):
                self._check_open()
            raise
        self._ledger.opened(link.number)
        self._links.add(link)
        if self._is_closed:
            self._links.start_closing(link.number)
            self._check_open()
        return link

    async def _connect(self, uri: str) -> Transport:
        return await self._connector(
            Handshake(uri),
            open_timeout_seconds=self._options.connect_timeout_seconds,
            max_frame_bytes=self._options.max_frame_bytes,
        )

    def _give_back(self, link: ExclusiveLink | None) -> None:
        """Take back a lease that ends, or a turn that nobody waits for any more; serve others."""
        self._put_back(link)
        self.serve()

    def _put_back(self, link: ExclusiveLink | None) -> None:
        if link is None:
            self._ledger.abandoned()
        elif link.number not in self._links or self._ledger.is_idle(link.number):
            pass  # ``close`` did not wait for it
        else:
            link.take_back()
            if self._is_closed or not link.is_fit:
                self._links.start_closing(link.number)
            else:
                self._ledger.park(link.number, link.uri, self._clock.monotonic())
                self._links.parked()

    def _exhaust(self, timeout: float) -> PoolExhaustedError:
        self._exhausted += 1
        return PoolExhaustedError(self._ledger.max_connections, timeout)

    def _check_open(self) -> None:
        if self._is_closed:
            raise PoolClosedError(f"pool {self._name} is closed")
