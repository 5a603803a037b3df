"""Keys that were let in of late: their owners come back in while the directory is away."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from brokers.logs.failing import Failing
from brokers.types import InstrumentKey
from streaming.exceptions import DirectoryUnavailableError, KeyEndedError
from streaming.ports.directory import Directory, Principal

__all__ = ["RememberingDirectory"]

logger = logging.getLogger("streaming")

REMEMBERED_SECONDS = 60.0
MOST_REMEMBERED = 10_000
PATIENCE_SECONDS = 1.0
# Of those who are not connected, how many are looked at again with those who are.
MOST_REFRESHED = 1_000


@dataclass(slots=True)
class _Entry:
    """One key. ``confirmed_at`` is when the directory last said that it is good; None: in doubt."""

    principal: Principal
    confirmed_at: float | None


class RememberingDirectory:
    """A directory that lets a key in again which it let in within the last minute.

    The directory itself is asked first, always: what is remembered counts only where it fails or
    takes longer than a second. A key that it refuses is forgotten, at the attempt as at each
    ``refresh``, which looks at remembered keys, too; ``doubt`` puts a user's aside until then.
    Only salted digests of keys are kept. Bound to one event loop; every coroutine may be cancelled.

    Args:
        directory: knows the keys.
        clock: monotonic seconds.
        wall_clock_ms: epoch milliseconds, by which keys end.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        clock: Callable[[], float],
        wall_clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._directory = directory
        self._wall_clock_ms = wall_clock_ms
        self._clock = clock
        self._salt = os.urandom(16)
        # By digest of the key; see ``_Entry``.
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        # What was asked before a notice came says nothing about what the notice means.
        self._doubted_at = float("-inf")
        self._failing = Failing()

    def __repr__(self) -> str:
        return f"<RememberingDirectory keys={len(self._entries)}>"

    async def authenticate_api_key(self, api_key: str) -> Principal | None:
        """Return whose key this is.

        Raises:
            KeyEndedError: it was valid, and has ended.
            DirectoryUnavailableError: the directory does not say, and the key was not let in
                within the last minute.
        """
        digest = hashlib.blake2b(
            api_key.encode("utf-8", "surrogatepass"), key=self._salt, digest_size=16
        ).digest()
        asked_at = self._clock()
        try:
            is_known = self._recall(digest) is not None
            async with asyncio.timeout(PATIENCE_SECONDS if is_known else None):
                principal = await self._directory.authenticate_api_key(api_key)
        except KeyEndedError:
            self._entries.pop(digest, None)
            raise
        except (DirectoryUnavailableError, TimeoutError) as error:
            self._log_failure(error)
            remembered = self._recall(digest)
            if remembered is None:
                raise DirectoryUnavailableError("the directory does not answer") from error
            return remembered
        self._log_return()
        if principal is None:
            self._entries.pop(digest, None)
        else:
            self._remember(digest, principal, asked_at)
        return principal

    async def authenticate_session(self, session_key: str) -> Principal | None:
        """Return the principal of a logged-in browser session; None when it has ended."""
        return await self._directory.authenticate_session(session_key)

    async def refresh(self, principals: Sequence[Principal]) -> Sequence[Principal | None]:
        """Return each principal as it is now, and forget remembered keys that have ended."""
        connected = {each.key_id for each in principals}
        asked = [*principals, *self._absent(connected)]
        if not asked:
            return []
        asked_at = self._clock()
        found = await self._directory.refresh(asked)
        told = dict(zip((each.key_id for each in asked), found, strict=True))
        self._take(told, connected, asked_at)
        return found[: len(principals)]

    async def suggest(
        self, broker: str, exchange: str, symbol: str, limit: int = 3
    ) -> Sequence[str]:
        """Return up to ``limit`` names nearest to an unknown one, best first."""
        return await self._directory.suggest(broker, exchange, symbol, limit)

    async def why_not_listed(self, broker: str) -> str:
        """Return why nothing of ``broker`` can be subscribed; "" where something can."""
        return await self._directory.why_not_listed(broker)

    async def listed(self, broker: str, keys: Sequence[InstrumentKey]) -> Collection[InstrumentKey]:
        """Return those of ``keys`` that are instruments of ``broker`` today, exactly as named."""
        return await self._directory.listed(broker, keys)

    async def supported_brokers(self) -> Sequence[str]:
        """Name all brokers that this installation can serve."""
        return await self._directory.supported_brokers()

    def doubt(self, user_ids: Collection[int]) -> None:
        """Count nothing remembered of these users until the directory has confirmed it again."""
        self._doubted_at = self._clock()
        for entry in self._entries.values():
            if entry.principal.user_id in user_ids:
                entry.confirmed_at = None

    def _recall(self, digest: bytes) -> Principal | None:
        entry = self._entries.get(digest)
        if entry is None or entry.confirmed_at is None:
            return None
        is_fresh = self._clock() - entry.confirmed_at < REMEMBERED_SECONDS
        has_ended = entry.principal.has_ended(self._wall_clock_ms())
        return entry.principal if is_fresh and not has_ended else None

    def _remember(self, digest: bytes, principal: Principal, asked_at: float) -> None:
        if principal.key_id is None:
            return
        is_doubted = self._doubted_at >= asked_at
        self._entries[digest] = _Entry(principal, None if is_doubted else asked_at)
        self._entries.move_to_end(digest)
        if len(self._entries) > MOST_REMEMBERED:
            self._entries.popitem(last=False)

    def _absent(self, connected: Collection[int | None]) -> Sequence[Principal]:
        """Return who is remembered and not connected; forgets whom nobody would look at again."""
        now = self._clock()
        absent: dict[int | None, Principal] = {}
        for digest, entry in reversed(list(self._entries.items())):
            key_id, confirmed_at = entry.principal.key_id, entry.confirmed_at
            if key_id in connected:
                continue
            is_old = confirmed_at is not None and now - confirmed_at >= REMEMBERED_SECONDS
            if is_old or len(absent) >= MOST_REFRESHED:
                del self._entries[digest]
            else:
                absent[key_id] = entry.principal
        return list(absent.values())

    def _take(
        self,
        told: Mapping[int | None, Principal | None],
        connected: Collection[int | None],
        asked_at: float,
    ) -> None:
        """Take the directory's word; to be connected counts as to be let in once more."""
        for digest, entry in list(self._entries.items()):
            key_id = entry.principal.key_id
            if key_id not in told:
                continue
            principal = told[key_id]
            if principal is None:
                del self._entries[digest]
                continue
            entry.principal = principal
            is_doubted = entry.confirmed_at is None
            if self._doubted_at < asked_at if is_doubted else key_id in connected:
                entry.confirmed_at = asked_at

    def _log_return(self) -> None:
        if (away := self._failing.works(self._clock())) is not None:
            logger.info("gateway: keys are looked up again, after %.0f s", away)

    def _log_failure(self, error: Exception) -> None:
        if self._failing.fails(self._clock()):
            words = str(error) or "no answer in time"
            logger.error("gateway: keys cannot be looked up (%s)", words)
