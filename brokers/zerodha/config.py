"""What Zerodha allows and where it is: the data that the core reads instead of a broker's name."""

from __future__ import annotations

from datetime import time, timedelta, timezone
from typing import Final

from brokers.base import BrokerCapabilities, CredentialField
from brokers.credential_expiry import DailyEnd

__all__ = ["CAPABILITIES", "KITE_VERSION", "master_url"]

KITE_VERSION: Final = "3"
_INDIA: Final = timezone(timedelta(hours=5, minutes=30))

CAPABILITIES: Final = BrokerCapabilities(
    name="zerodha",
    label="Zerodha",
    exchanges=frozenset(
        {
            "NSE",
            "BSE",
            "NFO",
            "BFO",
            "CDS",
            "BCD",
            "MCX",
            "NCO",
            "NSE_INDEX",
            "BSE_INDEX",
            "MCX_INDEX",
        }
    ),
    max_connections=3,
    symbols_per_connection=3000,
    depth_levels=(5,),
    credential_fields=(
        CredentialField("api_key", "API key", "Of your app at developers.kite.trade."),
        CredentialField(
            "access_token",
            "Access token",
            "Of today's login; Zerodha ends it at 06:00 India time the next day.",
        ),
    ),
    default_endpoint="wss://ws.kite.trade",
    http_endpoint="https://api.kite.trade",
    # Neither is documented; a message of 500 tokens stays below 6 KB.
    batch_size=500,
    message_interval_seconds=0.1,
    connect_interval_seconds=1.0,
    # "every couple of seconds" when there is nothing to send
    heartbeat_seconds=2.0,
    liveness_timeout_seconds=10.0,
    # https://kite.trade/docs/connect/v3/user/: "expires at 6 AM on the next day"
    credentials_end=DailyEnd(time(6), _INDIA),
)


def master_url(http_endpoint: str | None) -> str:
    """Return the URL of the instruments dump (a gzipped CSV, made once a day)."""
    return f"{(http_endpoint or CAPABILITIES.http_endpoint).rstrip('/')}/instruments"
