"""Angel One's frames of every kind, for fuzzing."""

from __future__ import annotations

import random
from datetime import date

from brokers.angel.codec import decode_frame, decode_text
from brokers.simulator.angel_encoder import AngelMode, encode_tick, name_of
from brokers.simulator.market import build_market
from brokers.types import Tick
from tests.fuzz.mutations import Frame

__all__ = ["decode", "seeds"]


def seeds() -> list[Frame]:
    """Return valid frames: every mode of some instruments of each segment, and the texts."""
    market = build_market(seed=3, today=date(2026, 1, 5), now_s=1_767_600_000, size=1_000)
    quotes = [quote for quote in market.quotes.values() if name_of(quote.instrument)]
    some = random.Random(5).sample(quotes, 24)
    frames: list[Frame] = [encode_tick(quote, mode) for quote in some for mode in AngelMode]
    texts: list[Frame] = [
        "pong",
        '{"correlationID":"abcde12345","errorCode":"E1002","errorMessage":"Invalid Request."}',
    ]
    return frames + texts


def decode(frame: Frame) -> list[Tick]:
    """Decode as the adapter does."""
    if isinstance(frame, str):
        decode_text(frame)
        return []
    return [decode_frame(frame)]
