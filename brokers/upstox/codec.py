"""Upstox's frames to values, and requests to bytes. Pure.

Source: upstox.com/developer/api-documentation/v3/get-market-data-feed and MarketDataFeedV3.proto;
checked against upstox-python-sdk 2.30.0. A frame is one ``FeedResponse`` of protobuf 3 and may hold
many instruments.

Prices are doubles of rupees and become whole numbers of ``PRICE_SCALE``, rounded to the nearest,
which takes away what a double cannot hold exactly (2450.7999999999997 is 2450.8) and nothing that
is traded: the finest tick is 0.0025. Open interest and total quantities are doubles, too, but whole
numbers; a fraction is cut off.

Protobuf 3 does not send zeros. A price that is not there is therefore none, as no price is zero,
and a quantity that is not there is zero wherever the message that holds it is there. A time of zero
is "there is none". The time of the event is that of the frame: Upstox sends no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from brokers.exceptions import BrokerProtocolError
from brokers.types import DepthLevel, FeedMode, Tick
from brokers.upstox.constants import (
    ASKED_AS_D30,
    DAY_INTERVAL,
    DEPTH_LEVELS,
    DEPTH_LEVELS_PLUS,
    MARKET_STATUSES,
    MAX_CANDLES,
    MAX_FEEDS,
    MAX_LEVELS,
    MAX_SEGMENTS,
    PRICE_SCALE,
)
from brokers.upstox.schema import DecodeError, FeedResponse

__all__ = [
    "CHANGE_MODE",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "Frame",
    "decode_frame",
    "encode_request",
]

SUBSCRIBE: Final = "sub"
CHANGE_MODE: Final = "change_mode"
UNSUBSCRIBE: Final = "unsub"

LATEST_MS: Final = 253_402_300_799_000  # the end of the year 9999
_LARGEST: Final = 2**63 - 1
_SCALE: Final = float(PRICE_SCALE)  # an int would be converted for each price
_MAX_SEGMENT_CHARACTERS: Final = 20


class Frame(NamedTuple):
    """Content of one frame.

    ``ticks`` are of the instruments asked for, ``levels`` tells of each how many levels of depth it
    was sent with (0: as a last price; what it holds may be less, as of an index, which has no
    book), ``strangers`` are the keys of the others. ``statuses`` are segments and what their
    markets do, where the frame was about that.
    """

    ticks: list[Tick]
    levels: list[int]
    strangers: list[str]
    statuses: Mapping[str, str]


def decode_frame(frame: bytes, wanted: Mapping[str, FeedMode]) -> Frame:
    """Decode a frame as far as it is wanted: by instrument key, the mode of the ticks.

    A tick has the mode wanted, or a lower one where the frame holds no more than that.

    Raises:
        BrokerProtocolError: not a feed message, larger than any, a price or total that is no finite
            number, a negative quantity, or a time that is none.
    """
    try:
        response = FeedResponse.FromString(frame)
    except DecodeError as error:
        raise BrokerProtocolError(f"upstox: frame of {len(frame)} bytes: {error}") from error
    feeds = response.feeds
    if len(feeds) > MAX_FEEDS:
        raise BrokerProtocolError(f"upstox: {len(feeds)} instruments in one frame")
    ts_event_ms = _time(response.current_ts)
    ticks: list[Tick] = []
    levels: list[int] = []
    strangers: list[str] = []
    mode_of = wanted.get
    for entry in feeds:
        key = entry.key
        mode = mode_of(key)
        if mode is None:
            strangers.append(key)
            continue
        feed = entry.feed
        union = feed.WhichOneof("union")
        sent_with = 0
        if union == "full":
            ticks.append(_full(key, feed.full, mode, ts_event_ms))
            sent_with = DEPTH_LEVELS_PLUS if feed.asked_as == ASKED_AS_D30 else DEPTH_LEVELS
        elif union == "ltpc":
            ticks.append(_ltpc(key, feed.ltpc, ts_event_ms))
        elif union == "first_level":
            ticks.append(_first_level(key, feed.first_level, ts_event_ms))
        else:
            continue
        levels.append(sent_with)
    statuses = _statuses(response.market_info.statuses) if response.HasField("market_info") else {}
    return Frame(ticks, levels, strangers, statuses)


def encode_request(method: str, keys: Iterable[str], mode: str, guid: str) -> bytes:
    """Return a request; it goes as a binary frame. ``mode`` is "" for ``UNSUBSCRIBE``."""
    data: dict[str, Any] = {"mode": mode} if mode else {}
    data["instrumentKeys"] = list(keys)
    return msgspec.json.encode({"guid": guid, "method": method, "data": data})


def _ltpc(key: str, ltpc: Any, ts_event_ms: int | None) -> Tick:
    ltp, close = _prices((ltpc.ltp, ltpc.cp))
    quantity = ltpc.ltq
    if quantity < 0:
        raise _negative(quantity)
    # By position, in the order of Tick's fields: names cost a third more on the tick path.
    return Tick(
        key,
        _LTP,
        PRICE_SCALE,
        1,
        ltp or None,
        _time(ltpc.ltt),
        ts_event_ms,
        None,
        None,
        None,
        close or None,
        None,
        quantity,
    )


def _first_level(key: str, first: Any, ts_event_ms: int | None) -> Tick:
    """Last price, best bid and ask; Upstox's ``option_greeks``, which is never asked for."""
    ltpc, level = first.ltpc, first.level
    ltp, close, bid, ask = _prices((ltpc.ltp, ltpc.cp, level.bid_price, level.ask_price))
    quantities = (first.vtt, ltpc.ltq, level.bid_quantity, level.ask_quantity)
    if min(quantities) < 0:
        raise _negative(min(quantities))
    return Tick(
        key,
        _LTP,
        PRICE_SCALE,
        1,
        ltp or None,
        _time(ltpc.ltt),
        ts_event_ms,
        close=close or None,
        volume=quantities[0],
        last_trade_quantity=quantities[1],
        oi=_total(first.oi),
        bid_price=bid or None,
        ask_price=ask or None,
        bid_size=quantities[2] if bid else None,
        ask_size=quantities[3] if ask else None,
    )


def _full(key: str, full: Any, mode: FeedMode, ts_event_ms: int | None) -> Tick:
    if mode is _LTP:
        return _ltpc(key, (full.index if full.HasField("index") else full.market).ltpc, ts_event_ms)
    if full.HasField("index"):
        return _index(key, full.index, mode, ts_event_ms)
    return _market(key, full.market, mode, ts_event_ms)


def _index(key: str, index: Any, mode: FeedMode, ts_event_ms: int | None) -> Tick:
    """An index has no book, so that its quote is all that depth can ever be."""
    day = _day(index.ohlc.candles)
    if day is None:
        return _ltpc(key, index.ltpc, ts_event_ms)
    ltpc = index.ltpc
    ltp, close, open_, high, low = _prices((ltpc.ltp, ltpc.cp, day.open, day.high, day.low))
    return Tick(
        key,
        mode,
        PRICE_SCALE,
        1,
        ltp or None,
        _time(ltpc.ltt),
        ts_event_ms,
        open_ or None,
        high or None,
        low or None,
        close or None,
    )


def _market(key: str, market: Any, mode: FeedMode, ts_event_ms: int | None) -> Tick:
    ltpc = market.ltpc
    day = _day(market.ohlc.candles)
    has_book = market.HasField("book")
    # A list of them: each look at one of the message's own makes a new object.
    levels = list(market.book.levels) if has_book else []
    if len(levels) > MAX_LEVELS:
        raise BrokerProtocolError(f"upstox: {len(levels)} levels in one book")
    if mode is _QUOTE:
        del levels[1:]
    bid_sizes = [level.bid_quantity for level in levels]
    ask_sizes = [level.ask_quantity for level in levels]
    volume, last_quantity = market.vtt, ltpc.ltq
    # One pass for all prices of the message: a call for each costs as much as the rest of it.
    prices = [ltpc.ltp, ltpc.cp, market.atp]
    prices += (day.open, day.high, day.low) if day is not None else (0.0, 0.0, 0.0)
    prices += [level.bid_price for level in levels]
    prices += [level.ask_price for level in levels]
    ltp, close, average, open_, high, low, *book = _prices(prices)
    if min(volume, last_quantity, *bid_sizes, *ask_sizes) < 0:
        raise _negative(min(volume, last_quantity, *bid_sizes, *ask_sizes))
    middle = len(levels)
    bids, asks = _levels(book[:middle], bid_sizes), _levels(book[middle:], ask_sizes)
    bid_price, bid_size, _ = bids[0] if bids else _NO_LEVEL
    ask_price, ask_size, _ = asks[0] if asks else _NO_LEVEL
    holds_book = has_book and mode is _DEPTH
    if mode is _DEPTH and not has_book:
        mode = _QUOTE
    if day is None and not holds_book:
        mode = _LTP
    return Tick(
        key,
        mode,
        PRICE_SCALE,
        1,
        ltp or None,
        _time(ltpc.ltt),
        ts_event_ms,
        open_ or None,
        high or None,
        low or None,
        close or None,
        volume,
        last_quantity,
        average or None,
        _total(market.oi),
        bid_price,
        ask_price,
        bid_size,
        ask_size,
        _total(market.tbq),
        _total(market.tsq),
        bids if holds_book else None,
        asks if holds_book else None,
    )


def _day(candles: Any) -> Any:
    """Return the candle of the day, or None where there is none."""
    if len(candles) > MAX_CANDLES:
        raise BrokerProtocolError(f"upstox: {len(candles)} candles of one instrument")
    for candle in candles:
        if candle.interval == DAY_INTERVAL:
            return candle
    return None


def _levels(prices: Sequence[int], quantities: Sequence[int]) -> tuple[DepthLevel, ...]:
    """Return the levels of one side. Missing ones come as zeros; those are left out."""
    levels = tuple(map(_level, zip(prices, quantities, _NO_ORDERS, strict=False)))
    if 0 in prices:
        return tuple(level for level in levels if level.price)
    return levels


def _prices(values: Iterable[float]) -> list[int]:
    try:
        scaled = [round(value * _SCALE) for value in values]
    except (ValueError, OverflowError) as error:
        raise BrokerProtocolError("upstox: a price is no finite number") from error
    if max(scaled) > _LARGEST or min(scaled) < -_LARGEST:
        raise BrokerProtocolError("upstox: a price is larger than any")
    return scaled


def _total(value: float) -> int:
    if not 0 <= value < 2**63:  # NaN is neither
        raise BrokerProtocolError("upstox: a total quantity is not a number of shares")
    return int(value)


def _time(ms: int) -> int | None:
    if not 0 <= ms <= LATEST_MS:
        raise BrokerProtocolError(f"upstox: {ms} is no time")
    return ms or None


def _statuses(entries: Any) -> dict[str, str]:
    if len(entries) > MAX_SEGMENTS:
        raise BrokerProtocolError(f"upstox: {len(entries)} segments in one frame")
    return {
        entry.segment[:_MAX_SEGMENT_CHARACTERS]: (
            MARKET_STATUSES[entry.status]
            if 0 <= entry.status < len(MARKET_STATUSES)
            else f"status {entry.status}"
        )
        for entry in entries
    }


def _negative(quantity: int) -> BrokerProtocolError:
    return BrokerProtocolError(f"upstox: a quantity of {quantity}")


# What DepthLevel._make does, without a Python frame for each of a packet's ten levels.
_level: Final[Callable[[tuple[int, int, None]], DepthLevel]] = partial(tuple.__new__, DepthLevel)
_NO_LEVEL: Final[tuple[None, None, None]] = (None, None, None)
_NO_ORDERS: Final = (None,) * MAX_LEVELS
# Enum members as plain globals: an attribute of an Enum class costs more than the rest of a line.
_LTP: Final = FeedMode.LTP
_QUOTE: Final = FeedMode.QUOTE
_DEPTH: Final = FeedMode.DEPTH
