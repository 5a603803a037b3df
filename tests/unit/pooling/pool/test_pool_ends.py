"""How pools end and begin again in one running worker, and that each minds its own account only."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from brokers.pool_service import FeedChange, FeedStatus, SubscriptionChange
from brokers.registry import BrokerRegistry
from pooling.contracts import CommandVerb
from pooling.pool.pool import ConnectionPool
from pooling.testing import make_adapter_class
from streaming.worker.publisher import SharedZmqPublisher
from tests.support import bus_at
from tests.unit.pooling.kit import ACTIVE, PENDING, TOKEN_FIELD, key, spec, virtual
from tests.unit.pooling.worker.test_worker import WorkerKit


def two_brokers() -> BrokerRegistry:
    registry = BrokerRegistry()
    for name in ("fake", "other"):
        registry.register(make_adapter_class(name=name, credential_fields=TOKEN_FIELD))
    return registry


class PublishingKit(WorkerKit):
    """A worker whose ticks go where real ones go; the publisher's socket stays shut."""

    def __init__(self, *specs, **options):
        self.publisher = SharedZmqPublisher(bus=bus_at(), epoch=3)
        super().__init__(*specs, registry=two_brokers(), **options)

    def sink_for(self, pool_id, broker):
        return self.publisher.for_pool(pool_id, broker)

    def last_price(self, number=1, pool_id="7"):
        return self.publisher.snapshot(pool_id, key(number))

    def edit(self, pool_id="7", **changes):
        self.store.specs[pool_id] = replace(self.store.specs[pool_id], **changes)


@asynccontextmanager
async def open_worker(*specs, **options):
    kit = PublishingKit(*specs, **options)
    await kit.worker.open()
    try:
        yield kit
    finally:
        await kit.worker.close()
        kit.publisher.close()


async def disable(kit):
    account = kit.store.specs.pop("7")
    await asyncio.sleep(5)
    kit.store.specs["7"] = account


async def delete(kit):
    del kit.store.specs["7"]


async def pause(kit):
    kit.store.ask("7", CommandVerb.PAUSE)
    await asyncio.sleep(5)
    kit.store.ask("7", CommandVerb.RESUME)


async def change_the_broker(kit):
    kit.edit(broker="other")


async def change_to_an_unknown_broker_and_back(kit):
    kit.edit(broker="nobody")
    await asyncio.sleep(5)
    kit.edit(broker="fake")


async def spoil_and_mend(kit):
    kit.edit(problem="its limits make no sense")
    await asyncio.sleep(5)
    kit.edit(problem="")


async def change_the_endpoint(kit):
    kit.edit(endpoint="ws://elsewhere.invalid")


async def end_the_worker(kit):
    await kit.worker.close()


ENDS = [
    disable,
    delete,
    pause,
    change_the_broker,
    change_to_an_unknown_broker_and_back,
    spoil_and_mend,
    change_the_endpoint,
    end_the_worker,
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@virtual
async def test_no_price_of_before_is_handed_out_after_a_pool_ended(end):
    """However it ends: what it published is nobody's last price any more."""
    async with open_worker(spec()) as kit:
        await kit.want(1, 2)
        await asyncio.sleep(1)
        assert kit.last_price().sequence == 1
        kit.broker.confirms = False  # nothing ticks from here on
        await end(kit)
        await asyncio.sleep(3600)
        assert kit.last_price(1) is None
        assert kit.last_price(2) is None


@virtual
async def test_a_pool_that_comes_back_is_told_to_be_another_one():
    """What was wanted of the one before is unknown to it, so gateways have to notice."""
    async with open_worker(spec()) as kit:
        await kit.want(1)
        await asyncio.sleep(1)
        first = kit.worker.stats("7").life
        await disable(kit)
        await asyncio.sleep(5)
        second = kit.worker.stats("7").life
        assert 0 < first < second
        assert kit.worker.stats("7").wanted == 0
        await kit.want(1)
        await asyncio.sleep(1)
        events = [e for e in kit.events if isinstance(e, FeedChange | SubscriptionChange)]
        assert {e.life for e in events} == {first, second}
        assert [e.life for e in events] == sorted(e.life for e in events)
        assert kit.last_price().sequence == 2


@virtual
async def test_a_changed_broker_restarts_that_pool_and_holds_up_nobody_behind_it():
    async with open_worker(spec(), replace(spec(), pool_id="9")) as kit:
        await kit.want(1)
        await asyncio.sleep(1)
        kit.edit(broker="other")
        kit.store.specs["8"] = replace(spec(), pool_id="8")
        kit.edit("9", is_paused=True)
        await asyncio.sleep(5)
        assert sorted(kit.worker.pool_ids()) == ["7", "8", "9"]
        assert kit.worker.stats("7").broker == "other"
        assert kit.worker.stats("9").status is FeedStatus.CLOSED
        await kit.want(1)
        await asyncio.sleep(1)
        (outcome,) = await kit.want(1)
        assert outcome.state is ACTIVE
        assert b'"broker":"other"' in kit.last_price().body
        kit.edit(broker="fake")
        await asyncio.sleep(5)
        assert kit.worker.stats("7").broker == "fake"


class FaultError(Exception):
    pass


@virtual
async def test_an_account_that_breaks_when_it_is_opened_is_told_and_tried_again(monkeypatch):
    """A defect is that account's state; the accounts around it open."""
    real, broken = PublishingKit.sink_for, {"8"}

    def sink_for(self, pool_id, broker):
        if pool_id in broken:
            raise FaultError("no sink for this one")
        return real(self, pool_id, broker)

    monkeypatch.setattr(PublishingKit, "sink_for", sink_for)
    accounts = [replace(spec(), pool_id=one) for one in ("7", "8", "9")]
    async with open_worker(*accounts) as kit:
        await asyncio.sleep(10)
        assert kit.worker.pool_ids() == ["7", "9", "8"]
        stats = {each.pool_id: each for each in kit.store.statuses[-1]}
        assert stats["8"].status is FeedStatus.CLOSED
        assert "no sink for this one" in stats["8"].reason
        assert [event[:2] for event in kit.store.events] == [("8", "config_error")]
        (outcome,) = await kit.want(1, pool_id="8")
        assert outcome.state is PENDING
        broken.clear()
        await asyncio.sleep(3)
        assert kit.worker.stats("8").status is not FeedStatus.CLOSED
        await kit.want(1, pool_id="8")
        await asyncio.sleep(1)
        assert kit.last_price(pool_id="8") is not None


@pytest.mark.parametrize("step", ["update_options", "get_stats", "close", "release_gateway"])
@virtual
async def test_a_pool_with_a_defect_costs_the_others_nothing(monkeypatch, step):
    """Each loop over pools goes on behind the one that raises."""
    real = getattr(ConnectionPool, step)

    def breaks(self, *args, **kwargs):
        if self.spec.pool_id == "7":
            raise FaultError(step)
        return real(self, *args, **kwargs)

    async def breaks_later(self):
        await real(self)
        if self.spec.pool_id == "7":
            raise FaultError(step)

    async with open_worker(spec(), replace(spec(), pool_id="8")) as kit:
        await kit.want(1, pool_id="8")
        await asyncio.sleep(1)
        monkeypatch.setattr(ConnectionPool, step, breaks_later if step == "close" else breaks)
        options = replace(spec().options, max_connections=2, revision=5)
        for pool_id in ("7", "8"):
            kit.edit(pool_id, options=options)
        await asyncio.sleep(5)
        assert kit.worker.stats("8").max_connections == 2
        assert "8" in [each.pool_id for each in kit.store.statuses[-1]]
        await kit.worker.release_gateway("g1")
        assert kit.worker.stats("8").wanted == 0
        for pool_id in ("7", "8"):
            kit.edit(pool_id, broker="other")
        await asyncio.sleep(10)
        assert kit.worker.stats("8").broker == "other"


@virtual
async def test_who_watches_and_fails_keeps_no_status_from_being_written():
    def broken(stats):
        raise FaultError("watching")

    async with open_worker(spec(), on_status=broken) as kit:
        await asyncio.sleep(3.5)
        assert len(kit.store.statuses) == 4
