"""A short run of every broker's broken frames, and that the judge would notice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from brokers.types import DepthLevel, FeedMode, Tick
from tests.fuzz.bus import BUS_TARGETS
from tests.fuzz.edge import fuzz_edge
from tests.fuzz.edge_run import tracebacks
from tests.fuzz.edge_server import open_server
from tests.fuzz.mutations import Frame, fuzz, judge
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("broker", list(TARGETS))
def test_broken_frames_are_refused_or_read_and_nothing_else(broker: str) -> None:
    target = TARGETS[broker]()
    refused, ticks = fuzz(target.seeds, target.decode, rng=random.Random(11), count=6_000)
    assert refused > 1_000
    assert ticks > 200


@pytest.mark.parametrize("target", list(BUS_TARGETS))
def test_broken_messages_of_bus_and_control_link_are_refused_or_read(target: str) -> None:
    refused = BUS_TARGETS[target](random.Random(11), 3_000)
    assert 500 < refused < 3_000


@pytest.mark.django_db(transaction=True)
async def test_broken_requests_and_frames_at_the_client_edge_cost_the_neighbour_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Through real sockets; the run itself fails where the neighbour is not answered."""
    failures: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with open_server() as ports:
        outcome = await fuzz_edge(ports, seed=11, frames=2_000)
    assert outcome.answered > 30
    assert outcome.pings
    assert outcome.ticks
    assert failures == []
    assert tracebacks(caplog.text) == []


def test_the_log_is_looked_through_for_what_no_input_may_cause() -> None:
    log = "WARNING fine\nTraceback (most recent call last):\nException in callback f()\n"
    assert len(tracebacks(log)) == 2


@pytest.mark.parametrize("broker", list(TARGETS))
def test_unbroken_frames_are_all_read(broker: str) -> None:
    target = TARGETS[broker]()
    ticks = [tick for frame in target.seeds for tick in target.decode(frame)]
    assert FeedMode.DEPTH in {tick.mode for tick in ticks}
    for tick in ticks:
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
        Tick("1", FeedMode.LTP, 100, ltp=0),
        Tick("1", FeedMode.DEPTH, 100, bids=(DepthLevel(0, 1, 1),)),
        Tick("1", FeedMode.DEPTH, 100, bids=(DepthLevel(1, -1, 1),)),
        Tick("1", FeedMode.DEPTH, 100, asks=(DepthLevel(1, 1, -1),)),
    ],
)
def test_the_judge_bites(tick: Tick) -> None:
    with pytest.raises(AssertionError):
        judge(tick)
