"""Eight threads use one pool at random: its invariants hold and nothing deadlocks."""

from __future__ import annotations

import asyncio
import faulthandler
import random
import threading
import time

import pytest

from brokers.pool_service import Holder, Want
from pooling.clock import SystemClock
from pooling.pool.pool import ConnectionPool
from pooling.testing import FakeBroker, InMemoryAccountStore, make_adapter_class, make_instrument
from tests.support import eventually
from tests.unit.pooling.kit import DEPTH, LTP, QUOTE, spec

THREADS = 8
SECONDS = 10.0
CALM_SECONDS = 5.0
DEADLOCK_SECONDS = 120.0
SYMBOLS = 40
PER_CONNECTION = 12


class NullSink:
    def publish(self, instrument, tick, ts_received_us):
        pass

    def forget(self, keys):
        pass

    def close(self):
        pass


class Soon:
    """Randomness that keeps the pauses between attempts short."""

    def uniform(self, a, b):
        return min(b, a + 0.01)


class User(threading.Thread):
    """One thread with a client of its own; ``held`` is what it must have in the end."""

    def __init__(self, pool: ConnectionPool, number: int, until: float) -> None:
        super().__init__(name=f"user-{number}", daemon=True)
        self.pool = pool
        self.holder = Holder(f"g{number % 2}", str(number))
        self.chance = random.Random(number)
        self.until = until
        self.held: set[str] = set()
        self.calls = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while time.monotonic() < self.until:
                self.step()
                self.calls += 1
        except BaseException as error:
            self.error = error

    def step(self) -> None:
        some = self.chance.sample(range(SYMBOLS), self.chance.randint(1, 5))
        instruments = {(i := make_instrument(number)).key: i for number in some}
        if self.chance.random() < 0.55:
            mode = self.chance.choice([LTP, QUOTE, DEPTH])
            wants = [Want(key, mode) for key in instruments]
            outcomes = self.pool.want(self.holder, wants, instruments)
            self.held.update(o.key.symbol[1:] for o in outcomes if o.code is None)
        else:
            self.pool.release(self.holder, list(instruments))
            self.held.difference_update(key.symbol[1:] for key in instruments)
        if self.chance.random() < 0.05:
            stats = self.pool.get_stats()
            assert stats.used <= stats.capacity
            assert all(c.used <= c.capacity for c in stats.connections)
            self.pool.take_usage_sample()


@pytest.fixture
def no_deadlock():
    """Show every thread's stack and end the run rather than hang."""
    faulthandler.dump_traceback_later(DEADLOCK_SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.usefixtures("no_deadlock")
async def test_eight_threads_on_one_pool():
    """For ten seconds, in the second half of which connections are lost too."""
    account = spec(symbols_per_connection=PER_CONNECTION, max_connections=4, linger_seconds=0.05)
    broker = FakeBroker(symbols_per_connection=PER_CONNECTION)
    events: list[object] = []
    pool = ConnectionPool(
        spec=account,
        adapter_class=make_adapter_class(max_connections=4, symbols_per_connection=PER_CONNECTION),
        sink=NullSink(),
        store=InMemoryAccountStore(account),
        clock=SystemClock(),
        rng=Soon(),
        connector=broker,
        on_event=events.append,
        on_note=lambda kind, message: None,
    )
    await pool.open()
    try:
        started = time.monotonic()
        users = [User(pool, number, started + SECONDS) for number in range(THREADS)]
        for user in users:
            user.start()
        while any(user.is_alive() for user in users):
            await asyncio.sleep(0.1)
            if broker.open and time.monotonic() > started + CALM_SECONDS:
                broker.drop(broker.open[0])
        assert [user.error for user in users] == [None] * THREADS
        assert min(user.calls for user in users) > 20
        wanted = set().union(*(user.held for user in users))
        await eventually(lambda: broker.subscribed.keys() == wanted, timeout=30)
        await eventually(lambda: pool.get_stats().confirmed == len(wanted), timeout=30)
        await eventually(lambda: pool.get_stats().wanted == len(wanted))

        def carried() -> list[str]:
            return [token for transport in broker.open for token in transport.subscribed]

        # While a symbol moves, both connections carry it.
        await eventually(lambda: sorted(carried()) == sorted(wanted))
        assert not broker.complaints
    finally:
        await pool.close()
    assert not broker.open
