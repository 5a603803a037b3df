"""Words of a gateway process to the database, of itself and of who is connected to it.

Nothing is written per event: the clients are compared with what is written about once a second,
in small steps between which ticks get their turn, and the differences go out in one bounded batch.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from brokers.logs.failing import Failing
from streaming.clients.client import Client
from streaming.exceptions import PresenceUnavailableError
from streaming.fanout.hub import GatewayHub
from streaming.link.latency import Latency
from streaming.link.tick_filter import BusCounters
from streaming.monitoring.latency_window import LatencyWindow, StageLatency
from streaming.protocol.session import SessionState
from streaming.protocol.vocabulary import CloseCode

__all__ = [
    "ClientSeen",
    "GatewayFigures",
    "Presence",
    "PresenceChange",
    "PresenceLedger",
    "PresenceStore",
]

logger = logging.getLogger("streaming")

REVIEW_SECONDS = 1.0
REVIEWS_PER_GATEWAY = 2  # the gateway's own row, and the look for who is to go
REVIEWS_PER_SYMBOLS = 5
MOST_CHANGES = 500  # of one batch; the rest follows a second later
CLIENTS_PER_TURN = 250
CLOSE_SECONDS = 2.0
DISCONNECTED = "disconnected by an operator"


class GatewayFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway process as it is now. Counters are since it started.

    ``latency`` is by stage, of the ticks sampled within the last minute.
    """

    gateway: str
    host: str
    pid: int
    started_ms: int
    clients: int
    deliveries: int
    deliveries_per_second: float
    conflated: int
    dropped: int
    slow_closes: int
    latency: Mapping[str, StageLatency] = {}


class ClientSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One client that is connected and admitted. ``protocol`` is ``ClientConnection.Protocol``."""

    client: str
    user_id: int
    key_id: int | None
    address: str
    user_agent: str
    protocol: str
    connected_ms: int
    symbols: int


class PresenceChange(msgspec.Struct, frozen=True, kw_only=True):
    """Rows to be written of a gateway's clients."""

    joined: Sequence[ClientSeen] = ()
    left: Sequence[str] = ()
    symbols: Mapping[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self.joined or self.left or self.symbols)


class PresenceStore(Protocol):
    """Place where presence is kept. Every coroutine may be cancelled.

    All raise PresenceUnavailableError while the store is away.
    """

    async def save_gateway(self, figures: GatewayFigures) -> bool:
        """Write the heartbeat; True when nothing was known of this gateway, nor of its clients."""

    async def save_clients(self, gateway: str, change: PresenceChange) -> None:
        """Write a change, all or nothing."""

    async def asked_to_leave(self, gateway: str) -> Sequence[str]:
        """Return the ids of the clients that somebody wants disconnected."""

    async def forget_gateway(self, gateway: str) -> None:
        """Forget a gateway that ends, and its clients."""


@runtime_checkable
class _Identified(Protocol):
    gateway_id: str


@runtime_checkable
class _BusSeen(Protocol):
    counters: BusCounters
    latency: Latency


class PresenceLedger:
    """Record of what is written of the clients, and what is not yet."""

    def __init__(self) -> None:
        # By client that is in the database: the number of its symbols there. Loop only.
        self._symbols: dict[str, int] = {}

    def change(
        self, seen: Mapping[str, ClientSeen], *, with_symbols: bool, most: int = MOST_CHANGES
    ) -> PresenceChange:
        """Return what is to be written, at most about ``most`` rows of it."""
        left = [client for client in self._symbols if client not in seen][:most]
        joined = [each for client, each in seen.items() if client not in self._symbols]
        joined = joined[: most - len(left)]
        symbols: dict[str, int] = {}
        if with_symbols:
            room = most - len(left) - len(joined)
            differing = (
                (client, seen[client].symbols)
                for client, written in self._symbols.items()
                if client in seen and seen[client].symbols != written
            )
            symbols = dict(pair for pair, _ in zip(differing, range(room), strict=False))
        return PresenceChange(joined=joined, left=left, symbols=symbols)

    def written(self, change: PresenceChange) -> None:
        """Note that a change is in the database."""
        for client in change.left:
            self._symbols.pop(client, None)
        self._symbols.update({each.client: each.symbols for each in change.joined})
        self._symbols.update(change.symbols)

    def clear(self) -> None:
        """Note that nothing is written."""
        self._symbols.clear()


class Presence:
    """Keeps a gateway's rows true while it runs. On the gateway's loop.

    Args:
        hub: the gateway's hub.
        store: where presence is kept; one that fails is asked again a second later.
        review_seconds: how often clients are compared with what is written.
    """

    def __init__(
        self, *, hub: GatewayHub, store: PresenceStore, review_seconds: float = REVIEW_SECONDS
    ) -> None:
        if review_seconds <= 0:
            raise ValueError("review_seconds must be positive")
        self._review_seconds = review_seconds
        self._hub = hub
        self._store = store
        link = hub.link
        self._gateway = link.gateway_id if isinstance(link, _Identified) else f"{os.getpid()}"
        self._host = socket.gethostname()[:128]
        self._started_ms = hub.wall_clock_ms()
        # All below: loop only.
        self._ledger = PresenceLedger()
        self._latency = LatencyWindow()
        self._reviews = 0  # looks at the clients so far: symbols are written with some of them
        # Time and number of deliveries when they were counted last, for their rate.
        self._counted = (hub.clock(), hub.ticks_delivered)
        self._failing = Failing()  # whether the log knows that the store fails
        self._task: asyncio.Task[None] | None = None  # None: not open

    def open(self) -> None:
        """Begin. Idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="gateway presence")

    async def close(self) -> None:
        """Stop and forget the gateway, as far as that takes no longer than 2 s. Idempotent."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._store.forget_gateway(self._gateway)
        except TimeoutError:
            logger.warning(
                "gateway: the database did not take its leave within %g s", CLOSE_SECONDS
            )
        except Exception as error:
            # Supervision point: what stays behind is forgotten by the others within 10 s.
            self._log_failure(error)

    async def _run(self) -> None:
        while True:
            try:
                if await self._review():
                    self._log_return()
            except Exception as error:
                # Supervision point: the database may be away; clients do not notice.
                self._log_failure(error)
            await asyncio.sleep(self._review_seconds)

    async def _review(self) -> bool:
        """Write what has changed; False when the store was asked nothing."""
        number, self._reviews = self._reviews, self._reviews + 1
        writes_itself = number % REVIEWS_PER_GATEWAY == 0
        if writes_itself:
            if await self._store.save_gateway(self._figures()):
                self._ledger.clear()
            self._disconnect(await self._store.asked_to_leave(self._gateway))
        seen = await self._seen()
        change = self._ledger.change(seen, with_symbols=number % REVIEWS_PER_SYMBOLS == 0)
        if change:
            await self._store.save_clients(self._gateway, change)
            self._ledger.written(change)
        return writes_itself or bool(change)

    def _figures(self) -> GatewayFigures:
        hub = self._hub
        now, delivered = hub.clock(), hub.ticks_delivered
        before, delivered_before = self._counted
        self._counted = now, delivered
        elapsed = now - before
        return GatewayFigures(
            gateway=self._gateway,
            host=self._host,
            pid=os.getpid(),
            started_ms=self._started_ms,
            clients=len(hub.clients),
            deliveries=delivered,
            deliveries_per_second=(delivered - delivered_before) / elapsed if elapsed > 0 else 0.0,
            conflated=hub.ticks_conflated,
            dropped=_dropped(hub),
            slow_closes=hub.slow_clients_closed,
            latency=self._latency.read(hub.link.latency, now)
            if isinstance(hub.link, _BusSeen)
            else {},
        )

    async def _seen(self) -> dict[str, ClientSeen]:
        found: dict[str, ClientSeen] = {}
        clients = list(self._hub.clients)
        for start in range(0, len(clients), CLIENTS_PER_TURN):
            for client in clients[start : start + CLIENTS_PER_TURN]:
                if client.session.state is SessionState.READY:
                    found[client.id] = _seen(client)
            await asyncio.sleep(0)
        return found

    def _disconnect(self, ids: Collection[str]) -> None:
        if not ids:
            return
        for client in self._chosen(set(ids)):
            logger.info("client %s is %s", client.id, DISCONNECTED)
            self._hub.close_client(client, CloseCode.FORBIDDEN, DISCONNECTED)

    def _chosen(self, ids: Collection[str]) -> Iterable[Client]:
        return [client for client in self._hub.clients if client.id in ids]

    def _log_return(self) -> None:
        if (away := self._failing.works(self._hub.clock())) is not None:
            logger.info("gateway: its presence is written again, after %.0f s", away)

    def _log_failure(self, error: Exception) -> None:
        if self._failing.fails(self._hub.clock()):
            is_known = isinstance(error, PresenceUnavailableError)
            logger.error(
                "gateway: its presence could not be written%s",
                f": {error}" if is_known else "",
                exc_info=None if is_known else error,
            )


def _seen(client: Client) -> ClientSeen:
    user = client.session.user
    protocol = "openalgo" if client.batches is None else "batch"
    return ClientSeen(
        client=client.id,
        user_id=user.user_id,
        key_id=user.key_id,
        address=client.address,
        user_agent=client.user_agent,
        protocol="browser" if user.session_key is not None else protocol,
        connected_ms=client.connected_ms,
        symbols=len(client.session.held),
    )


def _dropped(hub: GatewayHub) -> int:
    if not isinstance(hub.link, _BusSeen):
        return 0
    counters = hub.link.counters
    return counters.gaps + counters.old_epochs + counters.malformed
