"""Binance's market streams merged into ticks, one state per subscribed symbol.

Binance spreads what one tick holds over several streams; each frame yields one tick that carries
the frame's own values and the last known ones of the others. What has not been seen is None, and so
is a price of 0: of a symbol without a trade, or of a side without an order.

- ``@aggTrade`` gives last price, its quantity and time, and the event time.
- ``@bookTicker`` gives the best bid and ask. It carries no time on spot, and a tick made of it has
  none: an older frame's time is never passed off as its own.
- ``@ticker`` gives the rolling 24 hours: open, high, low, volume, average. ``close`` is the
  window's open, because it is the base of Binance's own change (``p`` is ``c`` less ``o``), as the
  previous close is elsewhere. Its last price counts only when no trade newer than it was seen.
- ``@depthN@100ms`` gives the book, whole. Its top is also the best bid and ask when its update
  id is newer than the last ``@bookTicker``'s; else that stream, which is faster, keeps its word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from brokers.binance.constants import (
    AGG_TRADE,
    BOOK_TICKER,
    DEPTH_LEVELS,
    SCALE,
    SCALE_DIGITS,
    TICKER,
    depth_stream,
)
from brokers.binance.messages import (
    decode_agg_trade,
    decode_book_ticker,
    decode_partial_depth,
    decode_ticker,
)
from brokers.exceptions import BrokerProtocolError
from brokers.masters.decimal_text import scaled
from brokers.types import DepthLevel, FeedMode, Tick

__all__ = ["BinanceCodec", "encode_request", "stream_names"]


def stream_names(symbol: str, mode: FeedMode, depth_levels: int) -> list[str]:
    """Return the streams that together make up ``mode`` of a (lowercase) symbol."""
    names = [f"{symbol}@{AGG_TRADE}"]
    if mode.covers(FeedMode.QUOTE):
        names += [f"{symbol}@{BOOK_TICKER}", f"{symbol}@{TICKER}"]
    if mode.covers(FeedMode.DEPTH):
        names.append(f"{symbol}@{depth_stream(depth_levels)}")
    return names


def encode_request(method: str, names: Sequence[str], request_id: int) -> str:
    """Return a ``SUBSCRIBE`` or ``UNSUBSCRIBE`` of stream names."""
    request = {"method": method, "params": names, "id": request_id}
    return msgspec.json.encode(request).decode()


class _SymbolState:
    """Facts known of one symbol, merged over its streams. Scaled integers."""

    __slots__ = (
        "ask_price",
        "ask_size",
        "asks",
        "average",
        "bid_price",
        "bid_size",
        "bids",
        "book_update_id",
        "depth_seen",
        "depth_stream",
        "high",
        "last_event_ms",
        "last_quantity",
        "low",
        "ltp",
        "ltt_ms",
        "mode",
        "open",
        "volume",
    )

    def __init__(self) -> None:
        self.mode = FeedMode.LTP
        self.depth_stream = ""
        # Whether the depth stream of now has said anything; before, another one's book stands.
        self.depth_seen = False
        # What no stream has said yet is None, and what none keeps fresh at this mode again.
        self.ltp: int | None = None
        self.ltt_ms: int | None = None
        self.last_quantity: int | None = None
        self.last_event_ms = 0
        self.open: int | None = None
        self.high: int | None = None
        self.low: int | None = None
        self.volume: int | None = None
        self.average: int | None = None
        # Of the latest best bid and ask, whichever stream brought them.
        self.book_update_id = -1
        self.bid_price: int | None = None
        self.bid_size: int | None = None
        self.ask_price: int | None = None
        self.ask_size: int | None = None
        self.bids: tuple[DepthLevel, ...] | None = None
        self.asks: tuple[DepthLevel, ...] | None = None

    def forget_above(self, mode: FeedMode) -> None:
        """Forget what only modes above ``mode`` keep fresh."""
        if not mode.covers(FeedMode.DEPTH):
            self.bids = self.asks = None
            self.depth_seen = False
        if not mode.covers(FeedMode.QUOTE):
            self.open = self.high = self.low = self.volume = self.average = None
            self.bid_price = self.bid_size = self.ask_price = self.ask_size = None
            self.book_update_id = -1

    def tick(self, symbol: str, ts_event_ms: int | None) -> Tick:
        """Return all that is known as one tick of the subscribed mode."""
        return Tick(
            broker_token=symbol,
            mode=self.mode,
            price_scale=SCALE,
            quantity_scale=SCALE,
            ltp=self.ltp,
            ltt_ms=self.ltt_ms,
            ts_event_ms=ts_event_ms,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.open,
            volume=self.volume,
            last_trade_quantity=self.last_quantity,
            avg_trade_price=self.average,
            bid_price=self.bid_price,
            ask_price=self.ask_price,
            bid_size=self.bid_size,
            ask_size=self.ask_size,
            bids=self.bids,
            asks=self.asks,
        )


class BinanceCodec:
    """Merger of the streams of the symbols that it is told to track. Not thread-safe; does no I/O.

    ``frames_ignored`` counts frames of streams that were not subscribed through ``track``.
    """

    def __init__(self) -> None:
        self.frames_ignored = 0
        # By symbol in lower case, as streams are named.
        self._states: dict[str, _SymbolState] = {}

    def track(self, symbol: str, mode: FeedMode, depth_levels: int) -> None:
        """Merge ``symbol`` (lowercase) into ticks of ``mode``; keeps what is known of it."""
        state = self._states.setdefault(symbol, _SymbolState())
        state.forget_above(mode)
        state.mode = mode
        wanted = depth_stream(depth_levels) if mode.covers(FeedMode.DEPTH) else ""
        if wanted != state.depth_stream:
            state.depth_stream = wanted
            state.depth_seen = False

    def drop(self, symbol: str) -> None:
        """Forget ``symbol``; its late frames are ignored."""
        self._states.pop(symbol, None)

    def reset(self) -> None:
        """Forget all symbols and what is known of them."""
        self._states.clear()

    def decode(self, stream: str, data: msgspec.Raw) -> Tick | None:
        """Merge one payload and return its tick; None for a stream that is not tracked.

        Raises:
            BrokerProtocolError: the payload is malformed; nothing of it was merged.
        """
        symbol, _, kind = stream.partition("@")
        state = self._states.get(symbol)
        if state is not None:
            if kind == AGG_TRADE:
                return self._agg_trade(symbol, state, data)
            if state.mode.covers(FeedMode.QUOTE):
                if kind == BOOK_TICKER:
                    return self._book_ticker(symbol, state, data)
                if kind == TICKER:
                    return self._ticker(symbol, state, data)
            if self._is_depth(state, kind):
                return self._partial_depth(symbol, state, kind, data)
        self.frames_ignored += 1
        return None

    @staticmethod
    def _is_depth(state: _SymbolState, kind: str) -> bool:
        # While the number of levels changes, the old stream is good until the new one has spoken.
        if not state.depth_stream or (state.depth_seen and kind != state.depth_stream):
            return False
        return kind in _DEPTH_STREAMS

    @staticmethod
    def _agg_trade(symbol: str, state: _SymbolState, data: msgspec.Raw) -> Tick:
        trade = decode_agg_trade(data)
        _check_symbol(trade.symbol, symbol)
        price, quantity = _scaled(trade.price) or None, _scaled(trade.quantity)
        state.ltp, state.last_quantity, state.ltt_ms = price, quantity, trade.trade_ms
        state.last_event_ms = trade.event_ms
        return state.tick(symbol, trade.event_ms)

    @staticmethod
    def _book_ticker(symbol: str, state: _SymbolState, data: msgspec.Raw) -> Tick:
        book = decode_book_ticker(data)
        _check_symbol(book.symbol, symbol)
        bid = _scaled(book.bid_price), _scaled(book.bid_size)
        ask = _scaled(book.ask_price), _scaled(book.ask_size)
        state.bid_price, state.bid_size = bid if bid[0] else _NOTHING
        state.ask_price, state.ask_size = ask if ask[0] else _NOTHING
        state.book_update_id = book.update_id
        return state.tick(symbol, book.event_ms)

    @staticmethod
    def _ticker(symbol: str, state: _SymbolState, data: msgspec.Raw) -> Tick:
        day = decode_ticker(data)
        _check_symbol(day.symbol, symbol)
        open_, high, low = _scaled(day.open), _scaled(day.high), _scaled(day.low)
        volume, average = _scaled(day.volume), _scaled(day.average)
        price, quantity = _scaled(day.last_price), _scaled(day.last_quantity)
        state.open, state.high, state.low = open_ or None, high or None, low or None
        state.volume, state.average = volume, average or None
        if price and day.event_ms >= state.last_event_ms and price != state.ltp:
            # A trade that we did not see: the window's end is not its time, so that is unknown.
            state.ltp, state.last_quantity, state.ltt_ms = price, quantity, None
            state.last_event_ms = day.event_ms
        return state.tick(symbol, day.event_ms)

    @staticmethod
    def _partial_depth(symbol: str, state: _SymbolState, kind: str, data: msgspec.Raw) -> Tick:
        depth = decode_partial_depth(data)
        bids, asks = _levels(depth.bids), _levels(depth.asks)
        state.bids, state.asks = bids, asks
        state.depth_seen = kind == state.depth_stream
        if depth.update_id > state.book_update_id:
            state.book_update_id = depth.update_id
            state.bid_price, state.bid_size, _ = bids[0] if bids else _NO_LEVEL
            state.ask_price, state.ask_size, _ = asks[0] if asks else _NO_LEVEL
        return state.tick(symbol, None)


_NO_LEVEL: Final[tuple[None, None, None]] = (None, None, None)
_NOTHING: Final[tuple[None, None]] = (None, None)
_DEPTH_STREAMS: Final = frozenset(depth_stream(levels) for levels in DEPTH_LEVELS)


def _check_symbol(named: str, symbol: str) -> None:
    if named.lower() != symbol:
        raise BrokerProtocolError(f"binance: stream of {symbol[:40]!r} speaks of {named[:40]!r}")


def _scaled(text: str) -> int:
    return scaled(text, SCALE_DIGITS)


def _levels(pairs: Sequence[tuple[str, str]]) -> tuple[DepthLevel, ...]:
    levels = (DepthLevel(_scaled(price), _scaled(quantity)) for price, quantity in pairs)
    return tuple(level for level in levels if level.price and level.quantity)
