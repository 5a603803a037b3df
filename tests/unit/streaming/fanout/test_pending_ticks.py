"""What comes between a subscribe and the moment when its client joins."""

from __future__ import annotations

import pytest

from brokers.types import FeedMode, InstrumentKey
from streaming.fanout.pending_ticks import Arrivals
from streaming.ports.link import TickMessage
from streaming.protocol.held import Line
from streaming.testing.edge import FakeFeedLink

INFY, TCS = InstrumentKey("NSE", "INFY"), InstrumentKey("NSE", "TCS")
QUOTE = Line(FeedMode.QUOTE)


@pytest.fixture
def made() -> list[TickMessage]:
    """Four messages of INFY, one after the other: Quote, Quote, Depth, Quote."""
    link = FakeFeedLink()
    modes = (FeedMode.QUOTE, FeedMode.QUOTE, FeedMode.DEPTH, FeedMode.QUOTE)
    return [link.message("p1", INFY, mode) for mode in modes]


@pytest.fixture
def arrivals(made: list[TickMessage]) -> Arrivals:
    found = Arrivals()
    found.expect([made[0].topic])
    return found


def test_the_newest_of_each_mode_is_kept_wherever_it_came_from(
    arrivals: Arrivals, made: list[TickMessage]
) -> None:
    topic = made[0].topic
    arrivals.offer([made[1]])
    arrivals.offer([made[0]])
    assert arrivals.newest(topic) is made[1]
    arrivals.note(made[2])
    assert arrivals.newest(topic) is made[2]
    arrivals.note(made[3])
    arrivals.offer(made[:3])
    assert arrivals.newest(topic) is made[3]
    assert sorted(message.mode for message in arrivals._newest[topic]) == [2, 3]


def test_nothing_is_kept_that_nobody_waits_for(arrivals: Arrivals, made: list[TickMessage]) -> None:
    topic = made[0].topic
    arrivals.offer([FakeFeedLink().message("p1", TCS)])
    arrivals.expect([topic])
    arrivals.offer(made)
    arrivals.forget([topic])
    assert arrivals.newest(topic) is made[3]
    arrivals.forget([topic])
    assert arrivals.newest(topic) is None
    assert not arrivals
    assert not arrivals._newest


@pytest.mark.parametrize(
    ("pool_id", "keys", "is_left"),
    [("p1", [INFY], False), ("p1", None, False), ("p1", [TCS], True), ("p", None, True)],
)
def test_what_was_told_to_be_old_is_handed_out_no_more(
    arrivals: Arrivals,
    made: list[TickMessage],
    pool_id: str,
    keys: list[InstrumentKey] | None,
    is_left: bool,
) -> None:
    topic = made[0].topic
    arrivals.offer([made[0]])
    arrivals.void(pool_id, keys)
    assert (arrivals.newest_body(topic, QUOTE) is not None) == is_left
    arrivals.note(made[1])
    assert arrivals.newest(topic) is made[1]
