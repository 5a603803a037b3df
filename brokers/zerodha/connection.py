"""The Zerodha adapter: Kite ticker messages and frames for one connection."""

from __future__ import annotations

from brokers.base import BrokerAdapter
from brokers.zerodha.config import CAPABILITIES

__all__ = ["ZerodhaAdapter"]


class ZerodhaAdapter(BrokerAdapter):
    """One Kite ticker connection. Called from its connection's loop only."""

    capabilities = CAPABILITIES
