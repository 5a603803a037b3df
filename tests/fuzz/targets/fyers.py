"""Fyers' frames of every kind, decoded by one that remembers what came before."""

from __future__ import annotations

import random

from brokers.exceptions import BrokerAuthError
from brokers.fyers.connection import FyersAdapter
from brokers.simulator.fyers.encoder import (
    FyersName,
    TopicKind,
    encode_custom,
    encode_data,
    encode_lite,
    encode_reply,
    encode_snapshot,
    encode_update,
    name_of,
    topic_kinds,
    values_of,
)
from brokers.simulator.market import Quote
from tests.fix_simulator import make_market
from tests.fuzz.mutations import Frame
from tests.fuzz.target import Target

__all__ = ["target"]

ANSWERED = (4, 5, 7, 8, 12)
PING = bytes.fromhex("00010b")


def target() -> Target:
    """Return snapshots, updates and lite records, alone and many to a frame, and the answers."""
    named: list[tuple[Quote, FyersName]] = []
    for quote in make_market().quotes.values():
        if (name := name_of(quote.instrument)) is not None:
            named.append((quote, name))
    some = random.Random(5).sample(named, 12)
    some += [each for each in named if each[0].instrument.is_index][:3]
    records: list[bytes] = []
    later: list[bytes] = []
    for quote, _ in some:
        for kind in topic_kinds(quote.instrument):
            number = len(records) + 1
            values = values_of(quote, kind)
            records.append(encode_snapshot(quote.instrument, kind, values, number))
            before = [value + at % 2 for at, value in enumerate(values)]
            later.append(encode_update(values, before, number))
            if kind is not TopicKind.BOOK:
                later.append(encode_lite(quote.last_price, number))
    everything = records + later
    frames = [encode_data([record], at) for at, record in enumerate(everything, 1)]
    frames += [encode_data(everything[at : at + 9], at) for at in range(0, len(everything), 9)]
    answers = [encode_reply(1, "K", 2), *(encode_reply(kind, "K") for kind in ANSWERED), PING]
    answers += [encode_reply(4, "N"), encode_custom(51001, "Symbol limit exceeded", 4)]
    tokens = dict.fromkeys(name.topic(topic_kinds(quote.instrument)[0]) for quote, name in some)
    seeds: list[Frame] = [*frames, *answers]
    made = Target(FyersAdapter, tokens=tokens, seeds=seeds, endings=(BrokerAuthError,))
    for frame in frames:
        made.decode(frame)  # an update of what is not known yet would be passed over
    return made
