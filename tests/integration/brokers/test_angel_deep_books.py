"""Angel One's books of 20 levels in a pool: both frames as one tick, and what has not so many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from brokers.angel.connection import AngelAdapter
from brokers.pool_service import Holder, Outcome, OutcomeState, RefusalCode, Want
from brokers.simulator.angel.exchange import AngelExchange
from brokers.types import DepthLevel, FeedMode, InstrumentKey
from tests.integration.brokers.angel_lab import ANGEL
from tests.integration.brokers.conftest import BrokerPool, OpenPool
from tests.support import eventually

DEEP = replace(ANGEL, adapter=AngelAdapter.with_settings({"asks_20_levels": True}))
ENDED = replace(DEEP, exchange=partial(AngelExchange, has_depth_20=False))

deep = pytest.mark.parametrize("lab", [DEEP], ids=["deep"], indirect=True)
ended = pytest.mark.parametrize("lab", [ENDED], ids=["ended"], indirect=True)


def want_levels(
    kit: BrokerPool, levels: int, *keys: InstrumentKey, client: str = "ann"
) -> list[Outcome]:
    wants = [Want(key, FeedMode.DEPTH, levels) for key in keys]
    return kit.pool.want(Holder("g", client), wants, kit.instruments)


def asks(kit: BrokerPool, key: InstrumentKey, count: int) -> tuple[DepthLevel, ...]:
    return tuple(DepthLevel(*level) for level in kit.quotes[key].asks(count))


def latest(kit: BrokerPool, key: InstrumentKey) -> Sequence[DepthLevel] | None:
    ticks = [each.tick for each in kit.sink.published if each.instrument.key == key]
    return ticks[-1].asks if ticks else None


def of_exchange(kit: BrokerPool, exchange: str) -> list[InstrumentKey]:
    return [key for key in kit.keys if key.exchange == exchange]


@deep
async def test_both_frames_arrive_as_one_tick_with_the_values_meant(open_pool: OpenPool):
    kit = await open_pool(rate=0, symbols_per_connection=60, max_connections=1)
    shares = of_exchange(kit, "NSE")[:51]
    outcomes = want_levels(kit, 20, *shares)
    assert outcomes[50].code is RefusalCode.MAX_CAPACITY_REACHED
    await eventually(
        lambda: (
            kit.confirmed == 50
            and all(latest(kit, key) == asks(kit, key, 20) for key in shares[:50])
        )
    )
    for each in kit.sink.published:
        assert each.tick.ltp == kit.quotes[each.instrument.key].last_price
    # The last of the fifty makes room, by asking for less.
    want_levels(kit, 5, shares[49])
    await eventually(lambda: kit.exchange.record().subscribed == 99)
    want_levels(kit, 20, shares[50])
    await eventually(lambda: latest(kit, shares[50]) == asks(kit, shares[50], 20))
    assert kit.exchange.record().complaints() == []


@deep
async def test_what_has_not_so_many_levels_is_refused_and_keeps_what_it_has(open_pool: OpenPool):
    kit = await open_pool()
    option, other = of_exchange(kit, "NFO")[:2]
    kit.want(option, mode=FeedMode.LTP)
    await eventually(lambda: kit.confirmed == 1)
    for key in (option, other):
        want_levels(kit, 20, key, client="bob")
    await eventually(lambda: {o.key for o in kit.outcomes if o.code} == {option, other})
    told = [outcome for outcome in kit.outcomes if outcome.code]
    assert {(o.state, o.code) for o in told} == {(OutcomeState.REFUSED, RefusalCode.BROKER_ERROR)}
    ticks = len(kit.sink.published)
    await eventually(lambda: len(kit.sink.published) > ticks and kit.confirmed == 1)
    assert kit.pool.get_stats().reconnects == 0
    assert kit.exchange.record().complaints() == []


@ended
async def test_where_they_have_ended_five_levels_go_on(open_pool: OpenPool):
    kit = await open_pool()
    held, fresh = of_exchange(kit, "NSE")[:2]
    want_levels(kit, 5, held)
    await eventually(lambda: kit.confirmed == 1)
    want_levels(kit, 20, held, fresh, client="bob")
    await eventually(lambda: {o.key for o in kit.outcomes if o.code} == {held, fresh})
    # Nothing of what was asked for in vain is left.
    await eventually(lambda: kit.exchange.record().subscribed == 1 and kit.confirmed == 1)
    ticks = len(kit.sink.published)
    await eventually(lambda: len(kit.sink.published) > ticks)
    assert kit.pool.get_stats().reconnects == 0
