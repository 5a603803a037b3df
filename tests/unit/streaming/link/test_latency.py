"""Histograms of a tick's way."""

from __future__ import annotations

from brokers.types import FeedMode, InstrumentKey, Tick
from streaming.link.latency import BUCKETS_SECONDS, Histogram, Latency, Stage
from streaming.ports.link import TickMessage
from streaming.wire.tick_json import encode_tick


def test_buckets_are_cumulative_and_include_their_bound() -> None:
    histogram = Histogram()
    for microseconds in (100, 101, 5_000_001, -7):
        histogram.observe(microseconds)
    cumulative = dict(histogram.cumulative())
    assert (cumulative["0.0001"], cumulative["0.00025"]) == (2, 3)
    assert (cumulative["5.0"], cumulative["+Inf"]) == (3, 4)
    assert len(cumulative) == len(BUCKETS_SECONDS) + 1
    assert histogram.sum_us == 100 + 101 + 5_000_001


def test_each_stage_is_timed_between_its_ends() -> None:
    """Exchange at 1,000 ms, received at 1,003 ms, published 2 ms later, read 4 ms after that."""
    latency = Latency()
    body = b'{"type":"market_data","data":{"symbol":"X","timestamp":1000,"ltp":1}}'
    message = TickMessage(b"1/N/X\0", 2, 1, 1, 1_003_000, body, 2_000)
    latency.arrived([message], 1_009_000)
    latency.sent(1_009_000, 1_009_500)
    sums = {stage: histogram.sum_us for stage, histogram in latency.stages.items()}
    assert sums == {
        Stage.EXCHANGE: 3_000,
        Stage.WORKER: 2_000,
        Stage.BUS: 4_000,
        Stage.GATEWAY: 500,
    }


def test_a_tick_without_the_exchanges_time_is_timed_from_its_receipt() -> None:
    latency = Latency()
    latency.arrived([TickMessage(b"1/N/X\0", 2, 1, 1, 1_000, b'{"data":{}}', 5)], 2_000)
    counts = {stage: sum(each.counts) for stage, each in latency.stages.items()}
    assert counts == {Stage.EXCHANGE: 0, Stage.WORKER: 1, Stage.BUS: 1, Stage.GATEWAY: 0}


def test_the_exchanges_time_is_found_in_a_real_frame() -> None:
    latency = Latency()
    tick = Tick("1", FeedMode.QUOTE, 100, ltp=5, ltt_ms=3, ts_event_ms=1_700_000_000_000)
    body = encode_tick("zerodha", InstrumentKey("NSE", "X"), tick)
    received_us = 1_700_000_000_007_000
    latency.arrived([TickMessage(b"1/N/X\0", 2, 1, 1, received_us, body, 5)], received_us + 9)
    assert latency.stages[Stage.EXCHANGE].sum_us == 7_000
