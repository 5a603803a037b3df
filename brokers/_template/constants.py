"""Facts of the wire protocol: codes, lengths, scales. Say with each where it is written."""

from __future__ import annotations

from struct import Struct
from typing import Final

from brokers.types import FeedMode

__all__ = ["BODY_DEPTH", "BODY_LTP", "BODY_QUOTE", "DEPTH_LEVELS", "MODE_NAMES", "PRICE_SCALE"]

# The broker's words for OpenAlgo's modes.
MODE_NAMES: Final[dict[FeedMode, str]] = {
    FeedMode.LTP: "ltp",
    FeedMode.QUOTE: "quote",
    FeedMode.DEPTH: "depth",
}

# Prices are unsigned paise.
PRICE_SCALE: Final = 100
DEPTH_LEVELS: Final = 5

# Big endian; the length of a frame is its kind. Token, last price;
BODY_LTP: Final = Struct(">2I")
# volume, open, high, low, previous close;
BODY_QUOTE: Final = Struct(">7I")
# exchange time in seconds, and five bids and five asks of (price, quantity, orders).
BODY_DEPTH: Final = Struct(">8I" + "2IH" * (2 * DEPTH_LEVELS))
