"""Kite ticker frames: bytes and text to values, and requests to text.

Source: kite.trade/docs/connect/v3/websocket; where it disagrees with the kiteconnect 5.2.2 client
(unsigned integers, price divisors of BCD and NCO) this follows the client.

A price or a time of 0 is Kite's "there is none" and becomes None: before the first trade the last
price, the day's and the average are 0 in a packet that has a close. Quantities are passed on as
they come.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from struct import Struct
from typing import Any, Final, NamedTuple

import msgspec

from brokers.exceptions import BrokerProtocolError
from brokers.masters.absent import known_prices
from brokers.types import DepthLevel, FeedMode, Tick
from brokers.zerodha.constants import (
    BODY_FULL,
    BODY_INDEX_FULL,
    BODY_INDEX_QUOTE,
    BODY_LTP,
    BODY_QUOTE,
    DEPTH_LEVELS,
    MODE_NAMES,
    PRICE_SCALE_DEFAULT,
    PRICE_SCALES,
)

__all__ = [
    "DecodedFrame",
    "TextMessage",
    "decode_frame",
    "decode_text",
    "encode_mode",
    "encode_subscribe",
    "encode_unsubscribe",
]

_COUNT: Final = Struct(">H")
_LENGTH: Final = Struct(">H")
_LTP: Final = Struct(">2I")
# token, last, high, low, open, close; an index has HIGH, LOW, OPEN, CLOSE in that order
_INDEX: Final = Struct(">6I")
_INDEX_TIME: Final = Struct(">28xI")
_QUOTE: Final = Struct(">11I")
# the quote, then last trade time, open interest and its day's high and low, exchange time
_FULL: Final = Struct(">16I" + "IIHxx" * (2 * DEPTH_LEVELS))
_FULL_DEPTH: Final = 16
_FULL_ASKS: Final = _FULL_DEPTH + 3 * DEPTH_LEVELS
_FULL_END: Final = _FULL_ASKS + 3 * DEPTH_LEVELS

# What the tick path calls: looking a method up each time costs as much as reading two numbers.
_unpack_length: Final = _LENGTH.unpack_from
_unpack_ltp: Final = _LTP.unpack_from
_unpack_index: Final = _INDEX.unpack_from
_unpack_quote: Final = _QUOTE.unpack_from
_unpack_full: Final = _FULL.unpack_from

_COUNT_BYTES: Final = _COUNT.size
_LENGTH_BYTES: Final = _LENGTH.size

# One entry per possible low byte of a token, so that the tick path indexes instead of searching.
_SCALES: Final = tuple(PRICE_SCALES.get(segment, PRICE_SCALE_DEFAULT) for segment in range(256))


class DecodedFrame(NamedTuple):
    """Content of one binary frame. ``skipped`` counts packets of a length that nobody documents."""

    ticks: list[Tick]
    skipped: int


class TextMessage(NamedTuple):
    """A text frame: ``kind`` is Kite's ``type`` ("order", "error", "message", or a new one)."""

    kind: str
    data: Any


def decode_frame(frame: bytes) -> DecodedFrame:
    """Decode a binary frame; a frame of less than two bytes is a heartbeat and holds nothing.

    Raises:
        BrokerProtocolError: the frame is cut short or longer than its packets.
    """
    ticks: list[Tick] = []
    size = len(frame)
    if size < _COUNT_BYTES:
        return DecodedFrame(ticks, 0)
    (count,) = _COUNT.unpack_from(frame)
    offset = _COUNT_BYTES
    skipped = 0
    append, length_at, decoders = ticks.append, _unpack_length, _DECODERS
    try:
        # Each decoder reads as many bytes as its packet has, so that struct finds a cut one; asking
        # for each packet whether it is whole would cost a twelfth of all.
        for _ in range(count):
            (length,) = length_at(frame, offset)
            offset += _LENGTH_BYTES
            decoder = decoders.get(length)
            if decoder is None:
                skipped += 1
            else:
                append(decoder(frame, offset))
            offset += length
    except struct.error:
        raise _misfit(frame, count) from None
    if offset != size:
        raise _misfit(frame, count)
    return DecodedFrame(ticks, skipped)


def _misfit(frame: bytes, count: int) -> BrokerProtocolError:
    """Return what is wrong with a frame that is not as long as its packets."""
    size, offset = len(frame), _COUNT_BYTES
    for _ in range(count):
        if offset + _LENGTH_BYTES > size:
            return BrokerProtocolError(f"frame of {size} bytes ends before its {count} packets")
        (length,) = _unpack_length(frame, offset)
        offset += _LENGTH_BYTES + length
        if offset > size:
            return BrokerProtocolError(f"frame of {size} bytes ends inside a packet of {length}")
    return BrokerProtocolError(f"frame of {size} bytes has {size - offset} after its packets")


def decode_text(frame: str) -> TextMessage:
    """Decode a text frame.

    Raises:
        BrokerProtocolError: not a JSON object with a ``type``, or its data is of the wrong type.
    """
    try:
        message = msgspec.json.decode(frame)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BrokerProtocolError(f"text frame: {error}") from error
    kind = message.get("type") if isinstance(message, dict) else None
    if not isinstance(kind, str):
        raise BrokerProtocolError("text frame: not an object with a type")
    data = message.get("data")
    wanted = _TEXT_DATA.get(kind)
    if wanted is not None and not isinstance(data, wanted):
        raise BrokerProtocolError(f"text frame: data of {kind!r} is a {type(data).__name__}")
    return TextMessage(kind, data)


def encode_subscribe(tokens: Sequence[int]) -> str:
    """Return the request that subscribes ``tokens``; Kite then sends them as quotes."""
    return _encode({"a": "subscribe", "v": tokens})


def encode_unsubscribe(tokens: Sequence[int]) -> str:
    """Return the request that ends ``tokens``."""
    return _encode({"a": "unsubscribe", "v": tokens})


def encode_mode(mode: FeedMode, tokens: Sequence[int]) -> str:
    """Return the request that puts subscribed ``tokens`` to ``mode``."""
    return _encode({"a": "mode", "v": [MODE_NAMES[mode], tokens]})


def _encode(request: Mapping[str, object]) -> str:
    return msgspec.json.encode(request).decode("ascii")


def _ltp(frame: bytes, offset: int) -> Tick:
    token, ltp = _unpack_ltp(frame, offset)
    return Tick(token, FeedMode.LTP, _SCALES[token & 0xFF], 1, ltp or None)


def _index_quote(frame: bytes, offset: int) -> Tick:
    token, ltp, high, low, open_, close = _unpack_index(frame, offset)
    if not (ltp and high and low and open_ and close):
        ltp, high, low, open_, close = known_prices(ltp, high, low, open_, close)
    scale = _SCALES[token & 0xFF]
    return Tick(token, FeedMode.QUOTE, scale, 1, ltp, None, None, open_, high, low, close)


def _index_full(frame: bytes, offset: int) -> Tick:
    token, ltp, high, low, open_, close = _unpack_index(frame, offset)
    if not (ltp and high and low and open_ and close):
        ltp, high, low, open_, close = known_prices(ltp, high, low, open_, close)
    (seconds,) = _INDEX_TIME.unpack_from(frame, offset)
    ts_event_ms = seconds * 1000 or None
    scale = _SCALES[token & 0xFF]
    return Tick(token, FeedMode.DEPTH, scale, 1, ltp, None, ts_event_ms, open_, high, low, close)


def _quote(frame: bytes, offset: int) -> Tick:
    (token, ltp, last_quantity, average, volume, buy, sell, open_, high, low, close) = (
        _unpack_quote(frame, offset)
    )
    if not (ltp and average and open_ and high and low and close):
        ltp, average, open_, high, low, close = known_prices(ltp, average, open_, high, low, close)
    # By position, in the order of Tick's fields: names cost a third more on the tick path.
    return Tick(
        token,
        _QUOTE_MODE,
        _SCALES[token & 0xFF],
        1,
        ltp,
        None,
        None,
        open_,
        high,
        low,
        close,
        volume,
        last_quantity,
        average,
        None,
        None,
        None,
        None,
        None,
        buy,
        sell,
    )


def _full(frame: bytes, offset: int) -> Tick:
    values = _unpack_full(frame, offset)
    (token, ltp, last_quantity, average, volume, buy, sell, open_, high, low, close) = values[:11]
    if not (ltp and average and open_ and high and low and close):
        ltp, average, open_, high, low, close = known_prices(ltp, average, open_, high, low, close)
    traded, oi, _oi_high, _oi_low, seconds = values[11:_FULL_DEPTH]
    bids = _levels(values[_FULL_DEPTH:_FULL_ASKS])
    asks = _levels(values[_FULL_ASKS:_FULL_END])
    bid_price, bid_size, _ = bids[0] if bids else _NO_LEVEL
    ask_price, ask_size, _ = asks[0] if asks else _NO_LEVEL
    return Tick(
        token,
        _DEPTH_MODE,
        _SCALES[token & 0xFF],
        1,
        ltp,
        traded * 1000 or None,
        seconds * 1000 or None,
        open_,
        high,
        low,
        close,
        volume,
        last_quantity,
        average,
        oi,
        bid_price,
        ask_price,
        bid_size,
        ask_size,
        buy,
        sell,
        bids,
        asks,
    )


def _levels(values: tuple[int, ...]) -> tuple[DepthLevel, ...]:
    """Return the levels of one side. Those without a price are left out: Kite sends zeros."""
    prices = values[1::3]
    levels = tuple(map(_level, zip(prices, values[::3], values[2::3], strict=True)))
    if 0 in prices:
        return tuple(level for level in levels if level.price)
    return levels


# What DepthLevel._make does, without a Python frame for each of a packet's ten levels.
_level: Final[Callable[[tuple[int, ...]], DepthLevel]] = partial(tuple.__new__, DepthLevel)
_NO_LEVEL: Final[tuple[None, None, None]] = (None, None, None)
# Enum members as plain globals: an attribute of an Enum class costs more than the rest of a line.
_QUOTE_MODE: Final = FeedMode.QUOTE
_DEPTH_MODE: Final = FeedMode.DEPTH

_DECODERS: Final[dict[int, Callable[[bytes, int], Tick]]] = {
    BODY_LTP: _ltp,
    BODY_INDEX_QUOTE: _index_quote,
    BODY_INDEX_FULL: _index_full,
    BODY_QUOTE: _quote,
    BODY_FULL: _full,
}
_TEXT_DATA: Final[dict[str, type]] = {"order": dict, "error": str, "message": str}
