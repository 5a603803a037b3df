"""The admin of API keys, gateways with their clients, and watchlists.

Importing it registers everything with Django's admin site.
"""

from __future__ import annotations

from streaming.admin.gateways import ClientConnectionAdmin, GatewayStatusAdmin
from streaming.admin.keys import ApiKeyAdmin
from streaming.admin.watchlists import WatchlistAdmin

__all__ = ["ApiKeyAdmin", "ClientConnectionAdmin", "GatewayStatusAdmin", "WatchlistAdmin"]
