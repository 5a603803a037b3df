"""Facts of Dhan's live market feed, version 2, and of its full market depth.

Source: dhanhq.co/docs/v2 (live-market-feed, full-market-depth, annexure) and the dhanhq 2.3.0
client.
"""

from __future__ import annotations

from typing import Final

from brokers.types import FeedMode

__all__ = [
    "CODE_DISCONNECT",
    "CODE_FULL",
    "CODE_MARKET_DEPTH",
    "CODE_OPEN_INTEREST",
    "CODE_PREVIOUS_CLOSE",
    "CODE_QUOTE",
    "CODE_TICKER",
    "DEEP_ASKS",
    "DEEP_BIDS",
    "DEEP_EXCHANGES",
    "DEPTH_LEVELS",
    "INSTRUMENTS_PER_CONNECTION",
    "INSTRUMENTS_PER_MESSAGE",
    "PRICE_SCALE_CURRENCY",
    "PRICE_SCALE_DEFAULT",
    "REASONS",
    "REASON_INSTRUMENTS",
    "REASON_REPLACED",
    "REASON_UNAVAILABLE",
    "REFUSED_CREDENTIAL",
    "REFUSED_REQUEST",
    "REQUEST_CODES",
    "REQUEST_DEEP",
    "SEGMENTS",
]

# The first byte of a packet of the feed. 0 is said to be a heartbeat, 1 an index packet without a
# published layout, 7 the market's status without a body: these are passed over by their length.
CODE_TICKER: Final = 2
CODE_MARKET_DEPTH: Final = 3  # of version 1; still decoded by the official client
CODE_QUOTE: Final = 4
CODE_OPEN_INTEREST: Final = 5
CODE_PREVIOUS_CLOSE: Final = 6
CODE_FULL: Final = 8
CODE_DISCONNECT: Final = 50

# The third byte of a packet of the full market depth.
DEEP_BIDS: Final = 41
DEEP_ASKS: Final = 51

DEPTH_LEVELS: Final = 5

# The number that packets have for a segment, and its name in requests. NSE's commodities stand in
# the master and in orders, but not in the annexure: 6 is the one number that it leaves free.
SEGMENTS: Final[dict[int, str]] = {
    0: "IDX_I",
    1: "NSE_EQ",
    2: "NSE_FNO",
    3: "NSE_CURRENCY",
    4: "BSE_EQ",
    5: "MCX_COMM",
    6: "NSE_COMM",
    7: "BSE_CURRENCY",
    8: "BSE_FNO",
}
# Prices come as rupees in binary fractions. Currencies trade in steps of a quarter of a paisa.
PRICE_SCALE_DEFAULT: Final = 100
PRICE_SCALE_CURRENCY: Final = 10_000

# Requests that subscribe; the one that ends the same has the next number.
REQUEST_CODES: Final[dict[FeedMode, int]] = {
    FeedMode.LTP: 15,
    FeedMode.QUOTE: 17,
    FeedMode.DEPTH: 21,
}
REQUEST_DEEP: Final = 23

INSTRUMENTS_PER_CONNECTION: Final = 5000
INSTRUMENTS_PER_MESSAGE: Final = 100
# Where full depth is offered: NSE_EQ and NSE_FNO.
DEEP_EXCHANGES: Final = frozenset({"NSE", "NFO"})

# Why the broker ends a connection; the words are those of the annexure, not of the client, which
# has others for 808 and 809.
REASON_UNAVAILABLE: Final = 800
REASON_INSTRUMENTS: Final = 804
REASON_REPLACED: Final = 805
REFUSED_CREDENTIAL: Final = frozenset({806, 807, 808, 809, 810})
REFUSED_REQUEST: Final = frozenset({811, 812, 813, 814})
REASONS: Final[dict[int, str]] = {
    REASON_UNAVAILABLE: "internal server error",
    REASON_INSTRUMENTS: "too many instruments",
    REASON_REPLACED: "too many connections; it closed the oldest one",
    806: "the account has no subscription to the Data APIs",
    807: "the access token has expired",
    808: "authentication failed",
    809: "the access token is invalid",
    810: "the client id is invalid",
    811: "invalid expiry date",
    812: "invalid date",
    813: "invalid security id",
    814: "invalid request",
}
