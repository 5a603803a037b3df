"""Live status of pools for those who watch it: one look at the database for all of them.

While nobody watches nothing is read. Otherwise each view is built once a second, whoever and
however many look at it. A client that has not taken the last figures gets none until it has: they
are complete each time, so it misses nothing but their history.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from brokers.logs.failing import Failing
from streaming.clients.client import Client
from streaming.exceptions import StatusUnavailableError
from streaming.ports.status import StatusSource, StatusView
from streaming.protocol.session import SessionState
from streaming.protocol.vocabulary import ErrorCode, ProtocolError

__all__ = ["StatusBoard"]

logger = logging.getLogger("streaming")

MAX_VIEWS = 200
MAX_VIEWS_PER_USER = 8


class StatusBoard:
    """The views that clients watch. Bound to one event loop; everything but ``run`` is synchronous.

    Args:
        source: where figures come from; None: this gateway has none to show.
        gateway: the id of the gateway that it belongs to.
        clock: monotonic seconds.
        interval_seconds: how often figures are sent.
        least_seconds: the shortest time between two looks, however often views change.
    """

    def __init__(
        self,
        *,
        source: StatusSource | None,
        gateway: str,
        clock: Callable[[], float],
        interval_seconds: float = 1.0,
        least_seconds: float = 0.25,
    ) -> None:
        if not 0 < least_seconds <= interval_seconds:
            raise ValueError("least_seconds must be positive and at most interval_seconds")
        self._source = source
        self._gateway = gateway
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._least_seconds = least_seconds
        self._views: dict[Client, StatusView] = {}  # what each of those who watch sees
        self._changed = asyncio.Event()
        self._failing = Failing()

    def __repr__(self) -> str:
        return f"<StatusBoard clients={len(self._views)}>"

    def watch(self, client: Client, view: StatusView) -> None:
        """Send ``client`` this view from now on, in place of the one before.

        Raises:
            ProtocolError: there is nothing to show, or too many different views are watched.
        """
        if self._source is None:
            raise ProtocolError(ErrorCode.INVALID_ACTION, "This gateway shows no pool status.")
        others = {other for who, other in self._views.items() if who is not client}
        if view not in others:
            of_user = Counter(other.user_id for other in others)[view.user_id]
            if of_user >= MAX_VIEWS_PER_USER or len(others) >= MAX_VIEWS:
                raise ProtocolError(
                    ErrorCode.SUBSCRIPTION_LIMIT,
                    f"One user watches at most {MAX_VIEWS_PER_USER} different views, and all "
                    f"users of a gateway {MAX_VIEWS}; close some status pages.",
                )
        self._views[client] = view
        self._changed.set()

    def leave(self, client: Client) -> None:
        """Send ``client`` nothing more. Idempotent."""
        self._views.pop(client, None)

    async def run(self) -> None:
        """Send figures until cancelled. Run once, as a task."""
        if (source := self._source) is None:
            return
        while True:
            if not self._views:
                self._changed.clear()
                await self._changed.wait()
            self._changed.clear()
            try:
                await self._show(source)
            except StatusUnavailableError as error:
                self._log_failure(error, is_known=True)
            except Exception as error:  # supervision point: prices do not depend on it
                self._log_failure(error, is_known=False)
            else:
                self._log_return()
            await self._pause()

    async def _show(self, source: StatusSource) -> None:
        self._forget_closed()
        found = await source.read(frozenset(self._views.values()), gateway=self._gateway)
        # Clients may have come, gone and turned pages while it was read.
        for client, view in list(self._views.items()):
            payload = found.get(view)
            if payload is not None and _may_take(client):
                client.send(payload)

    def _forget_closed(self) -> None:
        for client in [client for client in self._views if _is_closed(client)]:
            self.leave(client)

    async def _pause(self) -> None:
        """Wait for the next turn; a changed view is worth an earlier one."""
        await asyncio.sleep(self._least_seconds)
        try:
            async with asyncio.timeout(self._interval_seconds - self._least_seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _log_return(self) -> None:
        if (away := self._failing.works(self._clock())) is not None:
            logger.info("gateway: pool status is shown again, after %.0f s", away)

    def _log_failure(self, error: Exception, *, is_known: bool) -> None:
        if self._failing.fails(self._clock()):
            logger.error(
                "gateway: no pool status can be shown%s",
                f": {error}" if is_known else "",
                exc_info=None if is_known else error,
            )


def _is_closed(client: Client) -> bool:
    return client.session.state is SessionState.CLOSED


def _may_take(client: Client) -> bool:
    return client.session.state is SessionState.READY and not client.outbox.control_frames
