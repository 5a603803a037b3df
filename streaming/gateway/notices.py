"""Word that somebody's rights changed, between processes, through the channel layer.

Notices are rare, and no client waits for one: the process has one channel for all its clients, read
by a task of its own. While the layer is away the directory is asked every few seconds anyway, so a
lost notice delays and never harms.

The process sends itself a *beat* through the layer every two seconds. A beat that arrives proves
the whole way, renews the channel's place in the group (which a Redis that was restarted has
forgotten), and keeps the layer's blocking read from ever being quiet for as long as a client
library waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from enum import StrEnum
from typing import Any, Protocol

from brokers.logs.failing import Failing
from brokers.words import named_error
from streaming.waiters import Signal

__all__ = ["ChannelLayer", "NoticeState", "Notices", "changed_users", "send_notice"]

logger = logging.getLogger("streaming")

GROUP = "principals"  # every gateway process is in it
CHANGED = "principal.changed"
BEAT = "notices.beat"

ANSWER_SECONDS = 2.0  # longer than a layer that works ever takes
BEAT_SECONDS = 2.0
BEAT_LATE_SECONDS = 6.0
PAUSE_SECONDS = 1.0  # after a failure, give or take a half
CLOSE_SECONDS = 1.0
MOST_USERS = 1000  # in one message
MOST_WAITING = 10_000


class ChannelLayer(Protocol):
    """The part of Django Channels' layers that is used. Any of these may fail as it likes."""

    async def new_channel(self) -> str:
        """Return the name of a channel that only this process reads."""

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Put a message into a channel."""

    async def receive(self, channel: str) -> dict[str, Any]:
        """Wait for the next message of a channel."""

    async def group_add(self, group: str, channel: str) -> None:
        """Let a channel get what is sent to a group."""

    async def group_discard(self, group: str, channel: str) -> None:
        """Let it get that no more."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Put a message into every channel of a group."""


class NoticeState(StrEnum):
    """The state of the channel layer. ``AWAY``: notices are late, nothing else."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    LIVE = "live"
    AWAY = "away"


def changed_users(message: object) -> list[int] | None:
    """Return whom a message of the layer says to have changed; None when it is no notice."""
    if not isinstance(message, dict) or message.get("type") != CHANGED:
        return None
    users = message.get("user_ids")
    if not isinstance(users, list) or not 0 < len(users) <= MOST_USERS:
        return None
    return users if all(type(each) is int for each in users) else None


async def send_notice(layer: ChannelLayer, user_ids: Iterable[int]) -> None:
    """Tell every gateway that these users changed, 1,000 at most.

    Raises what the layer raised at the second attempt, or TimeoutError after twice 2 s. Cancelled,
    the notice may be under way.
    """
    message = {"type": CHANGED, "user_ids": list(user_ids)}
    await _twice(lambda: layer.group_send(GROUP, message))


async def _twice(act: Callable[[], Awaitable[None]]) -> None:
    """Do something that may be done twice: a connection kept over a restart fails once."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await act()
    except Exception:  # supervision point: whatever it was, the second attempt says
        async with asyncio.timeout(ANSWER_SECONDS):
            await act()


class Notices:
    """One process's end of the channel layer. On the gateway's loop, ``announce`` from any thread.

    Args:
        make_layer: returns the layer; called by ``open``.
        on_changed: called with the ids of users whose rights may have changed.
        clock: monotonic seconds.
        chance: 0 to 1, spreads what several processes do after a failure.
    """

    def __init__(
        self,
        *,
        make_layer: Callable[[], ChannelLayer],
        on_changed: Callable[[Collection[int]], None],
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.received = 0  # notices that were taken
        self.refused = 0  # messages that were none
        self.unsent = 0  # users whom the other processes were not told of
        self.state_changes = 0  # between live and away
        self._make_layer = make_layer
        self._on_changed = on_changed
        self._clock = clock
        self._chance = chance
        self._state = NoticeState.CLOSED  # by the beats
        self._beat_at = 0.0  # when the last beat arrived, or the process began to wait for one
        self._failing = Failing()  # whether the log knows that the layer is away
        self._strange = Failing()  # messages that are no notices, as the log knows of them
        self._waiting: dict[int, None] = {}  # users to tell of; a dict keeps their order
        self._something_waits = Signal()
        self._loop: asyncio.AbstractEventLoop | None = None  # from ``open`` on
        self._tasks: list[asyncio.Task[None]] = []  # between ``open`` and ``close``
        self._layer: ChannelLayer | None = None  # between ``open`` and ``close``
        self.channel = ""  # of this process, from ``open`` on

    def __repr__(self) -> str:
        return f"<Notices {self.state} received={self.received}>"

    @property
    def state(self) -> NoticeState:
        """The state of the layer, by the beats."""
        is_late = self._clock() - self._beat_at > BEAT_LATE_SECONDS
        if is_late and self._state in (NoticeState.LIVE, NoticeState.CONNECTING):
            return NoticeState.AWAY
        return self._state

    async def open(self) -> None:
        """Begin; never waits for the layer, and never fails because of it. Call once."""
        self._loop = asyncio.get_running_loop()
        self._state, self._beat_at = NoticeState.CONNECTING, self._clock()
        layer = self._layer = self._make_layer()
        self.channel = await layer.new_channel()
        self._tasks = [
            asyncio.create_task(self._beat(layer), name="gateway notices: beat"),
            asyncio.create_task(self._read(layer), name="gateway notices: reading"),
            asyncio.create_task(self._send(layer), name="gateway notices: sending"),
        ]

    async def close(self) -> None:
        """Leave the layer, as far as that takes no longer than a second. Idempotent."""
        layer, self._layer = self._layer, None
        if layer is None:
            return
        self._loop = None
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
        was_live = self.state is NoticeState.LIVE
        self._state = NoticeState.CLOSED
        # Supervision point: what stays behind in the layer expires by itself.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_SECONDS):
                if was_live:
                    await layer.group_discard(GROUP, self.channel)
                close_pools = getattr(layer, "close_pools", None)
                if close_pools is not None:
                    await close_pools()

    def announce(self, user_id: int) -> bool:
        """Tell every gateway process that a user changed; False when this one is not open.

        From any thread, and at once: what is sent waits in a set of at most 10,000 users, and
        further ones are left to the next regular look.
        """
        loop = self._loop
        if loop is None:
            return False
        try:
            loop.call_soon_threadsafe(self._enqueue, user_id)
        except RuntimeError:  # the loop has just been closed
            return False
        return True

    def _enqueue(self, user_id: int) -> None:
        if len(self._waiting) >= MOST_WAITING and user_id not in self._waiting:
            self.unsent += 1
            return
        self._waiting[user_id] = None
        self._something_waits.set()

    # The three tasks; each may be cancelled anywhere.

    async def _beat(self, layer: ChannelLayer) -> None:
        while True:
            try:
                await _twice(lambda: layer.group_add(GROUP, self.channel))
                await _twice(lambda: layer.send(self.channel, {"type": BEAT}))
            except Exception as error:  # supervision point: whatever fails, clients are served
                self._fail(error)
            await asyncio.sleep(BEAT_SECONDS)
            if self.state is NoticeState.AWAY and self._state is not NoticeState.AWAY:
                self._fail(TimeoutError(f"no beat for {BEAT_LATE_SECONDS:.0f} s"))

    async def _read(self, layer: ChannelLayer) -> None:
        while True:
            try:
                message = await layer.receive(self.channel)
            except Exception as error:  # supervision point: whatever fails, it is read again
                self._fail(error)
                await asyncio.sleep(PAUSE_SECONDS * (0.5 + self._chance()))
            else:
                self._take(message)

    async def _send(self, layer: ChannelLayer) -> None:
        while True:
            self._something_waits.clear()
            await self._something_waits.wait()
            while self._waiting:
                users = list(self._waiting)[:MOST_USERS]
                for user_id in users:
                    del self._waiting[user_id]
                await self._send_one(layer, users)

    async def _send_one(self, layer: ChannelLayer, users: Collection[int]) -> None:
        if self.state is not NoticeState.AWAY:
            try:
                await send_notice(layer, users)
            except Exception as error:  # supervision point: the next regular look finds it
                self._fail(error)
            else:
                return
        self.unsent += len(users)
        self._on_changed(users)  # this process's own clients at least

    # What they found.

    def _take(self, message: object) -> None:
        if isinstance(message, dict) and message.get("type") == BEAT:
            self._answer()
            return
        users = changed_users(message)
        if users is not None:
            self.received += 1
            self._on_changed(users)
            return
        self.refused += 1
        if self._strange.fails(self._clock()):
            logger.warning(
                "gateway: the channel layer brought what is no notice (%d so far): does another "
                "program use it?",
                self.refused,
            )

    def _answer(self) -> None:
        now = self._clock()
        self._beat_at = now
        if self._state is NoticeState.AWAY:
            self.state_changes += 1
            if (away := self._failing.works(now)) is not None:
                logger.warning("gateway: the channel layer answers again, after %.0f s", away)
        self._state = NoticeState.LIVE

    def _fail(self, error: Exception) -> None:
        if self._state is NoticeState.AWAY:
            return
        self._state = NoticeState.AWAY
        self.state_changes += 1
        # One that comes and goes says so once a minute.
        if self._failing.fails(self._clock()):
            logger.warning(
                "gateway: the channel layer does not answer (%s); notices are late until it "
                "does, clients are served",
                named_error(error, "no answer in time"),
            )
