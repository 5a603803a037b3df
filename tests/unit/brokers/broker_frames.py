"""Frames of every broker about instruments by their number, for tests that run over all adapters.

An instrument's token is its number, behind what ``TOKEN_PREFIXES`` says. The frames are the wire
specifications' vectors with another token, or written from the tables of bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

from brokers._template.constants import BODY_DEPTH, BODY_LTP, BODY_QUOTE
from brokers.contract import BrokerAdapter
from brokers.simulator.upstox.encoder import FrameType, encode_frame
from brokers.testing import kite_frame, kite_full, kite_ltp, kite_quote
from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription
from tests.unit.brokers.angel.angel_vectors import ANGEL_VECTORS
from tests.unit.brokers.dhan.dhan_vectors import DHAN_DEEP_VECTORS, DHAN_VECTORS
from tests.unit.brokers.fyers.fyers_frames import data, snapshot
from tests.unit.brokers.upstox.upstox_vectors import UPSTOX_VECTORS

__all__ = ["TOKEN_PREFIXES", "answers_of", "frames_of", "subscription_to"]

Frames = list[str | bytes]

# What stands before the number of a broker's token, where it is not a number alone.
TOKEN_PREFIXES = {
    "upstox": "NSE_FO|",
    "angel": "2:",
    "dhan": "NSE_CURRENCY:",
    "dhan_depth20": "NSE_FNO:",
    "dhan_depth200": "NSE_FNO:",
    "fyers": "sf|nse_fo|",
}
_ANGEL_MODES = {FeedMode.LTP: "ltp", FeedMode.QUOTE: "quote", FeedMode.DEPTH: "snap"}
_DHAN_MODES = {FeedMode.LTP: "ticker", FeedMode.QUOTE: "quote", FeedMode.DEPTH: "full"}
# A feed of each kind, behind the key and its own length in the vector.
_UPSTOX_LTPC = bytes.fromhex(UPSTOX_VECTORS["ltpc"]).partition(b"NSE_FO|45450\x12\x1d")[2][:0x1D]
_UPSTOX_FULL = bytes.fromhex(UPSTOX_VECTORS["full"]).partition(b"INE002A01018\x12\xb0\x02")[2][
    :0x130
]


def subscription_to(
    adapter_class: type[BrokerAdapter], number: int, mode: FeedMode
) -> Subscription:
    token = f"{TOKEN_PREFIXES.get(adapter_class.capabilities.name, '')}{number}"
    return Subscription(Instrument(InstrumentKey("X", f"S{number}"), token), mode)


def frames_of(adapter_class: type[BrokerAdapter], number: int, mode: FeedMode) -> Frames:
    """Return frames that tell of an instrument as much as its subscription in a mode brings."""
    return _FRAMES[adapter_class.capabilities.name](number, mode)


def answers_of(adapter_class: type[BrokerAdapter], messages: Frames) -> Frames:
    """Return what the broker says to requests; most say nothing."""
    found: Frames = []
    for message in messages:
        if adapter_class.capabilities.name == "binance":
            found.append(json.dumps({"result": None, "id": json.loads(message)["id"]}))
        elif adapter_class.capabilities.name == "template":
            found.append(json.dumps({"confirmed": json.loads(message)["tokens"]}))
    return found


def _kite(number: int, mode: FeedMode) -> Frames:
    body = kite_ltp(number, 157_370)
    if mode is not FeedMode.LTP:
        body = kite_quote(number, 157_370)
    return [kite_frame(kite_full(body) if mode is FeedMode.DEPTH else body)]


def _angel(number: int, mode: FeedMode) -> Frames:
    frame = bytearray(bytes.fromhex(ANGEL_VECTORS[_ANGEL_MODES[mode]]))
    struct.pack_into("<B25s", frame, 1, 2, str(number).encode())
    return [bytes(frame)]


def _dhan(number: int, mode: FeedMode) -> Frames:
    frame = bytearray(bytes.fromhex(DHAN_VECTORS[_DHAN_MODES[mode]]))
    struct.pack_into("<BI", frame, 3, 3, number)
    return [bytes(frame)]


def _dhan_deep(kind: str) -> Callable[[int, FeedMode], Frames]:
    def make(number: int, mode: FeedMode) -> Frames:
        frame = bytearray(bytes.fromhex(DHAN_DEEP_VECTORS[kind]))
        struct.pack_into("<BI", frame, 3, 2, number)
        return [bytes(frame)]

    return make


def _fyers(number: int, mode: FeedMode) -> Frames:
    feed = data(snapshot(f"sf|nse_fo|{number}", range(100, 121), number=number))
    book = data(snapshot(f"dp|nse_fo|{number}", range(100, 130), number=1_000 + number))
    return [feed, book] if mode is FeedMode.DEPTH else [feed]


def _upstox(number: int, mode: FeedMode) -> Frames:
    feed = _UPSTOX_LTPC if mode is FeedMode.LTP else _UPSTOX_FULL
    return [encode_frame(FrameType.LIVE_FEED, {f"NSE_FO|{number}": feed}, 1)]


def _binance(number: int, mode: FeedMode) -> Frames:
    trade = {"e": "aggTrade", "E": 2, "s": str(number), "p": "1", "q": "1", "T": 1}
    return [json.dumps({"stream": f"{number}@aggTrade", "data": trade})]


def _template(number: int, mode: FeedMode) -> Frames:
    body = {FeedMode.LTP: BODY_LTP, FeedMode.QUOTE: BODY_QUOTE, FeedMode.DEPTH: BODY_DEPTH}[mode]
    return [body.pack(number, *[1] * (len(body.unpack(bytes(body.size))) - 1))]


_FRAMES: dict[str, Callable[[int, FeedMode], Frames]] = {
    "angel": _angel,
    "binance": _binance,
    "dhan": _dhan,
    "dhan_depth20": _dhan_deep("bids_20"),
    "dhan_depth200": _dhan_deep("bids_200"),
    "fyers": _fyers,
    "template": _template,
    "upstox": _upstox,
    "zerodha": _kite,
}
