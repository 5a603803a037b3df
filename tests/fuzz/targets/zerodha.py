"""Kite's frames of every kind."""

from __future__ import annotations

import random

from brokers.simulator.zerodha.encoder import HEARTBEAT, Mode, encode_frame, encode_packet
from brokers.zerodha.connection import ZerodhaAdapter
from tests.fix_simulator import make_market
from tests.fuzz.mutations import Frame
from tests.fuzz.target import Target

__all__ = ["target"]


def target() -> Target:
    """Return each packet kind alone and with others in one frame, and the texts."""
    quotes = make_market().quotes
    indices = [token for token, quote in quotes.items() if quote.instrument.is_index][:4]
    tokens = [*random.Random(5).sample(sorted(quotes), 20), *indices]
    packets = [encode_packet(quotes[token], mode) for token in tokens for mode in Mode]
    frames: list[Frame] = [encode_frame([packet]) for packet in packets]
    frames += [encode_frame(packets[at : at + 9]) for at in range(0, len(packets), 9)]
    texts: list[Frame] = [
        '{"type":"order","data":{"order_id":"1","status":"COMPLETE","quantity":1}}',
        '{"type":"error","data":"Can\'t subscribe to more than 3000 instruments."}',
        '{"type":"message","data":"maintenance"}',
        '{"type":"instruments_meta","data":{"count":1}}',
    ]
    known = dict.fromkeys(map(str, tokens))
    return Target(ZerodhaAdapter, tokens=known, seeds=[*frames, HEARTBEAT, *texts])
