"""What operators do to a running pool, on virtual time and without sockets."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from brokers.pool_service import FeedStatus, RefusalCode
from brokers.testing import RecordingSink
from pooling.exceptions import CommandRefusedError
from pooling.pool.pool import ConnectionPool
from pooling.testing import (
    FakeBroker,
    InMemoryAccountStore,
    MiddleOfRange,
    VirtualClock,
    make_adapter_class,
)
from tests.unit.pooling.kit import (
    ACTIVE,
    ANN,
    BOB,
    EVE,
    LTP,
    PENDING,
    QUOTE,
    REFUSED,
    TOKEN_FIELD,
    Kit,
    key,
    keys,
    open_kit,
    spec,
    virtual,
)


def live_now(kit: Kit) -> set[object]:
    """Return the instruments whose prices a listener would call live."""
    live: set[object] = set()
    for change in kit.feed:
        if change.keys is None:
            live.clear()
        elif change.status is FeedStatus.LIVE:
            live.update(change.keys)
        else:
            live.difference_update(change.keys)
    return live


@virtual
async def test_pausing_closes_every_socket_and_says_why():
    async with open_kit() as kit:
        kit.want(1, 2, 3, 4)
        await asyncio.sleep(1)
        assert len(kit.broker.open) == 2
        kit.pool.set_paused(True)
        await asyncio.sleep(1)
        assert not kit.broker.open
        stats = kit.pool.get_stats()
        assert (stats.status, stats.reason) == (FeedStatus.CLOSED, "paused")
        assert (kit.feed[-1].status, kit.feed[-1].reason) == (FeedStatus.CLOSED, "paused")
        assert not stats.connections
        assert stats.wanted == 4, "references stay"
        assert kit.sink.forgot_all


@virtual
async def test_nothing_is_opened_while_paused_and_wants_wait():
    async with open_kit(options={"warm_connections": 2}) as kit:
        kit.want(1)
        await asyncio.sleep(1)
        kit.pool.set_paused(True)
        await asyncio.sleep(1)
        attempts = len(kit.broker.attempts)
        (outcome,) = kit.want(2, holder=BOB)
        assert (outcome.state, outcome.code) == (PENDING, RefusalCode.BROKER_UNAVAILABLE)
        assert "paused" in outcome.message
        kit.pool.credentials_changed(9)
        kit.pool.update_endpoint("wss://elsewhere.example.com")
        kit.pool.update_options(replace(kit.pool.spec.options, max_connections=2, revision=5))
        await asyncio.sleep(3600)
        assert len(kit.broker.attempts) == attempts
        assert kit.pool.get_stats().status is FeedStatus.CLOSED


@virtual
async def test_resuming_brings_everything_back_and_prices_are_live_once_they_came():
    async with open_kit() as kit:
        kit.want(1, 2)
        await asyncio.sleep(1)
        kit.pool.set_paused(True)
        await asyncio.sleep(1)
        kit.want(3, holder=BOB)
        kit.release(2)
        await asyncio.sleep(10)
        kit.events.clear()
        kit.pool.set_paused(False)
        await asyncio.sleep(10)
        assert kit.broker.subscribed.keys() == {"1", "3"}
        assert [change.status for change in kit.feed if change.keys is None] == [
            FeedStatus.STALE,
            FeedStatus.LIVE,
        ]
        assert live_now(kit) == set(keys(1, 3))
        assert kit.pool.get_stats().status is FeedStatus.LIVE
        assert kit.want(1)[0].state is ACTIVE
        assert [kind for kind, _ in kit.notes].count("paused") == 1
        assert "resumed" in [kind for kind, _ in kit.notes]


@virtual
async def test_pausing_and_resuming_with_nothing_subscribed_is_live_again_at_once():
    async with open_kit() as kit:
        kit.pool.set_paused(True)
        await asyncio.sleep(1)
        kit.pool.set_paused(True)
        kit.pool.set_paused(False)
        kit.pool.set_paused(False)
        await asyncio.sleep(1)
        assert [c.status for c in kit.feed] == [FeedStatus.CLOSED, FeedStatus.LIVE]
        assert kit.pool.get_stats().status is FeedStatus.LIVE


@virtual
@pytest.mark.parametrize("turns", range(12))
async def test_pausing_at_any_moment_of_connecting_is_the_last_word(turns: int):
    """Whatever a connection was about to say, listeners hear nothing after 'paused'."""
    async with open_kit() as kit:
        kit.want(1, 2, 3, 4)
        for _ in range(turns):
            await asyncio.sleep(0)
        kit.pool.operator.pause()
        heard = len(kit.events)
        await asyncio.sleep(60)
        assert kit.events[heard:] == []
        assert kit.feed[-1].status is FeedStatus.CLOSED
        assert not kit.broker.open
        kit.pool.operator.resume()
        await asyncio.sleep(60)
        assert kit.broker.subscribed.keys() == {"1", "2", "3", "4"}


@virtual
async def test_a_pool_that_is_paused_from_the_start_opens_nothing():
    account = replace(spec(warm_connections=1), is_paused=True)
    broker = FakeBroker()
    events: list[object] = []
    pool = ConnectionPool(
        spec=account,
        adapter_class=make_adapter_class(),
        sink=RecordingSink(),
        store=InMemoryAccountStore(account),
        clock=VirtualClock(),
        rng=MiddleOfRange(),
        connector=broker,
        on_event=events.append,
        on_note=lambda kind, message: None,
    )
    await pool.open()
    await asyncio.sleep(10)
    assert not broker.attempts
    assert pool.get_stats().reason == "paused"
    pool.set_paused(False)
    await asyncio.sleep(10)
    assert len(broker.open) == 1
    await pool.close()


@virtual
async def test_a_pool_that_was_resumed_without_a_credential_says_what_it_needs():
    async with open_kit(credential_fields=TOKEN_FIELD) as kit:
        kit.broker.good_tokens = {"tomorrow"}
        kit.want(1)
        await asyncio.sleep(60)
        kit.pool.set_paused(True)
        await asyncio.sleep(1)
        kit.pool.set_paused(False)
        await asyncio.sleep(60)
        assert kit.pool.get_stats().status is FeedStatus.AUTH_REQUIRED
        assert kit.feed[-1].status is FeedStatus.AUTH_REQUIRED
        with pytest.raises(CommandRefusedError, match="Save a new one"):
            kit.pool.operator.reconnect(None)


@virtual
async def test_one_connection_or_all_connect_anew():
    async with open_kit() as kit:
        kit.want(1, 2, 3, 4)
        await asyncio.sleep(1)
        attempts = len(kit.broker.attempts)
        assert kit.pool.operator.reconnect(2) == "Reconnecting connection 2."
        await asyncio.sleep(10)
        assert len(kit.broker.attempts) == attempts + 1
        assert "connections 1 and 2" in kit.pool.operator.reconnect(None)
        await asyncio.sleep(10)
        assert len(kit.broker.attempts) == attempts + 3
        assert kit.broker.subscribed.keys() == {"1", "2", "3", "4"}
        assert kit.states() == ["live", "live"]
        with pytest.raises(CommandRefusedError, match="no connection 9; there is connections 1"):
            kit.pool.operator.reconnect(9)


@virtual
async def test_a_reconnect_does_not_wait_for_the_backoff_but_for_the_broker():
    async with open_kit() as kit:
        kit.want(1)
        await asyncio.sleep(1)
        kit.broker.refuse(500)
        kit.broker.drop()
        await asyncio.sleep(600)
        kit.broker.accept()
        attempts = len(kit.broker.attempts)
        kit.pool.operator.reconnect(1)
        await asyncio.sleep(0.5)
        assert len(kit.broker.attempts) == attempts + 1
        await asyncio.sleep(120)
        kit.broker.refuse(429)
        kit.broker.drop()
        await asyncio.sleep(10)
        with pytest.raises(CommandRefusedError, match="asked to wait"):
            kit.pool.operator.reconnect(1)


@virtual
async def test_nothing_to_reconnect_is_said():
    async with open_kit() as kit:
        with pytest.raises(CommandRefusedError, match="nothing is subscribed"):
            kit.pool.operator.reconnect(None)
        with pytest.raises(CommandRefusedError, match="none is open"):
            kit.pool.operator.drain(1)


@virtual
async def test_draining_moves_everything_without_a_gap_and_closes_the_connection():
    async with open_kit() as kit:
        kit.want(1, 2)
        await asyncio.sleep(1)
        first = kit.broker.open[0]
        kit.events.clear()
        assert "2 symbols" in kit.pool.operator.drain(1)
        await asyncio.sleep(30)
        assert first not in kit.broker.open
        assert kit.broker.subscribed.keys() == {"1", "2"}
        assert not [c for c in kit.feed if c.status is not FeedStatus.LIVE], "nobody saw a gap"
        assert [c.slot for c in kit.pool.get_stats().connections] == [2]


@virtual
async def test_draining_where_only_some_find_room_opens_the_connection_anew_with_the_rest():
    async with open_kit(options={"max_connections": 2}) as kit:
        kit.want(1, 2, 3, 4, 5)
        await asyncio.sleep(1)
        result = kit.pool.operator.drain(1)
        assert "1 symbol of connection 1 moves to others; 2 find no room" in result
        await asyncio.sleep(60)
        assert kit.broker.subscribed.keys() == {"1", "2", "3", "4", "5"}
        stats = kit.pool.get_stats()
        assert sorted(c.symbols for c in stats.connections) == [2, 3]
        assert not stats.waiting


@virtual
async def test_draining_where_nothing_finds_room_changes_nothing():
    async with open_kit(options={"max_connections": 1}) as kit:
        kit.want(1, 2, 3)
        await asyncio.sleep(1)
        attempts = len(kit.broker.attempts)
        with pytest.raises(CommandRefusedError, match="find no room elsewhere"):
            kit.pool.operator.drain(1)
        await asyncio.sleep(60)
        assert len(kit.broker.attempts) == attempts
        kit.release(3)
        assert kit.want(4)[0].state is not REFUSED, "it takes new symbols as before"


@virtual
async def test_rebalancing_packs_symbols_onto_few_connections():
    async with open_kit(options={"linger_seconds": 0.0}) as kit:
        kit.want(1, 2, 3, 4, 5, 6, 7)
        await asyncio.sleep(1)
        assert len(kit.broker.open) == 3
        assert "Nothing to move" in kit.pool.operator.rebalance()
        kit.release(2, 3, 5, 6)
        await asyncio.sleep(1)
        kit.events.clear()
        result = kit.pool.operator.rebalance()
        assert "2 symbols move, and the pool needs 2 connections less" in result
        await asyncio.sleep(30)
        assert sorted(c.symbols for c in kit.pool.get_stats().connections) == [0, 0, 3]
        assert kit.broker.subscribed.keys() == {"1", "4", "7"}
        assert not [c for c in kit.feed if c.status is not FeedStatus.LIVE]


@virtual
async def test_unsubscribing_takes_instruments_from_all_their_holders_and_tells_them():
    async with open_kit() as kit:
        for holder in (ANN, BOB, EVE):
            kit.want(1, 2, holder=holder)
        kit.want(1, mode=LTP, holder=ANN)
        await asyncio.sleep(1)
        kit.events.clear()
        result = kit.pool.operator.unsubscribe(keys(1, 1, 99))
        assert "1 symbol is unsubscribed; 3 clients were told. 1 of those named was" in result
        await asyncio.sleep(1)
        assert kit.broker.subscribed.keys() == {"2"}
        assert {(o.key, o.state, o.mode) for o in kit.outcomes} == {
            (key(1), REFUSED, LTP),
            (key(1), REFUSED, QUOTE),
        }
        assert "operator" in kit.outcomes[0].message
        assert key(1) in kit.sink.forgotten
        with pytest.raises(CommandRefusedError, match="None of these"):
            kit.pool.operator.unsubscribe(keys(1))
        kit.want(1)
        await asyncio.sleep(1)
        assert kit.broker.subscribed.keys() == {"1", "2"}


@virtual
async def test_a_place_that_an_unsubscribe_frees_goes_to_who_waits():
    options = {"max_connections": 2, "symbols_per_connection": 2}
    async with open_kit(options=options) as kit:
        kit.want(1, 2, 3, 4)
        await asyncio.sleep(1)
        kit.pool.update_options(replace(kit.pool.spec.options, max_connections=1, revision=2))
        await asyncio.sleep(20)
        assert kit.pool.get_stats().waiting == 2
        kit.pool.operator.unsubscribe(keys(1, 4))
        await asyncio.sleep(20)
        assert kit.pool.get_stats().waiting == 0
        assert kit.broker.subscribed.keys() == {"2", "3"}


@virtual
async def test_a_preview_says_what_limits_would_drop_and_changes_nothing():
    async with open_kit() as kit:
        kit.want(1, 2, 3)
        kit.want(4, holder=BOB)
        kit.want(1, holder=BOB)
        await asyncio.sleep(1)
        limits = replace(kit.pool.spec.options, max_connections=1, symbols_per_connection=3)
        told = await kit.pool.operator.preview(limits)
        assert (told.held, told.dropped, told.clients, told.clients_affected) == (4, 1, 2, 1)
        kit.events.clear()
        await asyncio.sleep(30)
        assert kit.pool.get_stats().waiting == 0
        assert not kit.events
        kit.pool.update_options(replace(limits, revision=2))
        assert kit.pool.get_stats().waiting == told.dropped


@virtual
async def test_while_paused_only_unsubscribing_makes_sense():
    async with open_kit() as kit:
        kit.want(1, 2)
        await asyncio.sleep(1)
        kit.pool.set_paused(True)
        await asyncio.sleep(1)
        operator = kit.pool.operator
        for ask in (
            lambda: operator.reconnect(None),
            lambda: operator.drain(1),
            operator.rebalance,
        ):
            with pytest.raises(CommandRefusedError, match="resume it first"):
                ask()
        operator.unsubscribe(keys(1))
        kit.pool.set_paused(False)
        await asyncio.sleep(10)
        assert kit.broker.subscribed.keys() == {"2"}
