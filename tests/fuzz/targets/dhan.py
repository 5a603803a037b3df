"""Dhan's frames of every kind: of the live feed, and of deep books."""

from __future__ import annotations

import random
from collections.abc import Sequence

from brokers.contract import BrokerAdapter
from brokers.dhan.connection import DhanAdapter, DhanDepth20Adapter, DhanDepth200Adapter
from brokers.exceptions import BrokerAuthError, BrokerRateLimitError, BrokerUnavailableError
from brokers.simulator.dhan import encoder
from brokers.simulator.market import Quote
from tests.fix_simulator import make_market
from tests.fuzz.mutations import Frame
from tests.fuzz.target import Target

__all__ = ["target", "target_20", "target_200"]

ENDINGS = (BrokerAuthError, BrokerRateLimitError, BrokerUnavailableError)


def target() -> Target:
    """Return every packet of some instruments of each segment, alone and stacked, and an end."""
    some = _some(24)
    packets = [
        encode(quote)
        for quote in some
        for encode in (
            encoder.encode_ticker,
            encoder.encode_previous_close,
            encoder.encode_quote,
            encoder.encode_open_interest,
            encoder.encode_full,
            encoder.encode_version_1_depth,
        )
    ]
    stacked = [b"".join(packets[at : at + 4]) for at in range(0, len(packets), 5)]
    quiet = [encoder.encode_status(), encoder.encode_disconnection(804)]
    return _target(DhanAdapter, some, [*packets, *stacked, *quiet])


def target_20() -> Target:
    """Return books of 20 levels, of one instrument and of several."""
    return _books(DhanDepth20Adapter, 20)


def target_200() -> Target:
    """Return books of as many levels as there are."""
    return _books(DhanDepth200Adapter, 200)


def _books(adapter: type[BrokerAdapter], levels: int) -> Target:
    some = _some(6)
    books = [encoder.encode_book(quote, levels) for quote in some]
    ends = [encoder.encode_deep_disconnection(804)]
    return _target(adapter, some, [*books, b"".join(books[:2]), *ends])


def _some(count: int) -> list[Quote]:
    named = [quote for quote in make_market().quotes.values() if encoder.name_of(quote.instrument)]
    return random.Random(5).sample(named, count)


def _target(adapter: type[BrokerAdapter], some: Sequence[Quote], seeds: Sequence[Frame]) -> Target:
    names = [name for quote in some if (name := encoder.name_of(quote.instrument)) is not None]
    tokens = [f"{name.segment}:{name.security_id}" for name in names]
    target = Target(adapter, tokens=tokens, seeds=seeds, endings=ENDINGS)
    # What a tick has confirmed is not given up where a broken frame says that a request was
    # refused.
    for frame in seeds:
        target.decode(frame)
    return target
