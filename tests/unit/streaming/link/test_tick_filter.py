"""The tick filter: order, repeats, gaps, epochs, snapshots."""

from __future__ import annotations

import gc
import itertools

from hypothesis import given
from hypothesis import strategies as st

from streaming.link.tick_filter import TickFilter
from streaming.ports.link import TickMessage
from tests.support import pack_message

TOPIC = b"1/N/X\0"


def packed(sequence: int, epoch: int = 1, topic: bytes = TOPIC) -> bytes:
    return pack_message(TickMessage(topic, 2, epoch, sequence, 1, b"{}"))


def held() -> TickFilter:
    ticks = TickFilter()
    ticks.hold(TOPIC)
    return ticks


def sequences(messages: list[TickMessage]) -> list[tuple[int, int]]:
    return [(message.epoch, message.sequence) for message in messages]


def test_only_held_topics_pass():
    """What nobody wants is counted and dropped; what is no tick is handed back."""
    ticks = held()
    accepted, others = ticks.accept([packed(1), packed(1, topic=b"2/N/X\0"), b"/beat\0x"])
    assert sequences(accepted) == [(1, 1)]
    assert others == [b"/beat\0x"]
    assert ticks.counters.unwanted == 1
    ticks.release(TOPIC)
    assert ticks.accept([packed(2)]) == ([], [])
    assert ticks.newest(TOPIC) is None


def test_repeats_and_old_epochs_are_dropped_and_gaps_counted():
    """A new epoch begins anew: what was lost with the old worker cannot be known."""
    ticks = held()
    stream = [packed(5), packed(5), packed(4), packed(8), packed(2, 2), packed(9), packed(3, 2)]
    accepted, _ = ticks.accept(stream)
    assert sequences(accepted) == [(1, 5), (1, 8), (2, 2), (2, 3)]
    counters = ticks.counters
    assert (counters.gaps, counters.repeats, counters.old_epochs) == (2, 2, 1)
    assert counters.received == 4


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 30))), st.lists(st.integers(0, 30)))
def test_what_passes_only_goes_forward(stream, cuts):
    """Whatever arrives in whatever batches, a topic never goes back, and every tick is counted."""
    ticks = held()
    passed: list[tuple[int, int]] = []
    data = [packed(sequence, epoch) for epoch, sequence in stream]
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in itertools.pairwise(edges):
        passed += sequences(ticks.accept(data[start:end])[0])
    assert passed == sorted(set(passed))
    counters = ticks.counters
    assert len(stream) == counters.received + counters.repeats + counters.old_epochs


def test_the_first_snapshot_joins_the_stream():
    """It stands for all before it, so those still on their way are repeats."""
    ticks = held()
    first, newer = ticks.offer([TOPIC], [packed(7)])
    assert (sequences(first), newer) == ([(1, 7)], [])
    assert sequences(ticks.accept([packed(6), packed(7), packed(8)])[0]) == [(1, 8)]
    assert ticks.counters.gaps == 0


def test_a_later_snapshot_does_not_overtake_the_stream():
    """On an open path it would turn ticks under way into repeats that others never got."""
    ticks = held()
    assert ticks.offer([TOPIC], []) == ([], [])
    assert ticks.offer([TOPIC], [packed(3)]) == ([], [])
    assert sequences(ticks.accept([packed(1), packed(2), packed(3)])[0]) == [(1, 1), (1, 2), (1, 3)]


def test_a_new_worker_makes_topics_fresh():
    """Its first snapshot is news to those who knew an older value; one of an older epoch is not."""
    ticks = held()
    ticks.accept([packed(9, 5)])
    ticks.refresh([TOPIC, b"unknown\0"], 6)
    assert ticks.offer([TOPIC], [packed(1, 4)]) == ([], [])
    ticks.refresh([TOPIC], 6)
    first, newer = ticks.offer([TOPIC], [packed(2, 6), b"garbage"])
    assert (first, sequences(newer)) == ([], [(6, 2)])


def test_a_successor_of_a_lower_epoch_is_heard():
    """A clock that was set back must not silence a topic for ever."""
    ticks = held()
    ticks.accept([packed(9, 5)])
    ticks.refresh([TOPIC], 4)
    assert sequences(ticks.accept([packed(1, 4)])[0]) == [(4, 1)]


def test_healing_counts_what_it_makes_up_for():
    """The newest value passes on, and everything up to it was lost."""
    ticks = held()
    ticks.accept([packed(1), packed(4)])
    assert ticks.counters.gaps == 2
    healed = ticks.heal([packed(9), packed(3, topic=b"2/N/X\0"), packed(20, 2)])
    assert sequences(healed) == [(1, 9)]
    assert ticks.counters.gaps == 2 + 5
    assert ticks.heal([packed(9)]) == []
    assert sequences(ticks.accept([packed(9), packed(10)])[0]) == [(1, 10)]


def test_a_topic_that_fell_silent_shows_its_lost_tail():
    """Only a loss counts: not what was heard, not other topics, not another publisher's count."""
    ticks = held()
    ticks.offer([TOPIC], [packed(4)])
    assert ticks.is_behind([(TOPIC, 5)], 1)
    assert not ticks.is_behind([(TOPIC, 4)], 1)
    assert not ticks.is_behind([(b"2/N/X\0", 9)], 1)
    assert not ticks.is_behind([(TOPIC, 5)], 2)


def test_the_first_tick_of_a_topic_may_be_the_lost_one():
    """Nothing was heard yet: behind once the path is open, and healed as one lost tick."""
    ticks = held()
    assert not ticks.is_behind([(TOPIC, 1)], 1)
    assert ticks.heal([packed(1)]) == []
    ticks.offer([TOPIC], [])
    assert ticks.is_behind([(TOPIC, 1)], 1)
    assert sequences(ticks.heal([packed(1)])) == [(1, 1)]
    assert ticks.counters.gaps == 1
    assert not ticks.is_behind([(TOPIC, 1)], 1)


def test_what_was_told_to_be_old_is_handed_out_no_more_and_still_counts():
    """Its sequence goes on telling repeats and gaps; the next tick is news, and shown again."""
    ticks = held()
    ticks.accept([packed(1), packed(2)])
    ticks.void([TOPIC, b"unknown\0"])
    assert ticks.newest(TOPIC) is None
    assert sequences(ticks.accept([packed(2), packed(4)])[0]) == [(1, 4)]
    assert (ticks.counters.repeats, ticks.counters.gaps) == (1, 1)
    assert (newest := ticks.newest(TOPIC)) is not None
    assert newest.sequence == 4


def test_what_may_not_be_handed_out_takes_no_memory():
    """A whole feed's thousands of last prices, each beside the one that came after it."""
    ticks = held()
    (first,) = ticks.accept([packed(1)])[0]
    body = first.body
    del first
    ticks.void([TOPIC])
    assert not gc.get_referrers(body)
    ticks.accept([packed(2)])
    assert not gc.get_referrers(body)
    assert (newest := ticks.newest(TOPIC)) is not None
    assert newest.sequence == 2


def test_a_snapshot_that_the_worker_still_has_may_be_handed_out_again():
    """Who keeps a value after a silence vouches for it; who has dropped it does not."""
    ticks = held()
    ticks.accept([packed(2)])
    ticks.void([TOPIC])
    ticks.refresh([TOPIC], 1)
    assert ticks.offer([TOPIC], []) == ([], [])
    assert ticks.newest(TOPIC) is None
    ticks.refresh([TOPIC], 1)
    assert ticks.offer([TOPIC], [packed(2)]) == ([], [])
    assert (newest := ticks.newest(TOPIC)) is not None
    assert newest.sequence == 2


def test_what_nobody_holds_any_more_is_not_remembered_as_old():
    ticks = held()
    ticks.accept([packed(2)])
    ticks.void([TOPIC])
    ticks.release(TOPIC)
    ticks.hold(TOPIC)
    ticks.accept([packed(2)])
    assert (newest := ticks.newest(TOPIC)) is not None
    assert newest.sequence == 2
