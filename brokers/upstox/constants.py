"""Facts of Upstox's market data feed V3.

Source: upstox.com/developer/api-documentation/v3/get-market-data-feed, MarketDataFeedV3.proto and
the upstox-python-sdk 2.30.0 client.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ASKED_AS_D30",
    "CATEGORY_D30",
    "CATEGORY_FULL",
    "CATEGORY_LTPC",
    "DAY_INTERVAL",
    "DEPTH_LEVELS",
    "DEPTH_LEVELS_PLUS",
    "EXCHANGES",
    "MARKET_STATUSES",
    "MAX_CANDLES",
    "MAX_FEEDS",
    "MAX_LEVELS",
    "MAX_SEGMENTS",
    "MODE_D30",
    "MODE_FULL",
    "MODE_LTPC",
    "PRICE_SCALE",
    "SEGMENTS",
]

MODE_LTPC: Final = "ltpc"
MODE_FULL: Final = "full"  # quotes, candles and five levels
MODE_D30: Final = "full_d30"  # the same with thirty levels; Upstox Plus only

# The kinds of subscriptions that are counted each for itself.
CATEGORY_LTPC: Final = "ltpc"
CATEGORY_FULL: Final = "full"
CATEGORY_D30: Final = "full_d30"

DEPTH_LEVELS: Final = 5
DEPTH_LEVELS_PLUS: Final = 30

# What a feed says that it was asked for as; the others follow from what is in it.
ASKED_AS_D30: Final = 3

# Prices are doubles of rupees. The finest tick is a quarter of a paisa (currencies: 0.0025).
PRICE_SCALE: Final = 10_000

# Bounds of what one frame may hold: twice the keys that a connection may carry, the levels of
# full_d30, and more candles and segments than there are.
MAX_FEEDS: Final = 10_000
MAX_LEVELS: Final = DEPTH_LEVELS_PLUS
MAX_CANDLES: Final = 32
MAX_SEGMENTS: Final = 64

# Of the candles, the one of the day.
DAY_INTERVAL: Final = "1d"

# What an instrument key begins with, and the exchange that OpenAlgo has for it.
EXCHANGES: Final[dict[str, str]] = {
    "NSE_EQ": "NSE",
    "BSE_EQ": "BSE",
    "NSE_FO": "NFO",
    "BSE_FO": "BFO",
    "NCD_FO": "CDS",
    "BCD_FO": "BCD",
    "MCX_FO": "MCX",
    "NSE_COM": "NCO",
    "NSE_INDEX": "NSE_INDEX",
    "BSE_INDEX": "BSE_INDEX",
    "MCX_INDEX": "MCX_INDEX",
}
SEGMENTS: Final = frozenset(EXCHANGES)

MARKET_STATUSES: Final = (
    "PRE_OPEN_START",
    "PRE_OPEN_END",
    "NORMAL_OPEN",
    "NORMAL_CLOSE",
    "CLOSING_START",
    "CLOSING_END",
)
