"""The pool as its users see it, on virtual time and without sockets."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from brokers.pool_service import FeedStatus, RefusalCode, Want
from pooling.contracts import PoolOptions
from pooling.exceptions import PoolClosedError
from pooling.testing import FakeBroker, make_instrument
from tests.unit.pooling.kit import (
    ACTIVE,
    ANN,
    BOB,
    DEPTH,
    EVE,
    LTP,
    PENDING,
    QUOTE,
    REFUSED,
    TOKEN_FIELD,
    key,
    keys,
    open_kit,
    virtual,
)


class FakeBrokerThatRefuses(FakeBroker):
    """Takes one symbol and refuses the others by name."""

    def heard(self, transport, message):
        super().heard(transport, message)
        if '"subscribe"' in message:
            transport.say('{"ok": ["1"], "no": ["2"]}')

    def __init__(self):
        super().__init__(confirms=False)


@virtual
async def test_no_connection_is_opened_before_somebody_wants_something():
    async with open_kit() as kit:
        await asyncio.sleep(60)
        assert not kit.broker.attempts
        assert kit.pool.get_stats().status is FeedStatus.LIVE


@virtual
async def test_a_want_becomes_active_and_says_so():
    async with open_kit() as kit:
        (first,) = kit.want(1)
        assert first.state is PENDING
        await asyncio.sleep(1)
        assert [(o.key, o.state) for o in kit.outcomes] == [(key(1), ACTIVE)]
        assert kit.want(1)[0].state is ACTIVE
        assert [p.instrument.key for p in kit.sink.published] == [key(1)]


@virtual
async def test_many_outcomes_travel_together():
    async with open_kit() as kit:
        kit.want(1, 2, 3)
        await asyncio.sleep(1)
        assert len(kit.events) == 1
        assert len(kit.outcomes) == 3


@virtual
async def test_connections_fill_one_after_the_other_and_the_tenth_symbol_is_refused():
    async with open_kit() as kit:
        outcomes = kit.want(*range(10))
        await asyncio.sleep(5)
        assert [o.state for o in outcomes] == [PENDING] * 9 + [REFUSED]
        assert outcomes[9].code is RefusalCode.MAX_CAPACITY_REACHED
        assert outcomes[9].details["used"] == outcomes[9].details["capacity"] == 9
        assert [len(t.subscribed) for t in kit.broker.open] == [3, 3, 3]
        stats = kit.pool.get_stats()
        assert [(c.used, c.capacity, c.state) for c in stats.connections] == [(3, 3, "live")] * 3
        assert (stats.wanted, stats.confirmed, stats.clients) == (9, 9, 1)
        assert any(kind == "capacity_reached" for kind, _ in kit.notes)
        assert not kit.broker.complaints


@virtual
async def test_the_brokers_limits_cap_the_users():
    """One number for all brokers would let a user ask for what the broker refuses."""
    async with open_kit(options={"symbols_per_connection": 1000, "max_connections": 50}) as kit:
        stats = kit.pool.get_stats()
        assert (stats.max_connections, stats.symbols_per_connection) == (3, 3)


@virtual
async def test_one_instrument_is_subscribed_once_at_the_highest_mode():
    async with open_kit() as kit:
        kit.want(1, mode=LTP)
        kit.want(1, mode=DEPTH, holder=BOB)
        kit.want(1, mode=QUOTE, holder=EVE)
        await asyncio.sleep(1)
        assert kit.broker.subscribed == {"1": (3, 5)}
        assert not kit.broker.complaints


@virtual
async def test_a_raise_of_a_running_subscription_is_a_change_of_mode():
    async with open_kit() as kit:
        kit.want(1, mode=LTP)
        await asyncio.sleep(1)
        kit.want(1, mode=DEPTH, holder=BOB)
        await asyncio.sleep(1)
        assert [said["do"] for _, _, said in kit.broker.messages] == ["subscribe", "mode"]
        assert [(o.mode, o.state) for o in kit.outcomes] == [(LTP, ACTIVE), (DEPTH, ACTIVE)]


@virtual
async def test_a_reload_of_the_page_costs_the_broker_nothing():
    async with open_kit() as kit:
        kit.want(1, 2)
        await asyncio.sleep(1)
        kit.release()
        await asyncio.sleep(4)
        kit.want(1, 2, holder=BOB)
        await asyncio.sleep(60)
        assert len(kit.broker.messages) == 1


@virtual
async def test_what_nobody_wants_is_unsubscribed_after_the_linger_and_its_price_forgotten():
    async with open_kit() as kit:
        kit.want(1, 2)
        await asyncio.sleep(1)
        kit.release(1)
        await asyncio.sleep(4.9)
        assert kit.broker.subscribed.keys() == {"1", "2"}
        await asyncio.sleep(0.2)
        assert kit.broker.subscribed.keys() == {"2"}
        assert set(kit.sink.forgotten) == {key(1)}


@virtual
async def test_a_gateway_that_is_gone_takes_its_references_with_it():
    async with open_kit() as kit:
        kit.want(1, holder=ANN)
        kit.want(2, holder=EVE)
        await asyncio.sleep(1)
        assert kit.pool.release_gateway("g1") == 1
        await asyncio.sleep(6)
        assert kit.broker.subscribed.keys() == {"2"}


@virtual
async def test_messages_keep_to_the_brokers_batches_and_pace():
    """Rate limits are kept by waiting, not by luck."""
    async with open_kit(
        symbols_per_connection=100,
        options={"symbols_per_connection": 100},
        batch_size=10,
        message_interval_seconds=0.5,
    ) as kit:
        kit.want(*range(45))
        await asyncio.sleep(10)
        kit.release(*range(45))
        await asyncio.sleep(10)
        sizes = [len(said["items"]) for _, _, said in kit.broker.messages]
        assert sizes == [10, 10, 10, 10, 5] * 2
        times = [at for at, _, _ in kit.broker.messages]
        gaps = [b - a for a, b in pairwise(times)]
        assert min(gaps) >= 0.5 - 1e-9
        assert not kit.broker.subscribed


@virtual
async def test_connects_keep_their_distance():
    async with open_kit(connect_interval_seconds=2.0) as kit:
        kit.want(*range(9))
        await asyncio.sleep(10)
        assert [at for at, _ in kit.broker.attempts] == [0, 2, 4]


@virtual
async def test_a_symbol_that_the_broker_refuses_is_refused_after_all():
    async with open_kit(broker=FakeBrokerThatRefuses()) as kit:
        kit.want(1, 2)
        await asyncio.sleep(1)
        assert {(o.key, o.state, o.code) for o in kit.outcomes} == {
            (key(1), ACTIVE, None),
            (key(2), REFUSED, RefusalCode.MAX_CAPACITY_REACHED),
        }
        assert kit.broker.subscribed.keys() == {"1"}
        assert "too many" in next(o.message for o in kit.outcomes if o.state is REFUSED)


@virtual
async def test_one_instrument_that_cannot_be_said_does_not_cost_the_others():
    async with open_kit() as kit:
        odd = make_instrument(2)
        odd = type(odd)(odd.key, "not-a-number")
        wants = [Want(key(1), QUOTE), Want(key(2), QUOTE)]
        kit.pool.want(ANN, wants, {key(1): make_instrument(1), key(2): odd})
        await asyncio.sleep(1)
        assert {(o.key, o.state) for o in kit.outcomes} == {(key(1), ACTIVE), (key(2), REFUSED)}
        assert kit.states() == ["live"]


@virtual
async def test_limits_edited_on_a_running_pool_bind_at_once():
    async with open_kit(options={"symbols_per_connection": 1, "max_connections": 1}) as kit:
        kit.want(1)
        await asyncio.sleep(1)
        assert kit.want(2)[0].state is REFUSED
        kit.pool.update_options(
            PoolOptions(symbols_per_connection=2, max_connections=1, revision=4)
        )
        assert kit.want(2)[0].state is PENDING
        await asyncio.sleep(1)
        assert kit.broker.subscribed.keys() == {"1", "2"}
        assert kit.pool.get_stats().config_revision == 4
        assert [kind for kind, _ in kit.notes] == [
            "connected",
            "capacity_reached",
            "config_applied",
        ]


@virtual
async def test_another_endpoint_is_connected_to_and_everything_replayed():
    async with open_kit() as kit:
        kit.want(1)
        await asyncio.sleep(1)
        kit.pool.update_endpoint("ws://other.invalid")
        await asyncio.sleep(5)
        assert len(kit.broker.attempts) == 2
        assert kit.broker.subscribed.keys() == {"1"}


@virtual
async def test_an_endpoint_that_refused_the_credential_is_not_asked_again_with_it():
    """Neither when somebody edits the endpoint away and back; a newer credential is tried."""
    async with open_kit(credential_fields=TOKEN_FIELD) as kit:
        kit.broker.good_tokens = {"b"}
        kit.store.save_credentials("7", {"token": "a"})
        kit.want(1)
        await asyncio.sleep(5)
        assert kit.states() == ["auth_required"]
        tried = len(kit.broker.attempts)
        kit.pool.update_endpoint("ws://other.invalid")
        await asyncio.sleep(5)
        assert len(kit.broker.attempts) == tried + 1
        kit.pool.update_endpoint(None)
        await asyncio.sleep(60)
        assert len(kit.broker.attempts) == tried + 1
        assert kit.states() == ["auth_required"]
        kit.pool.credentials_changed(kit.store.save_credentials("7", {"token": "b"}))
        await asyncio.sleep(5)
        assert kit.feed[-1].status is FeedStatus.LIVE


@virtual
async def test_peaks_and_rates_are_kept_one_by_one():
    async with open_kit() as kit:
        kit.want(*range(6))
        await asyncio.sleep(1)
        kit.release(*range(6))
        await asyncio.sleep(20)
        kit.want(1, holder=BOB)
        kit.want(1, holder=EVE)
        for _ in range(40):
            kit.broker.tick()
            await asyncio.sleep(0.1)
        stats = kit.pool.get_stats()
        assert (stats.peak_symbols.value, stats.peak_connections.value) == (6, 2)
        assert stats.peak_clients.value == 2
        assert stats.peak_clients.at_ms > stats.peak_symbols.at_ms
        assert 8 <= stats.ticks_per_second <= 11
        sample = kit.pool.take_usage_sample()
        assert (sample.symbols, sample.clients) == (6, 2)
        assert sample.ticks_received == stats.ticks_received
        assert kit.pool.take_usage_sample().symbols == 1


@virtual
async def test_a_closed_pool_closes_its_sockets_and_takes_nothing_more():
    async with open_kit() as kit:
        kit.want(*range(9))
        await asyncio.sleep(1)
        started = asyncio.get_running_loop().time()
        await kit.pool.close()
        assert asyncio.get_running_loop().time() - started < 5
        assert not kit.broker.open
        assert all(t.closed_by_us for t in kit.broker.transports)
        assert [said["do"] for _, _, said in kit.broker.messages] == ["subscribe"] * 3
        assert kit.feed[-1].status is FeedStatus.CLOSED
        await kit.pool.close()
        kit.release()
        with pytest.raises(PoolClosedError):
            kit.want(1)
        with pytest.raises(PoolClosedError):
            await kit.pool.open()


@virtual
async def test_a_pool_without_symbols_does_not_fight_for_its_socket():
    async with open_kit() as kit:
        kit.want(1)
        await asyncio.sleep(1)
        kit.release()
        await asyncio.sleep(10)
        kit.broker.drop()
        await asyncio.sleep(100)
        assert kit.states() == ["idle"]
        assert len(kit.broker.attempts) == 1
        kit.want(2)
        await asyncio.sleep(1)
        assert kit.states() == ["live"]


@virtual
async def test_known_instruments_need_no_look_up():
    async with open_kit() as kit:
        kit.want(1)
        assert kit.pool.instruments(keys(1, 2)) == {key(1): make_instrument(1)}


@virtual
async def test_its_repr_is_one_line_and_shows_no_secret():
    async with open_kit() as kit:
        kit.want(1)
        assert repr(kit.pool) == "<ConnectionPool 7 fake live 1/9 on 1/3>"


@virtual
async def test_an_answer_that_was_overtaken_is_brought_up_to_date():
    """What listeners were told meanwhile must not be contradicted by a later answer."""
    async with open_kit(broker=FakeBrokerThatRefuses()) as kit:
        outcomes = kit.want(1, 2, 3)
        await asyncio.sleep(1)
        settled = kit.pool.settle(ANN, outcomes)
        assert [o.state for o in settled] == [ACTIVE, REFUSED, PENDING]


@virtual
async def test_what_made_room_before_its_linger_ended_is_forgotten_too():
    async with open_kit(options={"symbols_per_connection": 1, "max_connections": 1}) as kit:
        kit.want(1)
        await asyncio.sleep(1)
        kit.release(1)
        kit.want(2)
        await asyncio.sleep(1)
        assert set(kit.sink.forgotten) == {key(1)}
        assert kit.broker.subscribed.keys() == {"2"}


@virtual
async def test_an_edited_linger_is_in_force_for_what_is_released_afterwards():
    async with open_kit() as kit:
        kit.want(1)
        await asyncio.sleep(1)
        kit.pool.update_options(PoolOptions(symbols_per_connection=3, linger_seconds=60))
        kit.release(1)
        await asyncio.sleep(30)
        assert kit.broker.subscribed.keys() == {"1"}
        await asyncio.sleep(31)
        assert not kit.broker.subscribed
