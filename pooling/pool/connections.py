"""The connections of a pool by number, those that are being closed included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from brokers.contract import BrokerAdapter
from pooling.clock import Clock
from pooling.connection.connection import Connection
from pooling.connection.owner import ConnectionOwner
from pooling.connection.pulse import Pulse
from pooling.connectors.credential_gate import CredentialGate
from pooling.connectors.websocket import Connector
from pooling.contracts import PoolOptions
from pooling.retry_waits import Backoff, Randomness

__all__ = ["ConnectionTable"]


class ConnectionTable:
    """Makes connections and closes them. The pool changes it under its lock, on its loop.

    ``connections`` may be read by whoever was given the table, and changed by nobody else. While
    ``is_paused`` there are none.

    Args:
        pool_id: whose connections they are.
        make_adapter: builds an adapter for the endpoint in force.
        gate: where credentials come from, one connect at a time.
        connector: opens sockets.
        clock: where time is read.
        rng: jitter of reconnects.
        pulse: tells when the worker was held up.
    """

    on_closed: Callable[[], None]  # told that a place at the broker is free; ``build_pool`` sets it

    def __init__(
        self,
        *,
        pool_id: str,
        make_adapter: Callable[[], BrokerAdapter],
        gate: CredentialGate,
        connector: Connector,
        clock: Clock,
        rng: Randomness,
        pulse: Pulse,
    ) -> None:
        self.connections: dict[int, Connection] = {}  # by number; under the pool's lock
        self.is_paused = False  # under the pool's lock
        self._pool_id = pool_id
        self._make_adapter = make_adapter
        self._gate = gate
        self._connector = connector
        self._clock = clock
        self._rng = rng
        self._pulse = pulse
        # Off the table, and perhaps not closed yet; loop only, its size may be read anywhere.
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def closing(self) -> int:
        """Number of those that left the table and still have a socket, as far as is known."""
        return len(self._closing)

    def make(self, slot: int, owner: ConnectionOwner, options: PoolOptions) -> Connection:
        """Make a connection; it does nothing until it is opened."""
        connection = self.connections[slot] = Connection(
            pool_id=self._pool_id,
            slot=slot,
            owner=owner,
            make_adapter=self._make_adapter,
            gate=self._gate,
            connector=self._connector,
            clock=self._clock,
            backoff=Backoff(rng=self._rng),
            pulse=self._pulse,
            connect_timeout_seconds=options.connect_timeout_seconds,
            health_check_seconds=options.health_check_seconds,
        )
        return connection

    def apply(self, options: PoolOptions) -> None:
        """Have every connection follow edited timings."""
        for connection in self.connections.values():
            connection.connect_timeout_seconds = options.connect_timeout_seconds
            connection.health_check_seconds = options.health_check_seconds

    def restart(self, slot: int, reason: str) -> None:
        """Connect again at once, with another adapter. Unknown ones are ignored."""
        if (connection := self.connections.get(slot)) is not None:
            connection.restart(self._make_adapter, reason)

    def spawn_close(self, connection: Connection) -> None:
        """Close a connection in the background."""
        name = f"pool-close-{self._pool_id}/{connection.slot}"
        task = asyncio.create_task(connection.close(), name=name)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        task.add_done_callback(lambda _: self.on_closed())

    def wait_closed(self) -> set[asyncio.Task[None]]:
        """Return the tasks that close connections."""
        return set(self._closing)
