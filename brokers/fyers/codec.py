"""Fyers' HSM frames to values. Pure, but a decoder remembers what its socket has said.

Source: the official client, fyers-apiv3 3.2.0 (``data_ws.py``); there is no public byte table. The
feed is stateful: a *snapshot* gives a topic a number and all its fields, an *update* names the
number and what has changed, a *lite* record the last price alone. A tick needs the last price and
is made of what is known: a record for a number that has had no snapshot makes none. Price is
``raw / (10^precision x multiplier)``, both of the snapshot: the integer and its scale are kept.
"""

from __future__ import annotations

import struct
from struct import Struct
from typing import Final, NamedTuple

from brokers.exceptions import BrokerProtocolError
from brokers.fyers.answers import CustomMessage, Reply, decode_custom, decode_reply
from brokers.fyers.constants import (
    BOOK_FIELDS,
    BOOK_TOPIC,
    FEED_FIELDS,
    INDEX_FIELDS,
    INDEX_TOPIC,
    NO_VALUE,
    RECORD_LITE,
    RECORD_SNAPSHOT,
    RECORD_UPDATE,
    TYPE_AUTH,
    TYPE_CUSTOM,
    TYPE_DATA,
    TYPE_MODE,
    TYPE_PAUSE,
    TYPE_PING,
    TYPE_RESUME,
    TYPE_SUBSCRIBE,
    TYPE_UNSUBSCRIBE,
)
from brokers.fyers.topics import (
    TopicState,
    TrackedInstrument,
    Values,
    book_topic,
    make_tick,
)
from brokers.types import FeedMode, Tick

__all__ = ["Data", "FyersDecoder"]

MAX_PRECISION: Final = 9
_HEADER_BYTES: Final = 9
_ANSWERED: Final = frozenset(
    {TYPE_AUTH, TYPE_SUBSCRIBE, TYPE_UNSUBSCRIBE, TYPE_PAUSE, TYPE_RESUME, TYPE_MODE}
)
_HEADER: Final = Struct(">3xIH")
_FIELDS: Final = tuple(Struct(f">{count}i") for count in range(256))
_LITE: Final = Struct(">3xi")
_SCALE: Final = Struct(">2xHB")  # behind two bytes that mean nothing to the official client


class Data(NamedTuple):
    """A data frame: its number, its ticks, and how many records were of unknown topics."""

    number: int
    ticks: list[Tick]
    unknown: int


class _Before(NamedTuple):
    """A topic's number, and what was before a snapshot gave it away."""

    number: bytes
    known: TopicState | None
    instrument: TrackedInstrument | None = None
    feed: TopicState | None = None
    book: TopicState | None = None


class FyersDecoder:
    """The decoder of one socket's frames. Not thread-safe; does no I/O.

    Instruments are named by the topic of their feed, as in ``sf|nse_cm|3045``; what is not
    tracked is not decoded.
    """

    def __init__(self) -> None:
        # By the topic of their feed.
        self._instruments: dict[str, TrackedInstrument] = {}
        # Those that are wanted with depth, by the topic of their book.
        self._books: dict[str, TrackedInstrument] = {}
        # By a number of two bytes that mean nothing by themselves: the official client reads them
        # in the order of its machine.
        self._topics: dict[bytes, TopicState] = {}
        # Names and numbers that were tracked: what still comes of them is nothing unknown.
        self._ended: set[str | bytes] = set()
        # What the frame being read has changed so far, to be undone if it is malformed.
        self._changed: list[tuple[TopicState, Values]] = []
        # Likewise for the numbers of topics that it has given away.
        self._placed: list[_Before] = []

    def track(self, token: str, mode: FeedMode) -> None:
        """Make ticks of ``mode`` for an instrument; keeps what is known of it at that mode."""
        instrument = self._instruments.get(token)
        if instrument is None:
            instrument = self._instruments[token] = TrackedInstrument(token)
            self._ended.discard(token)
        instrument.mode = mode
        book = book_topic(token)
        if book is None:
            return
        if mode is FeedMode.DEPTH:
            self._books[book] = instrument
            self._ended.discard(book)
        elif self._books.pop(book, None) is not None:
            self._forget(book, instrument.book)
            instrument.book = None

    def drop(self, token: str) -> None:
        """Forget an instrument; its late records are ignored."""
        instrument = self._instruments.pop(token, None)
        if instrument is None:
            return
        self._forget(token, instrument.feed)
        book = book_topic(token)
        if book is not None and self._books.pop(book, None) is not None:
            self._forget(book, instrument.book)

    def reset(self) -> None:
        """Forget everything: numbers of topics mean nothing on another socket."""
        self._instruments.clear()
        self._books.clear()
        self._topics.clear()
        self._ended.clear()

    def current(self, token: str) -> Tick | None:
        """Return what is known of an instrument at its mode; None where that is not enough."""
        instrument = self._instruments[token]
        if instrument.feed is None:
            return None
        tick = make_tick(instrument, instrument.feed, is_timed=True)
        return tick if tick is not None and tick.mode is instrument.mode else None

    def decode(self, frame: bytes) -> Data | Reply | CustomMessage | None:
        """Decode one frame; None is an answer to our ping.

        Raises:
            BrokerProtocolError: the frame is malformed; nothing of it is remembered.
        """
        kind = frame[2] if len(frame) > 2 else -1
        if kind == TYPE_DATA:
            return self._data(frame)
        if kind in _ANSWERED:
            return decode_reply(kind, frame)
        if kind == TYPE_CUSTOM:
            return decode_custom(frame)
        if kind == TYPE_PING:
            return None
        raise BrokerProtocolError(f"fyers: frame of {len(frame)} bytes of type {kind}")

    def _data(self, frame: bytes) -> Data:
        try:
            return self._records(frame)
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            self._undo()
            raise BrokerProtocolError(f"fyers: broken data frame of {len(frame)} bytes") from error
        except BrokerProtocolError:
            self._undo()
            raise
        finally:
            self._changed.clear()
            self._placed.clear()

    def _records(self, frame: bytes) -> Data:
        number, count = _HEADER.unpack_from(frame)
        topics, changed = self._topics, self._changed
        ticks: list[Tick] = []
        unknown = 0
        at = _HEADER_BYTES
        for _ in range(count):
            kind = frame[at]
            key = frame[at + 1 : at + 3]
            topic = topics.get(key)
            if kind == RECORD_UPDATE:
                size = frame[at + 3]
                new = _FIELDS[size].unpack_from(frame, at + 4)
                at += 4 + 4 * size
                if topic is not None:
                    changed.append((topic, topic.values))
                    topic.update(new)
                    tick = topic.tick()
            elif kind == RECORD_LITE:
                (ltp,) = _LITE.unpack_from(frame, at)
                at += _LITE.size
                if topic is not None and topic is not topic.instrument.feed:
                    topic = None  # a book has no last price
                if topic is not None:
                    changed.append((topic, topic.values))
                    topic.update_price(ltp)
                    tick = topic.lite_tick()
            else:
                at, topic = self._snapshot(frame, at)
                tick = None if topic is None else topic.tick()
            if topic is None:
                unknown += key not in self._ended
            elif tick is not None:
                ticks.append(tick)
        if at != len(frame):
            raise BrokerProtocolError(f"fyers: {len(frame) - at} bytes behind the last record")
        return Data(number, ticks, unknown)

    def _snapshot(self, frame: bytes, at: int) -> tuple[int, TopicState | None]:
        """Return where the next record is, and the topic if it is one that is tracked."""
        if frame[at] != RECORD_SNAPSHOT:
            raise BrokerProtocolError(f"fyers: record of type {frame[at]}")
        number = frame[at + 1 : at + 3]
        name, at = _text(frame, at + 3)
        count = frame[at]
        values = _FIELDS[count].unpack_from(frame, at + 1)
        at += 1 + 4 * count
        multiplier, precision = _SCALE.unpack_from(frame, at)
        at += _SCALE.size
        for _ in range(3):  # exchange, its token, the symbol: all known from the topic
            _, at = _text(frame, at)
        is_book = name.startswith(BOOK_TOPIC)
        instrument = (self._books if is_book else self._instruments).get(name)
        known = self._topics.pop(number, None)
        if instrument is None:
            # The number is another topic's from now on, and not one that we know.
            self._placed.append(_Before(number, known))
            if name in self._ended:
                self._ended.add(number)
            return at, None
        self._placed.append(_Before(number, known, instrument, instrument.feed, instrument.book))
        if not multiplier or precision > MAX_PRECISION:
            raise BrokerProtocolError(f"fyers: a scale of {multiplier} and {precision} digits")
        size = BOOK_FIELDS if is_book else _feed_size(name)
        values = (*values, *(NO_VALUE,) * size)[:size]
        topic = TopicState(instrument, number, values, 10**precision * multiplier)
        replaced = instrument.book if is_book else instrument.feed
        if replaced is not None and replaced.number != number:
            self._placed.append(_Before(replaced.number, self._topics.pop(replaced.number, None)))
        self._topics[number] = topic
        if is_book:
            instrument.book = topic
        else:
            instrument.feed = topic
        return at, topic

    def _undo(self) -> None:
        for topic, values in reversed(self._changed):
            topic.set(values)
        for number, known, instrument, feed, book in reversed(self._placed):
            if instrument is not None:
                instrument.feed, instrument.book = feed, book
            self._topics.pop(number, None)
            if known is not None:
                self._topics[number] = known

    def _forget(self, name: str, topic: TopicState | None) -> None:
        self._ended.add(name)
        if topic is not None and self._topics.get(topic.number) is topic:
            del self._topics[topic.number]
            self._ended.add(topic.number)


def _text(frame: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + frame[at]
    if end > len(frame):
        raise IndexError(end)
    return frame[at + 1 : end].decode("utf-8"), end


def _feed_size(name: str) -> int:
    return INDEX_FIELDS if name.startswith(INDEX_TOPIC) else FEED_FIELDS
