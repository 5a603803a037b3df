"""A gateway's link and a worker's control server over real ZeroMQ sockets."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import uvloop

from brokers.pool_service import (
    FeedChange,
    FeedStatus,
    OrderUpdated,
    OutcomeState,
    RefusalCode,
)
from brokers.types import FeedMode, InstrumentKey
from streaming.link.zmq_feed_link import ZmqFeedLink
from streaming.ports.link import FeedOverview
from streaming.wire.topics import tick_topic
from tests.integration.streaming.bus_kit.ends import INFY, INFY_TOPIC, Gateway, Worker, want
from tests.integration.streaming.bus_kit.support import instrument, tick
from tests.support import bus_at, eventually


async def test_an_ack_is_followed_by_snapshot_and_stream(worker, gateway):
    """Subscribe, honest outcome, last known value, then what comes."""
    worker.sink().publish(INFY, tick(1), 1)
    reply = await gateway.link.want("1", "c", [want()])
    assert [(one.state, one.mode) for one in reply.outcomes] == [(OutcomeState.ACTIVE, 2)]
    assert [message.sequence for message in reply.snapshots] == [1]
    worker.sink().publish(INFY, tick(2), 1)
    await eventually(lambda: gateway.listener.sequences(INFY_TOPIC) == [2])
    assert worker.service.holders("1") == {("c", "INFY")}
    assert gateway.link.feed("1").status is FeedStatus.LIVE
    assert isinstance(gateway.link, FeedOverview)
    assert gateway.link.workers() == 1


async def test_what_a_worker_says_of_thousands_is_named_as_they_were_asked_for(worker, gateway):
    """Not by names of its own, which take 200 bytes a symbol until the client has its answer."""
    asked = [want()]
    (outcome,) = (await gateway.link.want("1", "c", asked)).outcomes
    assert outcome.key is asked[0].key
    assert outcome.details == {}


async def test_last_values_are_told_without_wanting_anything(worker, gateway):
    """A search asks for a price that another gateway's client holds, and holds nothing by that."""
    keys = [INFY.key, InstrumentKey("NSE", "TCS")]
    assert await gateway.link.last_values("1", keys) == []
    worker.sink().publish(INFY, tick(1), 1)
    (message,) = await gateway.link.last_values("1", keys)
    assert (message.topic, message.sequence) == (INFY_TOPIC, 1)
    assert await gateway.link.last_values("2", keys) == [], "another pool's"
    assert await gateway.link.last_values("unknown", keys) == []
    assert worker.service.holders("1") == set()
    worker.sink().publish(INFY, tick(2), 1)
    await asyncio.sleep(0.1)
    assert gateway.listener.sequences(INFY_TOPIC) == []


def test_everything_works_on_uvloop(port):
    """The loop that worker and gateway run on."""

    async def subscribe_and_hear() -> list[int]:
        worker = await Worker(port).open()
        gateway = await (await Gateway(port).open()).met()
        await gateway.link.want("1", "c", [want()])
        for number in range(5):
            worker.sink().publish(INFY, tick(number), 1)
        await eventually(lambda: len(gateway.listener.ticks) == 5)
        await gateway.close()
        await eventually(lambda: not worker.service.holders("1"))
        await worker.close()
        return gateway.listener.sequences(INFY_TOPIC)

    assert uvloop.run(subscribe_and_hear()) == [1, 2, 3, 4, 5]


async def test_after_the_ack_nothing_is_lost_or_repeated(worker, gateway):
    """Clients come and go under a publishing thread; from each snapshot on every tick counts."""
    stop = threading.Event()
    sink = worker.sink()
    symbols = [instrument(f"S{number}") for number in range(5)]

    def hammer() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            sink.publish(symbols[number % 5], tick(number), 1)
            if number % 20 == 0:
                time.sleep(0.001)

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        for turn in range(12):
            one = symbols[turn % 5]
            topic = tick_topic("1", one.key)
            reply = await gateway.link.want("1", f"c{turn}", [want(one.key.symbol)])
            gateway.listener.ticks.clear()
            start = reply.snapshots[0].sequence if reply.snapshots else 0
            await eventually(lambda topic=topic: len(gateway.listener.sequences(topic)) > 20)
            heard = gateway.listener.sequences(topic)
            assert heard == list(range(start + 1, start + 1 + len(heard)))
            if turn % 3:
                await gateway.link.release("1", f"c{turn}", None)
    finally:
        stop.set()
        thread.join()
    assert gateway.link.counters.gaps == 0


async def test_a_second_client_gets_the_newest_value_that_came(worker, gateway):
    """Of a topic that is open already, what came over the bus is the snapshot."""
    await gateway.link.want("1", "a", [want()])
    worker.sink().publish(INFY, tick(1), 1)
    await eventually(lambda: gateway.listener.ticks)
    reply = await gateway.link.want("1", "b", [want()])
    assert reply.snapshots == gateway.listener.ticks
    assert worker.service.holders("1") == {("a", "INFY"), ("b", "INFY")}


async def test_the_topic_stays_open_until_the_last_client_releases(worker, gateway):
    """Ticks go on for the other client, then stop, and are not even sent any more."""
    sink = worker.sink()
    await gateway.link.want("1", "a", [want(), want("TCS")])
    await gateway.link.want("1", "b", [want()])
    await gateway.link.release("1", "a", [INFY.key])
    sink.publish(INFY, tick(1), 1)
    await eventually(lambda: gateway.listener.sequences(INFY_TOPIC) == [1])
    await gateway.link.release("1", "b", None)
    await gateway.link.release("1", "b", None)
    sink.publish(INFY, tick(2), 1)
    sink.publish(instrument("TCS"), tick(1), 1)
    await eventually(lambda: gateway.listener.sequences(b"1/NSE/TCS\0") == [1])
    assert gateway.listener.sequences(INFY_TOPIC) == [1]
    await eventually(lambda: worker.service.holders("1") == {("a", "TCS")})


async def test_pools_never_mix(worker, gateway):
    """The same symbol of another pool is another user's business."""
    await gateway.link.want("1", "c", [want()])
    worker.sink("2").publish(INFY, tick(1), 1)
    worker.sink("1").publish(INFY, tick(2), 1)
    await eventually(lambda: gateway.listener.ticks)
    assert [message.topic for message in gateway.listener.ticks] == [INFY_TOPIC]


async def test_refused_wants_are_forgotten(worker, gateway):
    """The others of the request succeed; a refused change leaves the earlier want in force."""
    worker.service.refused.add("NOPE")
    reply = await gateway.link.want("1", "c", [want("NOPE"), want(), want("BAD\0")])
    states = [(one.key.symbol, one.state, one.code) for one in reply.outcomes]
    assert states == [
        ("NOPE", OutcomeState.REFUSED, RefusalCode.SYMBOL_NOT_FOUND),
        ("INFY", OutcomeState.ACTIVE, None),
        ("BAD\0", OutcomeState.REFUSED, RefusalCode.SYMBOL_NOT_FOUND),
    ]
    worker.sink().publish(instrument("NOPE"), tick(1), 1)
    worker.service.refused.add("INFY")
    reply = await gateway.link.want("1", "c", [want(mode=FeedMode.DEPTH)])
    assert reply.outcomes[0].state is OutcomeState.REFUSED
    worker.sink().publish(INFY, tick(1), 1)
    await eventually(lambda: gateway.listener.sequences(INFY_TOPIC) == [1])
    assert gateway.listener.sequences(b"1/NSE/NOPE\0") == []


async def test_a_long_list_is_sent_in_pieces(worker, gateway):
    """An SDK replays 9,000 symbols in one frame."""
    wants = [want(f"S{number}") for number in range(1234)]
    reply = await gateway.link.want("1", "c", wants)
    assert [one.key for one in reply.outcomes] == [one.key for one in wants]
    assert all(one.state is OutcomeState.ACTIVE for one in reply.outcomes)
    assert len(worker.service.holders("1")) == 1234
    await gateway.link.release("1", "c", [one.key for one in wants[1:]])
    await eventually(lambda: worker.service.holders("1") == {("c", "S0")})


async def test_a_slow_pool_does_not_hold_up_others(worker, gateway):
    """Its wants are PENDING in time, and the late answer is an event."""
    worker.service.stall("1")
    asking = asyncio.create_task(gateway.link.want("1", "c", [want()]))
    await eventually(lambda: worker.service.want_calls)
    other = await gateway.link.want("2", "c", [want()])
    assert other.outcomes[0].state is OutcomeState.ACTIVE
    assert not asking.done()
    slow = Gateway(worker.publisher.bus.port, request_timeout_seconds=0.2)
    await slow.open()
    await slow.met()
    reply = await slow.link.want("1", "c", [want()])
    assert reply.outcomes[0].state is OutcomeState.PENDING
    assert not slow.listener.events[2:]
    worker.sink().publish(INFY, tick(1), 1)
    worker.service.resume()
    await eventually(lambda: slow.listener.settled() == [OutcomeState.ACTIVE])
    await eventually(lambda: slow.listener.sequences(INFY_TOPIC) == [1])
    assert (await asking).outcomes[0].state is OutcomeState.ACTIVE
    await slow.close()


async def test_requests_of_one_client_keep_their_order(worker, gateway):
    """A release sent behind a slow want is done after it."""
    worker.service.stall("1")
    asking = asyncio.create_task(gateway.link.want("1", "c", [want()]))
    await eventually(lambda: worker.service.want_calls)
    await gateway.link.release("1", "c", None)
    # Its answer proves that the release before it has reached the worker.
    await gateway.link.want("2", "marker", [want()])
    worker.service.resume()
    await asking
    await eventually(lambda: not worker.service.holders("1"))


async def test_a_cancelled_want_is_cleaned_by_a_release(worker, gateway):
    """However far it got, nothing stays behind."""
    worker.service.stall("1")
    asking = asyncio.create_task(gateway.link.want("1", "c", [want()]))
    await eventually(lambda: worker.service.want_calls)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await gateway.link.release("1", "c", None)
    # Its answer proves that the release before it has reached the worker.
    await gateway.link.want("2", "marker", [want()])
    worker.service.resume()
    await gateway.link.want("2", "c", [want("LATER")])
    await eventually(lambda: not worker.service.holders("1"))
    worker.sink().publish(INFY, tick(1), 1)
    worker.sink("2").publish(instrument("LATER"), tick(1), 1)
    await eventually(lambda: gateway.listener.ticks)
    assert gateway.listener.sequences(INFY_TOPIC) == []


async def test_events_reach_the_gateway(worker, gateway):
    """Feed changes, late outcomes and orders, each as it was.

    Beats tell the pool's state, too, on another socket: the state alone does not show that the
    events have come.
    """
    order = OrderUpdated("1", {"order_id": "1", "price": 1.5, "tags": [None, "x"]})
    worker.service.emit(order)
    partial = FeedChange("1", FeedStatus.STALE, 5, "no ticks", [INFY.key])
    worker.service.emit(partial)
    await eventually(lambda: order in gateway.listener.events)
    await eventually(lambda: partial in gateway.listener.events)
    later = 4_000_000_000_000
    worker.service.change("1", FeedStatus.AUTH_REQUIRED, later, "token expired")
    worker.service.emit(OrderUpdated("1", {"too": object()}))
    await eventually(lambda: gateway.link.feed("1").status is FeedStatus.AUTH_REQUIRED)
    assert worker.server.events_dropped == 1


async def test_the_beat_tells_what_an_event_did_not(worker, gateway):
    """A gateway that missed a change learns of it with the next beat."""
    worker.service.status, worker.service.since_ms = FeedStatus.STALE, 3
    await eventually(lambda: gateway.link.feed("1").status is FeedStatus.STALE)
    await eventually(lambda: gateway.listener.statuses() == [FeedStatus.LIVE, FeedStatus.STALE])


async def test_statistics_come_through(worker, gateway):
    """As the worker has them."""
    await gateway.link.want("1", "c", [want()])
    stats = await gateway.link.stats("1")
    assert stats == worker.service.stats("1")
    assert stats.wanted == 1


async def test_a_failing_service_is_no_answer_but_pending(worker, gateway):
    """No exception text leaves the worker, and the want is asked again until it works."""
    worker.service.broken = True
    reply = await gateway.link.want("1", "c", [want()])
    assert reply.outcomes[0].state is OutcomeState.PENDING
    worker.service.broken = False
    await eventually(lambda: worker.service.holders("1") == {("c", "INFY")})
    await eventually(lambda: gateway.listener.settled() == [OutcomeState.ACTIVE])


async def test_lost_ticks_are_counted_and_the_last_one_healed(port, stack):
    """Gaps equal drops, and the value after a burst is the newest although its tick was lost."""
    worker = await Worker(port, send_hwm=50).open()
    stack.push_async_callback(worker.close)
    gateway = await Gateway(port, receive_hwm=50, heal_seconds=0.01).open()
    stack.push_async_callback(gateway.close)
    await gateway.met()
    await gateway.link.want("1", "c", [want()])
    # Bursts without a breath for the loop until one overflows the queues in its middle.
    before = 0
    for _ in range(20):
        for number in range(20_000):
            worker.sink().publish(INFY, tick(number), 1)
        await asyncio.sleep(0.05)
        if gateway.link.counters.gaps:
            break
    last = worker.publisher.snapshot("1", INFY.key)
    assert last is not None
    await eventually(lambda: gateway.listener.ticks[-1] == last)
    heard = gateway.listener.sequences(INFY_TOPIC)
    assert heard == sorted(set(heard))
    assert gateway.link.counters.gaps > before
    healed = len(heard) - gateway.link.counters.received
    assert gateway.link.counters.gaps == last.sequence - gateway.link.counters.received
    assert healed >= 0
    await eventually(
        lambda: worker.server.gaps_reported == gateway.link.counters.gaps,
        message="the worker never learned of the losses",
    )


def test_unusable_settings_are_refused():
    """Before any socket exists."""
    with pytest.raises(ValueError, match="at least one bus"):
        ZmqFeedLink(buses=[])
    with pytest.raises(ValueError, match="gateway_id"):
        ZmqFeedLink(buses=[bus_at()], gateway_id="é")
    with pytest.raises(ValueError, match="positive"):
        ZmqFeedLink(buses=[bus_at()], heal_seconds=0)
