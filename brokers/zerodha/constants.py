"""Facts of the Kite ticker v3 protocol.

Source: kite.trade/docs/connect/v3/websocket and the kiteconnect 5.2.2 client, where the two differ.
"""

from __future__ import annotations

from typing import Final

from brokers.types import FeedMode

__all__ = [
    "BODY_FULL",
    "BODY_INDEX_FULL",
    "BODY_INDEX_QUOTE",
    "BODY_LTP",
    "BODY_QUOTE",
    "DEPTH_LEVELS",
    "MODE_NAMES",
    "PRICE_SCALES",
    "PRICE_SCALE_DEFAULT",
]

# Length of a packet's body is what tells its kind.
BODY_LTP: Final = 8
BODY_INDEX_QUOTE: Final = 28
BODY_INDEX_FULL: Final = 32
BODY_QUOTE: Final = 44
BODY_FULL: Final = 184

DEPTH_LEVELS: Final = 5


# The low byte of an instrument token is its segment. The documents say 10^7 for "currencies"; the
# official client divides by 10^4 for BCD (6) and NCO (12), and only CDS (3) has 10^7.
PRICE_SCALE_DEFAULT: Final = 100
PRICE_SCALES: Final[dict[int, int]] = {3: 10_000_000, 6: 10_000, 12: 10_000}

MODE_NAMES: Final[dict[FeedMode, str]] = {
    FeedMode.LTP: "ltp",
    FeedMode.QUOTE: "quote",
    FeedMode.DEPTH: "full",
}
