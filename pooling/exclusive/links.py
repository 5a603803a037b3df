"""The links of an exclusive pool: kept by number, checked and closed while idle, and counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Protocol

from brokers.exceptions import BrokerError
from pooling.clock import Clock
from pooling.exclusive.connection import ExclusiveLink
from pooling.exclusive.options import ExclusiveOptions, ExclusiveStats

__all__ = ["LinkTable", "Places"]

ANSWER_SECONDS = 2.0


class Places(Protocol):
    """The part of the pool's ledger that the table asks: who is idle, what becomes of places."""

    @property
    def idle(self) -> tuple[int, ...]: ...

    def is_idle(self, number: int) -> bool: ...

    def idle_since(self, number: int | None = None) -> float | None: ...

    def expire(self, before: float) -> Sequence[tuple[int]]: ...

    def start_closing(self, number: int) -> None: ...

    def closed(self, number: int) -> None: ...


class LinkTable(Mapping[int, ExclusiveLink]):
    """Links by number, and the tasks that look after idle ones and close. On the pool's loop only.

    Args:
        name: of the pool, for the tasks'.
        clock: where time is read.
        options: of the pool.
        places: the pool's ledger.
        on_free: called when a place may have become free for somebody who waits.
    """

    def __init__(
        self,
        *,
        name: str,
        clock: Clock,
        options: ExclusiveOptions,
        places: Places,
        on_free: Callable[[], None],
    ) -> None:
        self._name = name
        self._clock = clock
        self._options = options  # those in force
        self._places = places
        self._on_free = on_free
        self._links: dict[int, ExclusiveLink] = {}  # open, held or idle; not those that close
        self._last_number = 0  # of attempts to open one, failed ones included
        self._retired = [0, 0, 0]  # sent, received, reconnects of links that are gone
        self._broken = 0  # links that were found dead while nobody held them
        self._closings: set[asyncio.Task[None]] = set()  # of links that are off the table
        self._upkeep: asyncio.Task[None] | None = None  # from the first ``start`` on
        self._parked = asyncio.Event()  # a link became idle, or timings changed: look again

    def __getitem__(self, number: int) -> ExclusiveLink:
        return self._links[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._links)

    def __len__(self) -> int:
        return len(self._links)

    def next_number(self) -> int:
        """Return a number that no link had."""
        self._last_number += 1
        return self._last_number

    def add(self, link: ExclusiveLink) -> None:
        """Take in a link that is open."""
        self._links[link.number] = link

    def start(self) -> None:
        """Begin to look after idle links. Idempotent."""
        if self._upkeep is None:
            self._upkeep = asyncio.create_task(
                self._look_after_idle(), name=f"exclusive-{self._name}-upkeep"
            )

    async def stop(self) -> None:
        """End looking after idle links for good. Idempotent."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.wait([self._upkeep])

    def apply(self, options: ExclusiveOptions) -> None:
        """Follow edited timings from now on."""
        self._options = options
        self._parked.set()

    def parked(self) -> None:
        """Note that a link became idle: there is something to look after."""
        self._parked.set()

    # -- Endings ------------------------------------------------------------------------------

    def start_closing(self, number: int) -> None:
        """Close a held or idle link; its place is free once the socket is closed."""
        self._places.start_closing(number)
        self.close_soon(number)

    def close_soon(self, number: int) -> None:
        """Close a link that the ledger counts as closing already."""
        link = self._links[number]
        self._dismiss(link, self._close(link))

    def drop_dead(self, link: ExclusiveLink) -> None:
        """Drop a link that was found dead before it was lent; its place is another's already."""
        self._broken += 1
        link.abort()
        self._dismiss(link, link.close())

    def lost(self, link: ExclusiveLink) -> None:
        """Note that a link is lost for good; one that is held is closed when it comes back."""
        if self._places.is_idle(link.number):
            self._broken += 1
            self.start_closing(link.number)
            self._on_free()

    async def wait_closed(self, timeout: float) -> None:
        """Wait until everything off the table has been closed, for so many seconds at most."""
        if self._closings:
            await asyncio.wait(self._closings, timeout=timeout)

    def _dismiss(self, link: ExclusiveLink, closing: Coroutine[object, object, None]) -> None:
        """Take a link off the table and have ``closing`` end it."""
        del self._links[link.number]
        for index, count in enumerate((link.sent, link.received, link.reconnects)):
            self._retired[index] += count
        name = f"exclusive-{self._name}-close-{link.number}"
        task = asyncio.create_task(closing, name=name)
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)

    async def _close(self, link: ExclusiveLink) -> None:
        try:
            await link.close()
        finally:
            self._places.closed(link.number)
            self._on_free()

    # -- Idle links ---------------------------------------------------------------------------

    async def _look_after_idle(self) -> None:
        checked = self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            for (number,) in self._places.expire(now - self._options.max_idle_seconds):
                self.close_soon(number)
            if now >= checked + self._options.health_check_seconds:
                await self._check_idle()
                checked = self._clock.monotonic()
            await self._sleep_until(self._next_due(checked + self._options.health_check_seconds))

    def _next_due(self, next_check: float) -> float | None:
        since = self._places.idle_since()
        return None if since is None else min(next_check, since + self._options.max_idle_seconds)

    async def _sleep_until(self, due: float | None) -> None:
        self._parked.clear()
        try:
            wait = None if due is None else max(due - self._clock.monotonic(), 0.001)
            async with asyncio.timeout(wait):
                await self._parked.wait()
        except TimeoutError:
            pass

    async def _check_idle(self) -> None:
        links = [self._links[number] for number in self._places.idle]
        answers = await asyncio.gather(*(self._answers(link) for link in links))
        for link, is_alive in zip(links, answers, strict=True):
            # One that was lent meanwhile was checked then.
            if not is_alive and self._places.is_idle(link.number):
                self._broken += 1
                link.abort()
                self.start_closing(link.number)

    async def _answers(self, link: ExclusiveLink) -> bool:
        try:
            return await link.answers(min(ANSWER_SECONDS, self._options.health_check_seconds))
        except BrokerError:
            return False

    # -- Statistics ---------------------------------------------------------------------------

    def to_stats(
        self,
        *,
        active: int,
        max_connections: int,
        opening: int,
        closing: int,
        waiting: int,
        reuses: int,
        exhausted: int,
    ) -> ExclusiveStats:
        """Return the pool as it is now; the arguments are what its ledger and its callers count."""
        links = self._links.values()
        sent, received, reconnects = self._retired
        return ExclusiveStats(
            total_connections=self._last_number,
            active_connections=active,
            idle_connections=len(self._places.idle),
            total_messages_sent=sent + sum(link.sent for link in links),
            total_messages_received=received + sum(link.received for link in links),
            total_reconnects=reconnects + sum(link.reconnects for link in links),
            max_connections=max_connections,
            opening_connections=opening,
            closing_connections=closing,
            waiting=waiting,
            reuses=reuses,
            exhausted=exhausted,
            broken=self._broken,
            connections=tuple(
                link.to_stats(self._places.idle_since(link.number)) for link in links
            ),
        )
