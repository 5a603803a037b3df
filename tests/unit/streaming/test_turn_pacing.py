"""Turns that fill the core, and ticks that then share them."""

from __future__ import annotations

import pytest

from streaming.turn_pacing import TurnPacing


class Core:
    """A loop that does nothing but turns."""

    def __init__(self) -> None:
        self.now = 100.0
        self.cpu = 7.0
        self.pacing = TurnPacing(cpu_clock=lambda: self.cpu)

    def run(self, *, seconds: float, every: float, cpu: float, ticks: int = 1) -> float:
        """Take turns of ``ticks``, each of ``cpu`` seconds; return the patience after them."""
        for _ in range(round(seconds / every)):
            self.pacing.note(ticks, self.now)
            self.now += every
            self.cpu += cpu
        return self.pacing.patience_seconds


@pytest.fixture
def core() -> Core:
    return Core()


def test_a_core_with_time_left_reads_at_once(core: Core) -> None:
    assert core.run(seconds=1, every=0.001, cpu=0.0004) == 0.0


def test_a_full_core_lets_ticks_wait_a_moment(core: Core) -> None:
    assert core.run(seconds=0.2, every=0.00035, cpu=0.0003) == 0.002


def test_what_patience_saves_is_not_taken_for_calm(core: Core) -> None:
    """Three ticks a turn: the core is a quarter busy because of the patience, not without it."""
    core.run(seconds=0.2, every=0.00035, cpu=0.0003)
    assert core.run(seconds=1, every=0.0012, cpu=0.0003, ticks=3) == 0.002


def test_fewer_ticks_end_it(core: Core) -> None:
    core.run(seconds=0.2, every=0.00035, cpu=0.0003)
    assert core.run(seconds=0.2, every=0.0015, cpu=0.0003) == 0.0


def test_bursts_do_not_begin_it(core: Core) -> None:
    """A hundred ticks in one read, now and then: nothing queues behind them."""
    assert core.run(seconds=2, every=0.05, cpu=0.002, ticks=100) == 0.0


def test_a_silence_ends_it(core: Core) -> None:
    core.run(seconds=0.2, every=0.00035, cpu=0.0003)
    core.now += 3600
    core.run(seconds=0.1, every=0.05, cpu=0.0003)
    assert core.pacing.patience_seconds == 0.0
