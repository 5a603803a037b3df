"""What a holder has of an exclusive connection while it is lent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Self

from pooling.exceptions import ConnectionLostError
from pooling.exclusive.link import ExclusiveLink
from pooling.exclusive.options import ConnectionTerms, LinkState

__all__ = ["ExclusiveConnection"]

PING_SECONDS = 10.0
NORMAL_CODES = (1000, 1001)


class ExclusiveConnection:
    """One connection, for one holder, from ``acquire`` until ``release``. On the pool's loop only.

    With reconnecting on, a loss shows only as a gap: ``recv`` waits through it, ``send`` and
    ``ping`` raise ``ConnectionLostError`` while it lasts. After ``release`` everything raises
    ``ConnectionReleasedError``.
    """

    def __init__(
        self,
        *,
        link: ExclusiveLink,
        give_back: Callable[[ExclusiveLink], None],
        hook: Callable[[ExclusiveConnection], Awaitable[None]] | None,
        terms: ConnectionTerms | None = None,
    ) -> None:
        self._link = link
        self._give_back = give_back
        self._lease = link.lend(None if hook is None else partial(hook, self), terms)

    def __repr__(self) -> str:
        state = self._link.state if self._is_held else "released"
        return f"<ExclusiveConnection {self._link.address} {state}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.release()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.recv()
        except ConnectionLostError as error:
            if error.code in NORMAL_CODES:
                raise StopAsyncIteration from None
            raise

    @property
    def uri(self) -> str:
        """Where it leads; may hold a credential."""
        return self._link.uri

    @property
    def is_connected(self) -> bool:
        """Whether its socket is open, as far as is known."""
        return self._is_held and self._link.state is LinkState.ACTIVE and self._link.is_fit

    @property
    def reconnects(self) -> int:
        """How often its socket was opened again, under earlier holders too."""
        return self._link.reconnects

    async def send(self, message: str | bytes) -> None:
        """Send one message, at the pace of the pool's options. Cancelled, it may have been sent.

        Raises:
            BrokerLimitError: it is longer than may be sent; nothing was.
            ConnectionLostError: the socket is gone, or is being reopened; nothing was sent.
            ConnectionReleasedError: the connection was given back.
        """
        await self._link.send(self._lease, message)

    async def recv(self) -> str | bytes:
        """Return the next message. May be cancelled without loss.

        Raises:
            BrokerError: the connection is lost for good, and why.
            ConnectionReleasedError: the connection was given back.
        """
        return await self._link.recv(self._lease)

    async def ping(self, timeout: float = PING_SECONDS) -> float:
        """Return the seconds of a round trip. A pong waits behind messages that are not read.

        Raises:
            SilentConnectionError: no pong came in time.
            ConnectionLostError: the socket is gone, or is being reopened.
            ConnectionReleasedError: the connection was given back.
        """
        return await self._link.ping(self._lease, timeout)

    async def release(self) -> None:
        """Give the connection back. Idempotent; a broken one is closed and not lent again."""
        if self._is_held:
            self._give_back(self._link)

    @property
    def _is_held(self) -> bool:
        return self._link.is_lent(self._lease)
