"""What a link that was opened again brings: news, or what was known before."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from brokers.testing import RecordingSink
from brokers.types import DepthLevel, FeedMode, Tick
from pooling.connection.news import NewsSink
from pooling.testing import make_instrument

LTP, QUOTE, DEPTH = FeedMode
NOW_MS = 1_796_000_000_000
BIDS = (DepthLevel(99, 10, 1), DepthLevel(98, 10, 1))


@dataclass
class Link:
    """A sink that is listened to; ``news`` counts how often there was any."""

    inner: RecordingSink = field(default_factory=RecordingSink)
    news: int = 0

    def __post_init__(self) -> None:
        self.sink = NewsSink(self.inner, self._on_news)

    def _on_news(self) -> None:
        self.news += 1

    def tick(self, number: int = 1, mode: FeedMode = QUOTE, **values: object) -> int:
        tick = Tick(str(number), mode, 100, **{"ltp": 100, **values})  # type: ignore[arg-type]
        self.sink.publish(make_instrument(number), tick, NOW_MS * 1000)
        return self.news


def test_the_first_of_each_instrument_and_its_repeats_are_no_news() -> None:
    link = Link()
    old = NOW_MS - 60_000
    for _ in range(3):
        assert not link.tick(1, volume=7, ts_event_ms=old)
        assert not link.tick(2, ltp=250)
    assert len(link.inner.published) == 6, "whoever reads gets all of it"


def test_packets_of_another_mode_are_no_news_for_what_they_have_besides() -> None:
    link = Link()
    assert not link.tick(mode=LTP)
    assert not link.tick(mode=QUOTE, volume=7)
    assert not link.tick(mode=DEPTH, volume=7, bids=BIDS, ts_event_ms=NOW_MS - 60_000)
    assert not link.tick(mode=DEPTH, volume=7, bids=BIDS[:1])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"ltp": 101}),
        ({"volume": 7}, {"volume": 8}),
        ({"ltt_ms": 1000}, {"ltt_ms": 2000}),
        ({"bids": BIDS}, {"bids": BIDS[1:]}),
        ({"ask_price": 101}, {"ask_price": 102}),
    ],
)
def test_what_differs_from_the_first_is_news_once(
    first: dict[str, object], second: dict[str, object]
) -> None:
    link = Link()
    assert not link.tick(**first)  # type: ignore[arg-type]
    assert link.tick(**second) == 1  # type: ignore[arg-type]
    assert link.tick(ltp=102) == 1


@pytest.mark.parametrize(("age_ms", "news"), [(0, 1), (4900, 1), (-4900, 1), (6000, 0), (-6000, 0)])
def test_what_the_exchange_stamped_just_now_is_news_at_once(age_ms: int, news: int) -> None:
    assert Link().tick(ts_event_ms=NOW_MS - age_ms) == news
