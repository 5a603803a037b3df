"""The JSON of Binance's market streams as typed values; text in numbers' place stays text.

Source: binance/binance-spot-api-docs, web-socket-streams.md. Field names are Binance's letters.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import msgspec

from brokers.binance.constants import MAX_DEPTH_LEVELS
from brokers.exceptions import BrokerProtocolError

__all__ = [
    "AggTrade",
    "BookTicker",
    "Envelope",
    "PartialDepth",
    "Refusal",
    "Ticker",
    "decode_agg_trade",
    "decode_book_ticker",
    "decode_envelope",
    "decode_partial_depth",
    "decode_ticker",
]

_T = TypeVar("_T")
_Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Levels = Annotated[list[tuple[str, str]], msgspec.Meta(max_length=MAX_DEPTH_LEVELS)]


class Refusal(msgspec.Struct):
    """A request's failure; stands bare (documented) or under ``error`` (as seen in use)."""

    code: int
    msg: str = ""


class Envelope(msgspec.Struct):
    """The outside of any frame: a stream's payload, a reply to a request, or a bare event."""

    stream: str | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    id: int | str | None = None
    result: Any = msgspec.UNSET
    error: Refusal | None = None
    code: int | None = None
    msg: str = ""
    event: str | None = msgspec.field(name="e", default=None)


class BookTicker(msgspec.Struct):
    """``@bookTicker``: best bid and ask. Spot sends no time with it, futures ``E``."""

    symbol: str = msgspec.field(name="s")
    update_id: int = msgspec.field(name="u")
    bid_price: str = msgspec.field(name="b")
    bid_size: str = msgspec.field(name="B")
    ask_price: str = msgspec.field(name="a")
    ask_size: str = msgspec.field(name="A")
    event_ms: _Milliseconds | None = msgspec.field(name="E", default=None)


class AggTrade(msgspec.Struct):
    """``@aggTrade``: trades of one taker order at one price."""

    symbol: str = msgspec.field(name="s")
    price: str = msgspec.field(name="p")
    quantity: str = msgspec.field(name="q")
    trade_ms: _Milliseconds = msgspec.field(name="T")
    event_ms: _Milliseconds = msgspec.field(name="E")


class Ticker(msgspec.Struct):
    """``@ticker``: statistics of a rolling window of 24 hours, once a second."""

    symbol: str = msgspec.field(name="s")
    event_ms: _Milliseconds = msgspec.field(name="E")
    last_price: str = msgspec.field(name="c")
    last_quantity: str = msgspec.field(name="Q")
    open: str = msgspec.field(name="o")
    high: str = msgspec.field(name="h")
    low: str = msgspec.field(name="l")
    volume: str = msgspec.field(name="v")
    average: str = msgspec.field(name="w")


class PartialDepth(msgspec.Struct):
    """``@depth5``, ``10`` or ``20``: the top of the book, whole each time. Names no symbol."""

    update_id: int = msgspec.field(name="lastUpdateId")
    bids: _Levels = []
    asks: _Levels = []


_ENVELOPE: Final = msgspec.json.Decoder(Envelope)
_AGG_TRADE: Final = msgspec.json.Decoder(AggTrade)
_BOOK_TICKER: Final = msgspec.json.Decoder(BookTicker)
_TICKER: Final = msgspec.json.Decoder(Ticker)
_PARTIAL_DEPTH: Final = msgspec.json.Decoder(PartialDepth)


def _decode(decoder: msgspec.json.Decoder[_T], data: str | bytes | msgspec.Raw) -> _T:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BrokerProtocolError(f"binance: {error}") from error


def decode_envelope(frame: str | bytes) -> Envelope:
    """Decode the outside of a frame. Raises BrokerProtocolError, as all decoders here do."""
    return _decode(_ENVELOPE, frame)


def decode_agg_trade(data: msgspec.Raw) -> AggTrade:
    """Decode the payload of an ``@aggTrade`` stream."""
    return _decode(_AGG_TRADE, data)


def decode_book_ticker(data: msgspec.Raw) -> BookTicker:
    """Decode the payload of a ``@bookTicker`` stream."""
    return _decode(_BOOK_TICKER, data)


def decode_ticker(data: msgspec.Raw) -> Ticker:
    """Decode the payload of a ``@ticker`` stream."""
    return _decode(_TICKER, data)


def decode_partial_depth(data: msgspec.Raw) -> PartialDepth:
    """Decode the payload of a partial depth stream."""
    return _decode(_PARTIAL_DEPTH, data)
