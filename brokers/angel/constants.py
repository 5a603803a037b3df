"""Facts of Angel One's SmartAPI WebSocket Streaming 2.0.

Source: smartapi.angelone.in/docs (WebSocket Streaming 2.0) and the smartapi-python 1.5.5 client.
"""

from __future__ import annotations

from typing import Final

from brokers.types import FeedMode

__all__ = [
    "CATEGORY_DEPTH_20",
    "DEPTH_LEVELS",
    "DEPTH_LEVELS_20",
    "EXCHANGE_DEPTH_20",
    "EXCHANGE_TYPES",
    "FRAME_DEPTH_20",
    "FRAME_LTP",
    "FRAME_QUOTE",
    "FRAME_SNAP_QUOTE",
    "MODE_DEPTH_20",
    "MODE_LTP",
    "MODE_NUMBERS",
    "MODE_QUOTE",
    "MODE_SNAP_QUOTE",
    "PAIRS_PER_CONNECTION",
    "PAIRS_RESERVED",
    "PONG",
    "PRICE_SCALE_CURRENCY",
    "PRICE_SCALE_DEFAULT",
    "SEGMENTS",
    "SEGMENT_CURRENCY",
    "TOKENS_DEPTH_20",
    "TOKENS_PER_DEPTH_20_REQUEST",
]

# The first byte of a frame is its mode, and the mode is its length.
MODE_LTP: Final = 1
MODE_QUOTE: Final = 2
MODE_SNAP_QUOTE: Final = 3
MODE_DEPTH_20: Final = 4

FRAME_LTP: Final = 51
FRAME_QUOTE: Final = 123
FRAME_SNAP_QUOTE: Final = 379
FRAME_DEPTH_20: Final = 443

DEPTH_LEVELS: Final = 5
DEPTH_LEVELS_20: Final = 20

# Books of 20 levels: of the shares of this exchange only. One request may name 50 of them, says the
# Python client, and fewer, says the Java one; how many a connection may have is not documented.
CATEGORY_DEPTH_20: Final = "depth20"
EXCHANGE_DEPTH_20: Final = "NSE"
TOKENS_DEPTH_20: Final = 50
TOKENS_PER_DEPTH_20_REQUEST: Final = 49

MODE_NUMBERS: Final[dict[FeedMode, int]] = {
    FeedMode.LTP: MODE_LTP,
    FeedMode.QUOTE: MODE_QUOTE,
    FeedMode.DEPTH: MODE_SNAP_QUOTE,
}

# What it answers to our text "ping".
PONG: Final = "pong"

# What the master calls a segment, and the number that the socket has for it. NSE's commodities are
# in no document: 7 is "ncx_fo", the only segment of commodities beside MCX's.
EXCHANGE_TYPES: Final[dict[str, int]] = {
    "NSE": 1,
    "NFO": 2,
    "BSE": 3,
    "BFO": 4,
    "MCX": 5,
    "NCDEX": 7,
    "NCO": 7,
    "CDS": 13,
}
SEGMENTS: Final = frozenset(EXCHANGE_TYPES.values())
SEGMENT_CURRENCY: Final = 13
PRICE_SCALE_DEFAULT: Final = 100
PRICE_SCALE_CURRENCY: Final = 10_000_000

# A connection may hold 1000 pairs of (token, mode). There is no message that changes a mode: the
# new pair is subscribed before the old one ends, so that for a moment a token counts twice. The
# pairs kept free are the room for that moment on a connection that is otherwise full.
PAIRS_PER_CONNECTION: Final = 1000
PAIRS_RESERVED: Final = 50
