"""However many accounts connect from one address, the broker never sees more than it allows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.contract import ConnectRate, Handshake
from brokers.exceptions import BrokerUnavailableError
from brokers.pool_service import Want
from brokers.registry import BrokerRegistry
from brokers.testing import RecordingSink
from pooling.connectors.rate import ConnectWindow
from pooling.connectors.rate_connector import ConnectRateRegistry, RatedConnector
from pooling.exceptions import CircuitOpenError, ConnectRateError
from pooling.retry_waits import Backoff
from pooling.testing import (
    FakeBroker,
    FakeClock,
    InMemoryAccountStore,
    MiddleOfRange,
    VirtualClock,
    make_adapter_class,
)
from pooling.worker.worker import PoolWorker
from tests.unit.pooling.kit import ANN, QUOTE, key, spec, virtual

RATE = ConnectRate(attempts=3, window_seconds=10.0)


def window(rate: ConnectRate = RATE) -> ConnectWindow:
    return ConnectWindow(endpoint="wss://b.invalid:443", rate=rate)


class Scripted:
    """Opens nothing: ends each attempt as it is told, in order."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.calls = 0

    async def __call__(self, handshake, *, open_timeout_seconds, max_frame_bytes):
        self.calls += 1
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        if outcome == "hang":
            await asyncio.Event().wait()
        return outcome


def rated(connector, clock=None, rate=RATE):
    clock = clock or FakeClock()
    rates = ConnectRateRegistry(clock=clock)
    return RatedConnector(connector=connector, rates=rates, rate=rate, clock=clock), rates


URL = "wss://b.invalid/ws?token=secret"


async def attempt(connector, url=URL):
    return await connector(Handshake(url), open_timeout_seconds=1, max_frame_bytes=1)


@asynccontextmanager
async def many_accounts(count: int, broker: FakeBroker) -> AsyncIterator[PoolWorker]:
    """A worker whose accounts each want one symbol of a broker that takes 10 connects a minute."""
    specs = [replace(spec(), pool_id=str(number)) for number in range(count)]
    registry = BrokerRegistry()
    registry.register(make_adapter_class(connect_rate=ConnectRate(10, 60.0)))
    worker = PoolWorker(
        store=InMemoryAccountStore(*specs),
        registry=registry,
        sink_for=lambda pool_id, name: RecordingSink(),
        clock=VirtualClock(),
        rng=random.Random(5),
        worker_id="w",
        epoch=1,
        connector=broker,
    )
    await worker.open()
    try:
        for number in range(count):
            await worker.want(str(number), ANN, [Want(key(1), QUOTE)])
        yield worker
    finally:
        await worker.close()


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 8), st.floats(0, 1)), min_size=1, max_size=60)
)
def test_no_window_of_the_brokers_holds_more_than_it_allows(steps):
    """Whenever between its beginning and its end the broker counts each attempt."""
    limit = window()
    now, counted = 0.0, []
    ending: list[float] = []
    for pause, lasting, when in steps:
        now += pause
        for end in sorted(e for e in ending if e <= now):
            limit.ended(end, was_made=True)
        ending = [e for e in ending if e > now]
        if limit.admit(now) == 0.0:
            ending.append(now + lasting)
            counted.append(now + lasting * when)
    for at in counted:
        assert sum(at - RATE.window_seconds < other <= at for other in counted) <= RATE.attempts


def test_each_who_waits_is_named_another_place():
    limit = window()
    for now in (0.0, 1.0, 2.0):
        assert limit.admit(now) == 0.0
        limit.ended(now, was_made=True)
    assert [limit.admit(3.0) for _ in range(5)] == [7.0, 8.0, 9.0, 17.0, 18.0]
    assert limit.admit(10.0) == 0.0
    assert limit.to_stats(10.0).used == 3
    assert limit.to_stats(10.0).attempts_held == 5


def test_what_is_under_way_counts_until_a_window_after_its_end():
    limit = window(ConnectRate(1, 10.0))
    assert limit.admit(0.0) == 0.0
    assert limit.admit(50.0) == 10.0
    limit.ended(60.0, was_made=True)
    assert limit.admit(69.9) > 0
    assert limit.admit(70.0) == 0.0


def test_asking_without_end_is_not_remembered_without_end():
    limit = window()
    for _ in range(3):
        limit.admit(0.0)
    for _ in range(10_000):
        assert 0 < limit.admit(1.0) <= 110.0
    assert len(limit._promised) < 100


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 1.0), (1, 0.0), (1, -1.0)])
def test_a_rate_that_makes_no_sense_is_refused(attempts, seconds):
    with pytest.raises(ValueError, match="positive"):
        ConnectRate(attempts, seconds)


async def test_what_waits_is_told_why_and_for_how_long_and_opens_no_socket():
    script = Scripted()
    connector, rates = rated(script)
    for _ in range(3):
        await attempt(connector)
    with pytest.raises(ConnectRateError, match="3 connects in 10 s") as caught:
        await attempt(connector)
    assert caught.value.retry_after_seconds == 10.0
    assert "secret" not in str(caught.value)
    assert script.calls == 3
    stats = rates.stats_of(URL, RATE)
    assert (stats.endpoint, stats.used, stats.attempts_held) == ("wss://b.invalid:443", 3, 1)


async def test_endpoints_are_counted_apart_and_paths_together():
    connector, rates = rated(Scripted(), rate=ConnectRate(1, 10.0))
    await attempt(connector, "wss://b.invalid/one")
    await attempt(connector, "wss://other.invalid/one")
    with pytest.raises(ConnectRateError):
        await attempt(connector, "wss://b.invalid/two")
    one = ConnectRate(1, 10.0)
    assert [rates.stats_of(f"wss://{host}.invalid/", one).used for host in ("b", "other")] == [1, 1]


async def test_a_failed_and_a_cancelled_connect_count_and_one_held_by_a_circuit_does_not():
    clock = FakeClock()
    script = Scripted(
        BrokerUnavailableError("down"), CircuitOpenError("b", retry_after_seconds=1.0), "hang"
    )
    connector, rates = rated(script, clock)
    with pytest.raises(BrokerUnavailableError):
        await attempt(connector)
    with pytest.raises(CircuitOpenError):
        await attempt(connector)
    assert rates.stats_of(URL, RATE).used == 1
    task = asyncio.create_task(attempt(connector))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rates.stats_of(URL, RATE).used == 2
    clock.advance(10.0)
    assert rates.stats_of(URL, RATE).used == 0, "a cancelled connect took its place for good"


async def test_windows_that_remember_nothing_are_forgotten(monkeypatch):
    monkeypatch.setattr("pooling.connectors.rate_connector.MAX_WINDOWS", 4)
    clock = FakeClock()
    connector, rates = rated(Scripted(), clock)
    for number in range(4):
        await attempt(connector, f"wss://b{number}.invalid/")
    clock.advance(11.0)
    assert known(rates) == [0, 1, 2, 3]
    await attempt(connector, "wss://b9.invalid/")
    assert known(rates) == [9]


def known(rates):
    return [n for n in range(10) if rates.stats_of(f"wss://b{n}.invalid/", RATE) is not None]


def test_a_connection_that_waits_for_its_place_does_not_lengthen_its_backoff():
    backoff = Backoff(rng=MiddleOfRange())
    error = ConnectRateError(
        "b", attempts=3, window_seconds=10.0, retry_after_seconds=7.0, spread_seconds=1.0
    )
    assert backoff.delay_seconds(error) == 7.5
    assert backoff.attempt == 0


@virtual
async def test_forty_accounts_keep_the_rate_together_and_say_what_they_wait_for():
    broker = FakeBroker()
    async with many_accounts(40, broker) as worker:
        await asyncio.sleep(5)
        waiting = [
            connection
            for number in range(40)
            for connection in worker.stats(str(number)).connections
            if connection.state == "rate_limited"
        ]
        assert len(waiting) == 30
        assert all("10 connects in 60 s" in connection.last_close for connection in waiting)
        assert all(connection.next_retry_ms is not None for connection in waiting)
        await asyncio.sleep(400)
        assert all(worker.stats(str(number)).confirmed == 1 for number in range(40))
        broker.drop()
        await asyncio.sleep(400)
        assert all(worker.stats(str(number)).confirmed == 1 for number in range(40))
    times = [at for at, _ in broker.attempts]
    assert len(times) == 80
    for at in times:
        assert sum(at - 60.0 < other <= at for other in times) <= 10
