"""Runtime of a pool: does what was decided, on the loop that the pool lives on, and in time.

Whoever decides, from whichever thread, leaves the rest to one *run* on the loop, which reads what
there is to do from the book: calls from many threads need no order among themselves. About once a
second upkeep is decided, and lingers end when they are due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from brokers.words import counted, verb
from pooling.connection.connection import Connection
from pooling.lifecycle import ConnectionState
from pooling.pool.feed import PoolFeed
from pooling.pool.parts import PoolParts
from pooling.retry_waits import Randomness
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

__all__ = ["PoolRuntime"]

UPKEEP_SECONDS = 1.0


class PoolRuntime:
    """The one who acts on a pool's book. On the worker's loop, except where any thread may call.

    Args:
        parts: the pool's.
        rng: spreads planned replacements.
    """

    feed: PoolFeed  # told what moved and what is gone; ``build_pool`` sets it

    def __init__(self, parts: PoolParts, *, rng: Randomness) -> None:
        self._lock, self._account = parts.lock, parts.account
        self._book, self._table = parts.book, parts.table
        self._journal, self._telemetry, self._clock = parts.journal, parts.telemetry, parts.clock
        self._upkeep = Upkeep(
            rng=rng, max_lifetime_seconds=parts.account.capabilities.max_lifetime_seconds
        )
        # The loop of ``open``, whether a run is on its way to it, and whether all is dropped from
        # now on: under the lock.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_requested = False
        self.is_closed = False
        # The next upkeep, and the end of the next linger: loop only.
        self._upkeep_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether ``open`` was called."""
        return self._loop is not None

    def open(self) -> None:
        """Use the running loop from now on. Under the lock."""
        self._loop = asyncio.get_running_loop()
        self.keep_warm()

    def start(self) -> None:
        """Begin with upkeep."""
        self._upkeep_timer = asyncio.get_running_loop().call_later(UPKEEP_SECONDS, self._keep_up)

    def close(self) -> bool:
        """Drop every call and run from now on; returns whether it was so before. Under the lock."""
        was_closed, self.is_closed = self.is_closed, True
        return was_closed

    def stop(self) -> None:
        """End upkeep. Idempotent."""
        for timer in (self._upkeep_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()

    def keep_warm(self) -> None:
        """Have the book keep the warm connections open. Any thread, under the lock."""
        self._book.moves.keep_warm(self._account.options.warm_connections)

    # -- From any thread ----------------------------------------------------------------------

    def request_run(self) -> None:
        """Have a run made soon, once for any number of requests. Any thread, without the lock.

        What is asked for before ``open`` or after ``close`` is dropped; so it is by ``call``.
        """
        with self._lock:
            if self._is_requested or self.is_closed or self._loop is None:
                return
            self._is_requested = True
            loop = self._loop
        loop.call_soon_threadsafe(self.run)

    def call(self, call: Callable[[], None]) -> None:
        """Make one call on the loop soon. Any thread, without the lock."""
        with self._lock:
            loop = None if self.is_closed else self._loop
        if loop is not None:
            loop.call_soon_threadsafe(call)

    # -- A run --------------------------------------------------------------------------------

    def run(self) -> None:
        """Do what there is to do now: close, open and wake connections, and tell of it."""
        with self._lock:
            self._is_requested = False  # what comes from here on is for the next run
            if self.is_closed:
                return
            actions = self._book.take_actions()
            deadline = self._book.next_deadline()
            options = self._account.options
            connections = self._table.connections
            closed = [c for slot in set(actions.closed) if (c := connections.pop(slot, None))]
            for connection in closed:
                self._telemetry.retire(connection)
            opened = [
                self._table.make(slot, self.feed, options)
                for slot in self._book.slots
                if slot not in connections and not self._table.is_paused
            ]
        for connection in closed:
            self._journal.connection_closed(connection.slot)
            self._table.spawn_close(connection)
        self._open_connections(opened, others=len(connections) - len(opened))
        for slot in actions.changed & connections.keys():
            connections[slot].wake()
        self._table.apply(options)
        self.feed.forget(actions.gone)
        self.feed.restarted(
            actions.restarted, "waiting for its first price by another token of the broker's"
        )
        if actions.displaced:
            self._journal.displaced(len(actions.displaced), self._book.limits)
        if actions.displaced or actions.outcomes:
            self.feed.displaced(actions.displaced, actions.outcomes)
        self.feed.judge()
        self._journal.modes_changed(actions.raised, actions.lowered)
        self._arm_linger(deadline)

    def _open_connections(self, connections: list[Connection], *, others: int) -> None:
        for before, connection in enumerate(connections):
            self._journal.connection_opened(
                connection.slot,
                others=others + before,
                limits=self._book.limits,
                is_warm=not self.feed.carries(connection.slot),
            )
            connection.open()

    def _arm_linger(self, deadline: float | None) -> None:
        """Have lingers ended at ``deadline`` (monotonic); None: nothing lingers."""
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None
        if deadline is not None:
            delay = max(0.0, deadline - self._clock.monotonic())
            self._linger_timer = asyncio.get_running_loop().call_later(delay, self._end_lingers)

    def _end_lingers(self) -> None:
        with self._lock:
            self._book.expire(self._clock.monotonic())
            self._telemetry.observe()
        self.run()

    # -- Upkeep -------------------------------------------------------------------------------

    def _keep_up(self) -> None:
        with self._lock:
            self.keep_warm()
            self._book.grow_older()
            tasks = self._book.moves.review(
                self._upkeep,
                self._clock.monotonic(),
                [connection.view for connection in self._table.connections.values()],
                max_idle_seconds=self._account.options.max_idle_seconds,
            )
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
            self.run()
        self.feed.look_at_login()
        self.start()

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
                self._table.restart(task.slot, "opened again")
            return f"connection {task.slot} is opened again: there is no room to replace it"
        elif isinstance(task, SettleMoves):
            moves.settle(task.keys)
        return ""
