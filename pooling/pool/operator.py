"""Orders of people to a running pool: pause, resume, reconnect, drain, rebalance, unsubscribe."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from brokers.contract import BrokerCapabilities
from brokers.pool_service import RefusalCode
from brokers.types import InstrumentKey
from brokers.words import counted, verb
from pooling.contracts import PoolOptions
from pooling.exceptions import CommandRefusedError
from pooling.lifecycle import ConnectionState
from pooling.pool.exclusive import AccountSeats
from pooling.pool.feed import PoolFeed
from pooling.pool.parts import PoolParts
from pooling.pool.runtime import PoolRuntime
from pooling.subscriptions.preview import LimitsPreview, LimitsTrial, held_in

__all__ = ["PoolOperator"]

TRIED_AT_ONCE = 500
ENDED = "an operator ended this subscription; subscribe again if you still want it"


class PoolOperator:
    """People's hands on a running pool. On the worker's loop.

    Each request returns a sentence that says what it did, or raises CommandRefusedError, whose
    text says why not and what mends it; nothing was changed then.

    Args:
        parts: the pool's.
        feed: tells listeners.
        runtime: does what the book then asks for.
        seats: say what limits would leave for market data.
    """

    def __init__(
        self, parts: PoolParts, *, feed: PoolFeed, runtime: PoolRuntime, seats: AccountSeats
    ) -> None:
        self._lock, self._book = parts.lock, parts.book
        self._table, self._gate = parts.table, parts.gate
        self._journal, self._telemetry = parts.journal, parts.telemetry
        self._feed = feed
        self._runtime = runtime
        self._seats = seats

    def pause(self) -> None:
        """Close every connection and open none until ``resume``. References stay. Idempotent."""
        if self._table.is_paused:
            return
        with self._lock:
            self._table.is_paused = True
            connections = list(self._table.connections.values())
            self._table.connections.clear()
            for connection in connections:
                self._telemetry.retire(connection)
            for slot in list(self._book.slots):
                self._book.restart(slot)
            self._telemetry.observe()
        self._feed.pause()
        for connection in connections:
            self._table.spawn_close(connection)
        self._journal.paused(len(connections))

    def resume(self) -> None:
        """Open connections again for everything that is wanted. Idempotent."""
        if not self._table.is_paused:
            return
        with self._lock:
            self._table.is_paused = False
        self._feed.resume()
        self._journal.resumed()
        self._runtime.run()

    def reconnect(self, slot: int | None) -> str:
        """Have one connection, or (None) all of them, connect again at once."""
        self._check_running()
        if slot is not None:
            self._check_slot(slot)
        if self._gate.is_shut:
            raise CommandRefusedError(
                "The broker refused the stored credential, so connecting again cannot help. Save a "
                "new one and the pool connects by itself."
            )
        chosen = sorted(self._table.connections) if slot is None else [slot]
        if not chosen:
            raise CommandRefusedError("No connection is open: nothing is subscribed.")
        waiting = [each for each in chosen if self._state(each) is ConnectionState.RATE_LIMITED]
        restarted = [each for each in chosen if each not in waiting]
        if not restarted:
            raise CommandRefusedError(
                f"The broker asked to wait before {_connections(waiting)} may come again, and a "
                "further attempt would make it wait longer. It connects by itself."
            )
        for each in restarted:
            self._table.restart(each, "a reconnect was asked for")
        note = f"; the broker asked to wait with {_connections(waiting)}" if waiting else ""
        return f"Reconnecting {_connections(restarted)}{note}."

    def drain(self, slot: int) -> str:
        """Move what a connection carries to others, make-before-break, and then close it.

        What finds no room elsewhere stays: for that the connection is opened again in place.
        """
        self._check_running()
        self._check_slot(slot)
        with self._lock:
            if slot not in self._book.slots:
                raise CommandRefusedError(f"Connection {slot} is being closed already.")
            carried, staying = self._book.moves.drain(slot)
        self._runtime.run()
        if staying and staying == carried:
            raise CommandRefusedError(
                f"{counted(carried, 'symbol')} of connection {slot} "
                f"{verb(carried, 'finds', 'find')} no room elsewhere. Reconnect it instead, or "
                "raise the limits of this account."
            )
        moving = carried - staying
        symbols = counted(moving, "symbol")
        self._journal.kept_up(
            f"connection {slot} is drained: {symbols} {verb(moving, 'moves', 'move')}"
        )
        if staying:
            return (
                f"{symbols} of connection {slot} {verb(moving, 'moves', 'move')} to others; "
                f"{staying:,} {verb(staying, 'finds', 'find')} no room there, so it is opened "
                "again for the rest."
            )
        if carried:
            return f"Connection {slot} closes once others carry its {counted(carried, 'symbol')}."
        return f"Connection {slot} carried nothing and is closed."

    def rebalance(self) -> str:
        """Move symbols onto as few live connections as they need."""
        self._check_running()
        with self._lock:
            views = [connection.view for connection in self._table.connections.values()]
            merged, moving = self._book.moves.rebalance(views)
        self._runtime.run()
        if not merged:
            return "Nothing to move: no two live connections would fit on one."
        symbols = f"{counted(moving, 'symbol')} {verb(moving, 'moves', 'move')}"
        self._journal.kept_up(f"rebalanced by hand: {symbols}")
        return (
            f"{symbols}, and the pool needs {counted(merged, 'connection')} less; an emptied one "
            "closes when it has been idle."
        )

    def unsubscribe(self, keys: Sequence[InstrumentKey]) -> str:
        """Take instruments from everybody who holds them; the holders are told."""
        with self._lock:
            held = [key for key in dict.fromkeys(keys) if key in self._book]
            holders = {
                holder
                for key in held
                if (interest := self._book.get(key)) is not None
                for holder in interest.holders
            }
            outcomes = self._book.expel(held, RefusalCode.BROKER_ERROR, ENDED)
            self._telemetry.observe()
        self._feed.expelled(outcomes)
        self._runtime.run()
        if not held:
            raise CommandRefusedError("None of these is subscribed in this pool; nothing to end.")
        self._journal.kept_up(f"unsubscribed by hand: {counted(len(held), 'symbol')}")
        unknown = len(set(keys)) - len(held)
        note = (
            f" {unknown:,} of those named {verb(unknown, 'was', 'were')} not subscribed."
            if unknown
            else ""
        )
        return (
            f"{counted(len(held), 'symbol')} {verb(len(held), 'is', 'are')} unsubscribed; "
            f"{counted(len(holders), 'client')} {verb(len(holders), 'was', 'were')} told.{note}"
        )

    async def preview(
        self, options: PoolOptions, capabilities: BrokerCapabilities | None = None
    ) -> LimitsPreview:
        """Return what these limits would drop; changes nothing. None: the broker's own as now.

        The lock is held to copy what is held; ticks get their turn while the copy is tried.
        """
        with self._lock:
            trial = LimitsTrial(
                allocator=self._book.emptied(self._seats.tried(options, capabilities))
            )
            held = held_in(self._book)
        for start in range(0, len(held), TRIED_AT_ONCE):
            trial.add(held[start : start + TRIED_AT_ONCE])
            await asyncio.sleep(0)
        return trial.preview()

    def _check_running(self) -> None:
        if self._table.is_paused:
            raise CommandRefusedError("The pool is paused; resume it first.")

    def _check_slot(self, slot: int) -> None:
        if slot not in self._table.connections:
            there = _connections(sorted(self._table.connections))
            known = f"there is {there}" if self._table.connections else "none is open"
            raise CommandRefusedError(f"There is no connection {slot}; {known}.")

    def _state(self, slot: int) -> ConnectionState:
        return self._table.connections[slot].state


def _connections(slots: Sequence[int]) -> str:
    *most, last = [str(slot) for slot in slots] or ["none"]
    if not most:
        return f"connection {last}"
    return f"connections {', '.join(most)} and {last}"
