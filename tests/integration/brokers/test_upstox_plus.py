"""An Upstox Plus account: five connections, and books of thirty levels for fifty instruments."""

from __future__ import annotations

from dataclasses import replace

import pytest

from brokers.pool_service import Holder, Outcome, OutcomeState, RefusalCode, Want
from brokers.types import DepthLevel, FeedMode, InstrumentKey
from tests.integration.brokers.conftest import BrokerPool, OpenPool
from tests.integration.brokers.upstox_lab import UPSTOX, UPSTOX_PLUS
from tests.support import eventually

RECONNECT_SECONDS = 30.0

plus = pytest.mark.parametrize("lab", [UPSTOX_PLUS], ids=["plus"], indirect=True)


def want_levels(
    kit: BrokerPool, levels: int, *keys: InstrumentKey, client: str = "ann"
) -> list[Outcome]:
    wants = [Want(key, FeedMode.DEPTH, levels) for key in keys]
    return kit.pool.want(Holder("g", client), wants, kit.instruments)


def books(kit: BrokerPool) -> dict[InstrumentKey, int]:
    """Return how many asks the latest tick of each instrument has."""
    return {each.instrument.key: len(each.tick.asks or ()) for each in kit.sink.published}


def meant_asks(kit: BrokerPool, key: InstrumentKey, count: int) -> tuple[DepthLevel, ...]:
    quote = kit.quotes[key]
    unit = 10_000 // quote.instrument.segment.price_scale
    return tuple(DepthLevel(price * unit, size) for price, size, _ in quote.asks(count))


@plus
async def test_fifty_books_of_thirty_levels_and_no_further_one(open_pool: OpenPool):
    """Beside books of five, over five connections, and again after the links were lost."""
    kit = await open_pool(rate=0, max_connections=5, symbols_per_connection=12)
    shares = [key for key in kit.keys if key.exchange == "NSE"][:59]
    deep, refused, flat = shares[:50], shares[50], shares[51:]
    outcomes = want_levels(kit, 30, *deep, refused)
    assert [outcome.code for outcome in outcomes[:50]] == [None] * 50
    assert outcomes[50].state is OutcomeState.REFUSED
    assert outcomes[50].code is RefusalCode.MAX_CAPACITY_REACHED
    want_levels(kit, 5, *flat)
    meant = dict.fromkeys(deep, 30) | dict.fromkeys(flat, 5)
    await eventually(lambda: kit.confirmed == 58 and books(kit) == meant)
    assert kit.exchange.record().open == 5
    for each in kit.sink.published:
        key = each.instrument.key
        assert each.tick.asks == meant_asks(kit, key, meant[key])
    kit.exchange.drop()
    before = len(kit.sink.published)

    def again() -> bool:
        later = kit.sink.published[before:]
        return kit.confirmed == 58 and meant == {
            each.instrument.key: len(each.tick.asks or ()) for each in later
        }

    await eventually(again, timeout=RECONNECT_SECONDS)
    # The limit holds over all connections, and one that is given back can be had.
    assert want_levels(kit, 30, flat[0])[0].code is RefusalCode.MAX_CAPACITY_REACHED
    kit.release(deep[0])
    await eventually(lambda: kit.exchange.record().subscribed == 57)
    assert want_levels(kit, 30, refused)[0].state is OutcomeState.PENDING
    await eventually(lambda: books(kit).get(refused) == 30)
    assert kit.exchange.record().complaints() == []


@plus
async def test_a_book_grows_and_shrinks_with_its_holders(open_pool: OpenPool):
    kit = await open_pool()
    key = next(key for key in kit.keys if key.exchange == "NSE")
    want_levels(kit, 5, key)
    await eventually(lambda: kit.confirmed == 1)
    want_levels(kit, 30, key, client="bob")
    await eventually(lambda: books(kit)[key] == 30)
    kit.release(client="bob")
    await eventually(lambda: books(kit)[key] == 5)
    assert kit.exchange.record().complaints() == []


@pytest.mark.parametrize(
    "lab",
    [replace(UPSTOX, adapter=UPSTOX_PLUS.adapter)],
    ids=["plus taken for granted"],
    indirect=True,
)
async def test_a_plan_that_was_not_paid_for_leaves_the_rest_alone(open_pool: OpenPool):
    """Upstox does not answer it: the deep book stays pending, everything else goes on."""
    kit = await open_pool(rate=1_000)
    deep, flat = [key for key in kit.keys if key.exchange == "NSE"][:2]
    want_levels(kit, 30, deep)
    await eventually(lambda: kit.exchange.record().total("over_limit") >= 1)
    want_levels(kit, 5, flat)
    await eventually(lambda: kit.confirmed == 1 and books(kit).get(flat) == 5)
    assert kit.pool.get_stats().wanted == 2
