"""The circuit breaker's decisions: time goes by hand, nothing waits."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooling.connectors.circuit import CircuitBreaker, CircuitPolicy, CircuitState
from pooling.exceptions import CircuitOpenError

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


class Longest:
    def uniform(self, a, b):
        return b


def make(**policy):
    settings = {"failures": 3, "window_seconds": 10, "open_seconds": 2, "max_open_seconds": 8}
    return CircuitBreaker(
        endpoint="wss://b:443", policy=CircuitPolicy(**(settings | policy)), rng=Longest()
    )


def fail(circuit, now):
    circuit.failed(circuit.admit(now), now)


def admit(circuit, now):
    try:
        return circuit.admit(now), 0.0
    except CircuitOpenError as error:
        return None, error.retry_after_seconds


def opened(at=0.0, **policy):
    circuit = make(**policy)
    for _ in range(3):
        fail(circuit, at)
    assert circuit.state is OPEN
    return circuit


def test_it_opens_after_so_many_failures_in_a_row():
    circuit = make()
    for now in (0, 1):
        fail(circuit, now)
        assert circuit.state is CLOSED
    fail(circuit, 2)
    assert circuit.state is OPEN


def test_an_answer_in_between_starts_the_count_over():
    circuit = make()
    fail(circuit, 0)
    fail(circuit, 0)
    circuit.answered(circuit.admit(1), 1)
    fail(circuit, 2)
    fail(circuit, 2)
    assert circuit.state is CLOSED


def test_failures_outside_the_window_do_not_count():
    circuit = make()
    for now in (0, 11, 22, 33, 44):
        fail(circuit, now)
    assert circuit.state is CLOSED
    fail(circuit, 45)
    fail(circuit, 46)
    assert circuit.state is OPEN


def test_an_open_circuit_says_how_long_to_wait_and_lets_nothing_through():
    circuit = opened()
    with pytest.raises(CircuitOpenError) as caught:
        circuit.admit(0.5)
    assert caught.value.retry_after_seconds == 1.5
    assert circuit.to_stats(0.5).attempts_held == 1


def test_half_open_lets_one_probe_through():
    circuit = opened()
    probe = circuit.admit(2.0)
    for _ in range(50):
        with pytest.raises(CircuitOpenError) as caught:
            circuit.admit(2.1)
        assert caught.value.retry_after_seconds == 1.0
    circuit.answered(probe, 2.2)
    assert circuit.state is CLOSED
    circuit.admit(2.3)


def test_a_failed_probe_opens_it_for_twice_as_long_up_to_the_cap():
    circuit = opened()
    now, waits = 0.0, []
    for _ in range(4):
        wait = circuit.to_stats(now).retry_in_seconds
        waits.append(wait)
        now += wait
        fail(circuit, now)
    assert waits == [2, 4, 8, 8]


def test_a_circuit_that_flaps_keeps_its_long_interval_and_a_healthy_one_forgets_it():
    circuit = opened()
    circuit.answered(circuit.admit(2), 2)
    for _ in range(3):
        fail(circuit, 3)
    assert circuit.to_stats(3).retry_in_seconds == 4
    circuit.answered(circuit.admit(7), 7)
    for _ in range(3):
        fail(circuit, 7 + 60)
    assert circuit.to_stats(67).retry_in_seconds == 2


def test_results_of_attempts_from_before_the_opening_do_not_disturb_it():
    circuit = make()
    late = [circuit.admit(0) for _ in range(4)]
    for _ in range(3):
        fail(circuit, 0)
    circuit.failed(late[0], 0.1)
    assert circuit.to_stats(0.1).retry_in_seconds == pytest.approx(1.9)
    circuit.answered(circuit.admit(2), 2)
    for attempt in late[1:]:
        circuit.failed(attempt, 2.1)
    assert circuit.state is CLOSED


def test_a_late_answer_closes_an_open_circuit():
    circuit = make()
    late = circuit.admit(0)
    for _ in range(3):
        fail(circuit, 0)
    circuit.answered(late, 0.5)
    assert circuit.state is CLOSED


def test_an_abandoned_probe_leaves_the_next_one_to_probe():
    circuit = opened()
    circuit.abandoned(circuit.admit(2))
    assert circuit.state is HALF_OPEN
    circuit.answered(circuit.admit(2), 2)
    assert circuit.state is CLOSED


def test_a_probe_that_never_ends_is_given_up():
    circuit = opened(probe_seconds=5)
    lost = circuit.admit(2)
    with pytest.raises(CircuitOpenError):
        circuit.admit(6.9)
    probe = circuit.admit(7)
    circuit.failed(lost, 7.1)
    assert circuit.state is HALF_OPEN
    circuit.failed(probe, 7.2)
    assert circuit.state is OPEN


def test_statistics_count_since_the_start():
    circuit = opened()
    fail(circuit, 2)
    stats = circuit.to_stats(2)
    assert (stats.failures, stats.times_opened, stats.failures_in_row) == (4, 2, 0)
    assert not circuit.is_idle


@pytest.mark.parametrize(
    "wrong",
    [
        {"failures": 0},
        {"open_seconds": 0},
        {"max_open_seconds": 1},
        {"window_seconds": 0},
        {"probe_seconds": 0},
        {"spread_seconds": -1},
        {"forget_seconds": -1},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError):  # noqa: PT011 - the sentence is for people
        CircuitPolicy(**({"open_seconds": 2, "max_open_seconds": 8} | wrong))


@given(
    st.integers(0, 2**32),
    st.lists(
        st.tuples(st.floats(0, 5), st.sampled_from(["answer", "fail", "abandon", "hang"])),
        max_size=200,
    ),
)
def test_whatever_happens_it_never_shuts_for_good_and_probes_one_at_a_time(seed, steps):
    """Waiting as told always leads to an attempt; while a probe runs, nobody else tries."""
    policy = CircuitPolicy(failures=3, open_seconds=2, max_open_seconds=8, probe_seconds=5)
    circuit = CircuitBreaker(endpoint="x", policy=policy, rng=random.Random(seed))
    now = 0.0
    running: list[float] = []
    for wait, what in steps:
        now += wait
        probing = circuit.state is HALF_OPEN
        attempt, wait = admit(circuit, now)
        assert 0 <= wait <= policy.max_open_seconds
        if attempt is None:
            continue
        if probing:
            assert all(now - at >= policy.probe_seconds for at in running), "two probes at once"
        if circuit.state is HALF_OPEN:
            running = [now] if what == "hang" else []
        if what == "answer":
            circuit.answered(attempt, now)
        elif what == "fail":
            circuit.failed(attempt, now)
        elif what == "abandon":
            circuit.abandoned(attempt)
        running = running if circuit.state is HALF_OPEN else []
    for _ in range(10):
        attempt, wait = admit(circuit, now)
        now += wait
        if attempt is not None:
            circuit.answered(attempt, now)
    assert circuit.state is CLOSED
