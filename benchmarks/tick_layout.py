"""Ticks of one known length whose content can be checked for next to nothing.

Every tick carries its *number*, counted over all symbols in turn (tick ``n`` is the next one of
symbol ``n % symbols``), in ``ltt``, and the microseconds of the monotonic clock at which it was
published in ``timestamp``; both with a fixed number of digits. Names have a fixed length too, so
all frames of a mode are alike, and a stretch of a client's stream is checked by comparing columns
of bytes instead of parsing it.
"""

from __future__ import annotations

import json
import time

from brokers.types import DepthLevel, FeedMode, InstrumentKey, Tick
from streaming.clients.frames import text_frame
from streaming.wire.tick_json import encode_tick

__all__ = ["TickLayout", "symbol_name"]

_BROKER = "zerodha"
_FIRST_NUMBER = 10**12
_FIRST_STAMP = 10**15
_MARK_NUMBER = 1_999_999_999_999
_MARK_STAMP = 1_999_999_999_999_998
_PRICE = 157_370


def symbol_name(index: int) -> str:
    """Return the name of one of up to 100,000 symbols."""
    return f"S{index:05d}"


class TickLayout:
    """Where number and stamp stand in a frame of ``mode``; one for publisher and readers."""

    def __init__(self, mode: FeedMode) -> None:
        self.mode = mode
        body = self._example(symbol_name(0))
        before, rest = body.split(str(_MARK_STAMP).encode())
        between, after = rest.split(str(_MARK_NUMBER).encode())
        self._between, self._after = between, after
        frame = text_frame(body)
        self.header = frame[: len(frame) - len(body)]
        self.frame_bytes = len(frame)
        # Offsets within a frame.
        self.stamp_at = len(self.header) + len(before)
        self.number_at = self.stamp_at + 16 + len(between)
        self.units_at = self.number_at + 12
        self.tens_at = self.number_at + 11

    def _example(self, symbol: str) -> bytes:
        has_quote, has_book = self.mode >= FeedMode.QUOTE, self.mode is FeedMode.DEPTH
        levels = tuple(DepthLevel(_PRICE - 5 * n, 100, 5) for n in range(1, 6))
        quote = (
            {
                "open": _PRICE - 300,
                "high": _PRICE + 200,
                "low": _PRICE - 500,
                "close": _PRICE - 100,
                "volume": 1_192_471,
                "last_trade_quantity": 7,
                "avg_trade_price": _PRICE - 50,
                "total_buy_quantity": 256_443,
                "total_sell_quantity": 363_009,
            }
            if has_quote
            else {}
        )
        tick = Tick(
            broker_token="1",
            mode=self.mode,
            price_scale=100,
            ltp=_PRICE,
            ts_event_ms=_MARK_STAMP,
            ltt_ms=_MARK_NUMBER,
            bids=levels if has_book else None,
            asks=levels if has_book else None,
            **quote,
        )
        return encode_tick(_BROKER, InstrumentKey("NSE", symbol), tick)

    def prefix(self, symbol: str) -> bytes:
        """Return the body of a tick of ``symbol`` up to the stamp."""
        return self._example(symbol).split(str(_MARK_STAMP).encode())[0]

    def rest(self, number: int, stamp_us: int) -> bytes:
        """Return the body of a tick from the stamp on."""
        return b"%d%b%d%b" % (
            _FIRST_STAMP + stamp_us,
            self._between,
            _FIRST_NUMBER + number,
            self._after,
        )

    def number(self, buffer: bytearray | bytes, frame_at: int) -> int:
        """Return the number of the tick whose frame begins at ``frame_at``."""
        at = frame_at + self.number_at
        return int(buffer[at : at + 13]) - _FIRST_NUMBER

    def age_us(self, buffer: bytearray | bytes, frame_at: int, now_us: int) -> int:
        """Return how long ago the tick was published."""
        at = frame_at + self.stamp_at
        return now_us - int(buffer[at : at + 16]) + _FIRST_STAMP

    def is_whole(self, frame: bytes, symbols: int) -> bool:
        """Tell whether one frame is all that it has to be, by parsing it."""
        tick = json.loads(frame[len(self.header) :])
        name = symbol_name(self.number(frame, 0) % symbols)
        data = tick["data"]
        return (
            frame.startswith(self.header)
            and tick["symbol"] == data["symbol"] == name
            and tick["mode"] == int(self.mode)
            and data["ltp"] == _PRICE / 100
            and ("open" in data) == (self.mode >= FeedMode.QUOTE)
            and len(data.get("depth", {}).get("buy", ())) == 5 * (self.mode is FeedMode.DEPTH)
        )


def now_us() -> int:
    """Return microseconds of the clock that all processes of a machine share."""
    return time.monotonic_ns() // 1000
