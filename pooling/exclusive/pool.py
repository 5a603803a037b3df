"""Connections for one holder at a time, by path: opened, lent, reused, checked and closed.

For streams that cannot be shared, as private ones (a listen key in the path) or one socket per
path. The semantics are those of JetSocket's pool: released sockets are reused by whoever asks for
the same URI next, a caller waits for a free one for so long and gets ``PoolExhaustedError``, and
connection options (reconnect, heartbeat) hold for every connection of the pool.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Self

from brokers.contract import Handshake
from pooling.backoff import Randomness
from pooling.clock import Clock
from pooling.connectors.websocket import Connector, Transport
from pooling.exceptions import PoolClosedError, PoolExhaustedError
from pooling.exclusive.acquisition import Acquisition, open_together
from pooling.exclusive.lease import ExclusiveConnection
from pooling.exclusive.ledger import Evict, ExclusiveLedger, Open, Reuse, Seats, Ticket
from pooling.exclusive.link import ExclusiveLink
from pooling.exclusive.links import LinkTable
from pooling.exclusive.options import (
    ConnectionTerms,
    ExclusiveOptions,
    ExclusiveStats,
    describe_uri,
    resolve_uri,
)
from pooling.exclusive.upkeep import ANSWER_SECONDS, ExclusiveUpkeep

__all__ = ["ExclusivePool"]

logger = logging.getLogger("pooling")

MAX_WAITING = 1024
CLOSE_SECONDS = 3.0
DRAIN_SECONDS = 2.0

Hook = Callable[[ExclusiveConnection], Awaitable[None]]
Lend = Callable[[ExclusiveLink], ExclusiveConnection]


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
        self._base_uri = base_uri
        self._connector = connector
        self._clock = clock
        self._rng = rng
        self._options = options or ExclusiveOptions()
        self._is_bound = is_bound
        self._name = name
        self._ledger = ExclusiveLedger(max_connections=self._options.max_connections, seats=seats)
        self._links = LinkTable(name=name)
        self._callers: dict[Ticket, asyncio.Future[ExclusiveLink | None]] = {}
        self._openings: set[asyncio.Timeout] = set()
        self._upkeep = ExclusiveUpkeep(
            name=name,
            clock=clock,
            options=self._options,
            ledger=self._ledger,
            links=self._links,
            close=self._spawn_close,
            drop=self._drop_idle,
        )
        self._changed = asyncio.Event()
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
        on_reconnect: Hook | None = None,
        terms: ConnectionTerms | None = None,
    ) -> Acquisition:
        """Lend a connection: ``async with pool.acquire("/ws/x") as connection``.

        Args:
            path_or_uri: relative to the pool's base, or a full URI.
            timeout: seconds to wait for a free connection, 0 not at all; None takes the pool's.
                Opening one is bounded by ``connect_timeout_seconds`` on its own.
            on_reconnect: called with the connection after each reconnect, to ask for its streams
                anew; what it raises other than a loss ends the connection.
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

    async def warm_up(self, path_or_uri: str, count: int = 1) -> None:
        """Have ``count`` connections open and idle. Those that opened stay if others fail.

        Raises:
            BrokerError, PoolExhaustedError, PoolClosedError: the first failure.
        """
        await open_together(lambda: self.acquire(path_or_uri), count)

    def update_options(self, options: ExclusiveOptions) -> None:
        """Take over edited options. Held connections and their terms stay as they are.

        Idle connections beyond the limit are closed; open sockets keep their pace and frame limit.
        """
        self._options = options
        self._ledger.max_connections = options.max_connections
        self._upkeep.apply(options)
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
            self._spawn_close(eviction.number)
        return len(evictions)

    def get_stats(self) -> ExclusiveStats:
        """Return the pool as it is now."""
        return self._links.to_stats(self._ledger)

    async def close(self, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Stop lending, wait for holders, then close what they still hold. Idempotent.

        Waiting callers get ``PoolClosedError`` at once.
        """
        self._is_closed = True
        await self._upkeep.stop()
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
            logger.info("pool %s: closing %d held connections", self._name, len(self._ledger.held))
        for number in self._ledger.held:
            self._start_closing(number)
        await self._links.wait_closed(CLOSE_SECONDS)

    def serve(self) -> None:
        """Give free connections to those who wait; call it when a shared seat became free."""
        is_settled = False
        while not is_settled:
            is_settled = True
            for decision in self._ledger.decide():
                if isinstance(decision, Evict):
                    self._spawn_close(decision.number)
                elif not self._tell(decision):
                    is_settled = False
        self._changed.set()

    async def _acquire(self, uri: str, timeout: float, lend: Lend) -> ExclusiveConnection:
        self._check_open()
        self._upkeep.start()
        link = await self._wait(uri, timeout)
        if link is None:
            return lend(await self._open(uri))
        try:
            is_fit = await link.proves_fit(ANSWER_SECONDS)
        except BaseException:
            self._give_back(link)
            raise
        if is_fit and not self._is_closed:
            self._links.reuses += 1
            return lend(link)
        if self._is_closed:
            self._give_back(link)
            self._check_open()
        self._discard(link)
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
            self._return_grant(caller.result())

    def _tell(self, decision: Reuse | Open) -> bool:
        """Tell a caller its turn; False if it has gone and the turn is another one's."""
        link = self._links[decision.number] if isinstance(decision, Reuse) else None
        caller = self._callers[decision.ticket]
        if caller.done():
            self._take_grant_back(link)
            return False
        caller.set_result(link)
        return True

    def _return_grant(self, link: ExclusiveLink | None) -> None:
        self._take_grant_back(link)
        self.serve()

    def _take_grant_back(self, link: ExclusiveLink | None) -> None:
        if link is None:
            self._ledger.abandoned()
        elif link.number not in self._links:
            pass  # ``close`` did not wait for it
        elif self._is_closed or not link.is_fit:
            self._start_closing(link.number)
        else:
            self._park(link)

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
            on_broken=self._on_broken,
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
            self._start_closing(link.number)
            self._check_open()
        return link

    async def _connect(self, uri: str) -> Transport:
        return await self._connector(
            Handshake(uri),
            open_timeout_seconds=self._options.connect_timeout_seconds,
            max_frame_bytes=self._options.max_frame_bytes,
        )

    def _give_back(self, link: ExclusiveLink) -> None:
        if link.number not in self._links or self._ledger.is_idle(link.number):
            return
        link.take_back()
        if self._is_closed or not link.is_fit:
            self._start_closing(link.number)
        else:
            self._park(link)
        self.serve()

    def _park(self, link: ExclusiveLink) -> None:
        self._ledger.park(link.number, link.uri, self._clock.monotonic())
        self._upkeep.parked()

    def _discard(self, link: ExclusiveLink) -> None:
        """Drop a broken connection and keep its place for another."""
        self._links.broken += 1
        self._ledger.replaced(link.number)
        link.abort()
        self._links.dismiss(link, link.close())

    def _on_broken(self, link: ExclusiveLink) -> None:
        if self._ledger.is_idle(link.number):
            self._links.broken += 1
            self._start_closing(link.number)
            self.serve()

    def _drop_idle(self, link: ExclusiveLink) -> None:
        self._links.broken += 1
        link.abort()
        self._start_closing(link.number)

    def _start_closing(self, number: int) -> None:
        self._ledger.start_closing(number)
        self._spawn_close(number)

    def _spawn_close(self, number: int) -> None:
        link = self._links[number]
        self._links.dismiss(link, self._close_link(link))

    async def _close_link(self, link: ExclusiveLink) -> None:
        try:
            await link.close()
        finally:
            self._ledger.closed(link.number)
            self.serve()

    def _exhaust(self, timeout: float) -> PoolExhaustedError:
        self._links.exhausted += 1
        return PoolExhaustedError(self._ledger.max_connections, timeout)

    def _check_open(self) -> None:
        if self._is_closed:
            raise PoolClosedError(f"pool {self._name} is closed")
