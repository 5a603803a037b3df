"""Workers and gateways that come, go, fall silent or are replaced: what the other end then does."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from brokers.pool_service import (
    FeedChange,
    FeedStatus,
    OutcomeState,
)
from brokers.types import FeedMode, InstrumentKey
from streaming.exceptions import BusError
from streaming.link.zmq_feed_link import ZmqFeedLink
from tests.integration.streaming.bus_kit.ends import INFY, INFY_TOPIC, Gateway, Worker, want
from tests.integration.streaming.bus_kit.fakes import RecordingListener
from tests.integration.streaming.bus_kit.support import tick
from tests.support import bus_at, eventually, free_port


async def test_without_a_worker_everything_is_pending_at_once(port, stack):
    """A client gets its answer, and no exception, while no worker is there."""
    gateway = await Gateway(port).open()
    stack.push_async_callback(gateway.close)
    asking = asyncio.create_task(gateway.link.want("1", "c", [want()]))
    await asyncio.sleep(0)
    assert asking.done(), "there is nothing to wait for"
    reply = await asking
    assert [one.state for one in reply.outcomes] == [OutcomeState.PENDING]
    assert await gateway.link.stats("1") is None
    assert gateway.link.feed("1").status is FeedStatus.STALE
    assert gateway.link.workers() == 0
    worker = await Worker(port).open()
    stack.push_async_callback(worker.close)
    worker.sink().publish(INFY, tick(1), 1)
    await eventually(lambda: worker.service.holders("1") == {("c", "INFY")})
    await eventually(lambda: gateway.listener.settled() == [OutcomeState.ACTIVE])
    await eventually(lambda: gateway.listener.sequences(INFY_TOPIC) == [1])


async def test_a_restarted_worker_is_told_everything_again(port, stack):
    """Silence is STALE; the successor gets all wants, and its ticks count anew."""
    gateway = await Gateway(port).open()
    stack.push_async_callback(gateway.close)
    first = await Worker(port, epoch=5).open()
    await gateway.met()
    await gateway.link.want("1", "a", [want(f"S{number}") for number in range(700)])
    await gateway.link.want("1", "b", [want()])
    first.sink().publish(INFY, tick(1), 1)
    first.sink().publish(INFY, tick(2), 1)
    await eventually(lambda: gateway.listener.sequences(INFY_TOPIC) == [1, 2])
    await first.close()
    await gateway.give_up()
    assert gateway.listener.statuses()[-1] is FeedStatus.STALE
    assert gateway.link.feed("1").status is FeedStatus.STALE
    reply = await gateway.link.want("1", "late", [want()])
    assert reply.outcomes[0].state is OutcomeState.PENDING
    await gateway.link.release("1", "a", [InstrumentKey("NSE", "S0")])

    second = await Worker(port, epoch=6).open()
    stack.push_async_callback(second.close)
    expected = {("a", f"S{number}") for number in range(1, 700)} | {("b", "INFY"), ("late", "INFY")}
    await eventually(lambda: second.service.holders("1") == expected)
    await eventually(lambda: gateway.listener.statuses()[-1] is FeedStatus.LIVE)
    second.sink().publish(INFY, tick(3), 1)
    await eventually(lambda: gateway.listener.ticks[-1].epoch == 6)
    assert gateway.listener.sequences(INFY_TOPIC) == [1, 2, 1]
    said = {one.stands for _, _, wants in second.service.want_calls for one in wants}
    assert said == {True}, "what clients were told before stands"
    assert not any(one.stands for _, _, wants in first.service.want_calls for one in wants)


async def test_an_older_worker_is_not_listened_to(port, stack):
    """A worker of a lower epoch on another address cannot take a pool or its ticks back."""
    other = free_port()
    new = await Worker(port, epoch=9).open()
    stack.push_async_callback(new.close)
    old = await Worker(other, epoch=3).open()
    stack.push_async_callback(old.close)
    listener = RecordingListener()
    link = ZmqFeedLink(
        buses=[bus_at(one) for one in (other, port)],
        worker_timeout_seconds=30.0,
        request_timeout_seconds=30.0,
    )
    await link.open(listener)
    stack.push_async_callback(link.close)
    await eventually(lambda: link.workers() == 2)
    await link.want("1", "c", [want()])
    await eventually(lambda: new.service.holders("1") == {("c", "INFY")})
    await link.want("1", "d", [want()])
    assert ("d", "INFY") in new.service.holders("1")
    old.sink().publish(INFY, tick(1), 1)
    new.sink().publish(INFY, tick(2), 1)
    await eventually(lambda: listener.ticks)
    assert [message.epoch for message in listener.ticks] == [9]


async def test_a_pool_that_no_worker_owns_is_pending(worker, gateway):
    """It may be on its way to another worker."""
    reply = await gateway.link.want("77", "c", [want()])
    assert reply.outcomes[0].state is OutcomeState.PENDING
    assert await gateway.link.stats("77") is None
    worker.service.held["77"] = {}
    await eventually(lambda: worker.service.holders("77") == {("c", "INFY")})
    del worker.service.held["77"]
    await eventually(lambda: gateway.listener.statuses("77")[-1:] == [FeedStatus.STALE])


async def test_goodbye_releases_at_once(worker, gateway):
    """A gateway that ends in order leaves nothing behind."""
    await gateway.link.want("1", "c", [want()])
    await gateway.close()
    await gateway.close()
    await eventually(lambda: not worker.service.holders("1"))
    assert gateway.link.gateway_id in worker.service.gateways_released
    assert not worker.server.gateways
    with pytest.raises(BusError):
        await gateway.link.open(gateway.listener)


async def test_a_goodbye_ends_requests_under_way(worker, gateway):
    """A want that lands after the release would be held for ever."""
    worker.service.stall("1")
    asking = asyncio.create_task(gateway.link.want("1", "c", [want()]))
    await eventually(lambda: worker.service.want_calls)
    await gateway.close()
    assert (await asking).outcomes[0].state is OutcomeState.PENDING
    await eventually(lambda: worker.service.gateways_released)
    worker.service.resume()
    await worker.server.close()
    assert not worker.service.holders("1")


async def test_after_a_refused_change_a_new_worker_hears_of_the_earlier_want(port, stack):
    """The broker's no to Depth does not end the Quote that the client had."""
    gateway = await Gateway(port).open()
    stack.push_async_callback(gateway.close)
    first = await Worker(port, epoch=1).open()
    await gateway.met()
    await gateway.link.want("1", "c", [want()])
    first.service.refused.add("INFY")
    await gateway.link.want("1", "c", [want(mode=FeedMode.DEPTH)])
    await first.close()
    second = await Worker(port, epoch=2).open()
    stack.push_async_callback(second.close)
    await eventually(lambda: second.service.want_calls)
    assert second.service.want_calls[0][2] == (msgspec.structs.replace(want(), stands=True),)


async def test_a_silent_gateway_is_released_and_comes_back(port, stack):
    """Its references go after the silence; when it speaks again it says everything again."""
    worker = await Worker(port, gateway_timeout_seconds=0.4).open()
    stack.push_async_callback(worker.close)
    gateway = await Gateway(port).open()
    stack.push_async_callback(gateway.close)
    await gateway.met()
    await gateway.link.want("1", "c", [want()])
    # Heartbeats come each second: slower than this worker's patience.
    await eventually(lambda: not worker.service.holders("1"), message="never released")
    await eventually(lambda: worker.service.holders("1"), message="never came back")
    assert gateway.link.gateway_id in worker.service.gateways_released


async def test_ones_own_delay_is_nobodys_silence(port, stack):
    """What came while a process was held up is read before anybody is given up.

    The clients of a gateway heard nothing meanwhile, and are told so; all is well right after.
    """
    worker = await Worker(port, gateway_timeout_seconds=2.5).open()
    stack.push_async_callback(worker.close)
    gateway = await Gateway(port, worker_timeout_seconds=2.0).open()
    stack.push_async_callback(gateway.close)
    await gateway.met()
    await gateway.link.want("1", "c", [want()])
    worker.sink().publish(INFY, tick(1), 1)
    time.sleep(3.0)  # noqa: ASYNC251 - holds up both
    await gateway.link.want("1", "c", [want("TCS")])
    three = [FeedStatus.LIVE, FeedStatus.STALE, FeedStatus.LIVE]
    await eventually(lambda: gateway.listener.statuses() == three)
    (stale,) = [e for e in gateway.listener.changes() if e.status is FeedStatus.STALE]
    assert "this gateway was held up" in stale.reason
    assert worker.service.gateways_released == []


async def test_a_worker_that_ends_says_so(worker, gateway):
    """Clients hear it from the worker, not from its silence some seconds later."""
    await worker.server.close()
    await eventually(lambda: gateway.link.feed("1").status is FeedStatus.STALE)
    told = [event for event in gateway.listener.events if isinstance(event, FeedChange)]
    assert [change.reason for change in told if change.pool_id == "1"][
        1
    ] == "the worker was stopped"


async def test_a_worker_whose_clock_was_set_back_is_heard(port, stack):
    """Its epoch is lower than its predecessor's; after the silence that does not matter."""
    gateway = await Gateway(port).open()
    stack.push_async_callback(gateway.close)
    first = await Worker(port, epoch=5).open()
    await gateway.met()
    await gateway.link.want("1", "c", [want()])
    first.sink().publish(INFY, tick(1), 1)
    await eventually(lambda: gateway.listener.ticks)
    await first.close()
    await gateway.give_up()
    second = await Worker(port, epoch=4).open()
    stack.push_async_callback(second.close)
    await eventually(lambda: second.service.holders("1"))
    await eventually(lambda: gateway.listener.statuses()[-1] is FeedStatus.LIVE)
    second.sink().publish(INFY, tick(2), 1)
    await eventually(lambda: gateway.listener.ticks[-1].epoch == 4)


async def test_the_end_of_the_beats_is_noticed(worker):
    """A worker that no longer shows itself must end instead of pretending."""
    failing = asyncio.create_task(worker.server.wait_failed())

    def fail(pool_id: str) -> None:
        raise RuntimeError("statistics are broken")

    worker.service.stats = fail
    with pytest.raises(RuntimeError):
        await failing
