"""Turns that fill the core, and ticks that then share them."""

from __future__ import annotations

import pytest

from streaming.turn_pacing import TickRate, TurnPacing


class Core:
    """A loop that does nothing but turns."""

    def __init__(self) -> None:
        self.now = 100.0
        self.cpu = 7.0
        self.pacing = TurnPacing(cpu_clock=lambda: self.cpu)

    def run(self, *, seconds: float, every: float, cpu: float, shared: int = 1) -> set[float]:
        """Take a turn of ``cpu`` seconds for every tick; with patience ``shared`` ticks share one.

        Returns the patience that there was.
        """
        found = set()
        end = self.now + seconds
        while self.now < end:
            self.pacing.note(self.now)
            found.add(self.pacing.patience_seconds)
            self.now += every * (shared if self.pacing.patience_seconds else 1)
            self.cpu += cpu
        return found

    def busy_for(self, seconds: float) -> float:
        """Return the share of the time in which there is patience, of a core that is too busy."""
        waited = 0.0
        began, end = self.now, self.now + seconds
        while self.now < end:
            at = self.now
            if self.run(seconds=0.0001, every=0.00035, cpu=0.0003, shared=3) == {0.002}:
                waited += self.now - at
        return waited / (self.now - began)


@pytest.fixture
def core() -> Core:
    return Core()


def test_a_core_with_time_left_reads_at_once(core: Core) -> None:
    assert core.run(seconds=3, every=0.001, cpu=0.0004) == {0.0}


def test_a_full_core_lets_ticks_wait_a_moment(core: Core) -> None:
    core.run(seconds=0.1, every=0.00035, cpu=0.0003)
    assert core.run(seconds=1, every=0.00035, cpu=0.0003, shared=3) == {0.002}


def test_what_patience_saves_is_not_taken_for_calm(core: Core) -> None:
    """A look now and then shows how busy the core would be without."""
    core.run(seconds=0.1, every=0.00035, cpu=0.0003)
    assert core.busy_for(20) == pytest.approx(0.97, abs=0.02)


def test_fewer_ticks_end_it(core: Core) -> None:
    """Within two seconds, however little of the core was left meanwhile."""
    core.run(seconds=0.1, every=0.00035, cpu=0.0003)
    core.run(seconds=2.2, every=0.0012, cpu=0.0003)
    assert core.run(seconds=5, every=0.0012, cpu=0.0003) == {0.0}


def test_bursts_do_not_begin_it(core: Core) -> None:
    """A hundred ticks in one read, now and then: nothing queues behind them."""
    assert core.run(seconds=2, every=0.05, cpu=0.002) == {0.0}


def test_a_silence_ends_it(core: Core) -> None:
    core.run(seconds=0.2, every=0.00035, cpu=0.0003)
    core.now += 3600
    assert core.run(seconds=0.1, every=0.04, cpu=0.0003) == {0.0}


def test_a_wait_goes_by_the_rate_of_ticks() -> None:
    """Be it that they come one by one or in lumps, and after a silence."""
    for reads in ([(0.001, 1)], [(0.004, 1), (0.002, 5)], [(3600.0, 1)] + [(0.001, 1)] * 50):
        rate = TickRate()
        waits = [rate.worthwhile_wait(*read) for read in reads * 20]
        if reads[0][0] < 1:
            assert waits[-1] == pytest.approx(0.001, rel=0.1)
        else:
            assert waits[50] == pytest.approx(0.001, rel=0.1)
    assert TickRate().worthwhile_wait(0.0, 5) == 0.0
