"""Angel One's frames of every kind."""

from __future__ import annotations

import random

from brokers.angel.connection import AngelAdapter
from brokers.simulator.angel.encoder import AngelMode, encode_tick, name_of
from tests.fix_simulator import make_market
from tests.fuzz.mutations import Frame
from tests.fuzz.target import Target

__all__ = ["target"]


def target() -> Target:
    """Return every mode of some instruments of each segment, and the texts."""
    named = [(quote, name_of(quote.instrument)) for quote in make_market().quotes.values()]
    some = random.Random(5).sample([each for each in named if each[1] is not None], 24)
    frames: list[Frame] = [encode_tick(quote, mode) for quote, _ in some for mode in AngelMode]
    texts: list[Frame] = [
        "pong",
        '{"correlationID":"abcde12345","errorCode":"E1002","errorMessage":"Invalid Request."}',
    ]
    tokens = [f"{name.exchange_type}:{name.token}" for _, name in some if name is not None]
    return Target(AngelAdapter, tokens=tokens, seeds=frames + texts)
