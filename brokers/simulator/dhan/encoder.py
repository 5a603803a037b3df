"""Quotes to Dhan's binary packets, and the listing to its master. Pure.

Written from the wire specification alone; it shares nothing with the adapter's decoders, so that
each is a check on the other. Layout: dhanhq.co/docs/v2, live-market-feed and full-market-depth
(little endian; a packet begins with its code and its length, one of a deep book the other way
round). Prices are rupees in binary fractions.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from brokers.simulator.listing import ListedInstrument, Segment
from brokers.simulator.market import Quote

__all__ = [
    "INDIA_SECONDS",
    "DhanCode",
    "DhanName",
    "encode_book",
    "encode_deep_disconnection",
    "encode_disconnection",
    "encode_full",
    "encode_master",
    "encode_open_interest",
    "encode_previous_close",
    "encode_quote",
    "encode_status",
    "encode_ticker",
    "encode_version_1_depth",
    "name_of",
    "rupees",
]

# Times of trades are Indian time counted as if it were UTC.
INDIA_SECONDS = 19_800

_TICKER = Struct("<BHBIfI")
_QUOTE = Struct("<BHBIfHIfIIIffff")
_FULL = Struct("<BHBIfHIfIIIIIIffff" + "IIHHff" * 5)
_VERSION_1_DEPTH = Struct("<BHBIf" + "IIHHff" * 5)
_NUMBER = Struct("<BHBII")
_STATUS = Struct("<BHBI")
_DISCONNECTION = Struct("<BHBIH")
_DEEP = Struct("<HBBiI")
_DEEP_ROW = Struct("<dII")
_DEEP_DISCONNECTION = Struct("<HBBiIH")
_BIDS, _ASKS, _END = 41, 51, 50
_U16 = 0xFFFF

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HEADER = (
    "SEM_EXM_EXCH_ID,SEM_SEGMENT,SEM_SMST_SECURITY_ID,SEM_INSTRUMENT_NAME,SEM_EXPIRY_CODE,"
    "SEM_TRADING_SYMBOL,SEM_LOT_UNITS,SEM_CUSTOM_SYMBOL,SEM_EXPIRY_DATE,SEM_STRIKE_PRICE,"
    "SEM_OPTION_TYPE,SEM_TICK_SIZE,SEM_EXPIRY_FLAG,SEM_EXCH_INSTRUMENT_TYPE,SEM_SERIES,"
    "SM_SYMBOL_NAME"
)
# Name and number of a segment on the wire, exchange and segment in the master. Dhan has no
# commodities of the NSE.
_SEGMENTS = {
    Segment.INDICES: ("IDX_I", 0, "", "I"),
    Segment.NSE: ("NSE_EQ", 1, "NSE", "E"),
    Segment.NFO: ("NSE_FNO", 2, "NSE", "D"),
    Segment.CDS: ("NSE_CURRENCY", 3, "NSE", "C"),
    Segment.BSE: ("BSE_EQ", 4, "BSE", "E"),
    Segment.MCX: ("MCX_COMM", 5, "MCX", "M"),
    Segment.BCD: ("BSE_CURRENCY", 7, "BSE", "C"),
    Segment.BFO: ("BSE_FNO", 8, "BSE", "D"),
}
_INDEX_IDS = {"NIFTY 50": 13, "NIFTY BANK": 25, "INDIA VIX": 21, "SENSEX": 51}
_INDEX_SYMBOLS = {"NIFTY 50": "NIFTY", "NIFTY BANK": "BANKNIFTY"}


class DhanCode(IntEnum):
    """Feeds that a client asks for, by its request code."""

    TICKER = 15
    QUOTE = 17
    FULL = 21
    DEEP = 23


class DhanName(NamedTuple):
    """Dhan's name of an instrument on the wire."""

    segment: str
    security_id: str
    number: int


def name_of(instrument: ListedInstrument) -> DhanName | None:
    """Return Dhan's name of an instrument, or None where Dhan does not have its segment."""
    segment = _SEGMENTS.get(instrument.segment)
    if segment is None:
        return None
    number = instrument.exchange_token
    if instrument.is_index:
        number = _INDEX_IDS.get(instrument.tradingsymbol, number)
    return DhanName(segment[0], str(number), segment[1])


def rupees(price: int, instrument: ListedInstrument) -> float:
    """Return a scaled price in rupees; averages too have two decimals, of currencies four."""
    decimals = 4 if instrument.segment in (Segment.CDS, Segment.BCD) else 2
    return round(price / instrument.segment.price_scale, decimals)


def encode_ticker(quote: Quote, *, ahead_seconds: int = INDIA_SECONDS) -> bytes:
    """Encode last price and time, which is ``ahead_seconds`` before that of Greenwich."""
    price = rupees(quote.last_price, quote.instrument)
    return _TICKER.pack(*_head(quote, 2, _TICKER), price, _traded(quote, ahead_seconds))


def encode_previous_close(quote: Quote) -> bytes:
    """Encode the previous close and, in place of the market's, an open interest of 0."""
    return _TICKER.pack(*_head(quote, 6, _TICKER), rupees(quote.close, quote.instrument), 0)


def encode_quote(quote: Quote, *, ahead_seconds: int = INDIA_SECONDS) -> bytes:
    """Encode the day; its close is 0, as before the market has closed."""
    return _QUOTE.pack(*_head(quote, 4, _QUOTE), *_trades(quote, ahead_seconds), *_day(quote))


def encode_open_interest(quote: Quote) -> bytes:
    """Encode the open interest, which quotes do not have."""
    return _NUMBER.pack(*_head(quote, 5, _NUMBER), quote.oi)


def encode_full(quote: Quote, *, ahead_seconds: int = INDIA_SECONDS) -> bytes:
    """Encode the day, the open interest and five levels."""
    return _FULL.pack(
        *_head(quote, 8, _FULL),
        *_trades(quote, ahead_seconds),
        quote.oi,
        quote.oi_day_high,
        quote.oi_day_low,
        *_day(quote),
        *_five(quote),
    )


def encode_version_1_depth(quote: Quote) -> bytes:
    """Encode the packet of version 1 that has last price and book only."""
    price = rupees(quote.last_price, quote.instrument)
    return _VERSION_1_DEPTH.pack(*_head(quote, 3, _VERSION_1_DEPTH), price, *_five(quote))


def encode_status() -> bytes:
    """Encode "the market is open", which has no body that is documented."""
    return _STATUS.pack(7, _STATUS.size, 0, 0)


def encode_disconnection(reason: int) -> bytes:
    """Encode what the feed says before it ends a connection."""
    return _DISCONNECTION.pack(50, _DISCONNECTION.size, 0, 0, reason)


def encode_book(quote: Quote, levels: int) -> bytes:
    """Encode the bids and then the asks of a deep book, the market's five levels.

    Of 20 levels there are always 20 rows, the rest of them zeros; of 200 there are five.
    """
    name = _name(quote)
    packets = []
    for code, side in ((_BIDS, quote.bids()), (_ASKS, quote.asks())):
        rows = [
            (rupees(price, quote.instrument), quantity, orders) for price, quantity, orders in side
        ]
        rows += [(0.0, 0, 0)] * (20 - len(rows)) if levels == 20 else []
        body = b"".join(_DEEP_ROW.pack(*row) for row in rows)
        # Of 20 levels this number is a sequence, which nobody is to look at.
        count = len(rows) if levels == 200 else 7
        head = _DEEP.pack(_DEEP.size + len(body), code, name.number, int(name.security_id), count)
        packets.append(head + body)
    return b"".join(packets)


def encode_deep_disconnection(reason: int) -> bytes:
    """Encode the same of a deep book, the reason where it is documented and where it is read."""
    return _DEEP_DISCONNECTION.pack(_DEEP_DISCONNECTION.size, _END, 0, 0, reason, reason)


def encode_master(instruments: Iterable[ListedInstrument]) -> bytes:
    """Return the instruments as Dhan's compact master has them: a CSV, header first."""
    out = io.StringIO()
    out.write(_HEADER + "\n")
    writer = csv.writer(out, lineterminator="\n")
    for item in instruments:
        name = name_of(item)
        if name is not None:
            writer.writerow(_row(item, name))
    return out.getvalue().encode()


def _row(item: ListedInstrument, name: DhanName) -> tuple[str | int, ...]:
    _, _, exchange, segment = _SEGMENTS[item.segment]
    is_option = item.instrument_type in ("CE", "PE")
    symbol = item.tradingsymbol
    if item.is_index:
        symbol = _INDEX_SYMBOLS.get(symbol, symbol)
    tick = item.tick / item.segment.price_scale
    strike, expiry = "", ""
    if item.expiry:
        strike = f"{item.strike:.5f}" if is_option else "-0.01000"
        expiry = f"{item.expiry.isoformat()} 14:30:00"
        month = f"{_MONTHS[item.expiry.month - 1]}{item.expiry.year}"
        ending = f"{item.strike:g}-{item.instrument_type}" if is_option else "FUT"
        symbol = f"{item.name}-{month}-{ending}"
    return (
        exchange or item.exchange,
        segment,
        name.security_id,
        _kind(item),
        0,
        symbol,
        f"{item.lot_size}.0",
        item.name.title(),
        expiry,
        strike,
        item.instrument_type if is_option else "XX",
        f"{tick if item.is_index else tick * 100:.4f}",
        "M" if item.expiry else "NA",
        "INDEX" if item.is_index else "ES",
        "X" if item.is_index else "EQ",
        item.name,
    )


def _kind(item: ListedInstrument) -> str:
    if item.is_index:
        return "INDEX"
    if not item.expiry:
        return "EQUITY"
    under = {Segment.CDS: "CUR", Segment.BCD: "CUR", Segment.MCX: "COM"}.get(item.segment, "IDX")
    return f"{'FUT' if item.instrument_type == 'FUT' else 'OPT'}{under}"


def _name(quote: Quote) -> DhanName:
    name = name_of(quote.instrument)
    if name is None:
        raise ValueError(f"Dhan does not have {quote.instrument.tradingsymbol}")
    return name


def _head(quote: Quote, code: int, layout: Struct) -> tuple[int, int, int, int]:
    name = _name(quote)
    return code, layout.size, name.number, int(name.security_id)


def _traded(quote: Quote, ahead_seconds: int) -> int:
    # Indices do not trade; theirs is the time at which they were computed.
    return (quote.last_trade_time or quote.exchange_time) + ahead_seconds


def _trades(quote: Quote, ahead_seconds: int) -> tuple[float, ...]:
    item = quote.instrument
    return (
        rupees(quote.last_price, item),
        min(quote.last_quantity, _U16),
        _traded(quote, ahead_seconds),
        rupees(quote.average_price, item),
        quote.volume,
        quote.total_sell_quantity,
        quote.total_buy_quantity,
    )


def _day(quote: Quote) -> tuple[float, ...]:
    item = quote.instrument
    return (
        rupees(quote.open, item),
        0.0,
        rupees(quote.high, item),
        rupees(quote.low, item),
    )


def _five(quote: Quote) -> list[float]:
    if quote.instrument.is_index:
        return [0] * 30  # nobody offers an index
    values: list[float] = []
    for bid, ask in zip(quote.bids(), quote.asks(), strict=True):
        prices = [rupees(price, quote.instrument) for price, _, _ in (bid, ask)]
        values += [bid[1], ask[1], bid[2], ask[2], *prices]
    return values
