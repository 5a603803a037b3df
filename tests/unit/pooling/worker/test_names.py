"""Names are wanted and tokens are the broker's: what a load of instruments does to a running pool.

The worker is real, on virtual time; the broker knows tokens only, as brokers do.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date

import pytest

from brokers.pool_service import FeedChange, FeedStatus, RefusalCode, SubscriptionChange, Want
from brokers.registry import BrokerRegistry
from brokers.types import Instrument, InstrumentKey
from pooling.contracts import AccountSpec
from pooling.exceptions import StoreUnavailableError
from pooling.testing import InMemoryAccountStore, make_adapter_class
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
    spec,
    virtual,
)
from tests.unit.pooling.worker.test_worker import open_worker

RELIANCE = InstrumentKey("NFO", "RELIANCE26DEC1290CE")
INFY = InstrumentKey("NFO", "INFY26DEC1580CE")
TCS = InstrumentKey("NSE", "TCS")
SBIN = InstrumentKey("NSE", "SBIN")
EXPIRY = date(2026, 12, 24)


def listed(**tokens: str) -> list[Instrument]:
    names = {"reliance": RELIANCE, "infy": INFY, "tcs": TCS, "sbin": SBIN}
    return [Instrument(names[name], token) for name, token in tokens.items()]


class Names:
    """A worker whose broker was asked by tokens, and what it published under which name."""

    def __init__(self, kit) -> None:
        self.kit = kit
        self.store, self.broker, self.worker = kit.store, kit.broker, kit.worker

    @property
    def sink(self):
        return self.kit.sinks["7", "fake"]

    async def want(self, key, holder=ANN, mode=QUOTE):
        (outcome,) = await self.worker.want("7", holder, [Want(key, mode)])
        return outcome

    async def tick(self) -> dict[InstrumentKey, str]:
        """Have everything tick and return which token each name was published by."""
        before = len(self.sink.published)
        self.broker.tick()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return {item.key: item.broker_token for item, *_ in self.sink.published[before:]}

    def outcomes(self):
        changes = [event for event in self.kit.events if isinstance(event, SubscriptionChange)]
        return [outcome for change in changes for outcome in change.outcomes]

    def ended(self) -> dict[InstrumentKey, tuple[RefusalCode | None, str]]:
        return {o.key: (o.code, o.message) for o in self.outcomes() if o.state is REFUSED}

    def told(self, status: FeedStatus) -> list[InstrumentKey]:
        changes = [event for event in self.kit.events if isinstance(event, FeedChange)]
        return [key for each in changes if each.status is status for key in each.keys or ()]

    @property
    def stats(self):
        return self.worker.stats("7")


@asynccontextmanager
async def open_names(*specs: AccountSpec, capabilities=None, **options):
    """Open a worker that knows RELIANCE by token 11, INFY by 22, TCS by 33 and SBIN by 44."""
    registry = BrokerRegistry()
    registry.register(make_adapter_class(**(capabilities or {})))
    specs = specs or (spec(linger_seconds=0.5),)
    async with open_worker(*specs, registry=registry, **options) as kit:
        names = Names(kit)
        names.store.load(*listed(reliance="11", infy="22", tcs="33", sbin="44"))
        yield names
        assert not names.broker.complaints


@virtual
async def test_a_token_that_another_contract_has_now_is_no_price_of_the_expired_one():
    async with open_names() as names:
        await names.want(RELIANCE)
        await asyncio.sleep(5)
        assert await names.tick() == {RELIANCE: "11"}
        names.store.load(*listed(infy="11", tcs="33"), expiries={RELIANCE: EXPIRY})
        await asyncio.sleep(3)
        code, message = names.ended()[RELIANCE]
        assert (code, message) == (
            RefusalCode.SYMBOL_EXPIRED,
            "NFO:RELIANCE26DEC1290CE expired on 24 Dec 2026",
        )
        assert not names.broker.subscribed
        assert names.stats.wanted == names.stats.symbols == 0

        assert (await names.want(RELIANCE, BOB)).code is RefusalCode.SYMBOL_EXPIRED
        assert (await names.want(INFY, BOB)).state is not REFUSED
        await asyncio.sleep(1)
        assert await names.tick() == {INFY: "11"}
        await names.worker.release("7", ANN, [RELIANCE])
        await asyncio.sleep(10)
        assert await names.tick() == {INFY: "11"}


@virtual
async def test_a_newcomer_of_the_other_contract_comes_before_anybody_heard_of_the_load():
    """Between a load and the worker's next look, a token still has one name only."""
    async with open_names(names_seconds=3600.0) as names:
        await names.want(RELIANCE)
        await asyncio.sleep(5)
        names.store.load(*listed(infy="11"), expiries={RELIANCE: EXPIRY})
        assert (await names.want(INFY, BOB)).state is not REFUSED
        assert RELIANCE in names.sink.forgotten
        assert names.ended()[RELIANCE][0] is RefusalCode.SYMBOL_EXPIRED
        await asyncio.sleep(1)
        assert await names.tick() == {INFY: "11"}


@virtual
async def test_what_is_not_listed_any_more_ends_with_a_sentence_that_says_so():
    async with open_names() as names:
        await names.want(TCS)
        await names.want(TCS, BOB, mode=DEPTH)
        await names.want(SBIN, EVE)
        await asyncio.sleep(2)
        names.store.load(*listed(sbin="44"))
        await asyncio.sleep(3)
        code, message = names.ended()[TCS]
        assert code is RefusalCode.SYMBOL_NOT_FOUND
        assert message.startswith("the broker does not list NSE:TCS any more")
        refused = [o.mode for o in names.outcomes() if o.key == TCS and o.state is REFUSED]
        assert refused == [LTP, QUOTE, DEPTH]
        assert await names.tick() == {SBIN: "44"}
        assert names.told(FeedStatus.STALE) == []
        assert (await names.want(TCS)).code is RefusalCode.SYMBOL_NOT_FOUND


@virtual
async def test_a_token_that_is_free_goes_on_until_the_new_one_speaks():
    async with open_names() as names:
        await names.want(TCS)
        await asyncio.sleep(2)
        names.broker.confirms = False
        names.store.load(*listed(tcs="35", sbin="44"))
        await asyncio.sleep(2)
        assert set(names.broker.subscribed) == {"33", "35"}
        assert names.told(FeedStatus.STALE) == []
        names.broker.say('{"ok": ["35"], "ticks": ["35"]}')
        await asyncio.sleep(0.5)
        assert set(names.broker.subscribed) == {"35"}
        assert await names.tick() == {TCS: "35"}
        assert names.told(FeedStatus.STALE) == []
        assert names.ended() == {}
        assert names.stats.confirmed == 1


@virtual
async def test_a_token_that_does_not_speak_is_believed_in_for_five_seconds():
    async with open_names() as names:
        await names.want(TCS)
        await asyncio.sleep(2)
        names.broker.confirms = False
        names.store.load(*listed(tcs="35"))
        await asyncio.sleep(4)
        assert names.told(FeedStatus.STALE) == []
        await asyncio.sleep(5)
        assert set(names.broker.subscribed) == {"35"}
        assert names.told(FeedStatus.STALE) == [TCS]
        assert names.stats.confirmed == 0
        names.broker.say('{"ok": ["35"], "ticks": ["35"]}')
        await asyncio.sleep(1)
        assert names.told(FeedStatus.LIVE) == [TCS]
        assert await names.tick() == {TCS: "35"}


@virtual
async def test_where_there_is_no_room_for_both_the_earlier_one_ends_first_and_that_is_told():
    account = spec(symbols_per_connection=1, max_connections=1)
    async with open_names(account) as names:
        await names.want(TCS)
        await asyncio.sleep(2)
        names.broker.confirms = False
        names.store.load(*listed(tcs="35"))
        await asyncio.sleep(2)
        assert set(names.broker.subscribed) == {"35"}
        assert names.told(FeedStatus.STALE) == [TCS]
        names.broker.say('{"ok": ["35"], "ticks": ["35"]}')
        await asyncio.sleep(0.5)
        assert names.told(FeedStatus.LIVE) == [TCS]
        assert names.ended() == {}


@virtual
async def test_tokens_that_are_exchanged_never_tick_under_the_other_name():
    async with open_names() as names:
        for key in (RELIANCE, INFY, TCS):
            await names.want(key)
        await asyncio.sleep(2)
        before = len(names.sink.published)
        names.store.load(*listed(reliance="22", infy="11", tcs="33"))
        meant = {RELIANCE: {"11", "22"}, INFY: {"22", "11"}, TCS: {"33"}}
        for _ in range(40):
            await asyncio.sleep(0.1)
            names.broker.tick()
            if names.told(FeedStatus.STALE):
                meant[RELIANCE], meant[INFY] = {"22"}, {"11"}
                before = before if len(meant[INFY]) > 1 else len(names.sink.published)
        assert names.told(FeedStatus.STALE) == [RELIANCE, INFY]
        late = names.sink.published[before:]
        assert {(item.key, item.broker_token) for item, *_ in late} <= {
            (key, token) for key, tokens in meant.items() for token in tokens
        }
        assert await names.tick() == {RELIANCE: "22", INFY: "11", TCS: "33"}
        assert names.ended() == {}


@virtual
async def test_what_was_cut_off_is_silent_although_the_broker_cannot_be_told_yet():
    """Rate limits of messages delay the end; nothing of it is published meanwhile."""
    pace = {"message_interval_seconds": 5.0, "batch_size": 1}
    async with open_names(capabilities=pace) as names:
        await names.want(RELIANCE)
        await names.want(TCS)
        await asyncio.sleep(30)
        await names.want(SBIN)
        names.store.load(*listed(infy="11", tcs="33", sbin="44"), expiries={RELIANCE: EXPIRY})
        await asyncio.sleep(1.5)
        assert "11" in names.broker.subscribed
        assert RELIANCE not in await names.tick()
        await asyncio.sleep(10)
        assert "11" not in names.broker.subscribed


@virtual
async def test_a_load_that_changes_no_token_disturbs_nobody():
    async with open_names() as names:
        for key in (RELIANCE, TCS):
            await names.want(key)
        await asyncio.sleep(2)
        asked, told = len(names.broker.messages), len(names.kit.events)
        names.store.load(*listed(reliance="11", infy="22", tcs="33"))
        await asyncio.sleep(5)
        assert (len(names.broker.messages), len(names.kit.events)) == (asked, told)


@virtual
async def test_what_lingers_or_waits_for_its_end_is_compared_too():
    async with open_names(spec(linger_seconds=60.0)) as names:
        await names.want(RELIANCE)
        await names.want(TCS)
        await asyncio.sleep(2)
        await names.worker.release("7", ANN, None)
        names.store.load(*listed(reliance="12", infy="11", tcs="33"))
        await asyncio.sleep(3)
        assert set(names.broker.subscribed) == {"33"}
        assert (await names.want(RELIANCE)).state is not ACTIVE
        await asyncio.sleep(1)
        assert await names.tick() == {RELIANCE: "12", TCS: "33"}


@virtual
async def test_what_waits_for_room_gets_it_by_its_new_token():
    account = spec(symbols_per_connection=2, max_connections=1, linger_seconds=0.5)
    async with open_names(account) as names:
        await names.want(TCS)
        await names.want(SBIN, BOB)
        await asyncio.sleep(1)
        names.store.specs["7"] = spec(
            symbols_per_connection=1, max_connections=1, linger_seconds=0.5
        )
        await asyncio.sleep(4)
        assert set(names.broker.subscribed) == {"33"}
        names.store.load(*listed(tcs="33", sbin="45", infy="44"))
        await asyncio.sleep(2)
        assert set(names.broker.subscribed) == {"33"}
        await names.worker.release("7", ANN, None)
        await asyncio.sleep(8)
        assert await names.tick() == {SBIN: "45"}


@virtual
async def test_a_new_socket_is_asked_for_what_names_mean_now():
    async with open_names(names_seconds=3600.0) as names:
        await names.want(RELIANCE)
        await names.want(TCS)
        await asyncio.sleep(2)
        names.store.load(*listed(infy="11", tcs="35"), expiries={RELIANCE: EXPIRY})
        names.broker.drop()
        await asyncio.sleep(5)
        assert set(names.broker.subscribed) == {"35"}
        assert set(names.ended()) == {RELIANCE}


@virtual
async def test_a_new_socket_does_not_wait_for_a_store_that_hangs():
    class Hanging(InMemoryAccountStore):
        hangs = False

        async def names_revision(self, broker):
            if self.hangs:
                await asyncio.sleep(3600)
            return await super().names_revision(broker)

    async with open_names(names_seconds=3600.0) as names:
        await names.want(TCS)
        await asyncio.sleep(2)
        store = Hanging(*names.store.specs.values(), instruments=names.store.instruments)
        store.hangs = True
        names.worker._store = store
        names.broker.drop()
        await asyncio.sleep(4)
        assert set(names.broker.subscribed) == {"33"}
        assert await names.tick() == {TCS: "33"}


@virtual
async def test_while_the_store_is_down_names_stay_and_it_is_made_up_for():
    async with open_names() as names:
        await names.want(TCS)
        await asyncio.sleep(2)
        names.store.load(*listed(tcs="35"))
        names.store.go_down()
        await asyncio.sleep(5)
        assert await names.tick() == {TCS: "33"}
        assert (await names.want(TCS, BOB, mode=LTP)).state is ACTIVE
        assert (await names.want(SBIN, BOB)).code is RefusalCode.BROKER_UNAVAILABLE
        names.store.come_back()
        await asyncio.sleep(3)
        assert await names.tick() == {TCS: "35"}
        assert names.ended()[SBIN][0] is RefusalCode.SYMBOL_NOT_FOUND


@virtual
async def test_what_is_wanted_before_instruments_are_loaded_waits_for_them():
    other = replace(spec(linger_seconds=0.5), pool_id="8")
    async with open_names(spec(linger_seconds=0.5), other) as names:
        names.store.load()
        for key in (TCS, RELIANCE):
            outcome = await names.want(key)
            assert (outcome.state, outcome.code) == (PENDING, RefusalCode.BROKER_UNAVAILABLE)
            assert outcome.message == "nothing is loaded"
        await names.worker.want("8", BOB, [Want(TCS, QUOTE)])
        await asyncio.sleep(5)
        assert not names.ended()
        await names.worker.release("8", BOB, None)
        names.store.load(*listed(tcs="35"))
        await asyncio.sleep(5)
        assert names.ended()[RELIANCE][0] is RefusalCode.SYMBOL_NOT_FOUND
        assert await names.tick() == {TCS: "35"}
        assert (await names.want(SBIN)).code is RefusalCode.SYMBOL_NOT_FOUND


@virtual
async def test_a_load_during_a_look_up_has_it_begin_anew():
    class Loading(InMemoryAccountStore):
        loads = 0

        async def resolve(self, broker, keys):
            found = await super().resolve(broker, keys)
            if self.loads:
                self.loads -= 1
                self.load(*listed(infy="11"), expiries={RELIANCE: EXPIRY})
            return found

    async with open_names() as names:
        store = Loading(*names.store.specs.values(), instruments=names.store.instruments)
        store.revision, store.loads = names.store.revision, 1
        names.worker._store = store
        assert (await names.want(RELIANCE)).code is RefusalCode.SYMBOL_EXPIRED
        assert not names.broker.subscribed


@virtual
async def test_a_second_costs_one_look_for_each_broker_however_many_its_pools_are():
    class Counting(InMemoryAccountStore):
        looks, hides_names = 0, False

        async def names_revision(self, broker):
            self.looks += 1
            if self.hides_names:
                raise StoreUnavailableError("away")
            return await super().names_revision(broker)

    others = [replace(spec(linger_seconds=0.5), pool_id=str(n)) for n in range(8, 18)]
    async with open_names(spec(linger_seconds=0.5), *others) as names:
        await names.want(TCS)
        await names.worker.want("9", BOB, [Want(INFY, QUOTE)])
        store = Counting(*names.store.specs.values(), instruments=names.store.instruments)
        store.revision = names.store.revision
        await asyncio.sleep(2)
        names.worker._store = names.store = store
        await asyncio.sleep(10)
        assert 9 <= store.looks <= 11
        # Where it does not answer, nobody waits for as many answers as there are pools.
        store.hides_names, store.looks = True, 0
        await asyncio.sleep(10)
        assert 9 <= store.looks <= 11
        store.hides_names = False
        store.load(*listed(tcs="35", infy="22"))
        await asyncio.sleep(5)
        assert await names.tick() == {TCS: "35"}


class Gated(InMemoryAccountStore):
    """A store whose look-ups wait for the gate; every answer takes its time."""

    def __init__(self, *specs, **options) -> None:
        super().__init__(*specs, **options)
        self.gate = asyncio.Event()

    async def names_revision(self, broker):
        await asyncio.sleep(0.1)
        return await super().names_revision(broker)

    async def resolve(self, broker, keys):
        await self.gate.wait()
        return await super().resolve(broker, keys)


@asynccontextmanager
async def open_gated(*specs: AccountSpec):
    """Open a worker whose store answers slowly, and lets no look-up pass while the gate is shut."""
    async with open_names(*specs) as names:
        names.worker._store = store = Gated(*specs, instruments=names.store.instruments)
        # Accounts are read where they were before.
        store.specs, store.revision = names.store.specs, names.store.revision
        store.gate.set()
        names.store = store
        yield names


@virtual
async def test_a_pool_that_ends_while_it_is_brought_up_to_a_load_holds_nobody_up():
    accounts = (spec(), replace(spec(), pool_id="8"))
    async with open_gated(*accounts) as names:
        await names.want(TCS)
        await names.worker.want("8", BOB, [Want(SBIN, QUOTE)])
        await asyncio.sleep(2)
        names.store.gate.clear()
        names.store.load(*listed(reliance="11", infy="22", tcs="35", sbin="45"))
        await asyncio.sleep(2)
        del names.store.specs["7"]
        await asyncio.sleep(3)
        assert names.worker.pool_ids() == ["8"]
        names.store.gate.set()
        await asyncio.sleep(3)
        assert set(names.broker.subscribed) == {"45"}
        (outcome,) = await names.worker.want("8", ANN, [Want(INFY, QUOTE)])
        assert outcome.state is not REFUSED
        assert not outcome.message


@virtual
async def test_who_wants_of_a_pool_that_ends_meanwhile_is_told_that_it_is_gone():
    async with open_gated(spec()) as names:
        names.store.gate.clear()
        asked = asyncio.create_task(names.want(TCS))
        await asyncio.sleep(1)
        del names.store.specs["7"]
        await asyncio.sleep(3)
        names.store.gate.set()
        with pytest.raises(KeyError):
            await asked


@virtual
async def test_what_waits_for_a_look_up_at_a_pool_that_ends_is_no_defect(caplog):
    accounts = (spec(), replace(spec(), pool_id="8"))
    async with open_gated(*accounts) as names:
        names.store.go_down()
        for pool_id in ("7", "8"):
            (outcome,) = await names.worker.want(pool_id, ANN, [Want(TCS, QUOTE)])
            assert outcome.code is RefusalCode.BROKER_UNAVAILABLE
        pool = names.worker.pool("7")
        await pool.close()  # as it is while its last sockets close
        caplog.clear()
        names.store.come_back()
        await asyncio.sleep(5)
        assert not [record for record in caplog.records if "untold" in record.getMessage()]
        assert set(names.broker.subscribed) == {"33"}


@virtual
async def test_who_is_still_being_answered_hears_why_a_name_ended():
    """A large request takes a while; a load in the middle of it ends what was taken before."""
    many = [InstrumentKey("NSE", f"N{number}") for number in range(600)]

    class Loading(InMemoryAccountStore):
        async def resolve(self, broker, keys):
            if many[-1] in keys and self.revision == 1:
                self.load(*(Instrument(each, f"{9000 + n}") for n, each in enumerate(many[1:])))
                self.expiries[many[0]] = EXPIRY
            return await super().resolve(broker, keys)

    account = spec(symbols_per_connection=600, max_connections=1)
    wide = {"symbols_per_connection": 600}
    async with open_names(account, capabilities=wide) as names:
        store = Loading(account)
        store.load(*(Instrument(each, f"{9000 + n}") for n, each in enumerate(many, start=-1)))
        store.instruments = {**(store.instruments or {}), many[0]: Instrument(many[0], "77")}
        names.worker._store = store
        outcomes = await names.worker.want("7", ANN, [Want(each, QUOTE) for each in many])
        assert [o.key for o in outcomes if o.state is REFUSED] == [many[0]]
        assert (outcomes[0].code, outcomes[0].message) == (
            RefusalCode.SYMBOL_EXPIRED,
            "NSE:N0 expired on 24 Dec 2026",
        )


@virtual
async def test_two_names_of_one_token_are_one_too_many():
    async with open_names(spec(linger_seconds=60.0)) as names:
        names.store.load(*listed(tcs="33", sbin="33"))
        await names.want(TCS)
        outcome = await names.want(SBIN, BOB)
        assert (outcome.state, outcome.code) == (REFUSED, RefusalCode.BROKER_ERROR)
        assert "NSE:SBIN and NSE:TCS by one token" in outcome.message
        await asyncio.sleep(1)
        assert await names.tick() == {TCS: "33"}
        await names.worker.release("7", ANN, None)
        assert (await names.want(SBIN, BOB)).state is not REFUSED
        await asyncio.sleep(1)
        assert await names.tick() == {SBIN: "33"}


@virtual
async def test_thousands_of_names_are_compared_and_the_loop_goes_on():
    count = 2500
    many = [Instrument(InstrumentKey("NSE", f"N{n}"), str(n)) for n in range(count)]
    account = spec(symbols_per_connection=count, max_connections=2)
    wide = {"max_connections": 2, "symbols_per_connection": count}
    async with open_names(account, capabilities=wide) as names:
        names.store.load(*many)
        await names.worker.want("7", ANN, [Want(each.key, QUOTE) for each in many])
        await asyncio.sleep(3)
        names.store.load(*(Instrument(each.key, f"9{each.broker_token}") for each in many[:-1]))
        await asyncio.sleep(5)
        assert names.stats.confirmed == count - 1
        assert set(names.broker.subscribed) == {f"9{each.broker_token}" for each in many[:-1]}
        assert set(names.ended()) == {many[-1].key}


@pytest.mark.parametrize("verb", ["drop", "tick"])
@virtual
async def test_people_can_read_what_a_load_did(verb):
    async with open_names() as names:
        await names.want(RELIANCE)
        await names.want(TCS)
        await asyncio.sleep(1)
        names.store.load(*listed(tcs="35"), expiries={RELIANCE: EXPIRY})
        getattr(names.broker, verb)()
        await asyncio.sleep(5)
        told = [message for _, kind, message in names.store.events if kind == "names_followed"]
        assert told == [
            "instruments changed: 1 symbol ended (NFO:RELIANCE26DEC1290CE), 1 subscribed by "
            "another token of the broker's"
        ]


@virtual
async def test_a_database_that_lost_its_instruments_ends_no_price():
    """A file that was taken away is an empty database: nobody delisted what people watch."""
    async with open_names() as names:
        await names.want(RELIANCE)
        await names.want(TCS)
        await asyncio.sleep(5)
        names.store.load()
        await asyncio.sleep(5)
        assert names.ended() == {}
        assert await names.tick() == {RELIANCE: "11", TCS: "33"}
        names.store.load(*listed(reliance="12", infy="22"))
        await asyncio.sleep(5)
        assert set(names.ended()) == {TCS}, "one that was loaded again is followed as ever"
        assert await names.tick() == {RELIANCE: "12"}


@virtual
async def test_contracts_that_have_all_expired_end():
    async with open_names() as names:
        await names.want(RELIANCE)
        await asyncio.sleep(5)
        names.store.load(expiries={RELIANCE: EXPIRY})
        await asyncio.sleep(5)
        assert names.ended()[RELIANCE][0] is RefusalCode.SYMBOL_EXPIRED
