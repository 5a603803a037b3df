"""Limits and addresses of Zerodha: the data that the core reads instead of a broker's name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import time
from typing import Final

from brokers.contract import BrokerCapabilities, CredentialField
from brokers.settings import BrokerSettings, setting
from brokers.times.credential_expiry import DailyEnd
from brokers.times.market_clock import INDIA

__all__ = ["CAPABILITIES", "KITE_VERSION", "ZerodhaSettings", "capabilities_with", "master_url"]

KITE_VERSION: Final = "3"


@dataclass(frozen=True, slots=True, kw_only=True)
class ZerodhaSettings(BrokerSettings):
    """Settings that Kite's documents leave open."""

    instruments_per_message: int = setting(
        500,
        label="Instruments in one message",
        help_text="Not documented; others send 200. Less, where Kite drops long messages.",
        minimum=1,
        maximum=3000,
    )
    message_interval_seconds: float = setting(
        0.1,
        label="Seconds between two messages",
        help_text="How many Kite takes of one connection is not documented; others wait 0.5 s.",
        minimum=0,
        maximum=10,
    )
    silence_limit_seconds: float = setting(
        10.0,
        label="Silence that ends a connection (seconds)",
        help_text=(
            'Kite sends a byte "every couple of seconds" when there is nothing to send; how often '
            "exactly is not documented. More, where quiet connections are replaced again and again."
        ),
        minimum=5,
        maximum=120,
    )


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
            "GLOBAL_INDEX",
        }
    ),
    max_connections=3,
    symbols_per_connection=3000,
    depth_levels=(5,),
    connections_count_by="api_key",
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
    credentials_end=DailyEnd(time(6), INDIA),
)


def capabilities_with(
    capabilities: BrokerCapabilities, settings: ZerodhaSettings
) -> BrokerCapabilities:
    """Return what Zerodha allows an account of these settings."""
    return replace(
        capabilities,
        batch_size=settings.instruments_per_message,
        message_interval_seconds=settings.message_interval_seconds,
        liveness_timeout_seconds=settings.silence_limit_seconds,
    )


def master_url(http_endpoint: str | None) -> str:
    """Return the URL of the instruments dump (a gzipped CSV, made once a day)."""
    return f"{(http_endpoint or CAPABILITIES.http_endpoint).rstrip('/')}/instruments"
