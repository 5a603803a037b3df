"""What the passing of time asks of a pool: upkeep about once a second, and the end of lingers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from brokers.words import counted, verb
from pooling.backoff import Randomness
from pooling.clock import Clock
from pooling.contracts import PoolOptions
from pooling.lifecycle import ConnectionState
from pooling.pool.connections import ConnectionTable
from pooling.pool.journal import PoolJournal
from pooling.pool.telemetry import PoolTelemetry
from pooling.subscriptions.book import SubscriptionBook
from pooling.subscriptions.upkeep import (
    CloseIdle,
    Evacuate,
    Merge,
    Readmit,
    Reopen,
    Retire,
    SettleMoves,
    Task,
    Upkeep,
)

__all__ = ["Caretaker"]

UPKEEP_SECONDS = 1.0


class Caretaker:
    """Has ``Upkeep`` decide and the book follow. On the worker's loop, except ``warm_up``.

    Args:
        lock: the pool's; guards the book.
        book: the pool's book.
        table: the pool's connections.
        options: the options in force.
        journal: tells people.
        telemetry: counts.
        clock: where time is read.
        rng: spreads rotations.
        max_lifetime_seconds: when the broker ends a connection; None: never.
        perform: does what the book then asks for.
    """

    def __init__(
        self,
        *,
        lock: threading.Lock,
        book: SubscriptionBook,
        table: ConnectionTable,
        options: Callable[[], PoolOptions],
        journal: PoolJournal,
        telemetry: PoolTelemetry,
        clock: Clock,
        rng: Randomness,
        max_lifetime_seconds: float | None,
        perform: Callable[[], None],
    ) -> None:
        self._lock = lock
        self._book = book
        self._table = table
        self._options = options
        self._journal = journal
        self._telemetry = telemetry
        self._clock = clock
        self._perform = perform
        self._upkeep = Upkeep(rng=rng, max_lifetime_seconds=max_lifetime_seconds)
        self._timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin on the running loop."""
        self._timer = asyncio.get_running_loop().call_later(UPKEEP_SECONDS, self._keep_up)

    def stop(self) -> None:
        """End. Idempotent."""
        for timer in (self._timer, self._linger_timer):
            if timer is not None:
                timer.cancel()

    def arm_linger(self, deadline: float | None) -> None:
        """Have lingers ended at ``deadline`` (monotonic); None: nothing lingers."""
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None
        if deadline is not None:
            delay = max(0.0, deadline - self._clock.monotonic())
            self._linger_timer = asyncio.get_running_loop().call_later(delay, self._end_lingers)

    def warm_up(self) -> None:
        """Have the book keep the warm connections open. Any thread, under the lock."""
        self._book.moves.keep_warm(self._options().warm_connections)

    def _end_lingers(self) -> None:
        with self._lock:
            self._book.expire(self._clock.monotonic())
            self._telemetry.observe()
        self._perform()

    def _keep_up(self) -> None:
        with self._lock:
            self.warm_up()
            self._book.grow_older()
            tasks = self._review()
            notes = [note for task in tasks if (note := self._carry_out(task))]
        for note in notes:
            self._journal.kept_up(note)
        for slot, connection in self._table.connections.items():
            if connection.state is ConnectionState.IDLE:
                with self._lock:
                    is_needed = self._book.is_needed(slot)
                if is_needed:
                    connection.wake()
        if tasks or self._book.has_actions:
            self._perform()
        self.start()

    def _review(self) -> list[Task]:
        """Return what is to be done now; called under the lock."""
        return self._book.moves.review(
            self._upkeep,
            self._clock.monotonic(),
            [connection.view for connection in self._table.connections.values()],
            max_idle_seconds=self._options().max_idle_seconds,
        )

    def _carry_out(self, task: Task) -> str:
        """Have the book follow a task, under the lock; returns what people may want to know."""
        moves = self._book.moves
        if isinstance(task, Evacuate):
            if moved := moves.evacuate(task.slot, task.among):
                symbols = counted(moved, "symbol")
                return f"connection {task.slot} stays away: {symbols} moved to live ones"
        elif isinstance(task, Readmit):
            moves.readmit(task.slot)
        elif isinstance(task, CloseIdle):
            moves.close_idle(task.slot)
        elif isinstance(task, Merge):
            moving = moves.merge(task.source, task.target)
            symbols = f"{counted(moving, 'symbol')} {verb(moving, 'moves', 'move')}"
            return f"connection {task.source} fits on {task.target}: {symbols}"
        elif isinstance(task, Retire):
            moves.retire(task.slot)
            return f"connection {task.slot} is replaced before the broker ends it"
        elif isinstance(task, Reopen):
            moves.reinstate(task.slot)
            connection = self._table.connections.get(task.slot)
            if connection is not None and connection.is_up:
                self._table.restart(task.slot, "opened anew")
            return f"connection {task.slot} is opened anew: there is no room to replace it"
        elif isinstance(task, SettleMoves):
            moves.settle(task.keys)
        return ""
