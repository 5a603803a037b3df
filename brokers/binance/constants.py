"""Facts of Binance spot's market streams.

Source: binance/binance-spot-api-docs, web-socket-streams.md.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "AGG_TRADE",
    "BOOK_TICKER",
    "DEPTH_LEVELS",
    "MAX_DEPTH_LEVELS",
    "MAX_NAMES_PER_REQUEST",
    "MAX_REQUEST_BYTES",
    "SCALE",
    "SCALE_DIGITS",
    "TICKER",
    "TOO_MANY_SUBSCRIPTIONS",
    "depth_stream",
]

AGG_TRADE: Final = "aggTrade"
BOOK_TICKER: Final = "bookTicker"
TICKER: Final = "ticker"

DEPTH_LEVELS: Final = (5, 10, 20)
MAX_DEPTH_LEVELS: Final = 20

# All prices and quantities of spot have at most eight decimals.
SCALE_DIGITS: Final = 8
SCALE: Final = 10**SCALE_DIGITS

# A SUBSCRIBE of more than some 437 names was seen to be dropped without a word.
MAX_NAMES_PER_REQUEST: Final = 200

# A request is read in 4096 bytes, of which 8 are its frame's header; a longer one is never answered
# (seen in github.com/binance/binance-connector-rust/issues/27; not documented).
MAX_REQUEST_BYTES: Final = 4088

# Error code of a connection that would exceed its 1024 streams.
TOO_MANY_SUBSCRIPTIONS: Final = 4


def depth_stream(levels: int) -> str:
    """Return the partial book stream that holds at least ``levels`` levels, else the deepest."""
    for offered in DEPTH_LEVELS:
        if offered >= levels:
            return f"depth{offered}@100ms"
    return f"depth{MAX_DEPTH_LEVELS}@100ms"
