"""Clients that may no longer be here: asked for now and then, and when somebody says so."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from brokers.logs.failing import Failing
from brokers.words import one_line
from streaming.clients.client import Client
from streaming.clients.look_pacing import LookPacing
from streaming.edge_limits import EdgeLimits
from streaming.exceptions import DirectoryUnavailableError
from streaming.ports.directory import Directory, Principal
from streaming.protocol.session import SessionState
from streaming.protocol.vocabulary import CloseCode

__all__ = ["KEY_ENDED", "RevokedClients", "RevokedClientsHub"]

logger = logging.getLogger("streaming")

KEY_ENDED = "API key ended"


class RevokedClientsHub(Protocol):
    """The hub, as the look at its clients' rights sees it."""

    clients: set[Client]
    clock: Callable[[], float]
    directory: Directory
    limits: EdgeLimits
    wall_clock_ms: Callable[[], int]

    def close_client(
        self, client: Client, code: CloseCode, reason: str, delay_seconds: float = 0.0
    ) -> None:
        """Stop a client's ticks at once and close it behind its waiting answers."""

    def follow(self, client: Client, principal: Principal) -> None:
        """Serve a client as the principal that it is now."""


class RevokedClients:
    """The look at which clients may still be here, on the hub's event loop.

    ``revalidate`` is an endless coroutine for a task of the hub's; it may be cancelled anywhere.
    """

    def __init__(self, *, hub: RevokedClientsHub) -> None:
        self._hub = hub
        self._revalidate_now = asyncio.Event()
        self._failing = Failing()
        self._pacing = LookPacing()
        self._changed: set[int] = set()  # users of whom somebody said so since the last look

    def revalidate_soon(self, user_ids: Collection[int]) -> None:
        """Look at once whether the connected clients may still be here, if one is of these users.

        However many are named in a row, the looks are one after the other, with pauses of four
        times their length in between; the regular look is never put off by one.
        """
        self._changed.update(user_ids)
        self._revalidate_now.set()

    async def revalidate(self) -> None:
        """Ask the directory about all clients, now and then and when told to, for ever."""
        clock = asyncio.get_running_loop().time
        next_at = clock() + self._hub.limits.revalidate_seconds
        while True:
            await self._wait(next_at)
            is_told = self._revalidate_now.is_set()
            self._revalidate_now.clear()
            changed, self._changed = self._changed, set()
            began = clock()
            if began < next_at and not self._has_client_of(changed):
                self._pacing.passed_over(began=began, ended=clock())
                continue
            await self._look()
            if is_told:
                self._pacing.looked(began=began, ended=clock())
            next_at = clock() + self._hub.limits.revalidate_seconds

    async def _wait(self, next_at: float) -> None:
        """Wait for a notice and for the end of the pause, and for neither beyond ``next_at``."""
        now = asyncio.get_running_loop().time
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(next_at):
                await self._revalidate_now.wait()
                await asyncio.sleep(self._pacing.pause_seconds(now()))

    async def _look(self) -> None:
        try:
            self._close_ended()
            await self._revalidate_once()
            self._log_return()
        except DirectoryUnavailableError as error:
            self._log_failure(error)
        except Exception:  # supervision point: one failed look ends nobody
            logger.exception("gateway: looking whether clients are still allowed failed")

    def _has_client_of(self, user_ids: Collection[int]) -> bool:
        sessions = (client.session for client in self._hub.clients)
        return any(
            session.state is SessionState.READY and session.user.user_id in user_ids
            for session in sessions
        )

    def _close_ended(self) -> None:
        """Close clients whose keys have ended, for which no directory need be asked."""
        hub, now_ms = self._hub, self._hub.wall_clock_ms()
        for client in list(hub.clients):
            session = client.session
            if session.state is SessionState.READY and session.user.has_ended(now_ms):
                hub.close_client(client, CloseCode.UNAUTHENTICATED, KEY_ENDED)

    async def _revalidate_once(self) -> None:
        hub = self._hub
        for client, principal in await changed_principals(hub.directory, hub.clients):
            if client.session.state is not SessionState.READY:
                continue
            before = client.session.user
            if principal is None:
                reason = self._why_over(before)
                hub.close_client(client, CloseCode.UNAUTHENTICATED, reason)
            elif principal.scope != before.scope:
                # What it holds may be more than it may hold now.
                hub.close_client(client, CloseCode.UNAUTHENTICATED, "API key changed")
            else:
                hub.follow(client, principal)

    def _why_over(self, principal: Principal) -> str:
        if principal.key_id is None:
            return "session ended"
        has_ended = principal.has_ended(self._hub.wall_clock_ms())
        return KEY_ENDED if has_ended else "API key revoked"

    def _log_return(self) -> None:
        if (away := self._failing.works(self._hub.clock())) is not None:
            logger.info(
                "gateway: looks again whether clients are still allowed, after %.0f s", away
            )

    def _log_failure(self, error: DirectoryUnavailableError) -> None:
        if self._failing.fails(self._hub.clock()):
            logger.error(
                "gateway: cannot look whether clients are still allowed: %s", one_line(error)
            )


async def changed_principals(
    directory: Directory, clients: Iterable[Client]
) -> Sequence[tuple[Client, Principal | None]]:
    """Ask the directory once for all admitted clients; return those whose principal changed.

    It is asked without any, too: it may have somebody in mind who is not connected.

    None stands for a key, session or user that is no longer valid. Clients may have come and gone
    while the directory was asked.
    """
    by_identity: dict[tuple[int, int | None, str | None], list[Client]] = {}
    for client in clients:
        if client.session.state is SessionState.READY:
            user = client.session.user
            identity = (user.user_id, user.key_id, user.session_key)
            by_identity.setdefault(identity, []).append(client)
    groups = list(by_identity.values())
    current = await directory.refresh([group[0].session.user for group in groups])
    return [
        (client, principal)
        for group, principal in zip(groups, current, strict=True)
        for client in group
        if principal != client.session.principal
    ]
