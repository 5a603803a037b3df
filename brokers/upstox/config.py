"""Limits and addresses of Upstox: the data that the core reads instead of its name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from brokers.contract import BrokerCapabilities, CategoryLimit, CredentialField
from brokers.settings import BrokerSettings, setting
from brokers.upstox.constants import (
    CATEGORY_D30,
    CATEGORY_FULL,
    CATEGORY_LTPC,
    DEPTH_LEVELS,
    DEPTH_LEVELS_PLUS,
    EXCHANGES,
)
from brokers.upstox.credential import DAILY_END

__all__ = ["CAPABILITIES", "FEED_PATH", "UpstoxSettings", "capabilities_with", "master_url"]

FEED_PATH: Final = "/v3/feed/market-data-feed"
_MASTER_PATH: Final = "/market-quote/instruments/exchange/complete.json.gz"

PLAN_NORMAL: Final = "normal"
PLAN_PLUS: Final = "plus"
_CONNECTIONS_PLUS: Final = 5
# Documented as 50 alone and 1,500 beside other kinds; who has 50 cannot have more of them beside
# others, so that the smaller number holds for both.
_D30_LIMIT: Final = CategoryLimit(CATEGORY_D30, alone=50, mixed=50)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstoxSettings(BrokerSettings):
    """Settings that a plan of Upstox's changes, or that its documents leave open."""

    plan: str = setting(
        PLAN_NORMAL,
        label="Plan",
        help_text=(
            "Upstox Plus has five connections instead of two, and books of 30 levels for 50 "
            "instruments. Of a normal account Upstox does not take either."
        ),
        choices=((PLAN_NORMAL, "Normal"), (PLAN_PLUS, "Upstox Plus")),
    )
    key_limits_are_per_user: bool = setting(
        True,
        label="Limits of instruments hold for all connections together",
        help_text=(
            "The documents say what a user may subscribe, and not whether each connection may as "
            "much. Switched off, each connection is filled up to the numbers; what is too much "
            "for Upstox then stays pending, because Upstox is not known to answer it."
        ),
    )
    asks_again_on_raise: bool = setting(
        True,
        label="Ask again from Quote to Depth",
        help_text=(
            "Both are one mode of Upstox's. Naming it again costs a message, and where Upstox "
            "answers it as it answers a subscription, a quiet instrument's book is there at once. "
            "Switched off, the book comes with the instrument's next change."
        ),
    )
    keys_per_message: int = setting(
        200,
        label="Instruments in one message",
        help_text="Not documented. Less, where Upstox drops long messages.",
        minimum=1,
        maximum=2000,
    )
    message_interval_seconds: float = setting(
        0.1,
        label="Seconds between two messages",
        help_text="How many Upstox takes of one connection is not documented.",
        minimum=0,
        maximum=10,
    )


CAPABILITIES: Final = BrokerCapabilities(
    name="upstox",
    label="Upstox",
    exchanges=frozenset(EXCHANGES.values()),
    max_connections=2,
    symbols_per_connection=5000,
    category_limits=(
        CategoryLimit(CATEGORY_LTPC, alone=5000, mixed=2000),
        CategoryLimit(CATEGORY_FULL, alone=2000, mixed=1500),
    ),
    shares_category_limits=True,
    depth_levels=(DEPTH_LEVELS,),
    connections_count_by="access_token",
    credential_fields=(
        CredentialField(
            "access_token",
            "Access token",
            "Of today's login, which Upstox ends at 03:30 India time; or an Analytics Token, which "
            "holds a year: with the day on which it was made before it (2026-11-30:token) where "
            "it does not tell its end itself.",
        ),
    ),
    default_endpoint=f"wss://api.upstox.com{FEED_PATH}",
    http_endpoint="https://assets.upstox.com",
    batch_size=200,
    message_interval_seconds=0.1,
    # Not documented.
    connect_interval_seconds=1.0,
    # It pings when idle, and does not say how often; our own pings prove the link.
    heartbeat_seconds=None,
    liveness_timeout_seconds=30.0,
    # All that a user may subscribe, at once, takes less than one; a frame is parsed as a whole.
    max_frame_bytes=2 * 1024 * 1024,
    credentials_end=DAILY_END,
)


def capabilities_with(
    capabilities: BrokerCapabilities, settings: UpstoxSettings
) -> BrokerCapabilities:
    """Return what Upstox allows an account of these settings."""
    changed = replace(
        capabilities,
        shares_category_limits=settings.key_limits_are_per_user,
        batch_size=settings.keys_per_message,
        message_interval_seconds=settings.message_interval_seconds,
    )
    if settings.plan != PLAN_PLUS:
        return changed
    return replace(
        changed,
        max_connections=_CONNECTIONS_PLUS,
        depth_levels=(DEPTH_LEVELS, DEPTH_LEVELS_PLUS),
        category_limits=(*capabilities.category_limits, _D30_LIMIT),
    )


def master_url(http_endpoint: str | None) -> str:
    """Return the URL of the instruments master, a gzipped JSON array that is made every day."""
    return (http_endpoint or CAPABILITIES.http_endpoint).rstrip("/") + _MASTER_PATH
