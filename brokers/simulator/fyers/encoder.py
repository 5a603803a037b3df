"""Quotes to Fyers' HSM records. Pure.

Written from the wire specification alone; it shares nothing with the adapter's decoder, so that
each is a check on the other. Layout: what the official client reads (fyers-apiv3 3.2.0), big endian
but for the number of a topic, which it reads in the order of its machine and which is opaque.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from struct import pack
from typing import NamedTuple

from brokers.simulator.listing import ListedInstrument, Segment
from brokers.simulator.market import Quote

__all__ = [
    "UNCHANGED",
    "FyersName",
    "TopicKind",
    "encode_custom",
    "encode_data",
    "encode_lite",
    "encode_reply",
    "encode_snapshot",
    "encode_update",
    "name_of",
    "topic_kinds",
    "values_of",
]

UNCHANGED = -0x80000000
_DATA = 6
_CUSTOM = 51
_SCALES = {100: (1, 2), 10_000: (100, 2), 10_000_000: (1000, 4)}  # multiplier, precision

_SEGMENTS = {
    Segment.NSE: "nse_cm",
    Segment.NFO: "nse_fo",
    Segment.CDS: "cde_fo",
    Segment.NCO: "nse_com",
    Segment.BSE: "bse_cm",
    Segment.BFO: "bse_fo",
    Segment.BCD: "bcs_fo",
    Segment.MCX: "mcx_fo",
}
_INDEX_SEGMENTS = {"NSE": "nse_cm", "BSE": "bse_cm"}
_EXCHANGES = {"nse": "NSE", "cde": "NSE", "bse": "BSE", "bcs": "BSE", "mcx": "MCX"}
# The market's names of indices: in Fyers' symbols, and on its socket.
_INDICES = {
    "NIFTY 50": ("NIFTY50", "Nifty 50"),
    "NIFTY BANK": ("NIFTYBANK", "Nifty Bank"),
    "NIFTY FIN SERVICE": ("FINNIFTY", "Nifty Fin Service"),
    "NIFTY MID SELECT": ("MIDCPNIFTY", "NIFTY MID SELECT"),
    "NIFTY NEXT 50": ("NIFTYNXT50", "Nifty Next 50"),
    "NIFTY IT": ("NIFTYIT", "Nifty IT"),
    "INDIA VIX": ("INDIAVIX", "India VIX"),
}


class TopicKind(StrEnum):
    """Kinds of a topic, as its name begins."""

    FEED = "sf"
    INDEX = "if"
    BOOK = "dp"


class FyersName(NamedTuple):
    """Fyers' name of an instrument: on the socket, and in its symbols."""

    segment: str
    token: str
    ticker: str

    def topic(self, kind: TopicKind) -> str:
        return f"{kind.value}|{self.segment}|{self.token}"


def name_of(item: ListedInstrument) -> FyersName | None:
    """Return Fyers' name of an instrument, or None where Fyers does not have its segment."""
    if item.is_index:
        segment = _INDEX_SEGMENTS.get(item.exchange)
        if segment is None:
            return None
        own = item.tradingsymbol
        symbol, token = _INDICES.get(own, (own.replace(" ", ""), own))
        return FyersName(segment, token, f"{item.exchange}:{symbol}-INDEX")
    segment = _SEGMENTS[item.segment]
    exchange = _EXCHANGES[segment.partition("_")[0]]
    series = {"nse_cm": "-EQ", "bse_cm": "-A"}.get(segment, "")
    return FyersName(segment, str(item.exchange_token), f"{exchange}:{item.tradingsymbol}{series}")


def topic_kinds(item: ListedInstrument) -> tuple[TopicKind, ...]:
    """Return the kinds of topics that an instrument has."""
    return (TopicKind.INDEX,) if item.is_index else (TopicKind.FEED, TopicKind.BOOK)


def values_of(quote: Quote, kind: TopicKind) -> list[int]:
    """Return the fields of a topic; a sum beyond 32 bits comes out negative, as it would there."""
    if kind is TopicKind.INDEX:
        fields = [quote.last_price, quote.close, quote.exchange_time]
        fields += [quote.high, quote.low, quote.open]
    elif kind is TopicKind.BOOK:
        sides = (quote.bids(), quote.asks())
        fields = [level[at] for at in range(3) for side in sides for level in side]
    else:
        (bid, bid_size, _), (ask, ask_size, _) = quote.bids()[0], quote.asks()[0]
        fields = [quote.last_price, quote.volume, quote.last_trade_time, quote.exchange_time]
        fields += [bid_size, ask_size, bid, ask, quote.last_quantity]
        fields += [quote.total_buy_quantity, quote.total_sell_quantity, quote.average_price]
        fields += [quote.oi, quote.low, quote.high]
        # The year's range and the circuits.
        fields += [quote.high, quote.low, quote.close * 4 // 5, quote.close * 6 // 5]
        fields += [quote.open, quote.close]
    return [(value + 2**31) % 2**32 - 2**31 for value in fields]


def encode_snapshot(
    item: ListedInstrument, kind: TopicKind, values: Sequence[int], number: int
) -> bytes:
    """Return the record that gives a topic its number. Raises ValueError for what Fyers has not."""
    name = name_of(item)
    if name is None:
        raise ValueError(f"Fyers does not have {item.tradingsymbol}")
    multiplier, precision = _SCALES[item.segment.price_scale]
    topic = name.topic(kind).encode()
    symbol = name.ticker.partition(":")[2]
    texts = [text.encode() for text in (name.segment, name.token, symbol)]
    return (
        pack("<BH", 83, number)
        + bytes([len(topic)])
        + topic
        + pack(f">B{len(values)}i", len(values), *values)
        + pack(">HHB", 0, multiplier, precision)
        + b"".join(bytes([len(text)]) + text for text in texts)
    )


def encode_update(values: Sequence[int], before: Sequence[int], number: int) -> bytes:
    """Return the record of what is not as before."""
    changed = [UNCHANGED if now == then else now for now, then in zip(values, before, strict=True)]
    return pack("<BH", 85, number) + pack(f">B{len(values)}i", len(values), *changed)


def encode_lite(ltp: int, number: int) -> bytes:
    """Return the record of a last price."""
    return pack("<BH", 76, number) + pack(">i", ltp)


def encode_data(records: Sequence[bytes], number: int) -> bytes:
    """Return a data frame of records, with the number that an acknowledgement names."""
    return _framed(pack(">BIH", _DATA, number, len(records)) + b"".join(records))


def encode_reply(kind: int, text: str, ack_every: int | None = None) -> bytes:
    """Return the answer to a request of a kind; only that to a credential has ``ack_every``."""
    fields = [text.encode()]
    if ack_every is not None:
        fields.append(pack(">I", ack_every))
    return _framed(bytes([kind, len(fields)]) + _fields(fields))


def encode_custom(code: int, text: str, about: int) -> bytes:
    """Return a message of the server's own about requests of a kind."""
    fields = [pack(">i", code), text.encode(), bytes([about])]
    return _framed(bytes([_CUSTOM, len(fields)]) + _fields(fields))


def _fields(values: Sequence[bytes]) -> bytes:
    return b"".join(pack(">BH", at, len(value)) + value for at, value in enumerate(values, 1))


def _framed(body: bytes) -> bytes:
    return pack(">H", len(body) & 0xFFFF) + body
