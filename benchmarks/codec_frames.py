"""What the codec scenario decodes: a broker joins by one entry of ``CODECS``.

Frames come from the local exchange's encoders, so that our codec and the official client get the
same bytes. ``oracle`` is where, below ``.venv-oracles``, the interpreter of the official client is;
``benchmarks/codec_oracle.py`` has a function of the broker's name that makes its parser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

from benchmarks.fyers_frames import FYERS_KINDS, decode_fyers, fyers_snapshots
from brokers.angel import codec as angel
from brokers.dhan.codec import FeedDecoder
from brokers.dhan.deep_codec import DeepDecoder
from brokers.simulator.angel import encoder as angel_encoder
from brokers.simulator.dhan import encoder as dhan_encoder
from brokers.simulator.listing import build_listing
from brokers.simulator.market import Quote, build_market
from brokers.simulator.upstox import encoder as upstox_encoder
from brokers.simulator.zerodha.encoder import Mode, encode_frame, encode_packet
from brokers.types import FeedMode
from brokers.upstox import codec as upstox
from brokers.zerodha import codec as zerodha

__all__ = ["CODECS", "BenchedCodec"]

SYMBOLS = 500
UPSTOX_FEEDS_PER_FRAME = 25
SIZE = 4_000
TODAY = date(2026, 1, 5)
OPENED_S = 1_767_600_000


@dataclass(frozen=True)
class BenchedCodec:
    """One broker's codec.

    ``kinds`` make the frames of 500 instruments by name of the packet kind, ``decode`` returns
    something as long as there are ticks in the frame. ``first`` makes frames that both decode once
    before, where a protocol remembers.
    """

    kinds: Mapping[str, Callable[[Sequence[Quote]], list[bytes]]]
    decode: Callable[[bytes], Sequence[object]]
    oracle: str = "brokers/bin/python"
    first: Callable[[Sequence[Quote]], list[bytes]] = lambda quotes: []

    def frames(self, kind: str) -> list[bytes]:
        """Return the frames of one kind."""
        return self.kinds[kind](self._shares())

    def first_frames(self) -> list[bytes]:
        """Return what is decoded before the frames of any kind."""
        return self.first(self._shares())

    @staticmethod
    def _shares() -> list[Quote]:
        """Return the quotes of instruments that every broker has."""
        market = build_market(seed=7, today=TODAY, now_s=OPENED_S, size=SIZE)
        shares = [
            quote
            for quote in market.quotes.values()
            if not quote.instrument.is_index and angel_encoder.name_of(quote.instrument)
        ]
        return shares[:SYMBOLS]


def _kite(mode: Mode) -> Callable[[Sequence[Quote]], list[bytes]]:
    return lambda quotes: [encode_frame([encode_packet(quote, mode) for quote in quotes])]


def _angel(mode: angel_encoder.AngelMode) -> Callable[[Sequence[Quote]], list[bytes]]:
    return lambda quotes: [angel_encoder.encode_tick(quote, mode) for quote in quotes]


def _dhan(encode: Callable[[Quote], bytes]) -> Callable[[Sequence[Quote]], list[bytes]]:
    return lambda quotes: [encode(quote) for quote in quotes]


_dhan_feed = FeedDecoder()
_dhan_books = DeepDecoder(levels=20)


def _upstox(mode: upstox_encoder.UpstoxMode) -> Callable[[Sequence[Quote]], list[bytes]]:
    def frames(quotes: Sequence[Quote]) -> list[bytes]:
        feeds = [
            (upstox_encoder.key_of(each.instrument), upstox_encoder.encode_feed(each, mode))
            for each in quotes
        ]
        return [
            upstox_encoder.encode_frame(
                upstox_encoder.FrameType.LIVE_FEED,
                dict(feeds[start : start + UPSTOX_FEEDS_PER_FRAME]),
                OPENED_S * 1000,
            )
            for start in range(0, len(feeds), UPSTOX_FEEDS_PER_FRAME)
        ]

    return frames


@cache
def _upstox_keys() -> Mapping[str, FeedMode]:
    listing = build_listing(today=TODAY, size=SIZE)
    return {upstox_encoder.key_of(item): FeedMode.DEPTH for item in listing}


CODECS: Mapping[str, BenchedCodec] = {
    "zerodha": BenchedCodec(
        kinds={mode.value: _kite(mode) for mode in Mode},
        decode=lambda frame: zerodha.decode_frame(frame).ticks,
        oracle="bin/python",
    ),
    "angel": BenchedCodec(
        kinds={mode.name.lower(): _angel(mode) for mode in angel_encoder.AngelMode},
        decode=lambda frame: (angel.decode_frame(frame),),
    ),
    "dhan": BenchedCodec(
        kinds={
            "ticker": _dhan(dhan_encoder.encode_ticker),
            "quote": _dhan(dhan_encoder.encode_quote),
            "full": _dhan(dhan_encoder.encode_full),
        },
        decode=lambda frame: _dhan_feed.decode(frame, OPENED_S),
    ),
    "dhan_depth20": BenchedCodec(
        kinds={"book": _dhan(lambda quote: dhan_encoder.encode_book(quote, 20))},
        decode=lambda frame: _dhan_books.decode(frame, OPENED_S),
    ),
    "fyers": BenchedCodec(kinds=FYERS_KINDS, decode=decode_fyers, first=fyers_snapshots),
    "upstox": BenchedCodec(
        kinds={mode.value: _upstox(mode) for mode in upstox_encoder.UpstoxMode},
        decode=lambda frame: upstox.decode_frame(frame, _upstox_keys()).ticks,
    ),
}
