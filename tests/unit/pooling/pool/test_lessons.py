"""What OpenAlgo's pool did wrong, one test each: they would fail on its behaviour.

The numbers are those of the house style's list of what must not come back.

10  state in parallel lists                 here
11  a second connection counts unopened     fault/pooling/test_pool_faults.py::
                                            test_the_second_connection_must_come_up_before_it_counts
12  connecting inside the lock              here
13  a downgrade unsubscribes                here
14  connected before the socket is          here
15  any RuntimeError is "capacity reached"  here
16  capacity from three places              here
17  peaks only of symbols, only at the end  here
18  a pool found by how its name ends       here
19  it never shrinks                        here
20  results that must be asked for success  here
21  any failure is an authentication error  here
22  each open has a retry of its own        here
23  failures are swallowed                  here, and fault/pooling/test_pool_faults.py::
                                            test_a_defect_in_an_adapter_costs_a_reconnect_and_not_the_feed
24  reconnects without jitter, given up     here, and fault/pooling/test_pool_faults.py::
                                            test_it_never_gives_up
"""

from __future__ import annotations

import ast
import asyncio
import random
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pooling
from brokers.exceptions import BrokerUnavailableError
from brokers.pool_service import FeedStatus, RefusalCode
from pooling.exceptions import PoolCapacityError, PoolClosedError
from pooling.testing import FakeAdapter, FakeBroker
from tests.unit.pooling.kit import (
    ACTIVE,
    BOB,
    DEPTH,
    LTP,
    PENDING,
    REFUSED,
    TOKEN_FIELD,
    key,
    open_kit,
    spec,
    virtual,
)
from tests.unit.pooling.worker.test_worker import open_worker


class SlowBroker(FakeBroker):
    """A broker that takes a while to answer a connect."""

    async def __call__(self, *args, **kwargs):
        await asyncio.sleep(5)
        return await super().__call__(*args, **kwargs)


@virtual
async def test_10_a_connection_can_go_and_nothing_of_it_stays():
    async with open_kit(options={"linger_seconds": 0.1}) as kit:
        kit.want(*range(9), mode=DEPTH)
        await asyncio.sleep(1)
        kit.release(*range(9))
        await asyncio.sleep(1)
        kit.pool.update_options(replace(spec().options, max_connections=1))
        await asyncio.sleep(5)
        assert [c.slot for c in kit.pool.get_stats().connections] == [1]
        kit.want(8, mode=LTP)
        await asyncio.sleep(1)
        assert kit.broker.subscribed == {"8": (int(LTP), 5)}
        assert not kit.broker.complaints


@virtual
async def test_12_a_slow_connect_holds_nobody_up():
    async with open_kit(broker=SlowBroker()) as kit:
        kit.want(1)
        await asyncio.sleep(1)
        assert kit.states() == ["connecting"]
        # The loop does not run meanwhile, so a lock that the connect held would never be free.
        stats: list[Any] = []

        def use() -> None:
            kit.want(2, 3, 4)
            stats.append(kit.pool.get_stats())

        user = threading.Thread(target=use, daemon=True)
        user.start()
        user.join(timeout=60)
        assert not user.is_alive()
        assert stats[0].used == 4
        assert kit.states()[0] == "connecting"


@virtual
async def test_13_a_downgrade_leaves_no_gap_and_keeps_the_depth_asked_for():
    async with open_kit(options={"linger_seconds": 0.1}, depth_levels=(5, 20)) as kit:
        kit.want(1, mode=DEPTH, depth=20)
        kit.want(1, mode=LTP, holder=BOB)
        kit.want(2, mode=DEPTH, depth=20, holder=BOB)
        kit.want(2, mode=DEPTH, depth=5)
        await asyncio.sleep(1)
        assert kit.broker.subscribed["1"] == (int(DEPTH), 20)
        kit.release(1, 2)
        await asyncio.sleep(1)
        assert kit.broker.subscribed["1"][0] == int(LTP)
        assert kit.broker.subscribed["2"] == (int(DEPTH), 20)
        assert "unsubscribe" not in {said["do"] for _, _, said in kit.broker.messages}


@virtual
async def test_14_nothing_is_live_before_its_socket_and_active_before_its_price():
    async with open_kit(broker=SlowBroker(confirms=False)) as kit:
        assert kit.want(1)[0].state is PENDING
        await asyncio.sleep(1)
        stats = kit.pool.get_stats()
        assert (stats.status, stats.peak_connections.value) == (FeedStatus.STALE, 0)
        await asyncio.sleep(10)
        assert kit.states() == ["live"]
        assert kit.want(1)[0].state is PENDING
        kit.broker.say('{"ok": ["1"]}')
        await asyncio.sleep(1)
        assert kit.want(1)[0].state is ACTIVE


@virtual
async def test_15_a_runtime_error_is_no_lack_of_capacity(monkeypatch, caplog):
    subscribe = FakeAdapter.subscribe
    failures = iter([RuntimeError("a defect")])

    def failing(self, items):
        for error in failures:
            raise error
        return subscribe(self, items)

    monkeypatch.setattr(FakeAdapter, "subscribe", failing)
    async with open_kit() as kit:
        assert kit.want(1)[0].state is PENDING
        await asyncio.sleep(10)
        assert RefusalCode.MAX_CAPACITY_REACHED not in {o.code for o in kit.outcomes}
        assert kit.want(1)[0].state is ACTIVE
        assert any(record.exc_info for record in caplog.records)
    assert not issubclass(PoolCapacityError, RuntimeError)


@virtual
async def test_15_a_lack_of_capacity_comes_with_its_numbers():
    async with open_kit() as kit:
        outcome = kit.want(*range(10))[9]
        assert (outcome.state, outcome.code) == (REFUSED, RefusalCode.MAX_CAPACITY_REACHED)
        assert outcome.details.items() >= {"used": 9, "capacity": 9, "max_connections": 3}.items()


@pytest.mark.parametrize(
    ("user", "broker", "capacity"), [((2, 2), (5, 5), 4), ((9, 9), (2, 3), 6), ((1, 9), (4, 2), 2)]
)
def test_16_capacity_is_the_smaller_of_the_users_and_the_brokers(user, broker, capacity):
    @virtual
    async def run():
        async with open_kit(
            options={"symbols_per_connection": user[0], "max_connections": user[1]},
            symbols_per_connection=broker[0],
            max_connections=broker[1],
        ) as kit:
            refused = [o for o in kit.want(*range(30)) if o.state is REFUSED]
            assert len(refused) == 30 - capacity
            assert kit.pool.get_stats().capacity == capacity

    run()


@virtual
async def test_17_each_peak_is_kept_on_its_own_and_before_the_end():
    async with open_kit(options={"linger_seconds": 0.1}) as kit:
        kit.want(*range(5))
        kit.release()
        await asyncio.sleep(1)
        for number, holder in enumerate((BOB, BOB._replace(client="c"), BOB._replace(client="d"))):
            kit.want(number, holder=holder)
        await asyncio.sleep(1)
        sample = kit.pool.take_usage_sample()
        assert (sample.symbols, sample.clients) == (5, 3)
        assert sample.connections >= 1
        assert sample.clients_at_ms > sample.symbols_at_ms


@virtual
async def test_18_a_pool_is_found_by_its_whole_name():
    names = ["b", "a_b", "dhan", "dhan_sandbox"]
    specs = [replace(spec(), pool_id=name) for name in names]
    async with open_worker(*specs) as kit:
        for name in names:
            await kit.want(1, pool_id=name)
        await asyncio.sleep(1)
        for name in ("b", "dhan"):
            del kit.store.specs[name]
        await asyncio.sleep(3)
        assert sorted(kit.worker.pool_ids()) == ["a_b", "dhan_sandbox"]
        assert len(kit.broker.open) == 2
        assert kit.worker.stats("a_b").confirmed == 1
        with pytest.raises(KeyError):
            kit.worker.stats("b")


@virtual
async def test_19_what_is_not_needed_is_closed():
    async with open_kit(options={"linger_seconds": 0.1, "max_idle_seconds": 60.0}) as kit:
        kit.want(*range(9))
        await asyncio.sleep(1)
        assert len(kit.broker.open) == 3
        kit.release(*range(1, 9))
        await asyncio.sleep(600)
        kit.broker.tick()
        assert len(kit.broker.open) == 1
        assert kit.broker.subscribed.keys() == {"0"}


@virtual
async def test_20_failure_is_raised_and_not_returned():
    async with open_kit() as kit:
        await kit.pool.close()
        with pytest.raises(PoolClosedError):
            kit.want(1)
        with pytest.raises(PoolClosedError):
            await kit.pool.open()


@virtual
async def test_21_an_error_that_mentions_403_is_no_authentication_error():
    async with open_kit(credential_fields=TOKEN_FIELD) as kit:
        errors = iter(["line 403: forbidden by peer", "401 bytes missing", "unauthorized reset"])

        async def failing(handshake, **options):
            for text in errors:
                raise BrokerUnavailableError(text)
            return await kit.broker(handshake, **options)

        kit.pool._table._connector = failing
        kit.want(1)
        await asyncio.sleep(30)
        assert FeedStatus.AUTH_REQUIRED not in {change.status for change in kit.feed}
        assert kit.broker.subscribed.keys() == {"1"}
        assert kit.store.credential_reads == 4


@virtual
async def test_22_the_first_and_the_third_connection_are_opened_by_one_policy():
    async with open_kit(rng=random.Random(3)) as kit:
        kit.broker.refuse(503)
        kit.want(*range(9))
        await asyncio.sleep(0.01)
        assert kit.states() == ["backoff"] * 3
        await asyncio.sleep(30)
        assert len(kit.broker.attempts) >= 9
        kit.broker.accept()
        await asyncio.sleep(61)
        assert len(kit.broker.subscribed) == 9


def test_23_no_failure_is_swallowed_and_no_destructor_works():
    """Broad handlers are supervision points that say so; nothing hides behind ``__del__``."""
    for path in sorted(Path(pooling.__path__[0]).glob("*.py")):
        text = path.read_text()
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.name != "__del__", path
            if isinstance(node, ast.ExceptHandler) and is_broad(node):
                body = "\n".join(lines[node.lineno - 1 : node.end_lineno])
                assert not all(isinstance(step, ast.Pass) for step in node.body), path
                raises = any(isinstance(step, ast.Raise) for step in node.body)
                assert raises or "#" in body, f"{path.name}:{node.lineno} says nothing of why"


def is_broad(handler: ast.ExceptHandler) -> bool:
    names = (
        {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
        if (handler.type)
        else {"BaseException"}
    )
    return bool(names & {"Exception", "BaseException"})


@virtual
async def test_24_connections_lost_together_do_not_come_back_together():
    async with open_kit(rng=random.Random(7)) as kit:
        kit.want(*range(9))
        await asyncio.sleep(1)
        kit.broker.refuse(503)
        kit.broker.drop()
        await asyncio.sleep(60)
        times = [at for at, _ in kit.broker.attempts[3:]]
        assert len(times) > 6
        assert len({round(at, 3) for at in times}) == len(times)
        kit.broker.accept()
        await asyncio.sleep(61)
        assert len(kit.broker.subscribed) == 9
        assert key(0) in {k for change in kit.feed for k in change.keys or ()}
