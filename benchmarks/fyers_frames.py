"""Fyers' frames for the codec scenario: a feed that remembers wants its snapshots first.

Every update of a round is undone by a later one of the same round: the official client tells
nothing of an update that changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from brokers.fyers.codec import Data, FyersDecoder
from brokers.simulator.fyers.encoder import (
    TopicKind,
    encode_data,
    encode_lite,
    encode_snapshot,
    encode_update,
    name_of,
    values_of,
)
from brokers.simulator.market import Quote
from brokers.types import FeedMode, Tick

__all__ = ["FYERS_KINDS", "decode_fyers", "fyers_snapshots"]

RECORDS_PER_FRAME = 50
# Of the feed: last price, volume, times, the best bid and ask, last quantity, totals, average.
CHANGING = 12

_decoder = FyersDecoder()


def decode_fyers(frame: bytes) -> list[Tick]:
    """Decode a data frame of the instruments of ``fyers_snapshots``."""
    data = _decoder.decode(frame)
    return data.ticks if isinstance(data, Data) else []


def fyers_snapshots(quotes: Sequence[Quote]) -> list[bytes]:
    """Return the snapshots of all feeds, and of the books of the second half; track them."""
    feeds, books = _halves(quotes)
    for some, mode in ((feeds, FeedMode.QUOTE), (books, FeedMode.DEPTH)):
        for _, quote in some:
            name = name_of(quote.instrument)
            if name is not None:
                _decoder.track(name.topic(TopicKind.FEED), mode)
    records = [_snapshot(number, quote, TopicKind.FEED) for number, quote in feeds + books]
    return _frames(records + [_snapshot(number, quote, TopicKind.BOOK) for number, quote in books])


def _snapshots(quotes: Sequence[Quote]) -> list[bytes]:
    feeds, _ = _halves(quotes)
    return _frames([_snapshot(number, quote, TopicKind.FEED) for number, quote in feeds])


def _updates(quotes: Sequence[Quote]) -> list[bytes]:
    feeds, _ = _halves(quotes)
    return _there_and_back(feeds, TopicKind.FEED, CHANGING)


def _depths(quotes: Sequence[Quote]) -> list[bytes]:
    _, books = _halves(quotes)
    return _there_and_back(books, TopicKind.BOOK, 20)


def _lites(quotes: Sequence[Quote]) -> list[bytes]:
    feeds, _ = _halves(quotes)
    return _frames(
        [encode_lite(quote.last_price + step, number) for step in (1, 0) for number, quote in feeds]
    )


def _halves(quotes: Sequence[Quote]) -> tuple[list[tuple[int, Quote]], list[tuple[int, Quote]]]:
    numbered = list(enumerate(quotes, 1))
    half = len(numbered) // 2
    return numbered[:half], numbered[half:]


def _number(number: int, kind: TopicKind) -> int:
    return number + (10_000 if kind is TopicKind.BOOK else 0)


def _snapshot(number: int, quote: Quote, kind: TopicKind) -> bytes:
    return encode_snapshot(quote.instrument, kind, values_of(quote, kind), _number(number, kind))


def _there_and_back(
    some: Sequence[tuple[int, Quote]], kind: TopicKind, changing: int
) -> list[bytes]:
    there: list[bytes] = []
    back: list[bytes] = []
    for number, quote in some:
        before = values_of(quote, kind)
        after = [value + (at < changing) for at, value in enumerate(before)]
        there.append(encode_update(after, before, _number(number, kind)))
        back.append(encode_update(before, after, _number(number, kind)))
    return _frames(there) + _frames(back)


def _frames(records: Sequence[bytes]) -> list[bytes]:
    starts = range(0, len(records), RECORDS_PER_FRAME)
    return [encode_data(records[at : at + RECORDS_PER_FRAME], at + 1) for at in starts]


FYERS_KINDS: Mapping[str, Callable[[Sequence[Quote]], list[bytes]]] = {
    "snapshot": _snapshots,
    "update": _updates,
    "depth": _depths,
    "lite": _lites,
}
