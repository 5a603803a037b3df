"""Limits and addresses of Binance: the data that the core reads instead of a broker's name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from brokers.binance.constants import MAX_NAMES_PER_REQUEST, MAX_REQUEST_BYTES
from brokers.contract import BrokerCapabilities, ConnectRate
from brokers.settings import BrokerSettings, setting

__all__ = [
    "CAPABILITIES",
    "COMBINED_PATH",
    "RAW_PATH",
    "BinanceSettings",
    "capabilities_with",
    "master_url",
]

COMBINED_PATH: Final = "/stream"
RAW_PATH: Final = "/ws"


@dataclass(frozen=True, slots=True, kw_only=True)
class BinanceSettings(BrokerSettings):
    """Settings that Binance's documents leave open."""

    connections: int = setting(
        10,
        label="Connections",
        help_text=(
            "Binance limits how often an address may connect and says nothing of how many "
            "connections it may have. Each carries 1,024 streams."
        ),
        minimum=1,
        maximum=100,
    )
    streams_per_message: int = setting(
        MAX_NAMES_PER_REQUEST,
        label="Streams in one message",
        help_text=(
            "Not documented; a message of more than some 437 was seen to be dropped without a word."
        ),
        # An instrument has up to four, and they never part over two messages.
        minimum=4,
        maximum=400,
    )


CAPABILITIES: Final = BrokerCapabilities(
    name="binance",
    label="Binance spot",
    exchanges=frozenset({"BINANCE"}),
    # Binance limits connection attempts, not connections.
    max_connections=10,
    symbols_per_connection=1024,
    unit="streams",
    depth_levels=(5, 10, 20),
    default_endpoint="wss://data-stream.binance.vision",
    http_endpoint="https://data-api.binance.vision",
    # Of instruments; a request is cut earlier where it would name more streams than advised.
    batch_size=MAX_NAMES_PER_REQUEST,
    max_message_bytes=MAX_REQUEST_BYTES,
    # 5 messages a second, of which our pongs take a share
    message_interval_seconds=0.25,
    connect_interval_seconds=1.0,
    connect_rate=ConnectRate(attempts=300, window_seconds=300.0),
    heartbeat_seconds=20.0,
    liveness_timeout_seconds=60.0,
    max_lifetime_seconds=24 * 3600.0,
)


def capabilities_with(
    capabilities: BrokerCapabilities, settings: BinanceSettings
) -> BrokerCapabilities:
    """Return what Binance allows an account of these settings."""
    return replace(
        capabilities,
        max_connections=settings.connections,
        batch_size=settings.streams_per_message,
    )


def master_url(http_endpoint: str | None) -> str:
    """Return the URL of the exchange information, which lists all symbols."""
    return f"{(http_endpoint or CAPABILITIES.http_endpoint).rstrip('/')}/api/v3/exchangeInfo"
