"""The Zerodha adapter: Kite ticker messages and frames for one connection."""

from __future__ import annotations

from collections.abc import Iterator

from brokers.base import BrokerAdapter
from brokers.types import InstrumentRow
from brokers.zerodha.config import CAPABILITIES, master_url
from brokers.zerodha.symbols import parse_master

__all__ = ["ZerodhaAdapter"]


class ZerodhaAdapter(BrokerAdapter):
    """One Kite ticker connection. Called from its connection's loop only."""

    capabilities = CAPABILITIES

    @classmethod
    def master_url(cls, http_endpoint: str | None) -> str:
        """Return the URL of the instruments dump, a gzipped CSV."""
        return master_url(http_endpoint)

    @classmethod
    def parse_master(cls, data: bytes) -> Iterator[InstrumentRow]:
        """Yield the instruments of the dump, gzipped or not; see ``symbols.parse_master``."""
        return parse_master(data)
