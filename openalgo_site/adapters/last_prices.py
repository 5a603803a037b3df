"""Last prices for pages of this process, from the workers: a courtesy that nobody waits for.

A search shows strikes by their distance from the price of the underlying, as far as a pool of the
user knows it: because somebody holds it there, here or at another gateway.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from brokers.types import InstrumentKey

__all__ = ["PRICES", "LastPrices", "ValueSource"]

logger = logging.getLogger("openalgo_site")

ANSWER_SECONDS = 0.1
REST_SECONDS = 5.0


class _Values(msgspec.Struct):
    ltp: float | None = None


class _Tick(msgspec.Struct):
    symbol: str
    exchange: str
    data: _Values


_DECODER = msgspec.json.Decoder(_Tick)


class ValueSource(Protocol):
    """Source of the last messages of pools, as ``streaming.gateway.gateway.Gateway`` is."""

    def last_values(
        self, pool_ids: Sequence[str], keys: Sequence[InstrumentKey], timeout_seconds: float
    ) -> Sequence[bytes]:
        """Return the last ``market_data`` objects of ``keys``, of whichever pool knows one.

        From any thread but the gateway's own. Raises TimeoutError.
        """


class LastPrices:
    """Asks a gateway, and leaves it alone for a while after it did not answer. Thread-safe.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Set as a whole by any thread, without a lock: the worst is one question more.
        self._source: ValueSource | None = None  # who is asked; None in a command
        self._rests_until = 0.0  # before that nobody is asked again

    def ask_of(self, source: ValueSource | None) -> None:
        """Take prices from ``source``; None: know none, as in a command."""
        self._source, self._rests_until = source, 0.0

    def of(
        self, pool_ids: Sequence[str], keys: Sequence[InstrumentKey]
    ) -> Mapping[InstrumentKey, float]:
        """Return the last prices of those of ``keys`` that one of the pools knows. Never raises."""
        source = self._source
        if source is None or not pool_ids or self._clock() < self._rests_until:
            return {}
        try:
            bodies = source.last_values(pool_ids, keys, ANSWER_SECONDS)
            ticks = [_DECODER.decode(body) for body in bodies]
        except Exception as error:  # supervision point: an order of rows must not fail a search
            self._rests_until = self._clock() + REST_SECONDS
            if not isinstance(error, TimeoutError):
                logger.exception("last prices could not be asked for")
            return {}
        return {
            InstrumentKey(tick.exchange, tick.symbol): tick.data.ltp
            for tick in ticks
            if tick.data.ltp
        }


PRICES = LastPrices()
