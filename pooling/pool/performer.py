"""Does what the book asks for: opens, closes and wakes connections, and tells of it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pooling.connection.connection import Connection
from pooling.contracts import PoolOptions
from pooling.pool.connections import ConnectionTable
from pooling.pool.feed import PoolFeed
from pooling.pool.journal import PoolJournal
from pooling.pool.telemetry import PoolTelemetry
from pooling.subscriptions.book import SubscriptionBook

__all__ = ["PlanPerformer"]


class PlanPerformer:
    """Carries out what was decided, whoever decided it and in whichever order. On the loop only.

    Args:
        lock: the pool's; held to read what there is to do, not while it is done.
        performing: takes the pokes until now as answered, under the lock; False: do nothing.
        book: says what there is to do.
        table: the pool's connections.
        options: the options in force.
        feed: told what moved and what is gone.
        journal: tells people.
        telemetry: keeps the counters of connections that end.
        arm_linger: told when the next linger ends.
    """

    def __init__(
        self,
        *,
        lock: threading.Lock,
        performing: Callable[[], bool],
        book: SubscriptionBook,
        table: ConnectionTable,
        options: Callable[[], PoolOptions],
        feed: PoolFeed,
        journal: PoolJournal,
        telemetry: PoolTelemetry,
        arm_linger: Callable[[float | None], None],
    ) -> None:
        self._lock = lock
        self._performing = performing
        self._book = book
        self._table = table
        self._options = options
        self._feed = feed
        self._journal = journal
        self._telemetry = telemetry
        self._arm_linger = arm_linger

    def perform(self) -> None:
        """Do what there is to do now."""
        with self._lock:
            if not self._performing():
                return
            actions = self._book.take_actions()
            deadline = self._book.next_deadline()
            options = self._options()
            connections = self._table.connections
            closed = [c for slot in set(actions.closed) if (c := connections.pop(slot, None))]
            for connection in closed:
                self._telemetry.retire(connection)
            opened = [
                self._table.make(slot, self._feed, options)
                for slot in self._book.slots
                if slot not in connections and not self._table.is_paused
            ]
        for connection in closed:
            self._journal.connection_closed(connection.slot)
            self._table.spawn_close(connection)
        self._open(opened, others=len(connections) - len(opened))
        for slot in actions.changed & connections.keys():
            connections[slot].wake()
        self._table.apply(options)
        self._feed.forget(actions.gone)
        self._feed.restarted(
            actions.restarted, "waiting for its first price by another token of the broker's"
        )
        if actions.displaced:
            self._journal.displaced(len(actions.displaced), self._book.limits)
        if actions.displaced or actions.outcomes:
            self._feed.displaced(actions.displaced, actions.outcomes)
        self._feed.judge()
        self._journal.modes_changed(actions.raised, actions.lowered)
        self._arm_linger(deadline)

    def _open(self, connections: list[Connection], *, others: int) -> None:
        for before, connection in enumerate(connections):
            self._journal.connection_opened(
                connection.slot,
                others=others + before,
                limits=self._book.limits,
                is_warm=not self._feed.carries(connection.slot),
            )
            connection.open()
