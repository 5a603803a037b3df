"""A short run of every broker's broken frames, and that the judge would notice."""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import ModuleType

import pytest

from brokers.types import DepthLevel, FeedMode, Tick
from tests.fuzz import angel_frames
from tests.fuzz.mutations import Frame, fuzz, judge


@pytest.mark.parametrize("target", [angel_frames])
def test_broken_frames_are_refused_or_read_and_nothing_else(target: ModuleType) -> None:
    refused, ticks = fuzz(target.seeds(), target.decode, rng=random.Random(11), count=10_000)
    assert refused > 2_000
    assert ticks > 500


@pytest.mark.parametrize("target", [angel_frames])
def test_unbroken_frames_are_all_read(target: ModuleType) -> None:
    for frame in target.seeds():
        for tick in target.decode(frame):
            judge(tick)


def test_the_fuzzer_notices_what_is_not_a_protocol_error() -> None:
    def decode(frame: Frame) -> Sequence[Tick]:
        return [Tick(frame[100], FeedMode.LTP, 100)]

    with pytest.raises(IndexError):
        fuzz([b"frame"], decode, rng=random.Random(1), count=1_000)


@pytest.mark.parametrize(
    "tick",
    [
        Tick("", FeedMode.LTP, 100),
        Tick("1", FeedMode.LTP, 100, ltp=float("nan")),  # type: ignore[arg-type]
        Tick("1", FeedMode.LTP, 100, volume=-1),
        Tick("1", FeedMode.LTP, 100, ltt_ms=-1),
        Tick("1", FeedMode.DEPTH, 100, bids=(DepthLevel(1, -1, 1),)),
        Tick("1", FeedMode.DEPTH, 100, asks=(DepthLevel(1, 1, -1),)),
    ],
)
def test_the_judge_bites(tick: Tick) -> None:
    with pytest.raises(AssertionError):
        judge(tick)
