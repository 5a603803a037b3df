"""Pools that end and come back, as a gateway sees it: no price of before, and every want again."""

from __future__ import annotations

import pytest

from brokers.pool_service import FeedChange, FeedStatus, Outcome, OutcomeState, SubscriptionChange
from brokers.types import FeedMode
from streaming.link.zmq_feed_link import ZmqFeedLink
from tests.integration.streaming.bus_kit.ends import INFY, INFY_TOPIC, Gateway, Worker, want
from tests.integration.streaming.bus_kit.fakes import RecordingListener
from tests.integration.streaming.bus_kit.support import instrument, tick
from tests.support import bus_at, eventually, free_port


async def hear_a_price(worker: Worker, gateway: Gateway) -> None:
    await gateway.link.want("1", "early", [want()])
    worker.sink().publish(INFY, tick(1), 1)
    await eventually(lambda: gateway.listener.sequences(INFY_TOPIC)[-1:] == [1])


async def snapshots_of_a_newcomer(gateway: Gateway, client: str = "late") -> list[int]:
    reply = await gateway.link.want("1", client, [want()])
    return [message.sequence for message in reply.snapshots]


def restart_pool(worker: Worker) -> None:
    """End the pool and open it again between two beats, as a changed broker does."""
    worker.sink().close()
    worker.service.held["1"].clear()
    worker.service.life += 1


async def test_a_pool_that_was_restarted_between_two_beats_is_told_everything_again(
    worker, gateway
):
    """It knows of no want; its clients hear ``stale``, and newcomers get nothing of before."""
    await hear_a_price(worker, gateway)
    assert await snapshots_of_a_newcomer(gateway) == [1]
    restart_pool(worker)
    everybody = {("early", "INFY"), ("late", "INFY")}
    await eventually(lambda: worker.service.holders("1") == everybody)
    assert FeedStatus.STALE in gateway.listener.statuses()
    assert await snapshots_of_a_newcomer(gateway, "later") == []
    worker.publisher.for_pool("1", "binance").publish(INFY, tick(2), 1)
    await eventually(lambda: gateway.listener.sequences(INFY_TOPIC) == [1, 2])
    assert await snapshots_of_a_newcomer(gateway, "last") == [2]


async def test_what_a_new_pool_says_before_its_beat_is_not_believed(port, stack):
    """Its word on the control link may come first; nobody here has asked it for anything yet."""
    worker = await Worker(port).open()
    stack.push_async_callback(worker.close)
    gateway = await (await Gateway(port).open()).met()
    stack.push_async_callback(gateway.close)
    await eventually(lambda: gateway.link.gateway_id in worker.server.gateways)
    await hear_a_price(worker, gateway)
    live = len(gateway.listener.events)
    worker.service.emit(FeedChange("1", FeedStatus.LIVE, 9, "connected again", life=7))
    worker.service.emit(FeedChange("2", FeedStatus.STALE, 9, "marker"))
    await eventually(lambda: len(gateway.listener.events) > live)
    changes = [e for e in gateway.listener.events[live:] if isinstance(e, FeedChange)]
    assert next(e.status for e in changes if e.pool_id == "1") is FeedStatus.STALE


@pytest.mark.parametrize("status", [FeedStatus.CLOSED, FeedStatus.STALE, FeedStatus.AUTH_REQUIRED])
@pytest.mark.parametrize("named", [True, False], ids=["named", "whole pool"])
async def test_a_price_that_was_told_to_be_old_is_handed_to_nobody(worker, gateway, status, named):
    """Whatever ended it: a newcomer gets the next price, not the one of before."""
    await hear_a_price(worker, gateway)
    worker.sink().forget(None)
    keys = [INFY.key] if named else None
    worker.service.emit(FeedChange("1", status, 2**50, "over", keys, life=1))
    await eventually(lambda: gateway.listener.events[-1].status is status)
    assert await snapshots_of_a_newcomer(gateway) == []
    worker.sink().publish(INFY, tick(2), 1)
    await eventually(lambda: gateway.listener.sequences(INFY_TOPIC) == [1, 2])
    assert await snapshots_of_a_newcomer(gateway, "later") == [2]


async def test_a_killed_worker_s_prices_are_not_those_of_its_successor(port, stack, monkeypatch):
    """Also when it is back before anybody missed it: a new epoch is told as ``stale``."""
    gateway = await Gateway(port).open()
    stack.push_async_callback(gateway.close)
    first = await Worker(port, epoch=5).open()
    await gateway.met()
    await hear_a_price(first, gateway)
    # Killed, it takes no leave.
    monkeypatch.setattr(first.server, "_send_beat", lambda farewell="": None)
    await first.close()
    heard = len(gateway.listener.changes())
    second = await Worker(port, epoch=6).open()
    stack.push_async_callback(second.close)
    await eventually(lambda: second.service.holders("1") == {("early", "INFY")})
    changes = gateway.listener.changes()[heard:]
    assert [change.status for change in changes] == [FeedStatus.STALE], changes
    assert "restarted" in changes[0].reason
    assert await snapshots_of_a_newcomer(gateway) == []
    assert gateway.link.feed("1").status is FeedStatus.STALE
    assert gateway.link.pools()["1"].status is FeedStatus.STALE
    second.sink().publish(INFY, tick(7), 1)
    await eventually(lambda: gateway.link.feed("1").status is FeedStatus.LIVE)
    order = [type(one).__name__ for one in gateway.listener.order[-2:]]
    assert order == ["TickMessage", "FeedChange"], "live is told with the price, not before"


async def test_a_pool_that_moves_to_another_worker_leaves_its_prices_behind(port, stack):
    """Two workers, one after the other, on two addresses: the later one takes it over."""
    other = free_port()
    listener = RecordingListener()
    link = ZmqFeedLink(
        buses=[bus_at(one) for one in (port, other)],
        worker_timeout_seconds=30.0,
        request_timeout_seconds=30.0,
    )
    old = await Worker(port, epoch=3).open()
    stack.push_async_callback(old.close)
    await link.open(listener)
    stack.push_async_callback(link.close)
    await eventually(lambda: link.workers() == 1)
    await link.want("1", "c", [want()])
    old.sink().publish(INFY, tick(1), 1)
    await eventually(lambda: listener.ticks)
    new = await Worker(other, epoch=9).open()
    stack.push_async_callback(new.close)
    await eventually(lambda: new.service.holders("1") == {("c", "INFY")})
    assert FeedStatus.STALE in listener.statuses()
    reply = await link.want("1", "late", [want()])
    assert [one.state for one in reply.outcomes] == [OutcomeState.ACTIVE]
    assert reply.snapshots == []


async def test_another_pool_s_prices_are_left_alone(worker, gateway):
    await hear_a_price(worker, gateway)
    await gateway.link.want("2", "c", [want("TCS")])
    worker.sink("2").publish(instrument("TCS"), tick(1), 1)
    await eventually(lambda: len(gateway.listener.ticks) == 2)
    worker.service.emit(FeedChange("1", FeedStatus.CLOSED, 2**50, "over", life=1))
    await eventually(lambda: gateway.listener.events[-1].status is FeedStatus.CLOSED)
    reply = await gateway.link.want("2", "late", [want("TCS")])
    assert [message.sequence for message in reply.snapshots] == [1]


async def test_what_does_not_come_back_with_the_others_is_named(port, stack):
    """The pool is live once it may be; a symbol without a price is not."""
    gateway = await Gateway(port, settle_seconds=0.2).open()
    stack.push_async_callback(gateway.close)
    first = await Worker(port, epoch=5).open()
    await gateway.met()
    await gateway.link.want("1", "c", [want(), want("TCS"), want("ACKED")])
    await first.close()
    second = Worker(port, epoch=6)
    second.service.state = OutcomeState.PENDING
    await second.open()
    stack.push_async_callback(second.close)
    await eventually(lambda: len(second.service.holders("1")) == 3)
    gateway.listener.events.clear()
    tcs, acked = instrument("TCS").key, instrument("ACKED").key
    outcome = Outcome(acked, OutcomeState.ACTIVE, FeedMode.QUOTE)
    second.service.emit(SubscriptionChange("1", [outcome], life=1))
    second.sink().publish(INFY, tick(1), 1)
    await eventually(lambda: gateway.listener.ticks)
    assert gateway.link.feed("1").status is FeedStatus.STALE
    gateway.age(11)
    await eventually(lambda: gateway.link.feed("1").status is FeedStatus.LIVE)
    live, named = gateway.listener.changes()
    assert (live.status, live.keys) == (FeedStatus.LIVE, None)
    assert (named.status, named.keys) == (FeedStatus.STALE, (tcs,))
    second.sink().publish(instrument("TCS"), tick(1), 1)
    await eventually(lambda: len(gateway.listener.changes()) == 3)
    last = gateway.listener.changes()[-1]
    assert (last.status, last.keys) == (FeedStatus.LIVE, (tcs,))
