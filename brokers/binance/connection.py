"""The Binance adapter: market stream messages and frames for one connection."""

from __future__ import annotations

from brokers.base import BrokerAdapter
from brokers.binance.config import CAPABILITIES

__all__ = ["BinanceAdapter"]


class BinanceAdapter(BrokerAdapter):
    """One combined-stream connection. Called from its connection's loop only."""

    capabilities = CAPABILITIES
