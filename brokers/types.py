"""Value types that every part of the project shares.

Prices and quantities inside a ``Tick`` are exact scaled integers: ``ltp=157370`` with
``price_scale=100`` is 1573.70. They become JSON numbers only where a tick is encoded.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

__all__ = [
    "DepthLevel",
    "FeedMode",
    "Instrument",
    "InstrumentKey",
    "InstrumentRow",
    "Subscription",
    "Tick",
    "TickSink",
]


class FeedMode(IntEnum):
    """OpenAlgo's data levels, with its wire numbers.

    OpenAlgo's "quote" is last price, OHLC and volume; bid and ask are in it only where the broker
    sends them at that level.
    """

    LTP = 1
    QUOTE = 2
    DEPTH = 3

    def covers(self, other: FeedMode) -> bool:
        """Tell whether a tick of this mode contains everything that ``other`` promises."""
        return self >= other


class InstrumentKey(NamedTuple):
    """An instrument and its exchange, in OpenAlgo's form: ``InstrumentKey("NSE", "RELIANCE")``."""

    exchange: str
    symbol: str

    def __str__(self) -> str:
        return f"{self.exchange}:{self.symbol}"


class Instrument(msgspec.Struct, frozen=True):
    """One row of a broker's instruments master, as far as the tick path needs it.

    ``broker_token`` is the broker's own name for it, always text (Zerodha ``"408065"``, Binance
    ``"btcusdt"``); an adapter turns it into what its wire protocol needs.
    """

    key: InstrumentKey
    broker_token: str


class Subscription(msgspec.Struct, frozen=True):
    """One upstream subscription: an instrument at a mode, with so many depth levels."""

    instrument: Instrument
    mode: FeedMode
    depth_levels: int = 5


class DepthLevel(NamedTuple):
    """One level of the order book; scaled integers. ``orders`` is None where nobody counts them."""

    price: int
    quantity: int
    orders: int | None = None


class Tick(msgspec.Struct, frozen=True, gc=False):
    """One market-data update of one instrument, as decoded from a broker's frame.

    ``mode`` is the level that this update carries. A field is None when the broker did not send
    it; nothing is ever filled with zeros, and no price is 0, which is how wires say "none".
    ``close`` is the previous close, the base of the day's change. ``ts_event_ms`` is the exchange's
    time of this update and ``ltt_ms`` that of the last trade, both epoch milliseconds and None when
    the frame carried none.
    """

    broker_token: str | int
    mode: FeedMode
    price_scale: int
    quantity_scale: int = 1
    ltp: int | None = None
    ltt_ms: int | None = None
    ts_event_ms: int | None = None
    open: int | None = None
    high: int | None = None
    low: int | None = None
    close: int | None = None
    volume: int | None = None
    last_trade_quantity: int | None = None
    avg_trade_price: int | None = None
    oi: int | None = None
    bid_price: int | None = None
    ask_price: int | None = None
    bid_size: int | None = None
    ask_size: int | None = None
    total_buy_quantity: int | None = None
    total_sell_quantity: int | None = None
    bids: tuple[DepthLevel, ...] | None = None
    asks: tuple[DepthLevel, ...] | None = None


@runtime_checkable
class TickSink(Protocol):
    """A taker of an adapter's ticks, bound to one pool, so that no tick can cross pools.

    Every method may be called from any thread and never blocks on the network.
    """

    def publish(self, instrument: Instrument, tick: Tick, ts_received_us: int) -> None:
        """Send ``tick`` to everyone who may have it and keep it as the instrument's last value.

        ``ts_received_us`` is when its frame was read, in epoch microseconds.
        """

    def forget(self, keys: Iterable[InstrumentKey] | None) -> None:
        """Drop the last values of ``keys``, or of everything (None): nobody may be shown them."""

    def close(self) -> None:
        """Drop every last value and what is published from now on: the pool ended. Idempotent."""


class InstrumentRow(msgspec.Struct, frozen=True):
    """One row of a broker's instruments master, in OpenAlgo's form.

    ``broker_token`` is what the broker's socket calls it, ``broker_symbol`` what its other APIs do.
    ``expiry`` is an ISO date or "". ``strike``, ``lot_size`` and ``tick_size`` are decimal text
    without superfluous zeros ("20800", "0.05"), or "" where they do not apply; ``lot_size`` is the
    step of a quantity and may be a fraction ("0.00001" at Binance). ``instrument_type`` is one of
    EQ, INDEX, FUT, CE, PE and SPOT.
    """

    exchange: str
    symbol: str
    broker_token: str
    broker_symbol: str
    name: str
    expiry: str
    strike: str
    lot_size: str
    tick_size: str
    instrument_type: str
