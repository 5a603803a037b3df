"""Dhan in the contract."""

from __future__ import annotations

from typing import Any

from brokers.dhan.connection import DhanAdapter
from brokers.simulator.dhan.encoder import name_of, rupees
from brokers.simulator.dhan.exchange import DhanExchange
from brokers.simulator.listing import ListedInstrument, Segment
from brokers.simulator.market import Quote
from brokers.types import FeedMode
from tests.fix_simulator import ACCESS_TOKEN
from tests.integration.brokers.lab import BrokerLab, meant_by_most

__all__ = ["DHAN", "dhan_meant"]

_PRICES = ("ltp", "open", "high", "low", "close", "avg_trade_price")


def _token(item: ListedInstrument) -> str | None:
    name = name_of(item)
    return None if name is None else f"{name.segment}:{name.security_id}"


def dhan_meant(quote: Quote, mode: FeedMode) -> dict[str, Any]:
    """Return the same in rupees' hundredths, of currencies in their ten-thousandths.

    Of times there is that of the last trade alone.
    """
    item = quote.instrument
    scale = 10_000 if item.segment in (Segment.CDS, Segment.BCD) else 100
    meant = meant_by_most(quote, mode) | {"price_scale": scale}
    meant.pop("ts_event_ms", None)

    def price(value: int) -> int:
        return round(rupees(value, item) * scale)

    meant |= {name: price(meant[name]) for name in _PRICES if name in meant}
    for side in ("bids", "asks"):
        if side in meant:
            meant[side] = tuple((price(each), *rest) for each, *rest in meant[side])
    if "last_trade_quantity" in meant:
        meant["last_trade_quantity"] = min(meant["last_trade_quantity"], 0xFFFF)  # it has 16 bits
    return meant


DHAN = BrokerLab(
    adapter=DhanAdapter,
    exchange=DhanExchange,
    credentials={"client_id": "1000000001", "access_token": ACCESS_TOKEN},
    limit_option="max_instruments",
    # It refuses on the open connection, with a number of its own.
    refusal_status=807,
    sends_keepalive=False,
    broker_token=_token,
    meant=dhan_meant,
)
