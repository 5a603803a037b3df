"""The Binance adapter: market stream messages and frames for one connection."""

from __future__ import annotations

from collections.abc import Iterator

from brokers.base import BrokerAdapter
from brokers.binance.config import CAPABILITIES, master_url
from brokers.binance.symbols import parse_master
from brokers.types import InstrumentRow

__all__ = ["BinanceAdapter"]


class BinanceAdapter(BrokerAdapter):
    """One combined-stream connection. Called from its connection's loop only."""

    capabilities = CAPABILITIES

    @classmethod
    def master_url(cls, http_endpoint: str | None) -> str:
        """Return the URL of the exchange information."""
        return master_url(http_endpoint)

    @classmethod
    def parse_master(cls, data: bytes) -> Iterator[InstrumentRow]:
        """Yield the symbols that are trading; see ``symbols.parse_master``."""
        return parse_master(data)
