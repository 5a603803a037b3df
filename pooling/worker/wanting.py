"""Wants of names on their way into a pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from brokers.feed import Holder, Outcome, Want
from brokers.types import Instrument, InstrumentKey
from pooling.exceptions import PoolClosedError
from pooling.pool.pool import ConnectionPool
from pooling.subscriptions.outcomes import gone_outcome
from pooling.worker.names import Meaning

__all__ = ["WANT_CHUNK", "want_told"]

WANT_CHUNK = 500  # wants between two turns of ticks


def want_told(
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
