"""Ticks that the bus loses: every one is counted, and the last value of each topic comes back."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack

import pytest

from brokers.pool_service import Want
from brokers.types import FeedMode
from streaming.link.latency import Stage
from streaming.ports.link import TickMessage
from streaming.wire.topics import tick_topic
from tests.integration.streaming.bus_kit.ends import Gateway, Worker
from tests.integration.streaming.bus_kit.support import instrument, tick
from tests.support import eventually, free_port

TOPICS = 200
BURST = 100_000
INSTRUMENTS = [instrument(f"S{number}") for number in range(TOPICS)]


def newest(gateway: Gateway) -> dict[bytes, TickMessage]:
    return {message.topic: message for message in gateway.listener.ticks}


async def heard_all(worker: Worker, gateway: Gateway) -> None:
    """Wait until the gateway's last value of every topic is the publisher's."""

    def is_level() -> bool:
        seen = newest(gateway)
        return all(
            seen.get(tick_topic("1", each.key)) == worker.publisher.snapshot("1", each.key)
            for each in INSTRUMENTS
        )

    await eventually(is_level, timeout=20, interval=0.1, message="a last value is missing")


async def test_a_burst_of_100_000_is_counted_and_healed(stack: AsyncExitStack) -> None:
    """Into queues of 500: gaps are what was published and did not arrive; nothing stays old."""
    port = free_port()
    worker = await Worker(port, send_hwm=500).open()
    stack.push_async_callback(worker.close)
    gateway = await Gateway(port, receive_hwm=500, heal_seconds=0.2).open()
    stack.push_async_callback(gateway.close)
    await gateway.met()
    wants = [Want(each.key, FeedMode.QUOTE) for each in INSTRUMENTS]
    await gateway.link.want("1", "c", wants)
    for each in INSTRUMENTS:
        worker.sink().publish(each, tick(0), 1)
    await heard_all(worker, gateway)
    counters = gateway.link.counters
    assert counters.gaps == 0

    rng = random.Random(7)
    for number in range(BURST):  # no breath for the gateway's loop
        worker.sink().publish(rng.choice(INSTRUMENTS), tick(number), 1)
    await heard_all(worker, gateway)
    lost = worker.publisher.published - counters.received
    assert lost > BURST // 10
    assert counters.gaps == lost
    assert counters.healed > 0
    await asyncio.sleep(0.3)
    assert counters.gaps == lost  # nothing is counted twice, and nothing came late


async def test_the_only_tick_of_a_silent_topic_is_made_up_for(stack: AsyncExitStack) -> None:
    """Nothing follows it that could show its loss; the beat behind it does."""
    port = free_port()
    worker = await Worker(port).open()
    stack.push_async_callback(worker.close)
    gateway = await Gateway(port, heal_seconds=0.05).open()
    stack.push_async_callback(gateway.close)
    await gateway.met()
    await gateway.link.want("1", "c", [Want(INSTRUMENTS[0].key, FeedMode.QUOTE)])
    worker.sink().publish(INSTRUMENTS[0], tick(1), 1)
    await eventually(lambda: len(gateway.listener.ticks) == 1)

    send, worker.publisher._send = worker.publisher._send, lambda message, flags: None
    worker.sink().publish(INSTRUMENTS[0], tick(2), 1)
    worker.publisher._send = send
    last = worker.publisher.snapshot("1", INSTRUMENTS[0].key)
    await eventually(lambda: gateway.listener.ticks[-1] == last)
    assert gateway.link.counters.gaps == 1


@pytest.mark.parametrize("limit", [1, 2])
def test_topics_over_the_limit_settle_at_the_next_beat(limit: int) -> None:
    """None is forgotten, and none is named twice."""
    worker = Worker(free_port())
    sink = worker.sink()
    for each in INSTRUMENTS[:3]:
        sink.publish(each, tick(1), 1)
    assert worker.publisher.settled_topics(limit) == []
    named = [worker.publisher.settled_topics(limit) for _ in range(4)]
    assert [len(some) for some in named if some] == ([1, 1, 1] if limit == 1 else [2, 1])
    topics = [topic for some in named for topic, _sequence in some]
    assert sorted(topics) == sorted(tick_topic("1", each.key) for each in INSTRUMENTS[:3])


async def test_one_tick_in_64_of_a_topic_is_timed_on_its_way(stack: AsyncExitStack) -> None:
    """The first, the 65th, the 129th: in every stage that the gateway can see."""
    port = free_port()
    worker = await Worker(port).open()
    stack.push_async_callback(worker.close)
    gateway = await Gateway(port).open()
    stack.push_async_callback(gateway.close)
    await gateway.met()
    await gateway.link.want("1", "c", [Want(INSTRUMENTS[0].key, FeedMode.QUOTE)])
    for number in range(130):
        worker.sink().publish(INSTRUMENTS[0], tick(number), time.time_ns() // 1000)
        if number % 50 == 0:
            await eventually(lambda: len(gateway.listener.ticks) > number)  # noqa: B023
    await eventually(lambda: len(gateway.listener.ticks) == 130)
    stages = gateway.link.latency.stages
    await eventually(lambda: sum(stages[Stage.GATEWAY].counts) == 3)
    for stage in (Stage.WORKER, Stage.BUS):
        assert sum(stages[stage].counts) == 3
        assert 0 < stages[stage].sum_us < 60_000_000
