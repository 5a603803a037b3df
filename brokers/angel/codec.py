"""SmartAPI streaming frames: bytes and text to values, and requests to text. Pure.

Source: smartapi.angelone.in/docs (WebSocket Streaming 2.0); checked against smartapi-python 1.5.5.
One frame is one tick, little endian, and its first byte is its mode. Prices are integers: paise,
and in the currency segment rupees times 10^7.

A price or a time of 0 is "there is none" and becomes None; a quantity of 0 stays 0.
The total quantities come as doubles; they are whole numbers, and a fraction is cut off. The change
of the open interest (offset 139) is documented as garbage and not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from math import isfinite
from struct import Struct
from typing import Any, Final, NamedTuple

import msgspec

from brokers.angel.constants import (
    DEPTH_LEVELS,
    FRAME_DEPTH_20,
    FRAME_LTP,
    FRAME_QUOTE,
    FRAME_SNAP_QUOTE,
    MODE_DEPTH_20,
    MODE_LTP,
    MODE_QUOTE,
    MODE_SNAP_QUOTE,
    PONG,
    PRICE_SCALE_CURRENCY,
    PRICE_SCALE_DEFAULT,
    SEGMENT_CURRENCY,
    SEGMENTS,
)
from brokers.exceptions import BrokerProtocolError
from brokers.masters.absent import known_prices
from brokers.types import DepthLevel, FeedMode, Tick

__all__ = [
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "Refusal",
    "decode_frame",
    "decode_text",
    "encode_request",
]

SUBSCRIBE: Final = 1
UNSUBSCRIBE: Final = 0
MAX_CACHED_NAMES: Final = 16_384
# The unit of the last trade's time is not documented. Seconds of any near year are below this,
# and milliseconds since 1973 above it.
LEAST_MILLISECONDS: Final = 100_000_000_000
LATEST_MS: Final = 253_402_300_799_000  # the end of the year 9999

# mode, then segment and token together, sequence number, exchange time, last price
_LTP: Final = Struct("<B26s8x2q")
_QUOTE: Final = Struct("<B26s8x2q3q2d4q")
_SNAP: Final = Struct("<B26s8x2q3q2d4q2q8x" + "HqqH" * (2 * DEPTH_LEVELS) + "32x")
_DEPTH_20: Final = Struct("<B26sq8x" + "iih" * 40)
_BUYS_FIRST: Final = (1,) * DEPTH_LEVELS + (0,) * DEPTH_LEVELS


class Refusal(NamedTuple):
    """An error that Angel sent as text. ``correlation_id`` is that of the request, or ""."""

    correlation_id: str
    code: str
    text: str


class _ErrorMessage(msgspec.Struct):
    error_code: str = msgspec.field(name="errorCode")
    error_message: str | None = msgspec.field(name="errorMessage", default=None)
    correlation_id: str | None = msgspec.field(name="correlationID", default=None)


_ERROR: Final = msgspec.json.Decoder(_ErrorMessage)


def decode_frame(frame: bytes) -> Tick:
    """Decode a binary frame. ``broker_token`` of the tick is ``"<exchangeType>:<token>"``.

    Raises:
        BrokerProtocolError: unknown mode or segment, wrong length, a token that is no number, a
            negative quantity or time, or a total that is no finite number.
    """
    decoder = _DECODERS.get((frame[0] if frame else 0, len(frame)))
    if decoder is None:
        mode = frame[0] if frame else None
        raise BrokerProtocolError(f"angel: frame of {len(frame)} bytes in mode {mode}")
    return decoder(frame)


def decode_text(frame: str) -> Refusal | None:
    """Decode a text frame; None is the answer to our ping.

    Raises:
        BrokerProtocolError: neither ``pong`` nor an error object.
    """
    if frame == PONG:
        return None
    try:
        message = _ERROR.decode(frame)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BrokerProtocolError(f"angel: text frame: {error}") from error
    return Refusal(
        message.correlation_id or "", message.error_code[:20], (message.error_message or "")[:200]
    )


def encode_request(
    action: int, mode: int, tokens: Mapping[int, Iterable[str]], correlation_id: str
) -> str:
    """Return a request for tokens by segment; ``action`` is ``SUBSCRIBE`` or ``UNSUBSCRIBE``."""
    token_list = [
        {"exchangeType": segment, "tokens": list(names)} for segment, names in tokens.items()
    ]
    request: dict[str, Any] = {
        "correlationID": correlation_id,
        "action": action,
        "params": {"mode": mode, "tokenList": token_list},
    }
    return msgspec.json.encode(request).decode("ascii")


# Bounded, so that a server that makes up tokens cannot fill the memory.
@lru_cache(maxsize=MAX_CACHED_NAMES)
def _named(field: bytes) -> tuple[str, int]:
    """Return the tick's token and the price scale of a frame's segment and token."""
    segment = field[0]
    token = field[1:].partition(b"\0")[0]
    # isdigit() of bytes is about ASCII only.
    if segment not in SEGMENTS or not token.isdigit():
        raise BrokerProtocolError(f"angel: no instrument {token[:25]!r} in segment {segment}")
    scale = PRICE_SCALE_CURRENCY if segment == SEGMENT_CURRENCY else PRICE_SCALE_DEFAULT
    return f"{segment}:{token.decode('ascii')}", scale


def _ltp(frame: bytes) -> Tick:
    _, field, ts_event_ms, ltp = _LTP.unpack(frame)
    token, scale = _named(field)
    if not 0 <= ts_event_ms <= LATEST_MS:
        raise _bad_time(ts_event_ms)
    return Tick(token, _LTP_MODE, scale, 1, ltp or None, None, ts_event_ms or None)


def _quote(frame: bytes) -> Tick:
    # fmt: off
    (
        _, field, ts_event_ms, ltp, last_quantity, average, volume, buy, sell,
        open_, high, low, close,
    ) = _QUOTE.unpack(frame)
    # fmt: on
    token, scale = _named(field)
    if not 0 <= ts_event_ms <= LATEST_MS:
        raise _bad_time(ts_event_ms)
    if last_quantity < 0 or volume < 0:
        raise BrokerProtocolError("angel: a quantity is negative")
    if not (ltp and average and open_ and high and low and close):
        ltp, average, open_, high, low, close = known_prices(ltp, average, open_, high, low, close)
    # By position, in the order of Tick's fields: names cost a third more on the tick path.
    return Tick(
        token,
        _QUOTE_MODE,
        scale,
        1,
        ltp,
        None,
        ts_event_ms or None,
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
        _total(buy),
        _total(sell),
    )


def _snap_quote(frame: bytes) -> Tick:
    values = _SNAP.unpack(frame)
    _, field, ts_event_ms, ltp, last_quantity, average, volume, buy, sell = values[:9]
    open_, high, low, close, traded, oi = values[9:15]
    if not (ltp and average and open_ and high and low and close):
        ltp, average, open_, high, low, close = known_prices(ltp, average, open_, high, low, close)
    token, scale = _named(field)
    if not 0 <= ts_event_ms <= LATEST_MS:
        raise _bad_time(ts_event_ms)
    if last_quantity < 0 or volume < 0 or oi < 0:
        raise BrokerProtocolError("angel: a quantity is negative")
    bids, asks = _book(values[15:])
    bid_price, bid_size, _ = bids[0] if bids else _NO_LEVEL
    ask_price, ask_size, _ = asks[0] if asks else _NO_LEVEL
    return Tick(
        token,
        _DEPTH_MODE,
        scale,
        1,
        ltp,
        _last_trade_ms(traded),
        ts_event_ms or None,
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
        _total(buy),
        _total(sell),
        bids,
        asks,
    )


def _depth_20(frame: bytes) -> Tick:
    """Twenty levels and nothing else; entries are quantity, price, orders."""
    _, field, ts_event_ms, *values = _DEPTH_20.unpack(frame)
    token, scale = _named(field)
    if not 0 <= ts_event_ms <= LATEST_MS:
        raise _bad_time(ts_event_ms)
    bids = _levels(values[1:60:3], values[:60:3], values[2:60:3])
    asks = _levels(values[61::3], values[60::3], values[62::3])
    return Tick(
        token,
        _DEPTH_MODE,
        scale,
        ts_event_ms=ts_event_ms or None,
        bid_price=bids[0].price if bids else None,
        bid_size=bids[0].quantity if bids else None,
        ask_price=asks[0].price if asks else None,
        ask_size=asks[0].quantity if asks else None,
        bids=bids,
        asks=asks,
    )


def _book(values: tuple[int, ...]) -> tuple[tuple[DepthLevel, ...], tuple[DepthLevel, ...]]:
    """Return the bids and asks of ten entries of flag, quantity, price, orders.

    The flag says which side an entry is of (1: buy); the documents put the five buys first.
    """
    flags, quantities, prices, orders = values[::4], values[1::4], values[2::4], values[3::4]
    if flags == _BUYS_FIRST:
        return (
            _levels(prices[:5], quantities[:5], orders[:5]),
            _levels(prices[5:], quantities[5:], orders[5:]),
        )
    if not set(flags) <= {0, 1}:
        raise BrokerProtocolError("angel: a level of the book is neither a buy nor a sell")
    sides = []
    for side in (1, 0):
        rows = [at for at, flag in enumerate(flags) if flag == side]
        sides.append(
            _levels(
                [prices[at] for at in rows],
                [quantities[at] for at in rows],
                [orders[at] for at in rows],
            )
        )
    return sides[0], sides[1]


def _levels(
    prices: Sequence[int], quantities: Sequence[int], orders: Sequence[int]
) -> tuple[DepthLevel, ...]:
    """Return the levels of one side; those without a price are left out."""
    levels = tuple(map(_level, zip(prices, quantities, orders, strict=True)))
    if levels and (min(quantities) < 0 or min(orders) < 0):
        raise BrokerProtocolError("angel: a quantity of the book is negative")
    if 0 in prices:
        return tuple(level for level in levels if level.price)
    return levels


def _total(value: float) -> int:
    if not (isfinite(value) and 0 <= value < 2**63):
        raise BrokerProtocolError("angel: a total quantity is not a number of shares")
    return int(value)


def _last_trade_ms(traded: int) -> int | None:
    ms = traded if traded >= LEAST_MILLISECONDS else traded * 1000
    if not 0 <= ms <= LATEST_MS:
        raise _bad_time(traded)
    return ms or None


def _bad_time(value: int) -> BrokerProtocolError:
    return BrokerProtocolError(f"angel: {value} is no time")


# What DepthLevel._make does, without a Python frame for each of a packet's ten levels.
_level: Final[Callable[[tuple[int, ...]], DepthLevel]] = partial(tuple.__new__, DepthLevel)
_NO_LEVEL: Final[tuple[None, None, None]] = (None, None, None)
# Enum members as plain globals: an attribute of an Enum class costs more than the rest of a line.
_LTP_MODE: Final = FeedMode.LTP
_QUOTE_MODE: Final = FeedMode.QUOTE
_DEPTH_MODE: Final = FeedMode.DEPTH

_DECODERS: Final[dict[tuple[int, int], Callable[[bytes], Tick]]] = {
    (MODE_LTP, FRAME_LTP): _ltp,
    (MODE_QUOTE, FRAME_QUOTE): _quote,
    (MODE_SNAP_QUOTE, FRAME_SNAP_QUOTE): _snap_quote,
    (MODE_DEPTH_20, FRAME_DEPTH_20): _depth_20,
}
