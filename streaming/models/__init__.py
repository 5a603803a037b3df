"""API keys of programs, watchlists of people, and who is connected to which gateway."""

from __future__ import annotations

from streaming.models.gateways import ClientConnection, GatewayStatus
from streaming.models.keys import ApiKey, ApiKeyStore, hash_api_key
from streaming.models.preferences import UserPreferences
from streaming.models.watchlists import (
    MAX_WATCHLIST_ITEMS,
    MAX_WATCHLISTS,
    Watchlist,
    validate_items,
)

__all__ = [
    "MAX_WATCHLISTS",
    "MAX_WATCHLIST_ITEMS",
    "ApiKey",
    "ApiKeyStore",
    "ClientConnection",
    "GatewayStatus",
    "UserPreferences",
    "Watchlist",
    "hash_api_key",
    "validate_items",
]
