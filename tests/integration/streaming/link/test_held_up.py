"""What waited on the bus while a gateway, or a worker, was held up is told to nobody as live."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from brokers.pool_service import FeedChange, FeedStatus, OrderUpdated
from streaming.ports.link import TickMessage
from tests.integration.streaming.bus_kit.ends import INFY, Gateway, Worker, want
from tests.integration.streaming.bus_kit.support import instrument, tick
from tests.support import AgingClock, eventually

TCS = instrument("TCS")


async def met(port: int, stack: AsyncExitStack, **options: Any) -> tuple[Worker, Gateway]:
    """Return a worker and a gateway that has heard it; ``options`` are the gateway's."""
    worker = await Worker(port).open()
    stack.push_async_callback(worker.close)
    gateway = await Gateway(port, **options).open()
    stack.push_async_callback(gateway.close)
    await gateway.met()
    return worker, gateway


async def until_live(gateway: Gateway) -> None:
    await eventually(
        lambda: gateway.link.feed("1").status is FeedStatus.LIVE, message="never live again"
    )


async def test_what_waited_while_the_gateway_was_held_up_is_dropped(port, stack):
    """Clients hear that nothing is current, and then the worker's last word on each symbol."""
    awake = AgingClock()
    worker, gateway = await met(port, stack, awake=awake, worker_timeout_seconds=3.0)
    await gateway.link.want("1", "c", [want(), want("TCS")])
    worker.sink().publish(INFY, tick(1), 1)
    worker.sink().publish(TCS, tick(1), 1)
    await eventually(lambda: len(gateway.listener.ticks) == 2)
    await until_live(gateway)
    seen = len(gateway.listener.order)
    # All of it is read in one turn, as after the process has stood still.
    for number in range(10, 60):
        worker.sink().publish(INFY, tick(number), 1)
    awake.added_seconds += 8.0
    await eventually(lambda: gateway.listener.drops == 1)
    await until_live(gateway)
    told = gateway.listener.order[seen:]
    assert isinstance(told[0], FeedChange)
    assert told[0].status is FeedStatus.STALE
    assert told[0].reason == "this gateway was held up for 8 s"
    passed_on = [each.sequence for each in told if isinstance(each, TickMessage)]
    # The last of the fifty, and of the symbol that did not tick what clients may not have got.
    assert sorted(passed_on) == [1, 51]
    worker.sink().publish(INFY, tick(60), 1)
    await eventually(lambda: gateway.listener.ticks[-1].sequence == 52)


async def test_an_answer_that_waited_meanwhile_is_looked_at_as_late_as_a_tick(port, stack):
    """A want's answer brings a last price, and may come before any tick and any timer."""
    awake = AgingClock()
    _, gateway = await met(port, stack, awake=awake, worker_timeout_seconds=3.0)
    await gateway.link.want("1", "c", [want()])
    await until_live(gateway)
    awake.added_seconds += 8.0
    gateway.link._peers[0]._on_control([])
    assert gateway.listener.drops == 1
    assert gateway.link.feed("1").status is FeedStatus.STALE
    await until_live(gateway)


async def test_what_a_worker_that_was_silent_has_still_to_say_waits_for_its_last_word(port, stack):
    """Its first ticks and beats may be of before: they wait where it was held up, or on the way."""
    worker, gateway = await met(port, stack)
    await gateway.link.want("1", "c", [want()])
    worker.sink().publish(INFY, tick(1), 1)
    await eventually(lambda: gateway.listener.ticks)
    await until_live(gateway)
    gateway.link._lose(gateway.link._peers[0])
    seen = len(gateway.listener.order)
    worker.sink().publish(INFY, tick(10), 1)
    worker.sink().publish(INFY, tick(11), 1)
    await until_live(gateway)
    told = gateway.listener.order[seen:]
    assert [each.sequence for each in told if isinstance(each, TickMessage)] == [3]


async def test_a_worker_that_was_started_anew_meanwhile_is_caught_up_with(port, stack):
    """Its beats are numbered from one again."""
    awake = AgingClock()
    gateway = await Gateway(port, awake=awake, worker_timeout_seconds=3.0).open()
    stack.push_async_callback(gateway.close)
    first = await Worker(port, epoch=1).open()
    await gateway.met()
    await gateway.link.want("1", "c", [want()])
    await eventually(lambda: gateway.link._peers[0].beat_number >= 3)
    await first.close()
    awake.added_seconds += 8.0
    await eventually(lambda: gateway.listener.drops == 1)
    second = await Worker(port, epoch=2).open()
    stack.push_async_callback(second.close)
    await eventually(lambda: second.service.holders("1"))
    second.sink().publish(INFY, tick(7), 1)
    await until_live(gateway)
    await eventually(lambda: gateway.listener.ticks[-1].epoch == 2)


async def test_an_order_of_the_time_in_between_is_told(port, stack):
    """What became of it stays true, unlike a price, and nobody says it again."""
    worker, gateway = await met(port, stack)
    await gateway.link.want("1", "c", [want()])
    await until_live(gateway)
    gateway.link._lose(gateway.link._peers[0])
    order = OrderUpdated("1", {"order_id": "7"})
    worker.service.emit(order)
    await eventually(lambda: order in gateway.listener.order)
