"""Watch over an open socket: whether it is alive, its prices fresh, and its peer awake."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from brokers.contract import BrokerAdapter
from pooling.clock import Clock
from pooling.connection.freshness import Freshness, LastHeard
from pooling.connection.meters import ConnectionMeters
from pooling.connection.pacing import Pacer, check_message_size
from pooling.connectors.websocket import Transport
from pooling.exceptions import SilentConnectionError

__all__ = ["ConnectionWatch"]

KEEPALIVE_SECONDS = 10.0
WATCH_SECONDS = 1.0
HEALTH_ANSWER_SECONDS = 5.0
# Whoever is woken that much too late first gives what came meanwhile some time to be read.
HELD_UP_SECONDS = 0.5
CATCH_UP_SECONDS = 0.25


class ConnectionWatch:
    """Watches one socket of a connection, whose tasks run its two coroutines.

    Args:
        transport: the socket.
        adapter: says what keeps the link alive, and how long a silence may last.
        pacer: gives a ping its turn among the messages.
        clock: where time is read.
        freshness: judges the prices; the connection's own.
        meters: what arrived and when; read, and ``sent`` counted.
        judged: takes why prices are not to be trusted, "" when they are.
        is_live: whether the connection is live as far as it knows.
        carries: whether the connection is to carry anything.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        adapter: BrokerAdapter,
        pacer: Pacer,
        clock: Clock,
        freshness: Freshness,
        meters: ConnectionMeters,
        judged: Callable[[str], None],
        is_live: Callable[[], bool],
        carries: Callable[[], bool],
    ) -> None:
        self._transport = transport
        self._adapter = adapter
        self._pacer = pacer
        self._clock = clock
        self._freshness = freshness
        self._meters = meters
        self._judged = judged
        self._is_live = is_live
        self._carries = carries

    async def watch(self) -> None:
        """Run the two clocks: liveness counts any byte, freshness is judged by ``Freshness``.

        A broker that heartbeats every few seconds is not pinged: it has to speak by itself. Of one
        that has not that habit the answers to our pings are heard, too.

        Raises:
            SilentConnectionError: nothing was heard for the broker's liveness time-out.
        """
        freshness, clock, meters, transport = (
            self._freshness,
            self._clock,
            self._meters,
            self._transport,
        )
        dead_after = self._adapter.capabilities.liveness_timeout_seconds
        pings = not freshness.is_steady
        next_beat = clock.monotonic() + KEEPALIVE_SECONDS
        while True:
            now = clock.monotonic()
            last_frame = meters.last_frame or 0.0
            heard = max(transport.heard_at, last_frame, transport.pong_at if pings else 0.0)
            if now >= heard + dead_after:
                raise SilentConnectionError(f"nothing was heard for {dead_after:g} s")
            last = LastHeard(last_frame, heard, meters.last_tick)
            self._judged(freshness.judge(now, last))
            if now >= next_beat:
                next_beat = now + KEEPALIVE_SECONDS
                await self._beat(pings=pings)
            due = [heard + dead_after, next_beat]
            due += [at for at in freshness.due(last) if at > now]
            if not self._is_live():
                due.append(now + WATCH_SECONDS)
            await self._sleep(max(min(due) - now, 0.001))

    async def check_health(self, interval_seconds: Callable[[], float]) -> None:
        """Ask for a sign of life now and then while there is nothing to carry.

        Raises:
            SilentConnectionError: none came in time.
        """
        transport = self._transport
        while True:
            await asyncio.sleep(interval_seconds())
            if self._carries():
                continue
            asked = self._clock.monotonic()
            async with self._pacer.turn():
                await transport.ping()
            await self._sleep(HEALTH_ANSWER_SECONDS)
            heard = max(transport.heard_at, transport.pong_at, self._meters.last_frame or 0.0)
            if heard < asked:
                raise SilentConnectionError("an idle connection did not answer")

    async def _sleep(self, seconds: float) -> None:
        """Sleep, and do not take a delay of this process for a silence of the broker's."""
        wake_at = self._clock.monotonic() + seconds
        await asyncio.sleep(seconds)
        if self._clock.monotonic() > wake_at + HELD_UP_SECONDS:
            await asyncio.sleep(CATCH_UP_SECONDS)

    async def _beat(self, *, pings: bool) -> None:
        message = self._adapter.keepalive()
        if message is None and not pings:
            return
        capabilities = self._adapter.capabilities
        async with self._pacer.turn():
            # A message that nobody answers shows nothing of the link.
            if message is None or (pings and capabilities.keepalive_answer is None):
                await self._transport.ping()
            if message is not None:
                check_message_size(message, capabilities.max_message_bytes)
                await self._transport.send(message)
                self._meters.sent += 1
