"""One gateway process: its hub, made when the first client or the command needs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from channels.layers import get_channel_layer

from brokers.types import InstrumentKey
from streaming.addresses import Network
from streaming.edge.places import Edge
from streaming.edge_limits import EdgeLimits
from streaming.fanout.hub import GatewayHub
from streaming.fanout.shrinking import shrink_when_left
from streaming.gateway.authentication import ApiKeyGate
from streaming.gateway.database_probe import DatabaseProbe
from streaming.gateway.notices import ChannelLayer, Notices
from streaming.gateway.remembered import RememberingDirectory
from streaming.monitoring.presence import Presence, PresenceStore
from streaming.ports.directory import Directory
from streaming.ports.link import FeedLink, PoolTold, PoolWord, word_of_status
from streaming.ports.status import StatusSource
from streaming.shares.budget import UserBudgets

__all__ = ["Gateway"]


class Gateway:
    """The core of the ASGI application. Bound to the event loop that first uses it.

    The link is made by ``make_link`` inside that loop, because servers differ in when they start
    one: ``rungateway`` opens the gateway before it serves, Daphne has no such moment.

    Args:
        make_link: makes the way to the workers, not yet open.
        directory: who clients are.
        limits: bounds of the edge.
        clock: monotonic seconds.
        presence: where the gateway tells of itself and its clients; None: nowhere.
        status: who knows how pools are, for those who watch them; None: nobody.
        make_layer: returns the channel layer that carries notices.
        database: looks how the database is, for health checks; None: they look themselves.
        proxies: that are trusted to say who is behind them.
        pool_word: calls the state of a pool by its word, for health checks.
    """

    def __init__(
        self,
        *,
        make_link: Callable[[], FeedLink],
        directory: Directory,
        limits: EdgeLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        presence: PresenceStore | None = None,
        status: StatusSource | None = None,
        make_layer: Callable[[], ChannelLayer] = get_channel_layer,
        database: DatabaseProbe | None = None,
        proxies: Sequence[Network] = (),
        pool_word: Callable[[PoolTold], PoolWord] = word_of_status,
    ) -> None:
        self.limits = limits or EdgeLimits()
        self.budgets = UserBudgets(limits=self.limits)
        self.edge = Edge(self.limits, clock=clock, proxies=proxies)
        self.directory = RememberingDirectory(directory, clock=clock)
        self.database = database
        self.pool_word = pool_word
        self.gate = ApiKeyGate(directory=self.directory, limits=self.limits, clock=clock)
        self._make_link = make_link
        self._clock = clock
        self._hub: GatewayHub | None = None  # between ``open`` and ``close``
        self._presence_store = presence
        self._status = status
        self._presence: Presence | None = None  # as the hub
        self._make_layer = make_layer
        self._notices: Notices | None = None  # as the hub
        self._lock = asyncio.Lock()
        self._shrinking: asyncio.Task[None] | None = None  # while this is open
        # The loop that this belongs to, None before ``open``.
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def current_hub(self) -> GatewayHub | None:
        """The hub, None before ``open``."""
        return self._hub

    @property
    def notices(self) -> Notices | None:
        """The way of notices, None before ``open``."""
        return self._notices

    def announce(self, user_id: int) -> bool:
        """Tell every gateway that a user changed, from any thread; False when this is not open."""
        notices = self._notices
        return notices is not None and notices.announce(user_id)

    def last_values(
        self, pool_ids: Sequence[str], keys: Sequence[InstrumentKey], timeout_seconds: float
    ) -> Sequence[bytes]:
        """Return the last ``market_data`` objects of ``keys``, of whichever pool knows one.

        From any thread but the loop's own; empty while this is not open.

        Raises:
            TimeoutError: the workers did not answer in time.
        """
        hub, loop = self._hub, self._loop
        if hub is None or loop is None:
            return []
        asked = asyncio.run_coroutine_threadsafe(_last_values(hub, pool_ids, keys), loop)
        try:
            return asked.result(timeout_seconds)
        except TimeoutError:
            asked.cancel()
            raise

    async def open(self) -> GatewayHub:
        """Return the hub, opened. May be called often and at the same time."""
        if self._hub is None:
            async with self._lock:
                if self._hub is None:
                    hub = GatewayHub(
                        link=self._make_link(),
                        directory=self.directory,
                        on_notice=self.directory.doubt,
                        limits=self.limits,
                        budgets=self.budgets,
                        clock=self._clock,
                        status=self._status,
                    )
                    await hub.open()
                    self._notices = Notices(
                        make_layer=self._make_layer,
                        on_changed=hub.principals_changed,
                        clock=self._clock,
                    )
                    await self._notices.open()
                    if self._presence_store is not None:
                        self._presence = Presence(hub=hub, store=self._presence_store)
                        self._presence.open()
                    self._loop = asyncio.get_running_loop()
                    self._shrinking = self._loop.create_task(
                        shrink_when_left(lambda: hub.lines.topics), name="gateway memory"
                    )
                    self._hub = hub
        return self._hub

    async def close(self) -> None:
        """Close the hub. Idempotent."""
        shrinking, self._shrinking = self._shrinking, None
        if shrinking is not None:
            shrinking.cancel()
        notices, self._notices = self._notices, None
        if notices is not None:
            await notices.close()
        presence, self._presence = self._presence, None
        if presence is not None:
            await presence.close()
        hub, self._hub = self._hub, None
        if hub is not None:
            await hub.close()


async def _last_values(
    hub: GatewayHub, pool_ids: Sequence[str], keys: Sequence[InstrumentKey]
) -> list[bytes]:
    answers = await asyncio.gather(*(hub.link.last_values(pool_id, keys) for pool_id in pool_ids))
    return [message.body for messages in answers for message in messages]
