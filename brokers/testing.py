"""Shipped fakes for tests of whatever uses brokers: a sink that remembers, and Kite packets.

The packet builders write what ``brokers/zerodha/codec.py`` reads, from the protocol's tables and
not from that module's structs, so that a mistake there is not repeated here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from brokers.types import Instrument, InstrumentKey, Tick

__all__ = [
    "PublishedTick",
    "RecordingSink",
    "kite_frame",
    "kite_full",
    "kite_index_full",
    "kite_index_quote",
    "kite_ltp",
    "kite_quote",
]

_NO_LEVEL = (0, 0, 0)
_LEVELS = 5


class PublishedTick(NamedTuple):
    """One call of ``RecordingSink.publish``."""

    instrument: Instrument
    tick: Tick
    ts_received_us: int


class RecordingSink:
    """A ``TickSink`` that keeps everything. Safe from any thread: it only appends to lists."""

    def __init__(self) -> None:
        # All that came, in order, and what was to be forgotten.
        self.published: list[PublishedTick] = []
        self.forgotten: list[InstrumentKey] = []
        self.forgot_all = 0  # how often everything was dropped at once
        self.is_closed = False

    def __repr__(self) -> str:
        return f"<RecordingSink {len(self.published)} ticks, {len(self.forgotten)} forgotten>"

    @property
    def ticks(self) -> list[Tick]:
        """The ticks alone, in the order of their coming."""
        return [published.tick for published in self.published]

    def publish(self, instrument: Instrument, tick: Tick, ts_received_us: int) -> None:
        """Keep the tick."""
        self.published.append(PublishedTick(instrument, tick, ts_received_us))

    def forget(self, keys: Iterable[InstrumentKey] | None) -> None:
        """Keep the keys."""
        if keys is None:
            self.forgot_all += 1
        else:
            self.forgotten.extend(keys)

    def close(self) -> None:
        """Note that the pool ended."""
        self.is_closed = True


def kite_frame(*bodies: bytes) -> bytes:
    """Return a binary frame of these packet bodies."""
    packets = b"".join(len(body).to_bytes(2, "big") + body for body in bodies)
    return len(bodies).to_bytes(2, "big") + packets


def kite_ltp(token: int, ltp: int) -> bytes:
    """Return an 8-byte body. All prices here are the broker's integers."""
    return _u32(token, ltp)


def kite_quote(
    token: int,
    ltp: int,
    *,
    last_quantity: int = 0,
    average: int = 0,
    volume: int = 0,
    buy: int = 0,
    sell: int = 0,
    ohlc: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> bytes:
    """Return a 44-byte body."""
    return _u32(token, ltp, last_quantity, average, volume, buy, sell, *ohlc)


def kite_full(
    quote: bytes,
    *,
    traded: int = 0,
    oi: int = 0,
    oi_high: int = 0,
    oi_low: int = 0,
    timestamp: int = 0,
    bids: Sequence[tuple[int, int, int]] = (),
    asks: Sequence[tuple[int, int, int]] = (),
) -> bytes:
    """Return a 184-byte body: quote body, times in seconds, levels (price, quantity, orders)."""
    sides = b"".join(_side(side) for side in (bids, asks))
    return quote + _u32(traded, oi, oi_high, oi_low, timestamp) + sides


def kite_index_quote(
    token: int, ltp: int, *, ohlc: tuple[int, int, int, int], change: int = 0
) -> bytes:
    """Return a 28-byte body; ``ohlc`` in its usual order, ``change`` signed."""
    open_, high, low, close = ohlc
    return _u32(token, ltp, high, low, open_, close) + change.to_bytes(4, "big", signed=True)


def kite_index_full(index_quote: bytes, *, timestamp: int = 0) -> bytes:
    """Return a 32-byte body: an index quote's body and the exchange's time in seconds."""
    return index_quote + _u32(timestamp)


def _u32(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


def _side(levels: Sequence[tuple[int, int, int]]) -> bytes:
    filled = [*levels, *[_NO_LEVEL] * (_LEVELS - len(levels))]
    return b"".join(
        _u32(quantity, price) + orders.to_bytes(2, "big") + b"\0\0"
        for price, quantity, orders in filled
    )
