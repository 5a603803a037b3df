"""One client's outbox: order, bounds, conflation, and when a client is too slow."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.clients.outbox import Outbox


def drain(outbox: Outbox) -> list[str]:
    return outbox.take(10**9)


def test_frames_leave_in_the_order_in_which_they_came() -> None:
    outbox = Outbox()
    outbox.push_tick("a", "a1")
    outbox.push_control("ack")
    outbox.push_tick("b", "b1")
    outbox.push_tick("a", "a2")
    assert outbox.take(2) == ["a1", "ack"]
    assert drain(outbox) == ["b1", "a2"]
    assert drain(outbox) == []
    assert (outbox.tick_bytes, outbox.control_bytes, outbox.control_frames) == (0, 0, 0)


def test_it_calls_once_when_something_waits_after_nothing_did() -> None:
    calls: list[int] = []
    outbox = Outbox(on_ready=lambda: calls.append(1))
    outbox.push_tick("a", "1")
    outbox.push_tick("a", "2")
    assert len(calls) == 1
    drain(outbox)
    outbox.push_control("c")
    assert len(calls) == 2


def test_over_the_limit_only_the_latest_tick_of_a_line_is_kept() -> None:
    outbox = Outbox(max_bytes=8)
    for payload in ("a1", "a2"):
        outbox.push_tick("a", payload)
    outbox.push_control("ack")
    for payload in ("b1", "b2", "b3"):
        outbox.push_tick("b", payload)
    assert outbox.is_congested
    outbox.push_tick("a", "a3")
    outbox.push_tick("c", "c1")
    assert drain(outbox) == ["a3", "ack", "b3", "c1"]
    assert outbox.conflated == 4
    assert not outbox.is_congested


def test_an_emptied_outbox_keeps_every_tick_again() -> None:
    outbox = Outbox(max_bytes=3)
    outbox.push_tick("a", "a1")
    outbox.push_tick("a", "a2")
    assert drain(outbox) == ["a2"]
    outbox.push_tick("a", "3")
    outbox.push_tick("a", "4")
    assert drain(outbox) == ["3", "4"]


def test_control_frames_are_never_conflated() -> None:
    outbox = Outbox(max_bytes=1, allowance=lambda: 100)
    outbox.push_tick("a", "a1")
    outbox.push_tick("a", "a2")
    for number in range(5):
        outbox.push_control(f"order {number}")
    assert drain(outbox) == ["a2", *(f"order {number}" for number in range(5))]


@pytest.mark.parametrize("bounds", [{"max_control_frames": 2}, {"max_bytes": 2}])
def test_too_many_control_frames_make_a_client_too_slow(bounds: dict[str, int]) -> None:
    outbox = Outbox(**bounds)  # type: ignore[arg-type]
    for _ in range(2):
        outbox.push_control("x")
    assert not outbox.is_too_slow(0.0)
    outbox.push_control("x")
    assert outbox.is_too_slow(0.0)
    assert drain(outbox) == ["x", "x"]


def test_more_control_frames_may_wait_of_a_client_that_is_allowed_more() -> None:
    allowed = 2
    outbox = Outbox(max_bytes=2, allowance=lambda: allowed)
    for _ in range(4):
        outbox.push_control("x")
    assert not outbox.overflowed
    allowed = 3
    outbox.push_control("x")
    assert not outbox.overflowed
    allowed = 0
    outbox.push_control("x")
    assert outbox.overflowed


def test_the_last_control_frame_may_be_of_any_length() -> None:
    """An answer about thousands of symbols is one frame, and nothing further is asked meanwhile."""
    outbox = Outbox(max_bytes=2)
    outbox.push_control("x")
    assert outbox.has_room()
    outbox.push_control("x" * 1000)
    assert not outbox.has_room()
    assert not outbox.overflowed
    assert len(drain(outbox)) == 2
    assert outbox.has_room()


def test_answers_that_wait_count_with_the_ticks() -> None:
    outbox = Outbox(max_bytes=8)
    outbox.push_control("answer")
    outbox.push_tick("a", "a1")
    assert not outbox.is_congested
    outbox.push_tick("a", "a2")
    assert outbox.is_congested
    assert drain(outbox) == ["answer", "a2"]


@pytest.mark.parametrize("max_bytes", [1, 1000])
def test_a_purged_line_never_leaves(max_bytes: int) -> None:
    outbox = Outbox(max_bytes=max_bytes)
    for _ in range(3):
        outbox.push_tick("a", "a1")
        outbox.push_tick("b", "b1")
    outbox.purge(["a", "z"])
    outbox.push_control("ack")
    assert "a1" not in drain(outbox)
    assert outbox.tick_bytes == 0
    outbox.push_tick("a", "a2")
    assert drain(outbox) == ["a2"]


def test_a_line_joined_again_ticks_behind_its_answer() -> None:
    outbox = Outbox(max_bytes=1, allowance=lambda: 100)
    outbox.push_tick("a", "old")
    outbox.push_tick("b", "b1")
    outbox.purge({"a"})
    outbox.push_control("unsubscribed")
    outbox.push_control("subscribed")
    outbox.push_tick("a", "new")
    assert drain(outbox) == ["b1", "unsubscribed", "subscribed", "new"]


def test_a_finished_outbox_lets_only_waiting_control_frames_out() -> None:
    outbox = Outbox()
    outbox.push_tick("a", "a1")
    outbox.push_control("bye")
    outbox.finish()
    outbox.push_tick("a", "a2")
    outbox.push_control("more")
    assert drain(outbox) == ["bye"]
    assert (outbox.dropped_closed, outbox.dropped_unsubscribed) == (1, 0)


def test_a_client_that_takes_nothing_for_the_stall_time_is_too_slow() -> None:
    outbox = Outbox(stall_seconds=10)
    outbox.push_tick("a", "a1")
    assert not outbox.is_too_slow(100.0)
    assert not outbox.is_too_slow(109.9)
    assert outbox.is_too_slow(110.0)


def test_a_client_that_reads_slowly_but_reads_is_kept() -> None:
    outbox = Outbox(stall_seconds=10, max_bytes=10)
    for second in range(100):
        for line in range(20):
            outbox.push_tick(line, "tick")
        assert len(outbox.take(4)) <= 4
        assert not outbox.is_too_slow(float(second))


def test_a_client_so_slow_that_a_frame_waits_too_long_is_too_slow() -> None:
    outbox = Outbox(stall_seconds=10)
    verdicts = []
    for second in range(30):
        for line in range(20):
            outbox.push_tick(line, "tick")
        outbox.take(1)
        verdicts.append(outbox.is_too_slow(float(second)))
    assert any(verdicts)


def test_an_idle_client_is_never_too_slow() -> None:
    outbox = Outbox(stall_seconds=10)
    outbox.push_tick("a", "a1")
    outbox.is_too_slow(0.0)
    drain(outbox)
    assert not outbox.is_too_slow(11.0)
    assert not outbox.is_too_slow(100.0)
    outbox.push_tick("a", "a2")
    assert not outbox.is_too_slow(101.0)


@pytest.mark.parametrize("name", ["max_bytes", "max_control_frames"])
def test_bounds_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match="positive"):
        Outbox(**{name: 0})  # type: ignore[arg-type]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.integers(0, 4)),
        st.tuples(st.just("control"), st.just(0)),
        st.tuples(st.just("take"), st.integers(1, 3)),
        st.tuples(st.just("purge"), st.integers(0, 4)),
        st.tuples(st.just("sweep"), st.just(0)),
    ),
    max_size=80,
)


@given(steps, st.integers(1, 40))
def test_whatever_happens_counts_stay_right_and_the_latest_tick_arrives(
    steps: list[tuple[str, int]], max_bytes: int
) -> None:
    outbox = Outbox(max_bytes=max_bytes, allowance=lambda: 1000)
    controls_in: list[str] = []
    out: list[str] = []
    last: dict[int, str] = {}
    ticks_in = 0
    for number, (verb, argument) in enumerate(steps):
        if verb == "tick":
            last[argument] = f"{argument}:{number:04}"
            ticks_in += 1
            outbox.push_tick(argument, last[argument])
        elif verb == "control":
            controls_in.append(f"c:{number:04}")
            outbox.push_control(controls_in[-1])
        elif verb == "take":
            out += outbox.take(argument)
        elif verb == "purge":
            outbox.purge([argument])
            last.pop(argument, None)
        else:
            outbox.is_too_slow(float(number))
        assert outbox.tick_bytes >= 0
        lines = 5
        assert outbox.tick_bytes <= max(max_bytes, 6 * lines) + 6
    out += drain(outbox)
    assert outbox.tick_bytes == outbox.control_bytes == outbox.control_frames == len(outbox) == 0
    assert [frame for frame in out if frame.startswith("c")] == controls_in
    ticks_out = len(out) - len(controls_in)
    assert ticks_in == ticks_out + outbox.conflated + outbox.dropped_unsubscribed
    for line, payload in last.items():
        assert payload in out, f"the latest tick of line {line} was lost"
    for line in range(5):
        of_line = [frame for frame in out if frame.startswith(f"{line}:")]
        assert of_line == sorted(of_line)


def test_what_waits_of_thousands_of_lines_takes_little_beside_its_bytes() -> None:
    """Of eleven clients with 9,000 lines each that read nothing, pairs were 5 MB."""
    lines, payload = [object() for _ in range(9000)], b"x" * 1000
    outbox: Outbox[bytes] = Outbox(max_bytes=1)
    tracemalloc.start()
    try:
        for line in lines:
            outbox.push_tick(line, payload)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outbox.is_congested
    assert taken / len(lines) < 60  # bytes; it was 101
    assert outbox.take(len(lines) + 1) == [payload] * len(lines)
