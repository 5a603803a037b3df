"""Limits and addresses of Angel One: the data that the core reads instead of its name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import time
from typing import Final

from brokers.angel.constants import (
    CATEGORY_DEPTH_20,
    DEPTH_LEVELS,
    DEPTH_LEVELS_20,
    PAIRS_PER_CONNECTION,
    PAIRS_RESERVED,
    PONG,
    TOKENS_DEPTH_20,
)
from brokers.contract import BrokerCapabilities, CategoryLimit, CredentialField
from brokers.settings import BrokerSettings, setting
from brokers.times.credential_expiry import DailyEnd
from brokers.times.market_clock import INDIA

__all__ = [
    "CAPABILITIES",
    "FEED_PATH",
    "JWT_BARE",
    "JWT_BEARER",
    "KEEPALIVE_TEXT",
    "AngelSettings",
    "capabilities_with",
    "master_url",
]

FEED_PATH: Final = "/smart-stream"
_MASTER_PATH: Final = "/OpenAPI_File/files/OpenAPIScripMaster.json"

KEEPALIVE_TEXT: Final = "text"
_KEEPALIVE_PING: Final = "ping"
_JWT_STORED: Final = "stored"
JWT_BEARER: Final = "bearer"
JWT_BARE: Final = "bare"


@dataclass(frozen=True, slots=True, kw_only=True)
class AngelSettings(BrokerSettings):
    """Settings that Angel One's documents leave open, or say otherwise than its own clients do."""

    keepalive: str = setting(
        KEEPALIVE_TEXT,
        label="What keeps a connection alive",
        help_text=(
            'Documented is a text "ping" at least every 30 s. Angel\'s own clients send a ping of '
            "WebSocket's every 10 s instead, which others report not to count."
        ),
        choices=((KEEPALIVE_TEXT, 'The text "ping"'), (_KEEPALIVE_PING, "A ping of WebSocket's")),
    )
    jwt_form: str = setting(
        _JWT_STORED,
        label="How the JWT is sent",
        help_text=(
            "Angel's own client sends it with Bearer before it, because its login returns it so; "
            'others send it alone. Change it if Angel answers "Invalid Auth token" to a new one.'
        ),
        choices=(
            (_JWT_STORED, "As it is stored"),
            (JWT_BEARER, "With Bearer before it"),
            (JWT_BARE, "Alone"),
        ),
    )
    asks_20_levels: bool = setting(
        False,
        label="Books of 20 levels",
        help_text=(
            "Angel has announced their end for April 2025, and its client still asks for them: 50 "
            "shares of the NSE on a connection, each of which takes two places. Where they have "
            "ended, who asks for 20 levels is refused or waits."
        ),
    )
    pairs_kept_free: int = setting(
        PAIRS_RESERVED,
        label="Places kept free for changes of mode",
        help_text=(
            "Angel takes 1,000 pairs of instrument and mode on a connection, and an instrument "
            "that changes its mode is two of them for a moment. Fewer leave room for more "
            "instruments and change a full connection's modes in smaller steps."
        ),
        minimum=1,
        maximum=500,
    )
    tokens_per_message: int = setting(
        500,
        label="Instruments in one message",
        help_text="Not documented. Less, where Angel answers a request with E1001.",
        minimum=1,
        maximum=1000,
    )
    message_interval_seconds: float = setting(
        0.1,
        label="Seconds between two messages",
        help_text="How many Angel takes of one connection is not documented.",
        minimum=0,
        maximum=10,
    )


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
            "NCO",
            "NSE_INDEX",
            "BSE_INDEX",
            "MCX_INDEX",
        }
    ),
    max_connections=3,
    # An instrument is one pair as long as it keeps its mode; the rest is room for changing it.
    symbols_per_connection=PAIRS_PER_CONNECTION - PAIRS_RESERVED,
    # The 20 levels of mode 4 were announced to end in April 2025.
    depth_levels=(DEPTH_LEVELS,),
    connections_count_by="client_code",
    credential_fields=(
        CredentialField("api_key", "API key", "Of your app at smartapi.angelone.in."),
        CredentialField("client_code", "Client code", "Your Angel One account."),
        CredentialField(
            "access_token",
            "JWT token",
            "jwtToken of today's login, with or without 'Bearer'; log in again each morning, since "
            "it may end at 05:00 India time.",
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
    # Said by Angel's staff once, and asked of all brokers: logged out before the next day of trade.
    # Tokens have been seen to claim more.
    credentials_end=DailyEnd(time(5), INDIA),
)


def capabilities_with(
    capabilities: BrokerCapabilities, settings: AngelSettings
) -> BrokerCapabilities:
    """Return what Angel One allows an account of these settings."""
    changed = replace(
        capabilities,
        symbols_per_connection=PAIRS_PER_CONNECTION - settings.pairs_kept_free,
        batch_size=settings.tokens_per_message,
        message_interval_seconds=settings.message_interval_seconds,
        keepalive_answer=PONG if settings.keepalive == KEEPALIVE_TEXT else None,
    )
    if not settings.asks_20_levels:
        return changed
    return replace(
        changed,
        depth_levels=(DEPTH_LEVELS, DEPTH_LEVELS_20),
        # Each of them is a pair more than it is a symbol.
        symbols_per_connection=changed.symbols_per_connection - TOKENS_DEPTH_20,
        category_limits=(
            CategoryLimit(CATEGORY_DEPTH_20, alone=TOKENS_DEPTH_20, mixed=TOKENS_DEPTH_20),
        ),
    )


def master_url(http_endpoint: str | None) -> str:
    """Return the URL of the instruments master, a JSON array that is made again every day."""
    return (http_endpoint or CAPABILITIES.http_endpoint).rstrip("/") + _MASTER_PATH
