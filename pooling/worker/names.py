"""Meanings of names today, and who has to follow when they change.

Everything that outlives a load of instruments holds a *name* (exchange and symbol); the token that
the broker calls it by is only kept for as long as this says so. The store counts up a revision
whenever names of a broker change. It is looked at every second, before every want, and before a new
socket is asked for what it is to carry; whoever is behind is brought up to it first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial

from brokers.batching import portions
from brokers.pool_service import RefusalCode
from brokers.types import Instrument, InstrumentKey
from pooling.contracts import AccountStore
from pooling.exceptions import StoreUnavailableError
from pooling.pool.pool import ConnectionPool
from pooling.subscriptions.outcomes import Gone

__all__ = ["Meaning", "NameFollower"]

LOOK_UP_CHUNK = 500
# A load in between has a look-up begin again; one after the other is somebody's mistake.
MOST_LOOK_UPS = 5
PREPARE_SECONDS = 1.0


@dataclass(slots=True)
class Meaning:
    """The meaning of names: an instrument, nothing any more, or what cannot be told right now.

    ``is_recalled``: the store has listed one of those that are gone. ``why`` says why nothing of
    the broker can be told although the store answers; "": it does not.
    """

    known: dict[InstrumentKey, Instrument] = field(default_factory=dict)
    gone: dict[InstrumentKey, Gone] = field(default_factory=dict)
    untold: set[InstrumentKey] = field(default_factory=set)
    is_recalled: bool = False
    why: str = ""


class NameFollower:
    """Resolves names for the pools of a worker and keeps these up to date. On its loop only.

    Args:
        store: returns what knows the instruments.
        pools: by pool id; read only.
        log_failure: takes (what, error) when the store fails; must not raise.
        log_return: takes what works, which may have failed before; called often.
    """

    def __init__(
        self,
        *,
        store: Callable[[], AccountStore],
        pools: Mapping[str, ConnectionPool],
        log_failure: Callable[[str, Exception], None],
        log_return: Callable[[str], None],
    ) -> None:
        self._store = store
        self._pools = pools
        self._log_failure = log_failure
        self._log_return = log_return
        self._turn = asyncio.Lock()  # one comparison at a time
        self._revisions: dict[str, int] = {}  # that each pool follows, by pool id

    async def follow(self) -> None:
        """Bring every pool up to the latest load; one that fails is logged, and tried again."""
        self._revisions = {k: v for k, v in self._revisions.items() if k in self._pools}
        steps: list[Callable[[], Awaitable[object]]] = [self._store().expire]
        steps += [partial(self._follow, broker) for broker in self._brokers()]
        for step in steps:
            await self._supervised(step)

    def _brokers(self) -> list[str]:
        return list(dict.fromkeys(pool.spec.broker for pool in self._pools.values()))

    async def _follow(self, broker: str) -> None:
        """Bring the pools of a broker up to its latest load: one look, however many they are."""
        revision = await self._store().names_revision(broker)
        for pool_id, pool in list(self._pools.items()):
            if pool.spec.broker == broker and self._revisions.get(pool_id) != revision:
                await self._supervised(partial(self._bring_up, pool))

    async def _supervised(self, step: Callable[[], Awaitable[object]]) -> None:
        try:
            await step()
        except Exception as error:
            # Supervision point: the store is somebody else's code; the others must not wait.
            self._log_failure("names", error)

    async def prepare(self, pool_id: str) -> None:
        """Bring a pool up to date before a new socket is asked for everything; never raises.

        A store that does not answer within a second costs nobody his prices.
        """
        pool = self._pools.get(pool_id)
        if pool is None:
            return
        try:
            async with asyncio.timeout(PREPARE_SECONDS):
                await self._bring_up(pool)
        except Exception as error:
            # Supervision point: as above; the next look makes up for it.
            self._log_failure("names", error)

    async def resolve(self, pool: ConnectionPool, keys: Sequence[InstrumentKey]) -> Meaning:
        """Return what names mean at the revision that the pool follows; never raises.

        While the store is down, what is subscribed is known and everything else cannot be told.
        What was never heard of cannot either before instruments of the broker were loaded.
        """
        try:
            for _ in range(MOST_LOOK_UPS):
                revision = await self._bring_up(pool)
                known = pool.instruments(keys)
                asked = [key for key in keys if key not in known]
                meaning = await self._look_up(pool.spec.broker, asked)
                await self._excuse(pool.spec.broker, asked, meaning)
                if await self._is_latest(pool, revision):
                    self._log_return("instruments")
                    meaning.known |= known
                    return meaning
        except Exception as error:
            # Supervision point: the store is somebody else's code.
            self._log_failure("instruments", error)
        known = pool.instruments(keys)
        return Meaning(known=known, untold={key for key in keys if key not in known})

    async def _excuse(self, broker: str, asked: Sequence[InstrumentKey], meaning: Meaning) -> None:
        """Call untold what is unknown only as nothing of the broker was loaded."""
        unknown = {key for key in asked if key not in meaning.known and key not in meaning.gone}
        if unknown and (why := await self._store().why_nothing_listed(broker)):
            meaning.untold, meaning.why = unknown, why

    async def _is_latest(self, pool: ConnectionPool, revision: int) -> bool:
        latest = await self._store().names_revision(pool.spec.broker)
        return latest == revision == self._revisions.get(pool.spec.pool_id)

    async def _bring_up(self, pool: ConnectionPool) -> int:
        """Have a pool follow the latest revision and return it. Raises what the store does.

        One that has left the table meanwhile follows nothing more.
        """
        pool_id, broker = pool.spec.pool_id, pool.spec.broker
        revision = await self._store().names_revision(broker)
        if self._revisions.get(pool_id) == revision:
            return revision
        async with self._turn:
            while self._pools.get(pool_id) is pool and self._revisions.get(pool_id) != revision:
                await self._bring_up_to(revision, pool)
                revision = await self._store().names_revision(broker)
        return revision

    async def _bring_up_to(self, revision: int, pool: ConnectionPool) -> None:
        """Have a pool follow a revision, unless a newer one comes meanwhile."""
        pool_id, broker = pool.spec.pool_id, pool.spec.broker
        meaning, taken, looked_at = Meaning(), set[str](), set[tuple[InstrumentKey, str]]()
        while True:
            names = pool.names()
            pairs = {(key, token) for key, tokens in names.items() for token in tokens}
            if pairs <= looked_at:
                break  # and no await from here on: nobody can want anything else meanwhile
            looked_at |= pairs
            await self._look_up_more(broker, names, meaning, taken)
            if await self._store().names_revision(broker) != revision:
                return
        await self._doubt(broker, meaning)
        if self._pools.get(pool_id) is pool:
            pool.follow_names(meaning.known, meaning.gone, taken)
            self._revisions[pool_id] = revision

    async def _doubt(self, broker: str, meaning: Meaning) -> None:
        """Let no name end because the store has lost all of them, or has none of them yet.

        A database whose file was taken away, or that is being restored, is an empty one.

        Raises:
            StoreUnavailableError: it has nothing of the broker, nor of what has expired.
        """
        is_lost = meaning.gone and not meaning.known and not meaning.is_recalled
        if is_lost and (why := await self._store().why_nothing_listed(broker)):
            raise StoreUnavailableError(why)

    async def _look_up_more(
        self,
        broker: str,
        names: Mapping[InstrumentKey, set[str]],
        meaning: Meaning,
        taken: set[str],
    ) -> None:
        keys = [key for key in names if key not in meaning.known and key not in meaning.gone]
        for part in portions(keys, LOOK_UP_CHUNK):
            found = await self._look_up(broker, part)
            meaning.known |= found.known
            meaning.is_recalled |= bool(found.gone)
            meaning.gone |= {
                key: found.gone.get(key) or _unlisted(key) for key in part if key not in found.known
            }
        former = {
            token
            for key, tokens in names.items()
            if (named := meaning.known.get(key)) is not None
            for token in tokens
            if token != named.broker_token
        }
        if former:
            taken |= set(await self._store().listed(broker, former))

    async def _look_up(self, broker: str, keys: Sequence[InstrumentKey]) -> Meaning:
        """Ask the store; what it never heard of is neither known nor gone."""
        if not keys:
            return Meaning()
        known = dict(await self._store().resolve(broker, keys))
        unknown = [key for key in keys if key not in known]
        expired = await self._store().expired(broker, unknown) if unknown else {}
        return Meaning(known=known, gone={key: _expired(key, day) for key, day in expired.items()})


def _expired(key: InstrumentKey, day: date | None) -> Gone:
    if day is None:
        return _unlisted(key)
    return Gone(RefusalCode.SYMBOL_EXPIRED, f"{key} expired on {day.day} {day:%b %Y}")


def _unlisted(key: InstrumentKey) -> Gone:
    return Gone(
        RefusalCode.SYMBOL_NOT_FOUND,
        f"the broker does not list {key} any more: it was delisted or has another name since the "
        "instruments were loaded last; search for it",
    )
