"""Limits that change while a pool runs, and the upkeep of its connections. Virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from brokers.pool_service import FeedStatus, RefusalCode
from brokers.types import FeedMode
from pooling.contracts import PoolOptions
from tests.unit.pooling.kit import ACTIVE, ANN, BOB, PENDING, REFUSED, key, open_kit, virtual
from tests.unit.pooling.worker.test_worker import open_worker

STALE, LIVE = FeedStatus.STALE, FeedStatus.LIVE


def limits(symbols: int, connections: int, **more) -> PoolOptions:
    return PoolOptions(symbols_per_connection=symbols, max_connections=connections, **more)


async def hold(kit, *numbers: int) -> None:
    """Want symbols, and wait until the broker has them."""
    kit.want(*numbers)
    await asyncio.sleep(1)


def gaps(kit, *numbers: int) -> list[float]:
    """Return the spells in which no open socket carried a symbol, from the broker's record."""
    now = asyncio.get_running_loop().time()
    return [spell for number in numbers for spell in gaps_of(kit, number, now)]


def gaps_of(kit, number: int, until: float) -> list[float]:
    token, spells = str(number), []
    carriers: set[object] = set()
    since: float | None = None
    for at, transport, said in kit.broker.messages:
        if token not in {row[0] for row in said["items"]} or said["do"] == "mode":
            continue
        (carriers.discard if said["do"] == "unsubscribe" else carriers.add)(transport)
        if carriers and since is not None:
            spells.append(at - since)
            since = None
        elif not carriers:
            since = at
    return spells + ([until - since] if since is not None else [])


@virtual
async def test_lowered_limits_displace_the_newest_and_close_the_newest_connection():
    async with open_kit() as kit:
        await hold(kit, *range(9))
        newest = kit.broker.open[2]
        kit.pool.update_options(limits(3, 2, revision=4))
        await asyncio.sleep(1)
        assert kit.broker.subscribed.keys() == {str(n) for n in range(6)}
        assert not newest.is_open
        assert newest.closed_by_us
        told = {o.key: o for o in kit.outcomes if o.code is RefusalCode.MAX_CAPACITY_REACHED}
        assert told.keys() == {key(6), key(7), key(8)}
        outcome = told[key(8)]
        assert outcome.state is PENDING
        assert (outcome.details["capacity"], outcome.details["max_connections"]) == (6, 2)
        assert set(kit.sink.forgotten) == {key(6), key(7), key(8)}
        assert [c.status for c in kit.feed] == [STALE]
        stats = kit.pool.get_stats()
        assert (stats.wanted, stats.waiting, stats.used, stats.config_revision) == (9, 3, 6, 4)
        assert {kind for kind, _ in kit.notes} >= {"displaced", "config_applied"}
        assert not kit.broker.complaints


@virtual
async def test_raised_limits_place_what_waits_and_tell_that_it_is_active():
    async with open_kit() as kit:
        await hold(kit, *range(9))
        kit.pool.update_options(limits(3, 2))
        await asyncio.sleep(1)
        kit.events.clear()
        kit.pool.update_options(limits(3, 3))
        await asyncio.sleep(1)
        assert len(kit.broker.subscribed) == 9
        active = {o.key for o in kit.outcomes if o.state is ACTIVE}
        assert active == {key(6), key(7), key(8)}
        assert {k for c in kit.feed if c.status is LIVE for k in c.keys or ()} == active
        assert kit.pool.get_stats().waiting == 0


@virtual
async def test_what_still_fits_moves_without_a_gap():
    """Make before break: the old connection lets go once the new one has spoken."""
    async with open_kit() as kit:
        await hold(kit, *range(8))
        kit.release(0, 1, 3)
        await asyncio.sleep(6)
        kit.pool.update_options(limits(3, 2))
        await asyncio.sleep(2)
        assert kit.broker.subscribed.keys() == {"2", "4", "5", "6", "7"}
        assert len(kit.broker.open) == 2
        assert not gaps(kit, 2, 4, 5, 6, 7)
        assert not kit.outcomes[8:]
        assert not kit.feed
        assert not kit.broker.complaints


@virtual
async def test_a_move_waits_for_the_new_connection_to_speak_but_not_for_ever():
    async with open_kit() as kit:
        await hold(kit, *range(4))
        kit.release(0)
        await asyncio.sleep(6)
        kit.broker.confirms = False
        kit.pool.update_options(limits(3, 1))
        await asyncio.sleep(5)
        carrying = [t for t in kit.broker.open if "3" in t.subscribed]
        assert len(carrying) == 2, "still on both"
        await asyncio.sleep(8)
        assert len(kit.broker.open) == 1
        assert kit.broker.subscribed.keys() == {"1", "2", "3"}
        assert not kit.feed


@virtual
async def test_fewer_symbols_per_connection_spread_over_more_connections():
    async with open_kit() as kit:
        await hold(kit, *range(3))
        kit.pool.update_options(limits(1, 3))
        await asyncio.sleep(2)
        assert sorted(len(t.subscribed) for t in kit.broker.open) == [1, 1, 1]
        assert not gaps(kit, *range(3))


@virtual
async def test_what_lingers_goes_before_anything_that_is_held():
    async with open_kit(options={"linger_seconds": 60}) as kit:
        await hold(kit, *range(4))
        kit.release(1)
        kit.pool.update_options(limits(3, 1, linger_seconds=60))
        await asyncio.sleep(2)
        assert kit.broker.subscribed.keys() == {"0", "2", "3"}
        assert kit.pool.get_stats().waiting == 0


@virtual
async def test_room_that_is_freed_goes_to_those_who_wait_the_oldest_first():
    async with open_kit() as kit:
        await hold(kit, *range(6))
        kit.pool.update_options(limits(3, 1))
        await asyncio.sleep(1)
        assert kit.want(9, holder=BOB)[0].state is REFUSED
        kit.release(0)
        await asyncio.sleep(1)
        assert kit.broker.subscribed.keys() == {"1", "2", "3"}
        kit.release(4)
        await asyncio.sleep(6)
        kit.release(1, 2)
        await asyncio.sleep(6)
        assert kit.broker.subscribed.keys() == {"3", "5"}, "what nobody holds does not come back"


@virtual
async def test_a_refused_want_is_not_remembered_and_one_that_waits_is_not_refused():
    async with open_kit() as kit:
        await hold(kit, *range(6))
        kit.pool.update_options(limits(3, 1))
        await asyncio.sleep(1)
        mine, other = kit.want(5)[0], kit.want(5, holder=BOB)[0]
        assert (mine.state, mine.code) == (PENDING, RefusalCode.MAX_CAPACITY_REACHED)
        assert (other.state, other.code) == (REFUSED, RefusalCode.MAX_CAPACITY_REACHED)
        assert kit.pool.settle(ANN, [mine]) == [mine]
        kit.release()
        await asyncio.sleep(6)
        kit.pool.update_options(limits(3, 3))
        await asyncio.sleep(1)
        assert not kit.broker.subscribed


@virtual
async def test_an_edit_in_the_store_is_in_force_within_five_seconds():
    async with open_worker() as kit:
        await kit.want(*range(9))
        await asyncio.sleep(1)
        for symbols, connections in ((3, 1), (3, 3), (1, 3)):
            kit.store.specs["7"] = replace(
                kit.store.specs["7"], options=limits(symbols, connections, revision=symbols)
            )
            await asyncio.sleep(5)
            assert len(kit.broker.subscribed) == symbols * connections
            assert kit.worker.stats("7").config_revision == symbols


# -- Reuse and upkeep ---------------------------------------------------------------------------


@virtual
async def test_an_empty_connection_is_reused_and_then_closed():
    async with open_kit(options={"max_idle_seconds": 300}) as kit:
        await hold(kit, 1)
        kit.release()
        await asyncio.sleep(290)
        await hold(kit, 2)
        assert len(kit.broker.attempts) == 1, "a warm socket costs no handshake"
        kit.release()
        await asyncio.sleep(300)
        assert kit.states() == ["live"]
        await asyncio.sleep(10)
        assert kit.states() == []
        assert kit.broker.transports[0].closed_by_us
        await hold(kit, 3)
        assert kit.broker.subscribed.keys() == {"3"}


@virtual
async def test_warm_connections_open_at_start_stay_and_are_replaced():
    options = {"warm_connections": 2, "max_idle_seconds": 30, "health_check_seconds": 30}
    async with open_kit(options=options) as kit:
        await asyncio.sleep(100)
        assert kit.states() == ["live", "live"]
        assert kit.pool.get_stats().status is LIVE
        assert not kit.feed
        kit.broker.drop()
        await asyncio.sleep(5)
        assert kit.states() == ["live", "live"]
        kit.want(1)
        await asyncio.sleep(0.01)
        assert kit.broker.subscribed.keys() == {"1"}
        kit.pool.update_options(limits(3, 3, warm_connections=1, max_idle_seconds=30))
        await asyncio.sleep(40)
        assert kit.states() == ["live"]


@virtual
async def test_an_idle_connection_that_is_dead_is_found_by_a_health_check():
    options = {"warm_connections": 1, "health_check_seconds": 20}
    async with open_kit(options=options, liveness_timeout_seconds=3600.0) as kit:
        await asyncio.sleep(50)
        assert len(kit.broker.attempts) == 1
        kit.broker.go_silent()
        await asyncio.sleep(27)
        assert "did not answer" in kit.pool.get_stats().connections[0].last_close
        kit.broker.speak()
        await asyncio.sleep(30)
        assert len(kit.broker.open) == 1
        assert kit.states() == ["live"]


@virtual
async def test_a_connection_that_goes_while_it_was_to_move_leaves_no_socket():
    """Limits and endpoint edited at once: its end came while it was closing to open again."""
    async with open_kit() as kit:
        await hold(kit, 1, 2, 3, 4)
        assert len(kit.broker.open) == 2
        kit.release(3)
        await asyncio.sleep(10)
        kit.pool.update_options(limits(3, 1))
        kit.pool.update_endpoint("ws://other.invalid")
        await asyncio.sleep(30)
        assert [set(t.subscribed) for t in kit.broker.open] == [{"1", "2", "4"}]


@virtual
async def test_two_half_empty_connections_become_one_without_a_gap():
    async with open_kit(options={"max_idle_seconds": 60}) as kit:
        await hold(kit, *range(6))
        kit.release(0, 1, 4, 5)
        await asyncio.sleep(40)
        assert len([t for t in kit.broker.open if t.subscribed]) == 2, "not at once"
        await asyncio.sleep(40)
        assert [set(t.subscribed) for t in kit.broker.open if t.subscribed] == [{"2", "3"}]
        assert not gaps(kit, 2, 3)
        await asyncio.sleep(70)
        assert kit.states() == ["live"]
        assert not kit.feed


@virtual
async def test_connections_that_would_fill_one_are_left_alone_and_nothing_flaps():
    async with open_kit(symbols_per_connection=4, options={"symbols_per_connection": 4}) as kit:
        await hold(kit, *range(8))
        kit.release(0, 1, 4, 5)
        for _ in range(60):
            await asyncio.sleep(60)
            kit.want(9)
            await asyncio.sleep(60)
            kit.release(9)
        moved = [said for _, _, said in kit.broker.messages if "9" not in str(said["items"])]
        assert len(moved) == 4, "two subscribes, two unsubscribes, and no move"


@virtual
async def test_a_connection_is_replaced_before_the_broker_ends_it_without_a_lost_tick():
    """Binance ends a connection after 24 hours."""
    day = 24 * 3600.0
    async with open_kit(max_lifetime_seconds=day) as kit:
        await hold(kit, *range(5))
        first = list(kit.broker.open)
        await asyncio.sleep(0.97 * day)
        assert not any(transport.is_open for transport in first)
        assert len(kit.broker.subscribed) == 5
        assert not gaps(kit, *range(5))
        assert not kit.feed
        assert kit.pool.get_stats().reconnects == 0
        now = asyncio.get_running_loop().time()
        born = {
            t: at for (at, _), t in zip(kit.broker.attempts, kit.broker.transports, strict=True)
        }
        assert all(now - born[transport] < 0.2 * day for transport in kit.broker.open)
        assert not kit.broker.complaints


@virtual
async def test_without_room_for_another_a_connection_is_opened_anew_in_place():
    """All three are full: one short announced gap each, one after the other, is the least harm."""
    hour = 3600.0
    async with open_kit(max_lifetime_seconds=hour) as kit:
        await hold(kit, *range(9))
        await asyncio.sleep(0.97 * hour)
        assert len(kit.broker.attempts) == 6
        assert len(kit.broker.subscribed) == 9
        assert kit.pool.get_stats().reconnects == 3
        stale = [c for c in kit.feed if c.status is STALE]
        assert [len(c.keys or ()) for c in stale] == [3, 3, 3]
        lives = [c for c in kit.feed if c.status is LIVE]
        assert all(b.since_ms - a.since_ms <= 1000 for a, b in zip(stale, lives, strict=True))
        assert kit.pool.get_stats().max_connections == 3
        assert not kit.broker.complaints


# -- One connection's failure -------------------------------------------------------------------


@virtual
async def test_symbols_of_a_connection_that_stays_away_move_to_free_places_after_15_s():
    async with open_kit() as kit:
        await hold(kit, *range(9))
        kit.release(0, 1)
        await asyncio.sleep(6)
        victim = kit.broker.open[1]
        assert set(victim.subscribed) == {"3", "4", "5"}
        others = {key(n) for n in (2, 6, 7, 8)}
        kit.broker.refuse(503)
        kit.broker.drop(victim)
        await asyncio.sleep(14)
        assert kit.broker.subscribed.keys() == {"2", "6", "7", "8"}
        await asyncio.sleep(3)
        assert kit.broker.subscribed.keys() == {"2", "3", "4", "6", "7", "8"}
        assert not {k for c in kit.feed for k in c.keys or ()} & others
        assert kit.want(3)[0].state is ACTIVE
        assert kit.want(5)[0].state is PENDING
        kit.broker.accept()
        await asyncio.sleep(60)
        assert kit.broker.subscribed.keys() == {str(n) for n in range(2, 9)}
        assert set(kit.broker.open[0].subscribed) == {"2", "3", "4"}, "they stay where they are"
        assert not kit.broker.complaints


@virtual
async def test_what_is_wanted_meanwhile_does_not_go_to_the_dead_connection():
    async with open_kit() as kit:
        await hold(kit, *range(5))
        kit.broker.drop(kit.broker.open[0])
        kit.broker.refuse(503)
        await asyncio.sleep(20)
        kit.broker.accept()
        kit.want(7, 8, 9, mode=FeedMode.LTP)
        await asyncio.sleep(0.1)
        assert kit.broker.subscribed.keys() >= {"7"}


@virtual
async def test_a_broker_that_is_away_altogether_moves_nothing():
    async with open_kit() as kit:
        await hold(kit, *range(7))
        placed = [set(t.subscribed) for t in kit.broker.open]
        kit.broker.refuse(503)
        kit.broker.drop()
        await asyncio.sleep(600)
        kit.broker.accept()
        await asyncio.sleep(130)
        assert len(kit.broker.subscribed) == 7
        assert sum(len(t.subscribed) for t in kit.broker.open) == 7
        assert len(placed) >= len(kit.broker.open)
        assert not kit.broker.complaints


@virtual
async def test_a_connection_lost_while_its_symbols_move_is_not_asked_for_them_again():
    async with open_kit() as kit:
        await hold(kit, *range(4))
        kit.release(0)
        await asyncio.sleep(6)
        kit.broker.confirms = False
        kit.pool.update_options(limits(3, 1))
        await asyncio.sleep(1)
        leaving = kit.broker.open[1]
        assert set(leaving.subscribed) == {"3"}
        kit.broker.drop(leaving)
        await asyncio.sleep(3)
        assert len(kit.broker.attempts) == 2, "the second connection is needed no more"
        assert kit.states() == ["live"]
        kit.broker.say('{"ok": ["3"]}')
        await asyncio.sleep(1)
        assert kit.want(3)[0].state is ACTIVE


@virtual
async def test_what_waits_and_only_lingers_gets_no_place():
    async with open_kit(options={"linger_seconds": 60}) as kit:
        await hold(kit, *range(6))
        kit.pool.update_options(limits(3, 1, linger_seconds=60))
        kit.release(5)
        kit.pool.update_options(limits(3, 3, linger_seconds=60))
        await asyncio.sleep(1)
        assert kit.broker.subscribed.keys() == {str(n) for n in range(5)}
