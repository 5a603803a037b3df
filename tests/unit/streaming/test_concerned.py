"""Whom a pool's word concerns: each client hears of what it reads, and of nothing else."""

from __future__ import annotations

from brokers.pool_service import Outcome, OutcomeState, SubscriptionChange
from brokers.types import FeedMode, InstrumentKey
from streaming.fanout.concerned import concerned
from streaming.fanout.index import Groups
from streaming.protocol.held import Line
from streaming.wire.topics import tick_topic

KEYS = [InstrumentKey("NSE", f"S{n}") for n in range(5)]
OUTCOMES = [Outcome(key, OutcomeState.ACTIVE, FeedMode.QUOTE, 5) for key in KEYS]
CHANGE = SubscriptionChange("p1", OUTCOMES)


def reading(**reads: list[int]) -> Groups[str]:
    groups: Groups[str] = Groups()
    for member, numbers in reads.items():
        for number in numbers:
            topic = tick_topic("p1", KEYS[number])
            groups.join(topic, Line(FeedMode.QUOTE), member)
            groups.join(topic, Line(FeedMode.LTP), member)
    return groups


def test_each_is_told_what_it_reads_once_and_in_order() -> None:
    told = concerned(CHANGE, reading(a=[3, 1], b=[1]), ())
    assert told == {"a": [OUTCOMES[1], OUTCOMES[3]], "b": [OUTCOMES[1]]}


def test_who_is_asking_is_told_everything() -> None:
    told = concerned(CHANGE, reading(a=[1]), {"a", "b"})
    assert told == {"a": OUTCOMES, "b": OUTCOMES}


def test_what_is_of_another_pool_concerns_nobody() -> None:
    assert not concerned(SubscriptionChange("p2", OUTCOMES), reading(a=[1]), ())
