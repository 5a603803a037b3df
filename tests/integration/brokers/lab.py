"""What the contract has to know of a broker: how its exchange is made, and what to expect of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from brokers.base import BrokerAdapter
from brokers.simulator.angel import AngelExchange
from brokers.simulator.kite import KiteExchange
from brokers.simulator.listing import ListedInstrument

__all__ = ["BrokerLab", "MarketBroker"]

MarketBroker = KiteExchange | AngelExchange


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
    """

    adapter: type[BrokerAdapter]
    exchange: Callable[..., MarketBroker]
    credentials: Mapping[str, str]
    limit_option: str
    refusal_status: int
    sends_keepalive: bool
    broker_token: Callable[[ListedInstrument], str | None]

    @property
    def name(self) -> str:
        return self.adapter.capabilities.name

    def quick_adapter(self, **capabilities: Any) -> type[BrokerAdapter]:
        """Return the adapter at a pace for tests, with other capabilities where they are given."""
        pace = {"message_interval_seconds": 0.0, "connect_interval_seconds": 0.0}
        changed = replace(self.adapter.capabilities, **(pace | capabilities))
        return type(f"Quick{self.adapter.__name__}", (self.adapter,), {"capabilities": changed})
