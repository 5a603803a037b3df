"""Dhan in a pool: who is replaced stays away, limits are told, deep books have their own feeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
from websockets.asyncio.client import connect

from brokers.dhan.config import DhanSettings
from brokers.dhan.connection import DhanAdapter, DhanDepth20Adapter, DhanDepth200Adapter
from brokers.pool_service import FeedStatus, Holder, RefusalCode, Want
from brokers.settings import setting
from brokers.simulator.dhan.exchange import MAX_CONNECTIONS, DhanExchange
from brokers.types import FeedMode
from tests.integration.brokers.conftest import BrokerPool, OpenPool
from tests.integration.brokers.dhan_lab import DHAN
from tests.integration.brokers.lab import BrokerLab
from tests.integration.simulator.dhan_client import feed_url
from tests.support import eventually


@dataclass(frozen=True, slots=True, kw_only=True)
class HastySettings(DhanSettings):
    """With waits that no account may have."""

    replaced_wait_seconds: float = setting(0.2, label="Wait", help_text="Short.")
    replaced_wait_limit_seconds: float = setting(0.2, label="Longest", help_text="Short.")


class HastyAdapter(DhanAdapter):
    """Comes back soon, so that a test need not wait for it."""

    settings: ClassVar[DhanSettings] = HastySettings()


def exchange_with(**options: object) -> Callable[..., DhanExchange]:
    """Return what makes an exchange of these options, for a lab."""

    def make(**arguments: object) -> DhanExchange:
        return DhanExchange(**(arguments | options))  # type: ignore[arg-type]

    return make


def on(lab: BrokerLab, **changes: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("lab", [replace(lab, **changes)], ids=["dhan"], indirect=True)


def dhan(kit: BrokerPool) -> DhanExchange:
    assert isinstance(kit.market, DhanExchange)
    return kit.market


def waits_ms(kit: BrokerPool) -> list[int]:
    """Return how long connections stay away that the broker asked to wait."""
    return [
        each.next_retry_ms - each.last_close_ms
        for each in kit.pool.get_stats().connections
        if each.state == "rate_limited" and each.next_retry_ms and each.last_close_ms
    ]


@on(DHAN)
async def test_a_replaced_connection_stays_away_and_replaces_nobody(open_pool: OpenPool):
    """Another program of the same account takes a place; the pool's oldest loses it."""
    kit = await open_pool(symbols_per_connection=1, max_connections=MAX_CONNECTIONS)
    kit.want(*kit.keys[:MAX_CONNECTIONS])
    await eventually(lambda: kit.confirmed == MAX_CONNECTIONS)
    async with connect(feed_url(dhan(kit))):
        # Longer than the 40 s for which the broker counts a link that is dead.
        await eventually(lambda: len(waits_ms(kit)) == 1)
        (wait_ms,) = waits_ms(kit)
        assert wait_ms >= 45_000
        await eventually(lambda: kit.exchange.record().open == MAX_CONNECTIONS)
        record = kit.exchange.record()
        assert (record.refused, record.opened) == ({"805": 1}, MAX_CONNECTIONS + 1)
        # The others are left alone: their ticks go on.
        before = len(kit.sink.published)
        await eventually(
            lambda: (
                len({p.instrument.key for p in kit.sink.published[before:]}) == MAX_CONNECTIONS - 1
            )
        )


@on(DHAN, adapter=HastyAdapter)
async def test_a_replaced_connection_comes_back_to_the_place_that_was_left(open_pool: OpenPool):
    kit = await open_pool(symbols_per_connection=1, max_connections=MAX_CONNECTIONS)
    kit.want(*kit.keys[:MAX_CONNECTIONS])
    await eventually(lambda: kit.confirmed == MAX_CONNECTIONS)
    async with connect(feed_url(dhan(kit))):
        await eventually(lambda: kit.pool.get_stats().losses.get("rate_limited"))
    await eventually(
        lambda: (kit.confirmed, kit.exchange.record().open) == (MAX_CONNECTIONS, MAX_CONNECTIONS),
        timeout=30,
    )


@on(DHAN, exchange=exchange_with(ends_over_limit=True))
async def test_what_ends_the_connection_for_its_number_is_told_and_the_rest_comes_back(
    open_pool: OpenPool,
):
    kit = await open_pool(limit=2)
    kit.want(*kit.keys[:2])
    await eventually(lambda: kit.confirmed == 2)
    kit.want(kit.keys[2])
    await eventually(
        lambda: [o for o in kit.outcomes if o.code is RefusalCode.MAX_CAPACITY_REACHED]
    )
    await eventually(lambda: kit.pool.get_stats().reconnects >= 1, timeout=30)
    await eventually(lambda: kit.confirmed == 2, timeout=30)
    await eventually(lambda: kit.exchange.record().subscribed == 2)
    assert kit.pool.get_stats().wanted == 2


@on(DHAN, exchange=exchange_with(refuses_with_http=True), refusal_status=401)
async def test_a_credential_refused_with_http_waits_for_another_one(open_pool: OpenPool):
    kit = await open_pool()
    kit.market.expire_token()
    kit.want(kit.keys[0])
    await eventually(lambda: kit.pool.get_stats().status is FeedStatus.AUTH_REQUIRED)
    assert kit.exchange.record().refused == {"401": 1}


@on(DHAN, exchange=exchange_with(packets_per_message=7))
async def test_packets_stacked_in_one_message_are_all_published(open_pool: OpenPool):
    kit = await open_pool(rate=0, symbols_per_connection=50)
    kit.want(*kit.keys[:50], mode=FeedMode.DEPTH)
    await eventually(lambda: kit.confirmed == 50)
    assert {p.instrument.key for p in kit.sink.published} == set(kit.keys[:50])
    assert kit.pool.get_stats().frames_malformed == 0


@pytest.mark.parametrize(
    ("lab", "per_connection"),
    [
        (replace(DHAN, adapter=DhanDepth20Adapter), 50),
        (replace(DHAN, adapter=DhanDepth200Adapter), 1),
    ],
    ids=["20", "200"],
    indirect=["lab"],
)
async def test_deep_books_have_feeds_of_their_own(open_pool: OpenPool, per_connection: int):
    """The market's five levels come through either; a connection takes what its feed may."""
    kit = await open_pool(rate=0, symbols_per_connection=100, max_connections=2)
    wanted = kit.keys[: 2 * per_connection]
    (levels,) = kit.lab.adapter.capabilities.depth_levels
    wants = [Want(key, FeedMode.DEPTH, levels) for key in wanted]
    kit.pool.want(Holder("g", "ann"), wants, kit.instruments)
    await eventually(lambda: kit.confirmed == len(wanted))
    assert all(key.exchange in ("NSE", "NFO") for key in kit.keys)
    books = {p.instrument.key: (p.tick.bids, p.tick.asks) for p in kit.sink.published}
    assert books == {
        key: (tuple(kit.quotes[key].bids()), tuple(kit.quotes[key].asks())) for key in wanted
    }
    record = kit.exchange.record()
    assert (record.open, record.peak_subscribed) == (2, per_connection)
    assert record.complaints() == []
