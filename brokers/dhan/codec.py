"""The live market feed: frames to values, and requests to text. Pure.

Source: dhanhq.co/docs/v2 (live-market-feed); checked against dhanhq 2.3.0. A frame is one packet or
several, little endian; a packet tells its code and its length, and prices are float32 rupees (see
``values``). The previous close and the open interest come in packets of their own, so a decoder
remembers them for the instruments that it watches and puts them into their quotes.

A price of 0 is "none" and becomes None; a quantity of 0 stays 0. A trade's time is "none" where it
is 0, or after the moment in which it arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from typing import Any, Final, TypeAlias

import msgspec

from brokers.dhan.constants import (
    CODE_DISCONNECT,
    CODE_FULL,
    CODE_MARKET_DEPTH,
    CODE_OPEN_INTEREST,
    CODE_PREVIOUS_CLOSE,
    CODE_QUOTE,
    CODE_TICKER,
    DEPTH_LEVELS,
)
from brokers.dhan.values import Disconnection, named, to_levels, to_one_price, to_prices
from brokers.exceptions import BrokerProtocolError
from brokers.masters.absent import known_prices
from brokers.types import FeedMode, Tick

__all__ = ["Decoded", "FeedDecoder", "encode_request", "encode_single_request"]

Decoded: TypeAlias = Tick | Disconnection

HEADER_BYTES: Final = 8
# Clocks differ; a trade that seems to be later than this much after its arrival has another epoch.
CLOCK_SECONDS: Final = 60

_HEADER: Final = Struct("<BH")
_TICKER: Final = Struct("<3x5sfI")
_NUMBER: Final = Struct("<3x5sI")
_CLOSE: Final = Struct("<3x5sf4x")
# last price, quantity and time, average, volume, totals of sellers and of buyers, day's prices
_QUOTE: Final = Struct("<3x5sfHIfIII4f")
_FULL: Final = Struct("<3x5sfHIfIIII8x4f" + "IIHHff" * DEPTH_LEVELS)
_MARKET_DEPTH: Final = Struct("<3x5sf" + "IIHHff" * DEPTH_LEVELS)
_DISCONNECT: Final = Struct("<8xH")


class _Known:
    """Facts of one instrument that came in packets of their own, and its last quote."""

    __slots__ = ("close", "latest", "oi")

    def __init__(self) -> None:
        self.close: int | None = None
        self.oi: int | None = None
        self.latest: Tick | None = None


class FeedDecoder:
    """Decoder of one socket's frames. Not thread-safe.

    Args:
        trade_time_offset_seconds: what the wire's times of trades are ahead of Unix time. Dhan
            documents none; others found them to be Indian time counted as if it were UTC.
        takes_close_from_quotes: whether the close of a quote is the previous one. Dhan documents it
            as the day's own, sent after the market has closed only.
    """

    def __init__(
        self, *, trade_time_offset_seconds: int = 19_800, takes_close_from_quotes: bool = False
    ) -> None:
        if not -86_400 <= trade_time_offset_seconds <= 86_400:
            raise ValueError("trade_time_offset_seconds must be within a day")
        self._offset = trade_time_offset_seconds
        self._takes_close = takes_close_from_quotes
        # By token, of what is watched.
        self._known: dict[str, _Known] = {}
        # The latest time that a trade of the frame being read may have, in Unix seconds.
        self._latest_s = 0
        self._decoders: dict[int, tuple[int, Callable[[bytes, int, list[Decoded]], None]]] = {
            CODE_TICKER: (_TICKER.size, self._ticker),
            CODE_MARKET_DEPTH: (_MARKET_DEPTH.size, self._market_depth),
            CODE_QUOTE: (_QUOTE.size, self._quote),
            CODE_OPEN_INTEREST: (_NUMBER.size, self._open_interest),
            CODE_PREVIOUS_CLOSE: (_CLOSE.size, self._previous_close),
            CODE_FULL: (_FULL.size, self._full),
            CODE_DISCONNECT: (_DISCONNECT.size, self._disconnect),
        }

    def watch(self, tokens: Iterable[str]) -> None:
        """Remember closes and open interest of these from now on; those known stay known."""
        for token in tokens:
            self._known.setdefault(token, _Known())

    def forget(self, tokens: Iterable[str]) -> None:
        """End ``watch``; unknown ones are ignored."""
        for token in tokens:
            self._known.pop(token, None)

    def clear(self) -> None:
        """Start over for another socket."""
        self._known.clear()

    def decode(self, frame: bytes, now_s: int) -> list[Decoded]:
        """Return a frame's ticks, and what ends the connection, in the order of the packets.

        ``broker_token`` of a tick is ``"<segment>:<security id>"``. A close or an open interest
        that is news gives the last quote once more.

        Args:
            frame: one WebSocket message.
            now_s: when it arrived, in Unix seconds.

        Raises:
            BrokerProtocolError: a length that does not fit its code or the frame, an unknown
                segment, or a price that is no number. What the packets before it told is kept.
        """
        self._latest_s = now_s + CLOCK_SECONDS
        found: list[Decoded] = []
        at, size = 0, len(frame)
        while at < size:
            if size - at < HEADER_BYTES:
                raise BrokerProtocolError(f"dhan: {size - at} bytes are no packet")
            code, length = _HEADER.unpack_from(frame, at)
            wanted, decoder = self._decoders.get(code, _PASSED_OVER)
            if decoder is None:
                wanted = max(length, HEADER_BYTES)
            if length != wanted or at + length > size:
                raise BrokerProtocolError(
                    f"dhan: a packet of code {code} says {length} bytes, {size - at} are left"
                )
            if decoder is not None:
                decoder(frame, at, found)
            at += length
        if not size:
            raise BrokerProtocolError("dhan: an empty frame")
        return found

    def _ticker(self, frame: bytes, at: int, found: list[Decoded]) -> None:
        field, ltp, traded = _TICKER.unpack_from(frame, at)
        token, scale = named(field)
        price = to_one_price(ltp, scale) or None
        found.append(Tick(token, _LTP_MODE, scale, 1, price, self._trade_ms(traded)))

    def _quote(self, frame: bytes, at: int, found: list[Decoded]) -> None:
        (field, ltp, quantity, traded, average, volume, sell, buy, open_, close, high, low) = (
            _QUOTE.unpack_from(frame, at)
        )
        token, scale = named(field)
        average, ltp, open_, close, high, low = to_prices(
            (average, ltp, open_, close, high, low), scale, averages=1
        )
        if not (ltp and average and open_ and high and low):
            ltp, average, open_, high, low = known_prices(ltp, average, open_, high, low)
        known = self._known.get(token)
        if not (self._takes_close and close):
            close = known.close if known is not None else None
        # By position, in the order of Tick's fields: names cost a third more on the tick path.
        tick = Tick(
            token,
            _QUOTE_MODE,
            scale,
            1,
            ltp,
            self._trade_ms(traded),
            None,
            open_,
            high,
            low,
            close,
            volume,
            quantity,
            average,
            known.oi if known is not None else None,
            None,
            None,
            None,
            None,
            buy,
            sell,
        )
        if known is not None:
            known.latest = tick
        found.append(tick)

    def _full(self, frame: bytes, at: int, found: list[Decoded]) -> None:
        values = _FULL.unpack_from(frame, at)
        field, ltp, quantity, traded, average, volume, sell, buy, oi = values[:9]
        token, scale = named(field)
        prices = to_prices(
            (average, ltp, *values[9:13], *values[17::6], *values[18::6]), scale, averages=1
        )
        day: list[Any] = prices[:6]
        average, price, open_, close, high, low = day
        if not (price and average and open_ and high and low):
            price, average, open_, high, low = known_prices(price, average, open_, high, low)
        bids = to_levels(prices[6:11], values[13::6], values[15::6])
        asks = to_levels(prices[11:], values[14::6], values[16::6])
        bid_price, bid_size, _ = bids[0] if bids else _NO_LEVEL
        ask_price, ask_size, _ = asks[0] if asks else _NO_LEVEL
        known = self._known.get(token)
        if not (self._takes_close and close):
            close = known.close if known is not None else None
        tick = Tick(
            token,
            _DEPTH_MODE,
            scale,
            1,
            price,
            self._trade_ms(traded),
            None,
            open_,
            high,
            low,
            close,
            volume,
            quantity,
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
        if known is not None:
            known.latest = tick
            known.oi = oi
        found.append(tick)

    def _market_depth(self, frame: bytes, at: int, found: list[Decoded]) -> None:
        """The book packet of version 1: last price, five levels, and nothing else."""
        field, ltp, *values = _MARKET_DEPTH.unpack_from(frame, at)
        token, scale = named(field)
        prices = to_prices((ltp, *values[4::6], *values[5::6]), scale)
        bids = to_levels(prices[1:6], values[::6], values[2::6])
        asks = to_levels(prices[6:], values[1::6], values[3::6])
        found.append(
            Tick(
                token,
                _DEPTH_MODE,
                scale,
                ltp=prices[0] or None,
                bid_price=bids[0].price if bids else None,
                bid_size=bids[0].quantity if bids else None,
                ask_price=asks[0].price if asks else None,
                ask_size=asks[0].quantity if asks else None,
                bids=bids,
                asks=asks,
            )
        )

    def _previous_close(self, frame: bytes, at: int, found: list[Decoded]) -> None:
        field, value = _CLOSE.unpack_from(frame, at)
        token, scale = named(field)
        close = to_one_price(value, scale) or None
        known = self._known.get(token)
        if known is not None and known.close != close:
            known.close = close
            self._repeat(known, found, close=close)

    def _open_interest(self, frame: bytes, at: int, found: list[Decoded]) -> None:
        field, oi = _NUMBER.unpack_from(frame, at)
        token, _ = named(field)
        known = self._known.get(token)
        if known is not None and known.oi != oi:
            known.oi = oi
            self._repeat(known, found, oi=oi)

    def _disconnect(self, frame: bytes, at: int, found: list[Decoded]) -> None:
        (reason,) = _DISCONNECT.unpack_from(frame, at)
        found.append(Disconnection(reason))

    @staticmethod
    def _repeat(known: _Known, found: list[Decoded], **news: int | None) -> None:
        if known.latest is not None:
            known.latest = msgspec.structs.replace(known.latest, **news)
            found.append(known.latest)

    def _trade_ms(self, traded: int) -> int | None:
        seconds = traded - self._offset
        return seconds * 1000 if traded and 0 < seconds <= self._latest_s else None


def encode_request(code: int, tokens: Sequence[str]) -> str:
    """Return a request about ``"<segment>:<security id>"``s, of which the broker takes 100."""
    request: dict[str, Any] = {
        "RequestCode": code,
        "InstrumentCount": len(tokens),
        "InstrumentList": [_named(token) for token in tokens],
    }
    return msgspec.json.encode(request).decode("ascii")


def encode_single_request(code: int, token: str) -> str:
    """Return a request in the form that the 200 levels want it."""
    return msgspec.json.encode({"RequestCode": code, **_named(token)}).decode("ascii")


def _named(token: str) -> dict[str, str]:
    segment, _, security_id = token.partition(":")
    return {"ExchangeSegment": segment, "SecurityId": security_id}


_PASSED_OVER: Final[tuple[int, None]] = (0, None)
_NO_LEVEL: Final[tuple[None, None, None]] = (None, None, None)
# Enum members as plain globals: an attribute of an Enum class costs more than the rest of a line.
_LTP_MODE: Final = FeedMode.LTP
_QUOTE_MODE: Final = FeedMode.QUOTE
_DEPTH_MODE: Final = FeedMode.DEPTH
