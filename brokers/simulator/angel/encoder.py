"""Quotes to Angel One's binary frames, and the listing to its master. Pure.

Written from the wire specification alone; it shares nothing with the adapter's decoder, so that
each is a check on the other. Layout: smartapi.angelone.in/docs, WebSocket Streaming 2.0 (little
endian; the first byte is the mode and thereby the length).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

import msgspec

from brokers.simulator.listing import ListedInstrument, Segment
from brokers.simulator.market import Quote

__all__ = ["AngelMode", "AngelName", "encode_master", "encode_tick", "name_of"]

_LTP = Struct("<BB25sqqq")
_QUOTE = Struct("<BB25sqqqqqqddqqqq")
_SNAP = Struct("<BB25sqqqqqqddqqqqqqq" + "HqqH" * 10 + "qqqq")
_DEPTH_20 = Struct("<BB25sqq" + "iih" * 40)
_BUY, _SELL = 1, 0

# NSE 1, NFO 2, BSE 3, BFO 4, MCX 5, CDS 13; nothing of the market's other segments is at Angel.
_TYPES = {
    Segment.NSE: 1,
    Segment.NFO: 2,
    Segment.BSE: 3,
    Segment.BFO: 4,
    Segment.MCX: 5,
    Segment.CDS: 13,
}
_INDEX_TYPES = {"NSE": 1, "BSE": 3, "MCX": 5}
# Angel numbers indices in a range of their own; these two are the ones that its documents name.
_INDEX_TOKENS = {"NIFTY 50": 99926000, "NIFTY BANK": 99926009}
_INDEX_BASE = 99_900_000
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class AngelMode(IntEnum):
    """Angel's modes, by their wire numbers."""

    LTP = 1
    QUOTE = 2
    SNAP_QUOTE = 3
    DEPTH_20 = 4


class AngelName(NamedTuple):
    """Angel's name of an instrument on the wire."""

    exchange_type: int
    token: str


def name_of(instrument: ListedInstrument) -> AngelName | None:
    """Return Angel's name of an instrument, or None where Angel does not have its segment."""
    if instrument.is_index:
        kind = _INDEX_TYPES.get(instrument.exchange)
        number = _INDEX_TOKENS.get(
            instrument.tradingsymbol, _INDEX_BASE + instrument.exchange_token
        )
    else:
        kind, number = _TYPES.get(instrument.segment), instrument.exchange_token
    return None if kind is None else AngelName(kind, str(number))


def encode_tick(quote: Quote, mode: AngelMode, sequence: int = 1) -> bytes:
    """Encode one quote. Raises ValueError for an instrument that Angel does not have."""
    name = name_of(quote.instrument)
    if name is None:
        raise ValueError(f"Angel does not have {quote.instrument.tradingsymbol}")
    kind, token = name
    head = (mode.value, kind, token.encode())
    stamp = quote.exchange_time * 1000
    if mode is AngelMode.DEPTH_20:
        sides = [*_twenty(quote.bids(20)), *_twenty(quote.asks(20))]
        return _DEPTH_20.pack(*head, stamp, stamp, *sides)
    traded = (*head, sequence, stamp, quote.last_price)
    if mode is AngelMode.LTP:
        return _LTP.pack(*traded)
    day = (
        *traded,
        quote.last_quantity,
        quote.average_price,
        quote.volume,
        float(quote.total_buy_quantity),
        float(quote.total_sell_quantity),
        quote.open,
        quote.high,
        quote.low,
        quote.close,
    )
    if mode is AngelMode.QUOTE:
        return _QUOTE.pack(*day)
    book: list[int] = []
    for flag, side in ((_BUY, quote.bids()), (_SELL, quote.asks())):
        for price, quantity, orders in side:
            book += (flag, quantity, price, orders)
    circuits = (quote.close * 6 // 5, quote.close * 4 // 5, quote.high, quote.low)
    # Between open interest and book lies its change, which is documented as garbage.
    return _SNAP.pack(*day, quote.last_trade_time, quote.oi, -1, *book, *circuits)


def encode_master(instruments: Iterable[ListedInstrument]) -> bytes:
    """Return the instruments as Angel's master has them: a JSON array of texts."""
    rows = []
    for item in instruments:
        name = name_of(item)
        if name is not None:
            rows.append(_row(item, name.token))
    return msgspec.json.encode(rows)


def _row(item: ListedInstrument, token: str) -> dict[str, str]:
    is_currency = item.segment is Segment.CDS
    strike = round(item.strike * (10_000_000 if is_currency else 100))
    return {
        "token": token,
        "symbol": _symbol(item),
        "name": item.name if item.expiry else item.tradingsymbol,
        "expiry": _day(item) + str(item.expiry.year) if item.expiry else "",
        "strike": f"{strike}.000000" if item.instrument_type in ("CE", "PE") else "-1.000000",
        "lotsize": str(item.lot_size),
        "instrumenttype": _kind(item),
        "exch_seg": item.exchange if item.is_index else item.segment.name,
        "tick_size": f"{item.tick * 100 / item.segment.price_scale:.6f}",
    }


def _symbol(item: ListedInstrument) -> str:
    if item.is_index:
        return item.tradingsymbol.title() if item.exchange == "NSE" else item.tradingsymbol
    if not item.expiry:
        return f"{item.tradingsymbol}-EQ" if item.segment is Segment.NSE else item.tradingsymbol
    strike = "" if item.instrument_type == "FUT" else f"{item.strike:g}"
    return f"{item.name}{_day(item)}{item.expiry.year % 100:02d}{strike}{item.instrument_type}"


def _day(item: ListedInstrument) -> str:
    assert item.expiry is not None  # noqa: S101 - asked only of derivatives
    return f"{item.expiry.day:02d}{_MONTHS[item.expiry.month - 1]}"


def _kind(item: ListedInstrument) -> str:
    if item.is_index:
        return "AMXIDX"
    if not item.expiry:
        return ""
    under = {Segment.CDS: "CUR", Segment.MCX: "COM"}.get(item.segment, "IDX")
    return f"{'FUT' if item.instrument_type == 'FUT' else 'OPT'}{under}"


def _twenty(side: list[tuple[int, int, int]]) -> list[int]:
    filled = side + [(0, 0, 0)] * (20 - len(side))
    return [value for price, quantity, orders in filled for value in (quantity, price, orders)]
