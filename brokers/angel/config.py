"""What Angel One allows and where it is: the data that the core reads instead of its name."""

from __future__ import annotations

from typing import Final

from brokers.angel.constants import PAIRS_PER_CONNECTION, PAIRS_RESERVED, PONG
from brokers.base import BrokerCapabilities, CredentialField

__all__ = ["CAPABILITIES", "FEED_PATH", "master_url"]

FEED_PATH: Final = "/smart-stream"
_MASTER_PATH: Final = "/OpenAPI_File/files/OpenAPIScripMaster.json"

CAPABILITIES: Final = BrokerCapabilities(
    name="angel",
    label="Angel One",
    exchanges=frozenset(
        {
            "NSE",
            "BSE",
            "NFO",
            "BFO",
            "CDS",
            "MCX",
            "NCDEX",
            "NSE_INDEX",
            "BSE_INDEX",
            "MCX_INDEX",
        }
    ),
    max_connections=3,
    # An instrument is one pair as long as it keeps its mode; the rest is room for changing it.
    symbols_per_connection=PAIRS_PER_CONNECTION - PAIRS_RESERVED,
    # The 20 levels of mode 4 were announced to end in April 2025.
    depth_levels=(5,),
    credential_fields=(
        CredentialField("api_key", "API key", "Of your app at smartapi.angelone.in."),
        CredentialField("client_code", "Client code", "Your Angel One account."),
        CredentialField(
            "access_token",
            "JWT token",
            "jwtToken of today's login, with or without 'Bearer'; it ends after 24 to 28 hours.",
        ),
        CredentialField("feed_token", "Feed token", "feedToken of the same login."),
    ),
    default_endpoint=f"wss://smartapisocket.angelone.in{FEED_PATH}",
    http_endpoint="https://margincalculator.angelone.in",
    # Neither is documented; a message of 500 tokens stays below 8 KB.
    batch_size=500,
    message_interval_seconds=0.1,
    connect_interval_seconds=1.0,
    # It answers our text "ping", which has to come every 30 s, and says nothing by itself.
    heartbeat_seconds=None,
    liveness_timeout_seconds=30.0,
    keepalive_answer=PONG,
)


def master_url(http_endpoint: str | None) -> str:
    """Return the URL of the instruments master, a JSON array that is made anew every day."""
    return (http_endpoint or CAPABILITIES.http_endpoint).rstrip("/") + _MASTER_PATH
