"""Latency of the last minute, out of histograms that only grow."""

from __future__ import annotations

import gc
import sys

import pytest

from streaming.link.latency import Latency, Stage
from streaming.monitoring.latency_window import LatencyWindow, quantile_ms
from streaming.ports.link import TickMessage


def test_what_is_older_than_the_window_no_longer_counts() -> None:
    latency, window = Latency(), LatencyWindow(seconds=60.0)
    assert window.read(latency, 0.0) == {}
    for _ in range(100):
        latency.stages[Stage.BUS].observe(2_000_000)
    seen = window.read(latency, 10.0)
    assert list(seen) == ["bus"]
    assert seen["bus"].ticks == 100
    assert 1000 < seen["bus"].p50_ms <= 2500
    for _ in range(10):
        latency.stages[Stage.BUS].observe(90)
    later = window.read(latency, 69.0)["bus"]
    assert later.ticks == 10
    assert later.p99_ms <= 0.1


def test_a_stage_that_fell_silent_is_left_out() -> None:
    latency, window = Latency(), LatencyWindow(seconds=60.0)
    latency.stages[Stage.WORKER].observe(100)
    window.read(latency, 0.0)
    assert window.read(latency, 1.0) == {}


@pytest.mark.parametrize(
    ("stamps", "is_coarse"),
    [
        ([1_000] * 20, True),
        ([1_000, 1_250], True),
        ([1_250] * 20, False),
        ([1_250] * 99 + [1_000], False),
    ],
)
def test_stamps_of_whole_seconds_make_a_bound(stamps: list[int], is_coarse: bool) -> None:
    """Only of the stage that begins with the stamp, and only of the window."""
    latency, window = Latency(), LatencyWindow(seconds=60.0)

    def arrive(event_ms: int) -> None:
        body = b'{"data":{"timestamp":%d}}' % event_ms
        latency.arrived([TickMessage(b"1/N/X\0", 2, 1, 1, 2_000_000, body, 5)], 2_000_100)

    for stamp in stamps:
        arrive(stamp)
    seen = window.read(latency, 0.0)
    assert {stage: each.is_coarse for stage, each in seen.items()} == {
        "exchange": is_coarse, "worker": False, "bus": False,
    }  # fmt: skip
    arrive(1_250)
    assert not window.read(latency, 30.0)["exchange"].is_coarse


@pytest.mark.parametrize(
    ("durations_us", "share", "milliseconds"),
    [([], 0.5, 0.0), ([50] * 4, 0.5, 0.05), ([200] * 2, 1.0, 0.25), ([9_000_000], 0.5, 5000.0)],
)
def test_quantiles_lie_within_their_bucket(
    durations_us: list[int], share: float, milliseconds: float
) -> None:
    latency = Latency()
    for duration in durations_us:
        latency.stages[Stage.BUS].observe(duration)
    assert quantile_ms(latency.stages[Stage.BUS].counts, share) == pytest.approx(milliseconds)


def test_more_looks_than_are_kept_shorten_the_window() -> None:
    latency, window = Latency(), LatencyWindow(seconds=60.0, most=3)
    ticks = []
    for second in range(8):
        latency.stages[Stage.BUS].observe(100)
        ticks.append(window.read(latency, float(second))["bus"].ticks)
    assert ticks == [1, 1, 2, 3, 3, 3, 3, 3]


def test_looks_are_kept_in_one_piece_of_memory() -> None:
    """However many there were: small objects that last for a minute keep an arena each."""
    latency, window = Latency(), LatencyWindow(seconds=60.0)
    for stage in latency.stages.values():
        for _ in range(300):
            stage.observe(100)
    window.read(latency, 0.0)
    gc.collect()
    before = sys.getallocatedblocks()
    for second in range(1, 61):
        latency.stages[Stage.BUS].observe(100)
        window.read(latency, float(second))
    gc.collect()
    assert sys.getallocatedblocks() - before < 250  # it was 700


@pytest.mark.parametrize("options", [{"seconds": 0}, {"most": 0}])
def test_a_window_has_a_length(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        LatencyWindow(**options)
