"""Batches, cohorts and the outbox of a batch client, with a clock and timers of the test's own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Hashable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.clients.batch_outbox import BatchOutbox, encode_batch
from streaming.clients.batches import BatchWheel, Cohort, interval_of
from streaming.clients.frames import text_frame

INTERVAL = 0.05


class Time:
    """A clock that stands still until it is moved, and what is to be called on the way."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def clock(self) -> float:
        return self.now

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        self.timers.append((self.now + seconds, function))

    def stand_still(self, seconds: float) -> None:
        """Let time pass in which nothing is called; what was due is called at its end."""
        self.now += seconds
        late, self.timers = self.timers, []
        for _, function in late:
            function()

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= until]:
            timer = min(due, key=lambda each: each[0])
            self.timers.remove(timer)
            self.now = timer[0]
            timer[1]()
        self.now = until


@pytest.fixture
def time() -> Time:
    return Time()


def make_cohort(time: Time, interval: float = INTERVAL, **options: Any) -> Cohort:
    return Cohort(interval=interval, clock=time.clock, call_later=time.call_later, **options)


def reader(cohort: Cohort, *lines: Hashable, **bounds: Any) -> BatchOutbox:
    outbox = BatchOutbox(cohort=cohort, **bounds)
    for line in lines:
        outbox.join(line)
    return outbox


def taken(outbox: BatchOutbox) -> list[Any]:
    """What a transport with room gets now: batches as lists, control frames as they are."""
    frames: list[Any] = []
    while found := outbox.take(64):
        for frame in found:
            known = json.loads(frame)
            frames.append(known["ticks"] if isinstance(known, dict) else known)
    return frames


def test_latest_of_each_line_in_one_frame_that_alike_clients_share(time: Time) -> None:
    cohort = make_cohort(time)
    first, second, other = reader(cohort, "a", "b"), reader(cohort, "b", "a"), reader(cohort, "a")
    for line, payload in (("a", b"1"), ("b", b"2"), ("a", b"3")):
        cohort.push_tick(line, payload)
    assert taken(first) == []
    time.advance(INTERVAL)
    one, two = first.take(9), second.take(9)
    assert [json.loads(frame)["ticks"] for frame in one] == [[3, 2]]
    assert one[0] is two[0]
    assert taken(other) == [[3]]
    assert cohort.conflated == 3


def test_a_batch_of_before_a_hold_up_is_dropped_by_who_finds_it_out(time: Time) -> None:
    """The batch's timer may be faster, and looks again: what it has is as old as the hold-up."""
    wheel = BatchWheel(clock=time.clock, call_later=time.call_later)
    cohort = wheel.cohort(50)
    outbox = reader(cohort, "a", "b")
    cohort.push_tick("a", b"1")
    time.stand_still(8.0)
    assert taken(outbox) == []
    wheel.drop_waiting()
    outbox.drop_ticks()
    outbox.push_behind('"stale"')
    assert taken(outbox) == ["stale"]
    time.advance(1)
    assert taken(outbox) == []
    cohort.push_tick("b", b"2")
    time.advance(INTERVAL)
    assert taken(outbox) == [[2]]


def test_a_batch_that_nobody_drops_is_only_late(time: Time) -> None:
    cohort = make_cohort(time)
    outbox = reader(cohort, "a")
    cohort.push_tick("a", b"1")
    time.stand_still(8.0)
    assert taken(outbox) == []
    time.advance(1)
    assert taken(outbox) == [[1]]


def test_dropped_ticks_leave_what_must_arrive(time: Time) -> None:
    """Of a batch client those that wait for it alone, and those of a batch that is ready."""
    cohort = make_cohort(time)
    outbox = reader(cohort, "a", "b")
    outbox.push_control('"answer"')
    cohort.push_tick("a", b"1")
    time.advance(INTERVAL)
    outbox.push_tick("b", b"2")
    outbox.push_behind('"behind"')
    outbox.drop_ticks()
    assert taken(outbox) == ["answer"]
    time.advance(1)
    assert taken(outbox) == ["behind"]
    assert outbox.tick_bytes == 0
    assert outbox.conflated == 2


def test_who_takes_nothing_while_the_process_stands_still_is_not_too_slow(time: Time) -> None:
    outbox = reader(make_cohort(time), "a", stall_seconds=10.0)
    outbox.push_control('"answer"')
    assert not outbox.is_too_slow(100.0)
    outbox.drop_ticks()
    assert not outbox.is_too_slow(124.0)
    assert outbox.is_too_slow(134.0)


def test_a_batch_is_written_at_once_where_nothing_is_in_its_way(time: Time) -> None:
    """Otherwise it waits for its turn, and what follows waits behind it."""
    written: list[bytes] = []
    has_room = True

    def write_now(frame: bytes) -> bool:
        if has_room:
            written.append(frame)
        return has_room

    cohort = make_cohort(time)
    outbox = reader(cohort, "a", wants_frames=True)
    outbox.write_now = write_now
    cohort.push_tick("a", b"1")
    time.advance(INTERVAL)
    assert [json.loads(frame[2:])["ticks"] for frame in written] == [[1]]
    assert outbox.take(9) == []
    has_room = False
    cohort.push_tick("a", b"2")
    time.advance(INTERVAL)
    has_room = True
    cohort.push_tick("a", b"3")
    time.advance(INTERVAL)
    assert len(written) == 1
    later = [frame for _ in range(4) for frame in outbox.take(9)]
    assert [json.loads(frame[2:])["ticks"] for frame in later] == [[2], [3]]


def test_a_batch_in_every_turn_is_written_at_once_behind_what_was_taken(time: Time) -> None:
    """What was taken last has left, or the writer would say that there is no room."""
    written: list[bytes] = []

    def write_now(frame: bytes) -> bool:
        written.append(frame)
        return True

    cohort = make_cohort(time, 0)
    outbox = reader(cohort, "a", wants_frames=True)
    outbox.write_now = write_now
    outbox.push_tick("a", b"0")
    time.advance(0)
    assert len(outbox.take(9)) == 1
    for number in range(3):
        cohort.push_tick("a", b"%d" % number)
        time.advance(0)
    assert len(written) == 3
    assert outbox.take(9) == []


def test_a_cohort_without_ticks_has_no_timer(time: Time) -> None:
    cohort = make_cohort(time)
    outbox = reader(cohort, "a")
    assert time.timers == []
    cohort.push_tick("a", b"1")
    cohort.push_tick("a", b"2")
    assert len(time.timers) == 1
    time.advance(10)
    assert time.timers == []
    assert taken(outbox) == [[2]]


@given(st.lists(st.floats(min_value=0, max_value=0.2), min_size=1, max_size=30))
def test_batches_are_an_interval_apart(pauses: list[float]) -> None:
    time = Time()
    moments: list[float] = []
    last: list[Any] = []
    cohort = make_cohort(time, offset=0.0125)
    outbox: BatchOutbox

    def read() -> None:
        moments.append(time.now)
        time.call_later(0, lambda: last.extend(taken(outbox)))

    outbox = reader(cohort, "a", on_ready=read)
    for number, pause in enumerate(pauses):
        time.advance(pause)
        cohort.push_tick("a", b"%d" % (number))
    time.advance(1)
    assert last[-1] == [len(pauses) - 1]
    apart = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert all(gap >= INTERVAL - 1e-9 for gap in apart)


def test_a_late_batch_moves_the_next_one(time: Time) -> None:
    cohort = make_cohort(time)
    outbox = reader(cohort, "a")
    cohort.push_tick("a", b"1")
    (_, send), time.timers = time.timers[0], []
    time.now += INTERVAL * 1.9  # the loop was busy
    send()
    assert taken(outbox) == [[1]]
    cohort.push_tick("a", b"2")
    time.advance(INTERVAL * 0.9)
    assert taken(outbox) == []
    time.advance(INTERVAL * 0.2)
    assert taken(outbox) == [[2]]


def test_interval_zero_waits_for_the_turn_only(time: Time) -> None:
    cohort = make_cohort(time, 0)
    outbox = reader(cohort, "a")
    cohort.push_tick("a", b"1")
    assert [due for due, _ in time.timers] == [time.now]
    time.advance(0)
    assert taken(outbox) == [[1]]


def test_answers_go_at_once_and_precede_their_snapshot(time: Time) -> None:
    cohort = make_cohort(time)
    outbox = reader(cohort)
    outbox.push_control('"answer"')
    outbox.join("a")
    outbox.push_tick("a", b"1")
    assert taken(outbox) == ["answer"]
    time.advance(INTERVAL)
    assert taken(outbox) == [[1]]


@pytest.mark.parametrize("snapshot", [b"7", None])
def test_a_tick_older_than_the_answer_does_not_follow_it(
    time: Time, snapshot: bytes | None
) -> None:
    cohort = make_cohort(time)
    early = reader(cohort, "a")
    cohort.push_tick("a", b"5")
    late = reader(cohort, "a")
    if snapshot is not None:
        late.push_tick("a", snapshot)
    time.advance(INTERVAL)
    assert taken(early) == [[5]]
    assert taken(late) == ([[7]] if snapshot else [])
    cohort.push_tick("a", b"8")
    time.advance(INTERVAL)
    assert taken(late) == [[8]]


def test_a_tick_newer_than_the_snapshot_replaces_it(time: Time) -> None:
    cohort = make_cohort(time)
    outbox = reader(cohort, "a")
    outbox.push_tick("a", b"1")
    cohort.push_tick("a", b"2")
    time.advance(INTERVAL)
    assert taken(outbox) == [[2]]


def test_nothing_of_a_line_that_was_left(time: Time) -> None:
    cohort = make_cohort(time)
    leaving, staying = reader(cohort, "a", "b"), reader(cohort, "a", "b")
    cohort.push_tick("a", b"1")
    cohort.push_tick("b", b"2")
    assert not leaving.leave("a")
    time.advance(INTERVAL)
    assert taken(leaving) == [[2]]
    assert taken(staying) == [[1, 2]]
    assert staying.leave("a")


def test_a_busy_client_gets_the_latest_of_each_line_once_it_reads(time: Time) -> None:
    cohort = make_cohort(time)
    busy, healthy = reader(cohort, "a", "b"), reader(cohort, "a", "b")
    cohort.push_tick("a", b"1")
    time.advance(INTERVAL)
    assert len(busy.take(64)) == 1  # on its way out from now on
    assert taken(healthy) == [[1]]
    for number in (2, 3, 4):
        cohort.push_tick("a", b"%d" % (number))
        time.advance(INTERVAL)
        assert taken(healthy) == [[number]]
    cohort.push_tick("b", b"9")
    time.advance(INTERVAL)
    busy.leave("b")
    assert taken(busy) == [[4]]
    assert busy.conflated == 2


def test_a_client_that_takes_nothing_is_too_slow(time: Time) -> None:
    cohort = make_cohort(time)
    outbox = reader(cohort, "a", stall_seconds=10)
    for number in range(3):
        cohort.push_tick("a", b"%d" % (number))
        time.advance(INTERVAL)
        if not number:
            outbox.take(64)
    assert not outbox.is_too_slow(0)
    assert not outbox.is_too_slow(9.9)
    assert outbox.is_too_slow(10)
    outbox.take(64)
    assert not outbox.is_too_slow(11)


def test_what_is_said_of_a_feed_stays_behind_its_ticks(time: Time) -> None:
    cohort = make_cohort(time)
    outbox = reader(cohort, "a")
    outbox.push_behind('"live"')
    assert taken(outbox) == ["live"]
    cohort.push_tick("a", b"1")
    outbox.push_behind('"stale"')
    assert taken(outbox) == []
    time.advance(INTERVAL)
    assert taken(outbox) == [[1], "stale"]


def test_a_closing_client_gets_its_answers_and_no_ticks(time: Time) -> None:
    cohort = make_cohort(time)
    outbox = reader(cohort, "a")
    outbox.push_tick("a", b"1")
    outbox.push_behind('"stale"')
    outbox.finish()
    cohort.push_tick("a", b"2")
    time.advance(INTERVAL)
    assert taken(outbox) == ["stale"]


def test_frames_are_bounded_and_carry_everything(time: Time) -> None:
    cohort = make_cohort(time, max_frame_bytes=100)
    lines = [f"l{n}" for n in range(30)]
    outbox = reader(cohort, *lines)
    for number, line in enumerate(lines):
        cohort.push_tick(line, b"%d" % (1000 + number))
    time.advance(INTERVAL)
    frames: list[str] = []
    while found := outbox.take(64):
        frames += found
    assert len(frames) == 2
    assert max(map(len, frames)) <= 100 + len(encode_batch([]))
    ticks = [tick for frame in frames for tick in json.loads(frame)["ticks"]]
    assert ticks == list(range(1000, 1030))


def test_ready_frames_are_shared_too(time: Time) -> None:
    cohort = make_cohort(time)
    first, second = (reader(cohort, "a", wants_frames=True) for _ in range(2))
    cohort.push_tick("a", b"1")
    time.advance(INTERVAL)
    one, two = first.take(9), second.take(9)
    assert one == [text_frame(encode_batch([b"1"]))]
    assert one[0] is two[0]


def test_clients_of_an_interval_take_turns(time: Time) -> None:
    wheel = BatchWheel(clock=time.clock, call_later=time.call_later)
    dealt = [wheel.cohort(100) for _ in range(400)]
    assert {dealt.count(cohort) for cohort in dealt} == {100}
    assert len(set(dealt[:50])) == 1, "few share a moment, which spares wake-ups"
    cohorts = list(dict.fromkeys(dealt))
    assert len(cohorts) == 4
    for cohort in cohorts:
        reader(cohort, "a")
        cohort.push_tick("a", b"1")
    moments = sorted(due for due, _ in time.timers)
    apart = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert apart == pytest.approx([0.025] * 3)
    assert wheel.cohort(0) is wheel.cohort(0)
    for wrong in (-1, 1001):
        with pytest.raises(ValueError, match="interval_ms"):
            wheel.cohort(wrong)


def test_ticks_may_wait_a_part_of_the_shortest_interval_that_is_read(time: Time) -> None:
    wheel = BatchWheel(clock=time.clock, call_later=time.call_later)
    assert wheel.patience_seconds == 0.0
    slow, quick, at_once = (wheel.cohort(milliseconds) for milliseconds in (1000, 25, 0))
    assert wheel.patience_seconds == 0.0, "nobody reads"
    reader(slow, "a")
    assert wheel.patience_seconds == pytest.approx(0.01)
    second = reader(quick, "a")
    assert wheel.patience_seconds == pytest.approx(0.005)
    third = reader(at_once, "a")
    assert wheel.patience_seconds == 0.0
    third.leave("a")
    second.leave("a")
    assert wheel.patience_seconds == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("query", "milliseconds"),
    [(b"", 50), (b"x=1", 50), (b"interval=0", 0), (b"interval=1000&x=2", 1000)],
)
def test_intervals(query: bytes, milliseconds: int) -> None:
    assert interval_of(query) == milliseconds


@given(st.binary(max_size=40))
def test_any_query_gives_an_interval_or_a_reason(query: bytes) -> None:
    try:
        milliseconds = interval_of(b"interval=" + query)
    except ValueError as error:
        reason = str(error)
    else:
        reason = "from 0 to 1000"
        assert 0 <= milliseconds <= 1000
    assert "from 0 to 1000" in reason
