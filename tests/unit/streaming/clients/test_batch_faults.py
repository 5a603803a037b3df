"""What batches must not do: one test for each way to break them that nothing else noticed."""

from __future__ import annotations

import pytest

from tests.unit.streaming.clients.test_batches import (
    INTERVAL,
    Time,
    make_cohort,
    reader,
    taken,
    time,
)

__all__ = ["time"]


def test_a_batch_behind_one_not_taken_is_conflated_with_the_next(time: Time) -> None:
    """A writer that has not run since must find one finished batch, and the latest of the rest."""
    cohort = make_cohort(time, 0.0)
    outbox = reader(cohort, "a")
    for payload in (b"1", b"2", b"3"):
        cohort.push_tick("a", payload)
        time.advance(0)
    assert taken(outbox) == [[1], [3]]
    assert outbox.conflated == 1


def test_a_line_that_all_have_left_holds_nothing_back(time: Time) -> None:
    """What is said of a feed then goes out at once: no tick is before it."""
    cohort = make_cohort(time)
    outbox = reader(cohort, "a")
    cohort.push_tick("a", b"1")
    assert cohort.is_waiting
    outbox.leave("a")
    assert not cohort.is_waiting
    outbox.push_behind('"said"')
    assert taken(outbox) == ["said"]


def test_a_left_line_stays_away_while_others_read_it(time: Time) -> None:
    """The client's former set of lines is forgotten, not kept beside the new one."""
    cohort = make_cohort(time)
    leaving, staying = reader(cohort, "a", "b"), reader(cohort, "a")
    cohort.push_tick("a", b"1")
    time.advance(INTERVAL)
    assert (taken(leaving), taken(staying)) == ([[1]], [[1]])
    leaving.leave("a")
    cohort.push_tick("a", b"2")
    cohort.push_tick("b", b"3")
    time.advance(INTERVAL)
    assert (taken(leaving), taken(staying)) == ([[3]], [[2]])


def test_what_a_busy_client_missed_is_due_at_the_same_moment(time: Time) -> None:
    """Its writer may be done by then: it must not wait for another interval."""
    cohort = make_cohort(time)
    outbox = reader(cohort, "a")
    cohort.push_tick("a", b"1")
    time.advance(INTERVAL)
    assert len(outbox.take(64)) == 1  # on its way out
    cohort.push_tick("a", b"2")
    time.advance(INTERVAL)
    assert taken(outbox) == [[2]]


@pytest.mark.parametrize("bound", ["max_control_frames", "max_bytes"])
def test_what_is_said_of_feeds_is_bounded(time: Time, bound: str) -> None:
    cohort = make_cohort(time)
    outbox = reader(cohort, "a")
    setattr(outbox, bound, 3)
    cohort.push_tick("a", b"1")
    for _ in range(3):
        outbox.push_behind("1")
    assert not outbox.overflowed
    outbox.push_behind("1")
    assert outbox.overflowed
    assert outbox.is_too_slow(time.now)


def test_clients_share_a_batch_again_after_their_snapshots(time: Time) -> None:
    """What was seen when a line was joined counts for one batch only."""
    cohort = make_cohort(time)
    first, second = reader(cohort, "a"), reader(cohort, "a")
    first.push_tick("a", b"0")
    cohort.push_tick("a", b"1")
    joined = reader(cohort)
    joined.join("a")  # while a tick waits
    time.advance(INTERVAL)
    for outbox in (first, second, joined):
        taken(outbox)
    cohort.push_tick("a", b"2")
    time.advance(INTERVAL)
    frames = [outbox.take(9) for outbox in (first, second, joined)]
    assert frames[0][0] is frames[1][0] is frames[2][0]


def test_a_client_of_many_lines_gets_none_of_others(time: Time) -> None:
    """One that reads more lines than ticked is looked at the other way round."""
    cohort = make_cohort(time)
    many, other = reader(cohort, "a", "b", "c"), reader(cohort, "d")
    cohort.push_tick("d", b"1")
    time.advance(INTERVAL)
    assert (taken(many), taken(other)) == ([], [[1]])
    cohort.push_tick("d", b"2")
    cohort.push_tick("c", b"3")
    time.advance(INTERVAL)
    assert (taken(many), taken(other)) == ([[3]], [[2]])


def test_nothing_is_delivered_to_a_finished_client(time: Time) -> None:
    """Not even what its cohort collects for a busy one."""
    cohort = make_cohort(time)
    outbox = reader(cohort, "a")
    cohort.push_tick("a", b"1")
    time.advance(INTERVAL)
    outbox.take(1)  # busy
    outbox.finish()
    cohort.push_tick("a", b"2")
    time.advance(2 * INTERVAL)
    assert taken(outbox) == []


def test_a_client_that_takes_slowly_is_not_too_slow(time: Time) -> None:
    """Always behind, never stuck: every look finds something taken since."""
    cohort = make_cohort(time)
    outbox = reader(cohort, "a", stall_seconds=10.0)
    for number in range(30):
        cohort.push_tick("a", b"%d" % number)
        time.advance(INTERVAL)
        assert len(outbox.take(1)) == 1
        cohort.push_tick("a", b"%d" % (number + 1000))
        time.advance(INTERVAL)  # waits behind what is on its way out
        assert not outbox.is_too_slow(time.now)
        time.advance(1)


def test_a_snapshot_is_not_followed_by_the_tick_that_it_includes(time: Time) -> None:
    """The tick came after the line was joined and before the snapshot was there."""
    cohort = make_cohort(time)
    outbox = reader(cohort, "a")
    cohort.push_tick("a", b"1")
    outbox.push_tick("a", b"2")
    time.advance(INTERVAL)
    assert taken(outbox) == [[2]]


@pytest.mark.parametrize("interval", [-0.001, -1.0])
def test_an_interval_below_zero_is_refused(time: Time, interval: float) -> None:
    with pytest.raises(ValueError, match="interval"):
        make_cohort(time, interval)
