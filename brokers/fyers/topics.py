"""Facts known of one Fyers instrument, and the tick that this makes. Pure.

An instrument has up to two topics, its feed and its book (``dp``); a depth tick holds both. A book
says no time of its own, and the feed's is not passed off as the book's.

A price of 0 is none, like one that is not known. A running total that is negative has left its 32
bits and is not known; any other negative quantity breaks the frame. The circuits are not read: the
official client drops them, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from brokers.exceptions import BrokerProtocolError
from brokers.fyers.constants import (
    BOOK_FIELDS,
    BOOK_TOPIC,
    DEPTH_LEVELS,
    FEED_FIELDS,
    INDEX_FIELDS,
    INDEX_TOPIC,
    NO_VALUE,
)
from brokers.masters.absent import known_prices
from brokers.types import DepthLevel, FeedMode, Tick

__all__ = ["TopicState", "TrackedInstrument", "Values", "book_topic", "make_tick"]

Values = tuple[int, ...]
Levels = tuple[DepthLevel, ...]


def book_topic(feed_topic: str) -> str | None:
    """Return the topic of an instrument's book; an index has none."""
    kind, _, rest = feed_topic.partition("|")
    return None if kind == INDEX_TOPIC else f"{BOOK_TOPIC}|{rest}"


class TrackedInstrument:
    """Facts known of one instrument, and the mode in which it is wanted."""

    __slots__ = ("book", "feed", "mode", "token")

    def __init__(self, token: str) -> None:
        self.token = token
        self.mode = FeedMode.LTP
        self.feed: TopicState | None = None
        self.book: TopicState | None = None


class TopicState:
    """A topic as its last snapshot began it: whose it is, and its fields by now."""

    __slots__ = ("instrument", "is_plain", "levels", "number", "scale", "values")

    def __init__(
        self, instrument: TrackedInstrument, number: bytes, values: Values, scale: int
    ) -> None:
        self.instrument = instrument
        self.number = number
        self.scale = scale
        self.set(values)

    def set(self, values: Values) -> None:
        """Take values as they are. Raises BrokerProtocolError for a negative quantity or time."""
        self.values = values
        self.levels: tuple[Levels, Levels] | None = None
        self.is_plain = is_plain = min(values) >= 0
        if not is_plain:
            for at in _QUANTITIES[len(values)]:
                if NO_VALUE < values[at] < 0:
                    raise BrokerProtocolError(f"fyers: field {at} is negative: {values[at]}")

    def update(self, new: Values) -> None:
        """Take what has changed. Raises BrokerProtocolError as ``set`` does."""
        old = self.values
        if len(new) != len(old):
            new = (*new, *(NO_VALUE,) * len(old))[: len(old)]
        if NO_VALUE in new:
            # Both are of one length; saying so would cost as much as a tenth of the loop.
            new = tuple([o if n == NO_VALUE else n for n, o in zip(new, old)])  # noqa: B905
        self.set(new)

    def update_price(self, ltp: int) -> None:
        """Take a last price, or that it has not changed."""
        if ltp != NO_VALUE:
            self.values = (ltp, *self.values[1:])
            self.is_plain = self.is_plain and ltp >= 0

    def tick(self) -> Tick | None:
        """Return the instrument's tick after a record of this topic."""
        instrument = self.instrument
        return make_tick(instrument, instrument.feed, is_timed=self is instrument.feed)

    def lite_tick(self) -> Tick | None:
        """Return the last price of a feed, all that a lite record has; it says no time."""
        ltp = self.values[0]
        if ltp == NO_VALUE:
            return None
        return Tick(self.instrument.token, _LTP_MODE, self.scale, 1, ltp or None)


def make_tick(
    instrument: TrackedInstrument, feed: TopicState | None, *, is_timed: bool
) -> Tick | None:
    """Return what is known at the mode that is wanted, or at the highest below it.

    None without a last price, be it that the feed has said nothing yet.
    """
    if feed is None or feed.values[_LTP] == NO_VALUE:
        return None
    mode = instrument.mode
    values = feed.values if feed.is_plain else _known(feed.values)
    if len(values) == INDEX_FIELDS:
        return _index_tick(instrument, feed.scale, values)
    if mode is _LTP_MODE:
        ltp, _, traded, stamp = values[:4]
        stamp_ms = stamp * 1000 if stamp and is_timed else None
        traded_ms = traded * 1000 if traded else None
        return Tick(instrument.token, mode, feed.scale, 1, ltp or None, traded_ms, stamp_ms)
    (
        ltp,
        volume,
        traded,
        stamp,
        bid_size,
        ask_size,
        bid_price,
        ask_price,
        last_quantity,
        buy,
        sell,
        average,
        oi,
        low,
        high,
        *_,
        open_,
        close,
    ) = values
    if not (ltp and average and low and high and open_ and close):
        ltp, average, low, high, open_, close = known_prices(ltp, average, low, high, open_, close)
    if not bid_price:
        bid_price = bid_size = None
    if not ask_price:
        ask_price = ask_size = None
    stamp_ms = stamp * 1000 if stamp and is_timed else None
    traded_ms = traded * 1000 if traded else None
    bids = asks = None
    if mode is _DEPTH_MODE:
        book = instrument.book
        # Of two scales of one instrument neither is known to be right.
        if book is None or book.scale != feed.scale:
            mode = _QUOTE_MODE
        else:
            bids, asks = book.levels or _levels(book)
            bid_price, bid_size, _ = bids[0] if bids else _NO_LEVEL
            ask_price, ask_size, _ = asks[0] if asks else _NO_LEVEL
    # By position, in the order of Tick's fields: names cost a third more on the tick path.
    return Tick(
        instrument.token,
        mode,
        feed.scale,
        1,
        ltp,
        traded_ms,
        stamp_ms,
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
        buy,
        sell,
        bids,
        asks,
    )


def _index_tick(instrument: TrackedInstrument, scale: int, values: Sequence[Any]) -> Tick:
    ltp, close, stamp, high, low, open_ = values
    token, mode = instrument.token, instrument.mode
    stamp_ms = stamp * 1000 if stamp else None
    if mode is _LTP_MODE:
        return Tick(token, mode, scale, 1, ltp or None, None, stamp_ms)
    if not (ltp and close and high and low and open_):
        ltp, close, high, low, open_ = known_prices(ltp, close, high, low, open_)
    return Tick(token, mode, scale, 1, ltp, None, stamp_ms, open_, high, low, close)


def _levels(book: TopicState) -> tuple[Levels, Levels]:
    """Return bids and asks; levels that are not there, or have no price, are left out."""
    values = book.values
    if book.is_plain and all(values[: 2 * DEPTH_LEVELS]):
        found = (
            tuple(map(_level, zip(values[:5], values[10:15], values[20:25], strict=True))),
            tuple(map(_level, zip(values[5:10], values[15:20], values[25:], strict=True))),
        )
    else:
        found = (
            _known_levels(values[:5], values[10:15], values[20:25]),
            _known_levels(values[5:10], values[15:20], values[25:]),
        )
    book.levels = found
    return found


def _known_levels(prices: Values, sizes: Values, orders: Values) -> Levels:
    """Return one side's levels; without its orders one is still one, without the others not."""
    return tuple(
        DepthLevel(price, size, None if count == NO_VALUE else count)
        for price, size, count in zip(prices, sizes, orders, strict=True)
        if price and NO_VALUE not in (price, size)
    )


def _known(values: Values) -> list[Any]:
    """Return a feed's values with None for those that are not known."""
    known: list[Any] = [None if value == NO_VALUE else value for value in values]
    if len(values) == FEED_FIELDS:
        for at in _TOTALS:
            if values[at] < 0:
                known[at] = None
    return known


# What DepthLevel._make does, without a Python frame for each of a record's ten levels.
_level: Final[Callable[[tuple[int, ...]], DepthLevel]] = partial(tuple.__new__, DepthLevel)
_NO_LEVEL: Final[tuple[None, None, None]] = (None, None, None)
# Enum members as plain globals: an attribute of an Enum class costs more than the rest of a line.
_LTP_MODE: Final = FeedMode.LTP
_QUOTE_MODE: Final = FeedMode.QUOTE
_DEPTH_MODE: Final = FeedMode.DEPTH

_LTP: Final = 0
# By the number of a topic's fields: those that cannot be negative.
_QUANTITIES: Final[dict[int, tuple[int, ...]]] = {
    FEED_FIELDS: (2, 3, 4, 5, 8),
    INDEX_FIELDS: (2,),
    BOOK_FIELDS: tuple(range(2 * DEPTH_LEVELS, BOOK_FIELDS)),
}
# Volume, what buyers and sellers want, open interest: sums that may leave their 32 bits.
_TOTALS: Final = (1, 9, 10, 12)
