"""Upstox's frames of every kind."""

from __future__ import annotations

import random

from brokers.simulator.upstox.encoder import (
    FrameType,
    MarketStatus,
    UpstoxMode,
    encode_feed,
    encode_frame,
    encode_market_info,
    key_of,
)
from brokers.upstox.connection import UpstoxAdapter
from tests.fix_simulator import OPENED_S, make_market
from tests.fuzz.mutations import Frame
from tests.fuzz.target import Target

__all__ = ["target"]


def target() -> Target:
    """Return every mode of some instruments of each segment, alone and together, and statuses."""
    some = random.Random(5).sample(list(make_market().quotes.values()), 24)
    now_ms = OPENED_S * 1000
    frames: list[Frame] = []
    for mode in UpstoxMode:
        feeds = {key_of(quote.instrument): encode_feed(quote, mode) for quote in some}
        frames += [
            encode_frame(FrameType.LIVE_FEED, {key: feed}, now_ms) for key, feed in feeds.items()
        ]
        frames.append(encode_frame(FrameType.INITIAL_FEED, feeds, now_ms))
    statuses = {"NSE_EQ": MarketStatus.NORMAL_OPEN, "MCX_FO": MarketStatus.CLOSING_END}
    frames.append(encode_market_info(statuses, now_ms))
    tokens = [key_of(quote.instrument) for quote in some]
    return Target(UpstoxAdapter, tokens=tokens, seeds=frames)
