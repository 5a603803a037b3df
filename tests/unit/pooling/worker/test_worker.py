"""The worker: accounts, references, history, and a store that fails. Virtual time, no sockets."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from brokers.pool_service import (
    FeedChange,
    FeedStatus,
    Holder,
    Peak,
    Peaks,
    RefusalCode,
    SubscriptionChange,
    Want,
)
from brokers.registry import BrokerRegistry
from brokers.testing import RecordingSink
from brokers.types import FeedMode, InstrumentKey
from pooling.contracts import CommandVerb, PoolOptions
from pooling.exceptions import StoreUnavailableError
from pooling.history import PoolPast
from pooling.testing import (
    FakeBroker,
    FakeClock,
    InMemoryAccountStore,
    MiddleOfRange,
    VirtualClock,
    make_adapter_class,
)
from pooling.testing.times import EPOCH_MS
from pooling.worker.wants import WANT_CHUNK
from pooling.worker.worker import PoolWorker
from tests.unit.pooling.kit import (
    ACTIVE,
    ANN,
    BOB,
    PENDING,
    QUOTE,
    REFUSED,
    TOKEN_FIELD,
    key,
    keys,
    spec,
    virtual,
)


class WorkerKit:
    def __init__(self, *specs, registry=None, **options):
        self.store = InMemoryAccountStore(*(specs or (spec(),)))
        self.broker = FakeBroker()
        self.sinks = {}
        if registry is None:
            registry = BrokerRegistry()
            registry.register(make_adapter_class(credential_fields=TOKEN_FIELD))
        self.worker = PoolWorker(
            store=self.store,
            registry=registry,
            sink_for=self.sink_for,
            clock=VirtualClock(),
            rng=MiddleOfRange(),
            worker_id="w1",
            epoch=3,
            connector=self.broker,
            **options,
        )
        self.events: list[Any] = []
        self.stop_listening = self.worker.add_listener(self.events.append)

    def sink_for(self, pool_id, broker):
        return self.sinks.setdefault((pool_id, broker), RecordingSink())

    async def want(self, *numbers, holder=ANN, pool_id="7"):
        return await self.worker.want(pool_id, holder, [Want(key(n), QUOTE) for n in numbers])


@asynccontextmanager
async def open_worker(*specs, **options):
    kit = WorkerKit(*specs, **options)
    await kit.worker.open()
    try:
        yield kit
    finally:
        await kit.worker.close()


@virtual
async def test_it_opens_a_pool_per_account_and_ticks_reach_that_pools_sink():
    async with open_worker(spec(), replace(spec(), pool_id="8")) as kit:
        assert kit.worker.pool_ids() == ["7", "8"]
        await kit.want(1, pool_id="8")
        await asyncio.sleep(1)
        assert len(kit.sinks["8", "fake"].published) == 1
        assert not kit.sinks["7", "fake"].published


@virtual
async def test_who_watches_gets_all_pools_every_second_even_while_the_store_is_down():
    seen: list[Any] = []
    async with open_worker(spec(), replace(spec(), pool_id="8"), on_status=seen.append) as kit:
        kit.store.go_down()
        await asyncio.sleep(5.5)
        assert len(seen) == 6
        assert [stats.pool_id for stats in seen[-1]] == ["7", "8"]
        kit.store.come_back()


@virtual
async def test_a_pool_of_someone_else_is_a_key_error():
    async with open_worker() as kit:
        with pytest.raises(KeyError):
            await kit.want(1, pool_id="99")
        with pytest.raises(KeyError):
            kit.worker.stats("99")
        await kit.worker.release("99", ANN, None)


@virtual
async def test_an_unknown_symbol_is_refused_while_the_others_succeed():
    async with open_worker() as kit:
        wants = [Want(key(1), QUOTE), Want(InstrumentKey("NSE", "??"), QUOTE), Want(key(2), QUOTE)]
        outcomes = await kit.worker.want("7", ANN, wants)
        assert [o.state for o in outcomes] == [PENDING, REFUSED, PENDING]
        assert outcomes[1].code is RefusalCode.SYMBOL_NOT_FOUND
        assert [o.key for o in outcomes] == [w.key for w in wants]


class SlowStore(InMemoryAccountStore):
    async def resolve(self, broker, keys):
        await asyncio.sleep(1)
        return await super().resolve(broker, keys)


@virtual
async def test_what_was_confirmed_while_the_rest_was_taken_is_answered_as_active():
    """The answer comes after the event, so it must not say less."""
    async with open_worker(spec()) as kit:
        kit.worker._store = SlowStore(*kit.store.specs.values())
        outcomes = await kit.want(*range(3), *range(600))
        assert len(outcomes) == 603
        assert [o.state for o in outcomes[:3]] == [ACTIVE] * 3


@virtual
async def test_what_a_store_that_is_down_cannot_tell_waits_and_is_told_once_it_is_back():
    """Clients that take a refusal for the last word would be silent for ever."""
    async with open_worker() as kit:
        await kit.want(1)
        await asyncio.sleep(2)
        kit.store.go_down()
        outcomes = await kit.want(2, 1, 3, holder=BOB)
        assert [o.state for o in outcomes] == [PENDING, ACTIVE, PENDING]
        assert outcomes[0].code is RefusalCode.BROKER_UNAVAILABLE
        assert "tried again by itself" in outcomes[0].message
        assert "OSError" not in outcomes[0].message
        assert outcomes[1].code is None
        await kit.worker.release("7", BOB, [key(3)])
        await asyncio.sleep(30)
        assert set(kit.broker.subscribed) == {"1"}
        kit.store.come_back()
        await asyncio.sleep(5)
        assert set(kit.broker.subscribed) == {"1", "2"}
        changes = [event for event in kit.events if isinstance(event, SubscriptionChange)]
        told = [(o.key, o.state) for change in changes for o in change.outcomes]
        assert (key(2), ACTIVE) in told
        assert key(3) not in dict(told)
        assert len(kit.worker._wants._untold) == 0


@virtual
async def test_what_nobody_lists_is_refused_once_the_store_is_back():
    async with open_worker() as kit:
        unknown = InstrumentKey("NSE", "??")
        kit.store.go_down()
        (outcome,) = await kit.worker.want("7", ANN, [Want(unknown, QUOTE)])
        assert outcome.state is PENDING
        kit.store.come_back()
        await asyncio.sleep(5)
        changes = [event for event in kit.events if isinstance(event, SubscriptionChange)]
        (told,) = [o for change in changes for o in change.outcomes if o.key == unknown]
        assert (told.state, told.code) == (REFUSED, RefusalCode.SYMBOL_NOT_FOUND)


@virtual
async def test_the_latest_mode_counts_of_what_waits_and_a_gateway_that_goes_takes_it_along():
    async with open_worker() as kit:
        kit.store.go_down()
        await kit.worker.want("7", ANN, [Want(key(1), FeedMode.LTP)])
        await kit.worker.want("7", ANN, [Want(key(1), QUOTE)])
        await kit.worker.want("7", Holder("gone", "eve"), [Want(key(2), QUOTE)])
        await kit.worker.release_gateway("gone")
        kit.store.come_back()
        await asyncio.sleep(5)
        assert set(kit.broker.subscribed) == {"1"}
        changes = [event for event in kit.events if isinstance(event, SubscriptionChange)]
        assert {o.mode for change in changes for o in change.outcomes} == {QUOTE}


@virtual
async def test_ticks_flow_on_while_the_store_is_down_and_history_catches_up():
    async with open_worker(usage_interval_seconds=60) as kit:
        await kit.want(1)
        await asyncio.sleep(1)
        kit.store.go_down()
        kit.broker.drop()
        await asyncio.sleep(130)
        kit.broker.tick()
        await asyncio.sleep(1)
        assert kit.broker.subscribed.keys() == {"1"}
        assert kit.sinks["7", "fake"].published
        written = len(kit.store.events)
        kit.store.come_back()
        await asyncio.sleep(70)
        assert len(kit.store.usage) == 3, "samples taken while it was down are saved later"
        assert len(kit.store.events) > written
        assert [kind for _, kind, _ in kit.store.events] == ["connected", "lost", "connected"]


@virtual
async def test_heartbeats_are_written_at_the_start_and_each_second():
    async with open_worker() as kit:
        await asyncio.sleep(10.5)
        assert len(kit.store.statuses) == 11
        assert kit.store.statuses[-1][0].pool_id == "7"


@virtual
async def test_peaks_are_saved_on_a_timer_and_at_the_end():
    """A crash loses at most one interval."""
    async with open_worker(usage_interval_seconds=300) as kit:
        await kit.want(1, 2)
        await asyncio.sleep(301)
        assert [(s.symbols, s.clients) for s in kit.store.usage] == [(2, 1)]
        await kit.want(3)
    assert [s.symbols for s in kit.store.usage] == [2, 3]


@virtual
async def test_an_edited_limit_is_in_force_within_seconds():
    async with open_worker(spec(symbols_per_connection=1, max_connections=1)) as kit:
        await kit.want(1)
        assert (await kit.want(2))[0].code is RefusalCode.MAX_CAPACITY_REACHED
        options = PoolOptions(symbols_per_connection=3, max_connections=1, revision=2)
        kit.store.specs["7"] = replace(kit.store.specs["7"], options=options)
        await asyncio.sleep(2.1)
        assert (await kit.want(2))[0].state is PENDING
        assert kit.worker.stats("7").config_revision == 2
        await asyncio.sleep(1)
        assert "config_applied" in {kind for _, kind, _ in kit.store.events}


@virtual
async def test_a_saved_credential_brings_ticks_back_within_five_seconds():
    async with open_worker() as kit:
        kit.broker.good_tokens = {"new"}
        await kit.want(1)
        await asyncio.sleep(60)
        assert kit.worker.stats("7").status is FeedStatus.AUTH_REQUIRED
        kit.store.save_credentials("7", {"token": "new"})
        await asyncio.sleep(5)
        assert len(kit.sinks["7", "fake"].published) == 1
        assert [token for _, token in kit.broker.attempts] == ["good", "new"]


@virtual
async def test_accounts_come_and_go_while_it_runs():
    async with open_worker() as kit:
        await kit.want(1)
        await asyncio.sleep(1)
        del kit.store.specs["7"]
        other = replace(spec(), pool_id="9")
        kit.store.specs["9"] = other
        kit.store.stored["9"] = kit.store.stored["7"]
        await asyncio.sleep(3)
        assert kit.worker.pool_ids() == ["9"]
        assert not kit.broker.open
        closed = [e for e in kit.events if isinstance(e, FeedChange)]
        assert (closed[-1].pool_id, closed[-1].status) == ("7", FeedStatus.CLOSED)


@virtual
async def test_accounts_may_be_chosen():
    accounts = (spec(), replace(spec(), pool_id="8"))
    async with open_worker(*accounts, account_filter=lambda s: s.pool_id == "8") as kit:
        assert kit.worker.pool_ids() == ["8"]


@virtual
async def test_an_unknown_broker_is_said_once_and_does_not_stop_the_others():
    async with open_worker(replace(spec(), pool_id="1", broker="nobody"), spec()) as kit:
        await asyncio.sleep(10)
        assert kit.worker.pool_ids() == ["7", "1"]
        assert [kind for _, kind, _ in kit.store.events] == ["config_error"]
        refused = kit.worker.stats("1")
        assert refused.status is FeedStatus.CLOSED
        assert "unknown broker 'nobody'" in refused.reason
        assert [stats.pool_id for stats in kit.store.statuses[-1]] == ["7", "1"]
        (outcome,) = await kit.want(1, pool_id="1")
        assert (outcome.state, outcome.code) == (PENDING, RefusalCode.BROKER_UNAVAILABLE)
        assert "nobody" in outcome.message


@virtual
async def test_a_dead_gateway_takes_its_references_with_it():
    async with open_worker() as kit:
        await kit.want(1)
        await kit.worker.release_gateway(ANN.gateway)
        assert kit.worker.stats("7").clients == 0


@virtual
async def test_references_are_released_by_key_and_altogether():
    async with open_worker() as kit:
        await kit.want(1, 2, 3)
        await kit.worker.release("7", ANN, keys(1))
        assert kit.worker.stats("7").wanted == 2
        await kit.worker.release("7", ANN, None)
        assert kit.worker.stats("7").wanted == 0


@virtual
async def test_a_listener_that_fails_harms_nobody_and_one_that_left_hears_nothing():
    async with open_worker() as kit:

        def broken(event):
            raise ValueError(event)

        kit.worker.add_listener(broken)
        heard: list[Any] = []
        kit.worker.add_listener(heard.append)
        kit.stop_listening()
        kit.stop_listening()
        await kit.want(1)
        await asyncio.sleep(1)
        assert [type(e) for e in heard] == [FeedChange, SubscriptionChange]
        assert not kit.events


@virtual
async def test_a_store_that_is_down_at_the_start_is_an_error_and_at_the_end_is_not():
    kit = WorkerKit()
    kit.store.go_down()
    with pytest.raises(OSError, match="down"):
        await kit.worker.open()
    kit.store.come_back()
    await kit.worker.open()
    kit.store.go_down()
    await kit.worker.close()
    await kit.worker.close()


@virtual
async def test_ticks_get_their_turn_between_thousands_of_wants():
    """A large request must not hold the loop: other work runs while it is taken."""
    account = spec(symbols_per_connection=1000, max_connections=3)
    async with open_worker(account) as kit:
        turns = 0

        async def count():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counter = asyncio.create_task(count())
        await kit.want(*range(3000))
        counter.cancel()
        assert turns >= 6


def test_nonsense_intervals_are_refused_at_once():
    with pytest.raises(ValueError, match="intervals"):
        PoolWorker(
            store=InMemoryAccountStore(),
            registry=BrokerRegistry(),
            sink_for=lambda pool_id, broker: RecordingSink(),
            clock=FakeClock(),
            rng=MiddleOfRange(),
            worker_id="w",
            epoch=1,
            usage_interval_seconds=0,
        )


@virtual
async def test_what_operators_ask_is_done_within_two_seconds_and_answered_in_a_sentence():
    async with open_worker() as kit:
        await kit.want(1, 2)
        await asyncio.sleep(1)
        paused = kit.store.ask("7", CommandVerb.PAUSE)
        await asyncio.sleep(2)
        assert kit.store.ended_commands[paused] == (
            True,
            "The pool is paused: its connections are closed, and 2 symbols wait for it.",
        )
        assert not kit.broker.open
        assert kit.worker.stats("7").reason == "paused"
        resumed = kit.store.ask("7", CommandVerb.RESUME)
        await asyncio.sleep(2)
        assert kit.store.ended_commands[resumed][0]
        assert "2 symbols" in kit.store.ended_commands[resumed][1]
        await asyncio.sleep(5)
        assert kit.broker.subscribed.keys() == {"1", "2"}


@virtual
async def test_each_verb_reaches_the_pool():
    async with open_worker() as kit:
        await kit.want(1, 2)
        await asyncio.sleep(1)
        asked = [
            kit.store.ask("7", CommandVerb.RECONNECT, slot=1),
            kit.store.ask("7", CommandVerb.RECONNECT),
            kit.store.ask("7", CommandVerb.REBALANCE),
            kit.store.ask("7", CommandVerb.PREVIEW, max_connections=1, symbols_per_connection=1),
            kit.store.ask("7", CommandVerb.UNSUBSCRIBE, keys=[list(key(2))]),
            kit.store.ask("7", CommandVerb.DRAIN, slot=1),
        ]
        await asyncio.sleep(2)
        ends = [kit.store.ended_commands[number] for number in asked]
        assert [is_done for is_done, _ in ends] == [True] * 6, ends
        assert ends[3][1].startswith("1 x 1 leaves 1 of 2 symbols without a place")
        await asyncio.sleep(60)
        assert kit.broker.subscribed.keys() == {"1"}


@virtual
async def test_a_request_that_cannot_be_done_fails_with_what_mends_it_and_hurts_nobody():
    async with open_worker() as kit:
        await kit.want(1)
        await asyncio.sleep(1)
        refused = kit.store.ask("7", CommandVerb.DRAIN, slot=9)
        broken = kit.store.ask("7", CommandVerb.DRAIN, slot=None)
        fine = kit.store.ask("7", CommandVerb.RECONNECT)
        await asyncio.sleep(2)
        assert kit.store.ended_commands[refused] == (
            False,
            "There is no connection 9; there is connection 1.",
        )
        is_done, result = kit.store.ended_commands[broken]
        assert not is_done
        assert "log" in result
        assert "TypeError" not in result
        assert kit.store.ended_commands[fine][0]


@virtual
async def test_the_end_of_a_request_is_told_once_the_store_is_back():
    async with open_worker() as kit:
        await kit.want(1)
        await asyncio.sleep(1)
        asked = kit.store.ask("7", CommandVerb.RECONNECT)
        real = kit.store.finish_command

        async def failing(command_id, *, is_done, result):
            raise OSError("down")

        kit.store.finish_command = failing
        await asyncio.sleep(5)
        kit.store.finish_command = real
        await asyncio.sleep(5)
        assert kit.store.ended_commands[asked][0]
        assert len(kit.broker.attempts) == 2, "it was done once"


@virtual
async def test_requests_to_pools_of_others_are_left_to_them():
    async with open_worker() as kit:
        kit.store.specs["8"] = replace(spec(), pool_id="8")
        kit.store.ask("8", CommandVerb.RECONNECT)
        kit.worker._accounts.account_filter = lambda each: each.pool_id == "7"
        await asyncio.sleep(5)
        assert not kit.store.ended_commands


@virtual
async def test_a_pool_that_is_paused_stays_so_over_a_restart():
    async with open_worker(replace(spec(), is_paused=True)) as kit:
        outcomes = await kit.want(1)
        assert outcomes[0].state is PENDING
        await asyncio.sleep(60)
        assert not kit.broker.attempts
        assert kit.store.statuses[-1][0].reason == "paused"


@virtual
async def test_statistics_know_the_past_and_the_credentials_end():
    peak = Peak(50, EPOCH_MS - 1)
    peaks = Peaks(symbols=peak, connections=peak, clients=peak, ticks_per_second=peak)
    account = replace(spec(), credential_expiry_ms=EPOCH_MS + 1)
    kit = WorkerKit(account)
    kit.store.past["7"] = PoolPast(all_time=peaks, reconnects_today={1: 3})
    await kit.worker.open()
    await kit.want(1)
    await asyncio.sleep(2)
    stats = kit.store.statuses[-1][0]
    assert stats.all_time == peaks
    assert stats.today is not None
    assert stats.today.symbols.value == 1
    assert stats.reconnects_today == 3
    assert stats.credential_expiry_ms == EPOCH_MS + 1
    assert stats.last_tick_ms is not None
    assert kit.worker.stats("7").all_time == peaks
    await kit.worker.close()


@virtual
async def test_an_account_that_leaves_leaves_its_last_sample():
    async with open_worker() as kit:
        await kit.want(1, 2)
        del kit.store.specs["7"]
        await asyncio.sleep(3)
        assert kit.worker.pool_ids() == []
    assert [(sample.pool_id, sample.symbols) for sample in kit.store.usage] == [("7", 2)]


@virtual
async def test_an_account_that_cannot_be_opened_any_more_keeps_its_past():
    async with open_worker() as kit:
        kit.store.past["7"] = PoolPast()  # nothing was saved yet when it happens
        await kit.want(1, 2)
        await asyncio.sleep(1)
        kit.broker.tick()
        await asyncio.sleep(1.5)
        before = kit.store.statuses[-1][0]
        assert before.today is not None
        assert before.today.symbols.value == 2
        account = kit.store.specs["7"]
        kit.store.specs["7"] = replace(account, problem="its limits make no sense")
        await asyncio.sleep(6)
        for refused in (kit.store.statuses[-1][0], kit.worker.stats("7")):
            assert refused.status is FeedStatus.CLOSED
            assert (refused.today, refused.all_time) == (before.today, before.all_time)
            assert refused.last_tick_ms == before.last_tick_ms
        kit.store.specs["7"] = account
        await asyncio.sleep(6)
        again = kit.store.statuses[-1][0]
        assert again.status is not FeedStatus.CLOSED
        assert (again.today, again.last_tick_ms) == (before.today, before.last_tick_ms)


@virtual
async def test_a_pool_that_opens_at_another_broker_keeps_its_day():
    registry = BrokerRegistry()
    for name in ("fake", "other"):
        registry.register(make_adapter_class(name=name))
    async with open_worker(registry=registry) as kit:
        await kit.want(1, 2)
        await asyncio.sleep(2)
        kit.store.specs["7"] = replace(kit.store.specs["7"], broker="other")
        for _ in range(40):
            await asyncio.sleep(0.1)
            for stats in kit.store.statuses[-1]:
                assert stats.today is not None
                assert stats.today.symbols.value == 2


@virtual
async def test_an_account_that_leaves_while_peaks_are_written_leaves_its_last_sample():
    async with open_worker(usage_interval_seconds=60.0) as kit:
        save_usage, is_written = kit.store.save_usage, asyncio.Event()

        async def slow(samples):
            await is_written.wait()
            await save_usage(samples)

        kit.store.save_usage = slow
        await asyncio.sleep(61)
        await kit.want(1, 2)
        del kit.store.specs["7"]
        await asyncio.sleep(3)
        assert kit.worker.pool_ids() == []
        is_written.set()
        await asyncio.sleep(1)
    assert [sample.symbols for sample in kit.store.usage] == [0, 2]


@pytest.mark.parametrize("what", ["holder", "gateway"])
@virtual
async def test_thousands_are_given_up_a_part_in_a_turn(what):
    """Ticks of everybody else have their turns in between."""
    many = 2 * WANT_CHUNK + 100
    registry = BrokerRegistry()
    registry.register(
        make_adapter_class(credential_fields=TOKEN_FIELD, symbols_per_connection=many)
    )
    account = spec(symbols_per_connection=many)
    async with open_worker(account, registry=registry) as kit:
        await kit.want(*range(1, many + 1))
        await kit.want(*range(1, 201), holder=Holder(ANN.gateway, "second"))
        given_up = (
            kit.worker.release("7", ANN, None)
            if what == "holder"
            else kit.worker.release_gateway(ANN.gateway)
        )
        pool = kit.worker.pool("7")
        holders = (ANN, Holder(ANN.gateway, "second"))
        left = [sum(len(pool.held_by(each)) for each in holders)]
        task = asyncio.create_task(given_up)
        while not task.done():
            await asyncio.sleep(0)
            left.append(sum(len(pool.held_by(each)) for each in holders))
        assert left[0] == many + 200
        assert left[-1] == (200 if what == "holder" else 0)
        assert max(before - after for before, after in pairwise(left)) <= WANT_CHUNK


@virtual
async def test_a_gateway_that_is_gone_is_told_with_its_clients_counted(caplog):
    caplog.set_level(logging.INFO, "pooling")
    async with open_worker() as kit:
        await kit.want(1)
        await kit.worker.release_gateway(ANN.gateway)
        await kit.want(1)
        await kit.want(1, holder=BOB)
        await kit.worker.release_gateway(ANN.gateway)
    told = [line for line in caplog.messages if "is gone" in line]
    assert told == [
        "gateway g1 is gone; released its 1 client",
        "gateway g1 is gone; released its 2 clients",
    ]


@virtual
async def test_what_others_say_takes_one_line_of_the_log(caplog):
    async with open_worker() as kit:
        kit.worker._periodic.log_failure("names", StoreUnavailableError("first\nsecond  " * 500))
    (told,) = [line for line in caplog.messages if "names failed" in line]
    assert "first second first" in told
    assert "\n" not in told
    assert len(told) < 600
