"""The complete ``market_data`` JSON object of a tick, built once for all subscribers. Pure.

Field names are those of the client protocol, section 3, with the aliases that older clients read.
A field that the broker did not send is left out; nothing is null. The object is ASCII and compact.

The order of keys is part of this module's contract with itself: everything a lower mode has comes
before what only a higher mode has, so ``derive`` makes a lower mode's object by cutting instead of
parsing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
from msgspec.structs import astuple

from brokers.types import DepthLevel, FeedMode, InstrumentKey, Tick

__all__ = ["InstrumentFrames", "derive", "encode_tick"]

_Number = int | float | None


class _LtpFields(msgspec.Struct, omit_defaults=True, gc=False):
    ltp: float | None = None
    timestamp: int | None = None
    ltt: int | None = None


class _QuoteFields(_LtpFields, omit_defaults=True, gc=False):
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    volume: _Number = None
    last_trade_quantity: _Number = None
    last_quantity: _Number = None
    ltq: _Number = None
    avg_trade_price: float | None = None
    average_price: float | None = None
    change: float | None = None
    change_percent: float | None = None
    oi: _Number = None
    bid_price: float | None = None
    ask_price: float | None = None
    bid_size: _Number = None
    ask_size: _Number = None
    total_buy_quantity: _Number = None
    total_sell_quantity: _Number = None


class _Level(msgspec.Struct, omit_defaults=True, gc=False):
    price: float
    quantity: int | float
    orders: int | None = None


_encode = msgspec.json.Encoder().encode
_LTP = int(FeedMode.LTP)
_DEPTH = int(FeedMode.DEPTH)
_MODE_KEY = b',"mode":'
_DATA_KEY = b',"data":{'
_NO_FIELDS = b"{}"


class InstrumentFrames:
    """Encodes the ticks of one instrument; what never changes is built once, here.

    Not bound to a thread: ``encode`` changes nothing.
    """

    __slots__ = ("_prefixes",)

    def __init__(self, *, broker: str, key: InstrumentKey) -> None:
        exchange, symbol = json.dumps(key.exchange), json.dumps(key.symbol)
        self._prefixes = tuple(
            (
                f'{{"type":"market_data","symbol":{symbol},"exchange":{exchange},"mode":{mode},'
                f'"broker":{json.dumps(broker)},'
                f'"data":{{"symbol":{symbol},"exchange":{exchange},'
            ).encode("ascii")
            for mode in (0, *FeedMode)
        )

    def encode(self, tick: Tick) -> bytes:
        """Return the object of ``tick`` at ``tick.mode``, with that mode's fields only.

        Prices are the 64-bit floats nearest to the exact value, printed shortest; quantities are
        integers where the broker counts in whole units. ``change`` and ``change_percent`` (4
        decimals) need last price and a previous close other than 0.
        """
        mode = tick.mode
        if mode == _LTP:
            price = None if tick.ltp is None else tick.ltp / tick.price_scale
            fields = _encode(_LtpFields(price, tick.ts_event_ms, tick.ltt_ms))
        else:
            fields = _encode(_quote_fields(tick))
        # The prefix has opened "data": its own opening brace goes, its closing one stays.
        prefix = self._prefixes[mode]
        data = prefix + fields[1:] if fields != _NO_FIELDS else prefix[:-1] + b"}"
        if mode == _DEPTH:
            data = data[:-1] + _depth_members(tick) + b"}"
        return data + b"}"


def encode_tick(broker: str, key: InstrumentKey, tick: Tick) -> bytes:
    """Return the ``market_data`` object of one tick; for many, keep an ``InstrumentFrames``."""
    return InstrumentFrames(broker=broker, key=key).encode(tick)


def derive(body: bytes, mode: int) -> bytes | None:
    """Return the object of a lower ``mode`` made from ``body``, an object of this module.

    Returns ``body`` itself when it has that mode already, and None when it cannot be: the mode is
    higher than the body's, an LTP is wanted but there is no last price, or nothing but times would
    be left.
    """
    # Quotes inside JSON strings are escaped, so these keys cannot occur inside a symbol.
    mode_at = body.find(_MODE_KEY) + len(_MODE_KEY)
    if mode_at < len(_MODE_KEY):
        return None
    own_mode = body[mode_at] - 48
    if own_mode <= mode:
        return body if own_mode == mode else None
    start = body.find(_DATA_KEY, mode_at)
    if mode == _LTP:
        end = _end_of_ltp_fields(body, start)
    else:
        end = body.find(b',"depth":', start)
        if end < 0:
            end = len(body) - 2
        if not _has_quote_fields(body, start, end):
            return None
    if start < 0 or end < 0:
        return None
    return b"%b%d%b}}" % (body[:mode_at], mode, body[mode_at + 1 : end])


def _quote_fields(tick: Tick) -> _QuoteFields:  # noqa: C901 - a branch per optional field
    # One C call instead of twenty attribute look-ups; the order is that of brokers.types.Tick.
    # fmt: off
    (
        _token, _mode, scale, q_scale, ltp, ltt_ms, ts_event_ms, open_, high, low, close, volume,
        ltq, average, oi, bid, ask, bid_size, ask_size, total_buy, total_sell, _bids, _asks,
    ) = astuple(tick)
    # fmt: on
    change = percent = None
    if ltp is not None:
        if close:
            difference = ltp - close
            change = difference / scale
            # Half up at the fourth decimal, in integers: exact, and faster than round().
            percent = ((difference * 2_000_000 + close) // (2 * close)) / 10_000
        ltp /= scale
    if open_ is not None:
        open_ /= scale
    if high is not None:
        high /= scale
    if low is not None:
        low /= scale
    if close is not None:
        close /= scale
    if average is not None:
        average /= scale
    if bid is not None:
        bid /= scale
    if ask is not None:
        ask /= scale
    if q_scale != 1:
        volume, ltq, oi, bid_size, ask_size, total_buy, total_sell = (
            None if number is None else number / q_scale
            for number in (volume, ltq, oi, bid_size, ask_size, total_buy, total_sell)
        )
    # fmt: off
    return _QuoteFields(
        ltp, ts_event_ms, ltt_ms, open_, high, low, close, volume, ltq, ltq, ltq, average,
        average, change, percent, oi, bid, ask, bid_size, ask_size, total_buy, total_sell,
    )
    # fmt: on


def _end_of_ltp_fields(body: bytes, start: int) -> int:
    """Return where the LTP fields end, or -1 without a last price."""
    last = body.find(b',"ltp":', start)
    if last < 0:
        return -1
    for name in (b',"timestamp":', b',"ltt":'):
        at = body.find(name, last)
        last = at if at >= 0 else last
    end = body.find(b",", last + 1)
    return end if end >= 0 else body.find(b"}", last)


def _has_quote_fields(body: bytes, start: int, end: int) -> bool:
    """Tell whether something other than names and times stands between ``start`` and ``end``."""
    if body.find(b',"ltp":', start, end) >= 0:
        return True
    members = body[body.find(b',"exchange":', start) + 1 : end].split(b',"')[1:]
    return any(not member.startswith((b"timestamp", b"ltt")) for member in members)


def _depth_members(tick: Tick) -> bytes:
    """Return the order book; each side is encoded once and stands under both of its names."""
    scale, q_scale = tick.price_scale, tick.quantity_scale
    buy = None if tick.bids is None else _levels(tick.bids, scale, q_scale)
    sell = None if tick.asks is None else _levels(tick.asks, scale, q_scale)
    if buy is None:
        return b"" if sell is None else b',"depth":{"sell":%b},"asks":%b' % (sell, sell)
    if sell is None:
        return b',"depth":{"buy":%b},"bids":%b' % (buy, buy)
    return b',"depth":{"buy":%b,"sell":%b},"bids":%b,"asks":%b' % (buy, sell, buy, sell)


def _levels(levels: Sequence[DepthLevel], scale: int, q_scale: int) -> bytes:
    if q_scale == 1:
        return _encode([_Level(price / scale, size, orders) for price, size, orders in levels])
    return _encode(
        [_Level(price / scale, size / q_scale, orders) for price, size, orders in levels]
    )
