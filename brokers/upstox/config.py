"""What Upstox allows and where it is: the data that the core reads instead of its name."""

from __future__ import annotations

from datetime import time, timedelta, timezone
from typing import Final

from brokers.base import BrokerCapabilities, CategoryLimit, CredentialField
from brokers.credential_expiry import DailyEnd
from brokers.upstox.constants import CATEGORY_FULL, CATEGORY_LTPC, DEPTH_LEVELS, EXCHANGES

__all__ = [
    "ASKS_AGAIN_ON_RAISE",
    "CAPABILITIES",
    "FEED_PATH",
    "KEY_LIMITS_ARE_PER_USER",
    "master_url",
]

FEED_PATH: Final = "/v3/feed/market-data-feed"
_MASTER_PATH: Final = "/market-quote/instruments/exchange/complete.json.gz"
_INDIA: Final = timezone(timedelta(hours=5, minutes=30))

# The documents say what "a user" may subscribe and not whether each connection may as much.
KEY_LIMITS_ARE_PER_USER: Final = True

# Quotes and depth are one mode of Upstox's. Whoever raises a quiet instrument from one to the
# other would wait for its next change; naming the mode again costs a message, and where Upstox
# answers it as it answers a subscription the values are there at once.
ASKS_AGAIN_ON_RAISE: Final = True

CAPABILITIES: Final = BrokerCapabilities(
    name="upstox",
    label="Upstox",
    exchanges=frozenset(EXCHANGES.values()),
    # What a normal account has; Upstox Plus has five, and thirty levels for fifty keys.
    max_connections=2,
    symbols_per_connection=5000,
    category_limits=(
        CategoryLimit(CATEGORY_LTPC, alone=5000, mixed=2000),
        CategoryLimit(CATEGORY_FULL, alone=2000, mixed=1500),
    ),
    shares_category_limits=KEY_LIMITS_ARE_PER_USER,
    depth_levels=(DEPTH_LEVELS,),
    credential_fields=(
        CredentialField(
            "access_token",
            "Access token",
            "Of today's login; Upstox ends it at 03:30 India time.",
        ),
    ),
    default_endpoint=f"wss://api.upstox.com{FEED_PATH}",
    http_endpoint="https://assets.upstox.com",
    # None of the three is documented.
    batch_size=200,
    message_interval_seconds=0.1,
    connect_interval_seconds=1.0,
    # It pings when idle, and does not say how often; our own pings prove the link.
    heartbeat_seconds=None,
    liveness_timeout_seconds=30.0,
    # All that a user may subscribe, at once, takes less than one; a frame is parsed as a whole.
    max_frame_bytes=2 * 1024 * 1024,
    # "valid until 3:30 AM the following day, whenever it was made"
    credentials_end=DailyEnd(time(3, 30), _INDIA),
)


def master_url(http_endpoint: str | None) -> str:
    """Return the URL of the instruments master, a gzipped JSON array that is made every day."""
    return (http_endpoint or CAPABILITIES.http_endpoint).rstrip("/") + _MASTER_PATH
