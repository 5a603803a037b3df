"""Barriers: the word that a gateway's subscriptions have reached the publisher.

A gateway subscribes to its topics, then to a barrier topic of its own, all on one socket. ZeroMQ
keeps that order, so once the barrier is seen every tick published from now on reaches the gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streaming.wire.topics import BEAT_TOPIC, is_barrier
from streaming.worker.publisher import SharedZmqPublisher

__all__ = ["SubscriptionWatch"]

_READS_PER_TURN = 2000


class SubscriptionWatch:
    """Follows a publisher's subscription notices on one event loop.

    Args:
        publisher: open while this is; closed after it.
        on_beat_wanted: called for each new subscription to the beat.
        poll_seconds: how often the socket is looked at without being told. Its descriptor is edge
            triggered, and every send of another thread may swallow the edge.
        urgent_poll_seconds: the same while somebody waits for a barrier.
    """

    def __init__(
        self,
        *,
        publisher: SharedZmqPublisher,
        on_beat_wanted: Callable[[], None],
        poll_seconds: float = 0.1,
        urgent_poll_seconds: float = 0.02,
    ) -> None:
        if poll_seconds <= 0 or urgent_poll_seconds <= 0:
            raise ValueError("poll intervals must be positive")
        self._publisher = publisher
        self._on_beat_wanted = on_beat_wanted
        self._poll_seconds = poll_seconds
        self._urgent_poll_seconds = urgent_poll_seconds
        self._barriers: set[bytes] = set()  # topics that some gateway asked the publisher for
        self._waiters: dict[bytes, list[asyncio.Future[bool]]] = {}  # by barrier
        self._loop: asyncio.AbstractEventLoop | None = None  # between ``open`` and ``close``
        self._fileno = -1  # of the publisher's notices
        self._poll: asyncio.TimerHandle | None = None  # the next look without being called

    def open(self) -> None:
        """Start on the running loop.

        Raises:
            BusError: the publisher is not open.
        """
        self._fileno = self._publisher.fileno()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fileno, self._on_readable)
        self._on_poll()

    def close(self) -> None:
        """Stop; whoever waits gets False. Idempotent."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        loop.remove_reader(self._fileno)
        if self._poll is not None:
            self._poll.cancel()
        for futures in self._waiters.values():
            _resolve(futures, reached=False)
        self._waiters.clear()
        self._barriers.clear()

    async def wait_subscribed(self, barrier: bytes, timeout: float) -> bool:
        """Wait until the subscription to ``barrier``, and so all before it, has arrived.

        Returns False after ``timeout`` seconds or when this closes. Several callers may wait for
        the same barrier; cancelling one is safe.
        """
        if barrier in self._barriers:
            return True
        if self._loop is None:
            return False
        future: asyncio.Future[bool] = self._loop.create_future()
        self._waiters.setdefault(barrier, []).append(future)
        self._on_poll()
        try:
            return await asyncio.wait_for(future, timeout)
        except TimeoutError:
            return False
        finally:
            waiting = self._waiters.get(barrier, [])
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                self._waiters.pop(barrier, None)

    def _on_poll(self) -> None:
        if self._loop is None:
            return
        if self._poll is not None:
            self._poll.cancel()
        self._on_readable()
        delay = self._urgent_poll_seconds if self._waiters else self._poll_seconds
        self._poll = self._loop.call_later(delay, self._on_poll)

    def _on_readable(self) -> None:
        if self._loop is None:
            return
        notices = self._publisher.read_notices(_READS_PER_TURN)
        for notice in notices:
            self._on_notice(subscribed=notice[:1] == b"\x01", topic=notice[1:])
        if len(notices) == _READS_PER_TURN:
            self._loop.call_soon(self._on_readable)

    def _on_notice(self, *, subscribed: bool, topic: bytes) -> None:
        if topic == BEAT_TOPIC and subscribed:
            self._on_beat_wanted()
        elif is_barrier(topic) and subscribed:
            self._barriers.add(topic)
            _resolve(self._waiters.pop(topic, []), reached=True)
        elif is_barrier(topic):
            # Also what ZeroMQ reports when the gateway goes away, so this set stays as small as
            # the number of requests under way.
            self._barriers.discard(topic)


def _resolve(futures: list[asyncio.Future[bool]], *, reached: bool) -> None:
    for future in futures:
        if not future.done():
            future.set_result(reached)
