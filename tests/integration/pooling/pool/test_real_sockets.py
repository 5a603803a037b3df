"""The pool, Zerodha's adapter and real sockets to the local exchange."""

from __future__ import annotations

import random
import threading
import time

import pytest

from brokers.pool_service import FeedStatus, OrderUpdated, OutcomeState, RefusalCode
from brokers.types import FeedMode
from pooling.contracts import PoolOptions
from tests.support import eventually, free_port


async def test_ticks_flow_and_the_exchange_has_nothing_to_complain_about(kite_server, open_pool):
    kit = await open_pool(kite_server)
    outcomes = kit.want(*kit.keys[:2])
    assert [o.state for o in outcomes] == [OutcomeState.PENDING] * 2
    await eventually(lambda: len(kit.outcomes) == 2 and len(kit.sink.published) > 20)
    assert {p.instrument.key for p in kit.sink.published} == set(kit.keys[:2])
    assert kite_server.record().complaints() == []


async def test_three_connections_fill_and_the_tenth_symbol_is_refused(kite_server, open_pool):
    kit = await open_pool(kite_server)
    outcomes = kit.want(*kit.keys[:10])
    await eventually(lambda: kit.confirmed == 9)
    assert outcomes[9].code is RefusalCode.MAX_CAPACITY_REACHED
    record = kite_server.record()
    assert (record.open, record.subscribed, record.peak_subscribed) == (3, 9, 3)
    assert record.complaints() == []


async def test_a_raised_mode_brings_depth_without_a_second_subscription(kite_server, open_pool):
    kit = await open_pool(kite_server)
    kit.want(kit.keys[0], mode=FeedMode.LTP)
    await eventually(lambda: kit.confirmed == 1)
    kit.want(kit.keys[0], mode=FeedMode.DEPTH, client="bob")
    await eventually(lambda: any(t.bids for t in kit.sink.ticks))
    kit.release(client="bob")
    await eventually(lambda: kit.sink.ticks[-1].mode is FeedMode.LTP)
    assert kite_server.record().complaints() == []


async def test_a_dropped_link_is_replayed(kite_server, open_pool):
    kit = await open_pool(kite_server)
    kit.want(*kit.keys[:5])
    await eventually(lambda: kit.confirmed == 5)
    kite_server.drop()
    await eventually(lambda: kit.feed and kit.feed[0].status is FeedStatus.STALE)
    await eventually(lambda: kit.confirmed == 5 and kite_server.record().subscribed == 5)
    live = {k for c in kit.feed if c.status is FeedStatus.LIVE for k in c.keys}
    await eventually(lambda: live == set(kit.keys[:5]) or kit.feed[-1].status is FeedStatus.LIVE)
    assert set(kit.sink.forgotten) == set(kit.keys[:5])
    assert kite_server.record().complaints() == []


async def test_an_expired_token_is_tried_once_and_a_new_one_brings_ticks_back(
    kite_server, open_pool, running_time
):
    kit = await open_pool(kite_server)
    kit.want(*kit.keys[:9])
    await eventually(lambda: kit.confirmed == 9)
    kite_server.expire_token()
    kite_server.drop()
    await eventually(lambda: kit.pool.get_stats().status is FeedStatus.AUTH_REQUIRED)
    assert kite_server.record().refused == {"403": 1}
    kite_server.set_token("fresh")
    ticks = len(kit.sink.published)
    version = kit.store.save_credentials("1", {"api_key": "test-key", "access_token": "fresh"})
    saved = running_time.seconds
    kit.pool.credentials_changed(version)
    await eventually(lambda: kit.confirmed == 9 and len(kit.sink.published) > ticks, timeout=30)
    assert running_time.seconds - saved < 5
    assert kite_server.record().refused == {"403": 1}


@pytest.mark.parametrize("status", [429, 503])
async def test_a_refusal_waits_as_long_as_the_broker_says(kite_server, open_pool, status):
    kit = await open_pool(kite_server)
    kite_server.refuse(status, retry_after=2, times=1)
    started = time.monotonic()
    kit.want(kit.keys[0])
    await eventually(lambda: kit.confirmed == 1)
    assert time.monotonic() - started >= 2  # of itself it would be back within one
    assert str(status) in kit.pool.get_stats().connections[0].last_close
    assert kite_server.record().refused == {str(status): 1}


async def test_silence_is_told_within_six_seconds(kite_server, open_pool, running_time):
    kit = await open_pool(kite_server)
    kit.want(kit.keys[0])
    await eventually(lambda: kit.confirmed == 1)
    last_tick = kit.sink.published[-1].ts_received_us
    kite_server.go_silent()
    started = running_time.seconds
    await eventually(lambda: kit.feed, timeout=30)
    assert running_time.seconds - started <= 6
    assert kit.feed[0].status is FeedStatus.STALE
    assert kit.feed[0].since_ms * 1000 - last_tick > 3_000_000
    kite_server.speak()
    await eventually(lambda: kit.feed[-1].status is FeedStatus.LIVE)
    assert kit.pool.get_stats().reconnects == 0


async def test_malformed_frames_are_counted_and_the_connection_kept(kite_server, open_pool):
    kit = await open_pool(kite_server)
    kit.want(kit.keys[0])
    await eventually(lambda: kit.confirmed == 1)
    kite_server.send_malformed()
    await eventually(lambda: kit.pool.get_stats().frames_malformed == 1)
    ticks = len(kit.sink.published)
    await eventually(lambda: len(kit.sink.published) > ticks)
    assert kit.pool.get_stats().reconnects == 0


async def test_order_updates_and_notices_pass(kite_server, open_pool):
    kit = await open_pool(kite_server)
    kit.want(kit.keys[0])
    await eventually(lambda: kit.confirmed == 1)
    kite_server.send_message("maintenance at night")
    kite_server.send_order({"order_id": "1", "status": "COMPLETE"})
    await eventually(lambda: any(isinstance(e, OrderUpdated) for e in kit.events))
    order = next(e for e in kit.events if isinstance(e, OrderUpdated))
    assert (order.pool_id, order.order["order_id"]) == ("1", "1")


async def test_the_brokers_own_limit_refuses_what_it_did_not_take(make_kite_server, open_pool):
    exchange = await make_kite_server(max_instruments=2)
    kit = await open_pool(exchange)
    kit.want(*kit.keys[:2])
    await eventually(lambda: kit.confirmed == 2)
    kit.want(kit.keys[2])
    await eventually(
        lambda: [o for o in kit.outcomes if o.code is RefusalCode.MAX_CAPACITY_REACHED]
    )
    assert kit.confirmed == 2
    assert kit.pool.get_stats().wanted == 2


async def test_nobody_at_the_endpoint_is_waited_for(make_kite_server, open_pool):
    exchange = await make_kite_server()
    kit = await open_pool(exchange)
    kit.pool.update_endpoint(f"ws://127.0.0.1:{free_port()}")
    kit.want(kit.keys[0])
    await eventually(lambda: [c.state for c in kit.pool.get_stats().connections] == ["backoff"])
    assert "cannot be reached" in kit.pool.get_stats().connections[0].last_close
    kit.pool.update_endpoint(exchange.url)
    await eventually(lambda: kit.confirmed == 1)


async def test_a_url_that_is_none_waits_for_a_person_and_shows_no_credential(
    kite_server, open_pool
):
    kit = await open_pool(kite_server)
    kit.pool.update_endpoint("gopher://127.0.0.1")
    kit.want(kit.keys[0])
    await eventually(lambda: kit.pool.get_stats().status is FeedStatus.AUTH_REQUIRED)
    assert "test-token" not in kit.pool.get_stats().reason
    kit.pool.update_endpoint(kite_server.url)
    await eventually(lambda: kit.confirmed == 1)


async def test_closing_takes_less_than_five_seconds_even_from_a_dead_peer(
    kite_server, open_pool, running_time
):
    kit = await open_pool(kite_server)
    kit.want(*kit.keys[:9])
    await eventually(lambda: kit.confirmed == 9)
    kite_server.go_silent()
    started = running_time.seconds
    await kit.pool.close()
    assert running_time.seconds - started < 5
    await eventually(lambda: kite_server.record().open == 0)


@pytest.mark.parametrize("seed", [1])
async def test_eight_threads_at_once_leave_everything_in_order(kite_server, open_pool, seed):
    """Public methods from any thread: no deadlock, and upstream is what is wanted in the end."""
    kit = await open_pool(kite_server, symbols_per_connection=20)
    failures: list[BaseException] = []
    stop = threading.Event()

    def trade(number: int) -> None:
        chance = random.Random(seed * 100 + number)
        try:
            while not stop.is_set():
                some = chance.sample(kit.keys[:80], 5)
                mode = chance.choice(list(FeedMode))
                match chance.randrange(6):
                    case 0 | 1 | 2:
                        kit.want(*some, mode=mode, client=str(number))
                    case 3:
                        kit.release(*some, client=str(number))
                    case 4:
                        kit.release(client=str(number))
                    case _:
                        kit.pool.get_stats()
                        kit.pool.update_options(
                            PoolOptions(
                                symbols_per_connection=20,
                                linger_seconds=0.05,
                                revision=chance.randrange(9),
                            )
                        )
                time.sleep(0.002)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=trade, args=(n,), name=f"trader-{n}") for n in range(8)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 3
    await eventually(lambda: time.monotonic() > deadline)
    stop.set()
    await eventually(lambda: not any(thread.is_alive() for thread in threads))
    assert not failures

    def settled() -> bool:
        stats = kit.pool.get_stats()
        upstream: int = kite_server.record().subscribed
        return bool(stats.used == stats.wanted == stats.confirmed == upstream)

    await eventually(settled, message=f"{kit.pool.get_stats()} {kite_server.record()}")
    record = kite_server.record()
    assert record.peak_subscribed <= 20
    assert record.complaints() == []
