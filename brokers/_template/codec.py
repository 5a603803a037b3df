"""Frames to values and requests to text. Pure; only BrokerProtocolError leaves ``decode_...``.

Prices stay the broker's integers; a field that was not sent is None, never zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from brokers._template.constants import (
    BODY_DEPTH,
    BODY_LTP,
    BODY_QUOTE,
    DEPTH_LEVELS,
    MODE_NAMES,
    PRICE_SCALE,
)
from brokers.exceptions import BrokerProtocolError
from brokers.types import DepthLevel, FeedMode, Tick

__all__ = ["TextMessage", "decode_frame", "decode_text", "encode_request"]

_BOOK_AT: Final = 8


class TextMessage(msgspec.Struct):
    """An answer: tokens that are confirmed, or an error with the tokens that it is about."""

    confirmed: list[int] = []
    error: str = ""
    tokens: list[int] = []


_TEXT: Final = msgspec.json.Decoder(TextMessage)


def decode_frame(frame: bytes) -> Tick:
    """Decode a binary frame, which is one tick. Raises BrokerProtocolError."""
    size = len(frame)
    if size == BODY_LTP.size:
        token, ltp = BODY_LTP.unpack(frame)
        return Tick(token, FeedMode.LTP, PRICE_SCALE, ltp=ltp or None)
    if size == BODY_QUOTE.size:
        return Tick(mode=FeedMode.QUOTE, **_quote(BODY_QUOTE.unpack(frame)))
    if size == BODY_DEPTH.size:
        values = BODY_DEPTH.unpack(frame)
        return Tick(
            mode=FeedMode.DEPTH,
            **_quote(values),
            ts_event_ms=values[7] * 1000 or None,
            bids=_levels(values[_BOOK_AT : _BOOK_AT + 3 * DEPTH_LEVELS]),
            asks=_levels(values[_BOOK_AT + 3 * DEPTH_LEVELS :]),
        )
    raise BrokerProtocolError(f"no frame has {size} bytes")


def decode_text(frame: str) -> TextMessage:
    """Decode a text frame. Raises BrokerProtocolError."""
    try:
        return _TEXT.decode(frame)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BrokerProtocolError(f"text frame: {error}") from error


def encode_request(action: str, mode: FeedMode, tokens: Sequence[int]) -> str:
    """Return a request: ``subscribe``, ``unsubscribe`` or ``mode``."""
    request = {"action": action, "mode": MODE_NAMES[mode], "tokens": tokens}
    return msgspec.json.encode(request).decode("ascii")


def _quote(values: Sequence[int]) -> dict[str, Any]:
    token, ltp, volume, open_, high, low, close = values[:7]
    return {
        "broker_token": token,
        "price_scale": PRICE_SCALE,
        "ltp": ltp or None,  # 0 is how this wire says that there is no price
        "volume": volume,
        "open": open_ or None,
        "high": high or None,
        "low": low or None,
        "close": close or None,
    }


def _levels(values: Sequence[int]) -> tuple[DepthLevel, ...]:
    """Return the levels of a side; those without a price are left out."""
    found = zip(values[::3], values[1::3], values[2::3], strict=True)
    return tuple(DepthLevel(*level) for level in found if level[0])
