"""Quotes to Kite's binary packets. Pure, and written from the wire specification alone.

It shares nothing with the adapter's decoder, so that each is a check on the other.
Layout: https://kite.trade/docs/connect/v3/websocket/ (big endian; the body's length is its kind).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from struct import Struct

from brokers.simulator.market import Quote

__all__ = ["HEARTBEAT", "Mode", "encode_frame", "encode_packet"]

HEARTBEAT = b"\x00"

_COUNT = Struct(">H")
# Every packet starts with its own length, which does not count the two bytes of the length.
_LTP = Struct(">H2I")
_INDEX_QUOTE = Struct(">H6Ii")
_INDEX_FULL = Struct(">H6IiI")
_QUOTE = Struct(">H11I")
_FULL = Struct(">H16I" + "2IH2x" * 10)


class Mode(StrEnum):
    """Kite's modes, by their wire names."""

    LTP = "ltp"
    QUOTE = "quote"
    FULL = "full"


def encode_packet(quote: Quote, mode: Mode) -> bytes:
    """Encode one quote with its length prefix. Raises struct.error above 32 bits."""
    token = quote.instrument.instrument_token
    if mode is Mode.LTP:
        return _LTP.pack(8, token, quote.last_price)
    if quote.instrument.is_index:
        return _encode_index(quote, token, mode)
    if mode is Mode.QUOTE:
        return _QUOTE.pack(44, *_trade_fields(quote, token))
    tick, lot_size, price = quote.instrument.tick, quote.instrument.lot_size, quote.last_price
    book: list[int] = []
    for offset_ticks, lots, orders in quote.levels:
        book += (lots * lot_size, price + offset_ticks * tick, orders)
    return _FULL.pack(
        184,
        *_trade_fields(quote, token),
        quote.last_trade_time,
        quote.oi,
        quote.oi_day_high,
        quote.oi_day_low,
        quote.exchange_time,
        *book,
    )


def encode_frame(packets: Sequence[bytes]) -> bytes:
    """Join at most 65,535 packets into one message."""
    return _COUNT.pack(len(packets)) + b"".join(packets)


def _trade_fields(quote: Quote, token: int) -> tuple[int, ...]:
    return (
        token,
        quote.last_price,
        quote.last_quantity,
        quote.average_price,
        quote.volume,
        quote.total_buy_quantity,
        quote.total_sell_quantity,
        quote.open,
        quote.high,
        quote.low,
        quote.close,
    )


def _encode_index(quote: Quote, token: int, mode: Mode) -> bytes:
    # Indices have their own order: high, low, open, close, and then the change, which is signed.
    fields = (
        token,
        quote.last_price,
        quote.high,
        quote.low,
        quote.open,
        quote.close,
        quote.last_price - quote.close,
    )
    if mode is Mode.QUOTE:
        return _INDEX_QUOTE.pack(28, *fields)
    return _INDEX_FULL.pack(32, *fields, quote.exchange_time)
