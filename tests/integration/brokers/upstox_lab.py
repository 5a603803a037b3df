"""Upstox in the contract."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

from brokers.simulator.market import Quote
from brokers.simulator.upstox.encoder import key_of
from brokers.simulator.upstox.exchange import UpstoxExchange
from brokers.types import FeedMode
from brokers.upstox.connection import UpstoxAdapter
from tests.fix_simulator import ACCESS_TOKEN
from tests.integration.brokers.lab import BrokerLab, meant_by_most

__all__ = ["UPSTOX", "UPSTOX_PLUS", "upstox_meant"]

_PRICES = ("ltp", "open", "high", "low", "close", "avg_trade_price")


def upstox_meant(quote: Quote, mode: FeedMode) -> dict[str, Any]:
    """Return the same in ten-thousandths of a rupee; nobody counts orders.

    Of times there is that of the last trade; that of the event is when the frame was made.
    """
    meant = meant_by_most(quote, mode) | {"price_scale": 10_000}
    meant.pop("ts_event_ms", None)

    def price(value: int) -> int:
        return round(Fraction(value, quote.instrument.segment.price_scale) * 10_000)

    meant |= {name: price(meant[name]) for name in _PRICES if name in meant}
    for side in ("bids", "asks"):
        if side in meant:
            meant[side] = tuple((price(each), size, None) for each, size, _ in meant[side])
    return meant


UPSTOX = BrokerLab(
    adapter=UpstoxAdapter,
    exchange=UpstoxExchange,
    credentials={"access_token": ACCESS_TOKEN},
    limit_option="max_keys",
    refusal_status=401,
    sends_keepalive=False,
    broker_token=key_of,
    meant=upstox_meant,
    tells_over_limit=False,
)

UPSTOX_PLUS = replace(
    UPSTOX,
    adapter=UpstoxAdapter.with_settings({"plan": "plus"}),
    exchange=partial(UpstoxExchange, plan="plus"),
)
