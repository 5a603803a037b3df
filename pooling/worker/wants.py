"""Wants on their way into pools: looked up, taken in portions, and asked again once they can be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from brokers.batching import portions
from brokers.pool_service import Holder, Outcome, Want
from brokers.types import Instrument, InstrumentKey
from pooling.exceptions import PoolClosedError
from pooling.pool.pool import ConnectionPool
from pooling.subscriptions.outcomes import crowded_outcome, gone_outcome, untold_outcome
from pooling.worker.names import Meaning, NameFollower
from pooling.worker.untold import UntoldWants

__all__ = ["WANT_CHUNK", "WantTaker"]

WANT_CHUNK = 500  # wants between two turns of ticks


class WantTaker:
    """Takes holders' wants into the pools of a worker. Used on the worker's loop only.

    Args:
        names: says what names mean.
        pools: the worker's pools; read only.
        on_outcomes: takes (pool id, outcomes) of wants whose answer had to wait; must not raise.
    """

    def __init__(
        self,
        *,
        names: NameFollower,
        pools: Mapping[str, ConnectionPool],
        on_outcomes: Callable[[str, Sequence[Outcome]], None],
    ) -> None:
        self._names = names
        self._pools = pools
        self._on_outcomes = on_outcomes
        self._untold = UntoldWants()  # what could not be looked up yet

    async def take(
        self, pool: ConnectionPool, holder: Holder, wants: Sequence[Want]
    ) -> list[Outcome]:
        """Take wants, with a turn for ticks after each portion; one outcome each, in order.

        Raises:
            KeyError: the pool is not the worker's any more.
        """
        outcomes: list[Outcome] = []
        for part in portions(wants, WANT_CHUNK):
            outcomes += await self._take_part(pool, holder, part)
            await asyncio.sleep(0)
        # What could not be looked up is nothing that the pool knows of.
        waiting = set(self._untold.keys(pool.spec.pool_id, holder))
        settled = iter(pool.settle(holder, [o for o in outcomes if o.key not in waiting]))
        return [outcome if outcome.key in waiting else next(settled) for outcome in outcomes]

    def release(self, pool_id: str, holder: Holder, keys: Sequence[InstrumentKey] | None) -> None:
        """Forget what a holder gives up of that which could not be looked up; None: all."""
        self._untold.release(pool_id, holder, keys)

    def release_gateway(self, gateway: str) -> None:
        """Forget what a gateway's holders wait for; it is gone."""
        self._untold.release_gateway(gateway)

    async def ask_untold(self) -> None:
        """Look up again what could not be, and tell what became of it."""
        unlisted: set[str] = set()  # brokers of which nothing is loaded
        for pool_id, holder in self._untold.holders():
            pool = self._pools.get(pool_id)
            if pool is None:
                # Its successor is told by the gateways what is wanted.
                self._untold.release_pool(pool_id)
            elif pool.spec.broker not in unlisted:
                why = await self._ask_untold_of(pool, holder)
                if why is None:
                    return  # the store is still away: at the next look
                if why:
                    unlisted.add(pool.spec.broker)

    async def _take_part(
        self, pool: ConnectionPool, holder: Holder, wants: Sequence[Want]
    ) -> Sequence[Outcome]:
        pool_id = pool.spec.pool_id
        keys = list(dict.fromkeys(want.key for want in wants))
        meaning = await self._names.resolve(pool, keys)
        if self._pools.get(pool_id) is not pool:
            raise KeyError(pool_id)  # its successor is told by the gateways what is wanted
        # A later word of the holder counts, whichever way this one goes.
        self._untold.release(pool_id, holder, keys)
        told = [want for want in wants if want.key not in meaning.untold]
        outcomes = iter(_want_told(pool, holder, told, meaning))
        return [
            self._wait_until_told(pool_id, holder, want, meaning.why)
            if want.key in meaning.untold
            else next(outcomes)
            for want in wants
        ]

    def _wait_until_told(self, pool_id: str, holder: Holder, want: Want, why: str) -> Outcome:
        is_kept = self._untold.keep(pool_id, holder, want)
        return untold_outcome(want, why) if is_kept else crowded_outcome(want)

    async def _ask_untold_of(self, pool: ConnectionPool, holder: Holder) -> str | None:
        """Look up what one holder waits for; returns why nothing can be told, None: no answer."""
        pool_id, why = pool.spec.pool_id, ""
        for keys in portions(self._untold.keys(pool_id, holder), WANT_CHUNK):
            meaning = await self._names.resolve(pool, keys)
            if not meaning.why and meaning.untold.issuperset(keys):
                return None
            if self._pools.get(pool_id) is not pool:
                break
            why = meaning.why or why
            # Only what was not released meanwhile, with no await from here on.
            told = [key for key in keys if key not in meaning.untold]
            try:
                self._tell(pool, holder, self._untold.take(pool_id, holder, told), meaning)
            except KeyError:
                self._untold.release_pool(pool_id)  # it is closed, as one that has left
                break
        return why

    def _tell(
        self, pool: ConnectionPool, holder: Holder, wants: Sequence[Want], meaning: Meaning
    ) -> None:
        """Take wants that can be looked up at last. Raises KeyError: the pool is closed."""
        if wants:
            outcomes = pool.settle(holder, _want_told(pool, holder, wants, meaning))
            self._on_outcomes(pool.spec.pool_id, outcomes)


def _want_told(
    pool: ConnectionPool, holder: Holder, wants: Sequence[Want], meaning: Meaning
) -> Sequence[Outcome]:
    """Want what has a meaning of a pool; what has none any more is refused in its own words.

    Raises:
        KeyError: the pool is closed.
    """
    if not meaning.gone:
        return _want_or_raise(pool, holder, wants, meaning.known)
    asked = [want for want in wants if want.key not in meaning.gone]
    taken = iter(_want_or_raise(pool, holder, asked, meaning.known))
    return [
        gone_outcome(want, meaning.gone[want.key]) if want.key in meaning.gone else next(taken)
        for want in wants
    ]


def _want_or_raise(
    pool: ConnectionPool,
    holder: Holder,
    wants: Sequence[Want],
    instruments: Mapping[InstrumentKey, Instrument],
) -> Sequence[Outcome]:
    try:
        return pool.want(holder, wants, instruments)
    except PoolClosedError:
        raise KeyError(pool.spec.pool_id) from None
