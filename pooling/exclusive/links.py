"""The links of an exclusive pool, those that are gone included as far as statistics go."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping

from pooling.exclusive.ledger import ExclusiveLedger
from pooling.exclusive.link import ExclusiveLink
from pooling.exclusive.options import ExclusiveStats

__all__ = ["LinkTable"]


class LinkTable(Mapping[int, ExclusiveLink]):
    """Links by number, what they counted, and the tasks that close them. On the pool's loop.

    Args:
        name: of the pool, for the tasks'.
    """

    def __init__(self, *, name: str) -> None:
        self.reuses = self.exhausted = self.broken = 0
        self._name = name
        self._links: dict[int, ExclusiveLink] = {}
        self._last_number = 0
        self._retired = [0, 0, 0]  # sent, received, reconnects of links that are gone
        self._closings: set[asyncio.Task[None]] = set()

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

    def dismiss(self, link: ExclusiveLink, closing: Coroutine[object, object, None]) -> None:
        """Take a link off the table and have ``closing`` end it."""
        del self._links[link.number]
        for index, count in enumerate((link.sent, link.received, link.reconnects)):
            self._retired[index] += count
        name = f"exclusive-{self._name}-close-{link.number}"
        task = asyncio.create_task(closing, name=name)
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)

    async def wait_closed(self, timeout: float) -> None:
        """Wait until everything dismissed has been closed, for so many seconds at most."""
        if self._closings:
            await asyncio.wait(self._closings, timeout=timeout)

    def to_stats(self, ledger: ExclusiveLedger) -> ExclusiveStats:
        """Return the pool as it is now."""
        links = self._links.values()
        sent, received, reconnects = self._retired
        return ExclusiveStats(
            total_connections=self._last_number,
            active_connections=len(ledger.held),
            idle_connections=len(ledger.idle),
            total_messages_sent=sent + sum(link.sent for link in links),
            total_messages_received=received + sum(link.received for link in links),
            total_reconnects=reconnects + sum(link.reconnects for link in links),
            max_connections=ledger.max_connections,
            opening_connections=ledger.opening,
            closing_connections=ledger.closing,
            waiting=ledger.waiting,
            reuses=self.reuses,
            exhausted=self.exhausted,
            broken=self.broken,
            connections=tuple(link.to_stats(ledger.idle_since(link.number)) for link in links),
        )
