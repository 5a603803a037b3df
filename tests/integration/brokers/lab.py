"""What the contract has to know of a broker: how its exchange is made, and what to expect of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from brokers.contract import BrokerAdapter
from brokers.simulator.angel.exchange import AngelExchange
from brokers.simulator.dhan.exchange import DhanExchange
from brokers.simulator.fyers.exchange import FyersExchange
from brokers.simulator.listing import ListedInstrument
from brokers.simulator.market import Quote
from brokers.simulator.upstox.exchange import UpstoxExchange
from brokers.simulator.zerodha.exchange import KiteExchange
from brokers.types import FeedMode

__all__ = ["BrokerLab", "MarketBroker", "meant_by_most"]

MarketBroker = KiteExchange | AngelExchange | DhanExchange | FyersExchange | UpstoxExchange


def meant_by_most(quote: Quote, mode: FeedMode) -> dict[str, Any]:
    """Return the fields that a tick of ``mode`` must have, exact and in the segment's own scale."""
    item = quote.instrument
    meant: dict[str, Any] = {"ltp": quote.last_price, "price_scale": item.segment.price_scale}
    if mode >= FeedMode.QUOTE:
        meant |= {name: getattr(quote, name) for name in ("open", "high", "low", "close")}
    if mode >= FeedMode.QUOTE and not item.is_index:
        meant |= {
            "volume": quote.volume,
            "last_trade_quantity": quote.last_quantity,
            "avg_trade_price": quote.average_price,
            "total_buy_quantity": quote.total_buy_quantity,
            "total_sell_quantity": quote.total_sell_quantity,
        }
    if mode is FeedMode.DEPTH:
        meant["ts_event_ms"] = quote.exchange_time * 1000
    if mode is FeedMode.DEPTH and not item.is_index:
        meant |= {
            "bids": tuple(quote.bids()),
            "asks": tuple(quote.asks()),
            "oi": quote.oi,
            "ltt_ms": quote.last_trade_time * 1000,
        }
    return meant


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerLab:
    """One broker under test.

    Attributes:
        adapter: as it ships.
        exchange: makes the local exchange; takes ``market``, ``api_key``, ``access_token``,
            ``rate`` and what ``limit_option`` names.
        credentials: a whole one, which the exchange takes.
        limit_option: the exchange's argument for what one connection may hold.
        refusal_status: what a wrong credential is answered with.
        sends_keepalive: whether the adapter keeps the link alive by messages of its own.
        broker_token: the adapter's name of a listed instrument, None where the broker has it not.
        meant: what a tick of a quote must hold at a mode, where the broker sends less or otherwise.
        tells_over_limit: whether it answers what is beyond its limit; else that stays pending.
    """

    adapter: type[BrokerAdapter]
    exchange: Callable[..., MarketBroker]
    credentials: Mapping[str, str]
    limit_option: str
    refusal_status: int
    sends_keepalive: bool
    broker_token: Callable[[ListedInstrument], str | None]
    meant: Callable[[Quote, FeedMode], dict[str, Any]] = meant_by_most
    tells_over_limit: bool = True

    @property
    def name(self) -> str:
        return self.adapter.capabilities.name

    def quick_adapter(self, **capabilities: Any) -> type[BrokerAdapter]:
        """Return the adapter at a pace for tests, with other capabilities where they are given."""
        pace = {"message_interval_seconds": 0.0, "connect_interval_seconds": 0.0}
        changed = replace(self.adapter.capabilities, **(pace | capabilities))
        return type(f"Quick{self.adapter.__name__}", (self.adapter,), {"capabilities": changed})
