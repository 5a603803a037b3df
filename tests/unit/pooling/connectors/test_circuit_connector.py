"""Circuits around a connector, and many accounts at one broker that is down. Virtual time."""

from __future__ import annotations

import asyncio
import random

import pytest

from brokers.contract import Handshake
from brokers.exceptions import BrokerConfigError, BrokerUnavailableError
from brokers.pool_service import Want
from brokers.testing import RecordingSink
from pooling.connectors.circuit import CircuitPolicy, CircuitState
from pooling.connectors.circuit_connector import CircuitConnector, CircuitRegistry, endpoint_of
from pooling.connectors.websocket import Connector, UpgradeRefusedError
from pooling.exceptions import CircuitOpenError
from pooling.pool.pool import ConnectionPool
from pooling.retry_waits import Backoff
from pooling.testing import (
    FakeBroker,
    InMemoryAccountStore,
    MiddleOfRange,
    VirtualClock,
    make_adapter_class,
    make_instrument,
)
from tests.unit.pooling.kit import ANN, QUOTE, key, spec, virtual


class Scripted:
    """A connector that does what it is told, in order."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.calls = 0

    async def __call__(self, handshake, *, open_timeout_seconds, max_frame_bytes):
        self.calls += 1
        outcome = self.outcomes.pop(0) if self.outcomes else BrokerUnavailableError("down")
        if isinstance(outcome, Exception):
            raise outcome
        if outcome == "hang":
            await asyncio.Event().wait()
        return outcome


def guarded(connector, **policy):
    clock = VirtualClock()
    circuits = CircuitRegistry(
        clock=clock, rng=MiddleOfRange(), policy=CircuitPolicy(failures=3, **policy)
    )
    return CircuitConnector(connector=connector, circuits=circuits, clock=clock), circuits


URL = "wss://b.invalid/ws?token=secret"


async def attempt(connector, url=URL):
    return await connector(Handshake(url), open_timeout_seconds=1, max_frame_bytes=1)


async def fail(connector, error=BrokerUnavailableError, times=1):
    for _ in range(times):
        with pytest.raises(error):
            await attempt(connector)


@virtual
async def test_after_three_failures_nothing_is_tried_until_the_time_is_over():
    script = Scripted()
    connector, circuits = guarded(script)
    await fail(connector, times=3)
    await fail(connector, CircuitOpenError, times=5)
    assert script.calls == 3
    await asyncio.sleep(circuits.stats_of(URL).retry_in_seconds)
    script.outcomes.append("socket")
    assert await attempt(connector) == "socket"
    assert circuits.stats_of(URL).state is CircuitState.CLOSED


@virtual
async def test_a_broker_that_answers_is_up_whatever_it_says():
    """A refused credential and a rate limit are answers; a server error is not."""
    script = Scripted(*(UpgradeRefusedError(status, {}, b"") for status in [401, 403, 429] * 4))
    connector, circuits = guarded(script)
    await fail(connector, UpgradeRefusedError, times=12)
    assert circuits.stats_of(URL).state is CircuitState.CLOSED
    script.outcomes = [UpgradeRefusedError(503, {}, b"") for _ in range(3)]
    await fail(connector, UpgradeRefusedError, times=3)
    assert circuits.stats_of(URL).state is CircuitState.OPEN


@virtual
async def test_a_wrong_url_is_nobodys_failure():
    script = Scripted(*(BrokerConfigError("no URL") for _ in range(9)))
    connector, circuits = guarded(script)
    await fail(connector, BrokerConfigError, times=9)
    assert circuits.stats_of(URL).failures == 0


@virtual
async def test_a_cancelled_probe_leaves_the_circuit_to_others():
    script = Scripted()
    connector, _ = guarded(script)
    await fail(connector, times=3)
    await asyncio.sleep(5)
    script.outcomes = ["hang", "socket"]
    probe = asyncio.create_task(attempt(connector))
    await asyncio.sleep(0)
    await fail(connector, CircuitOpenError)
    probe.cancel()
    await asyncio.wait([probe])
    assert await attempt(connector) == "socket"


@virtual
async def test_endpoints_fail_apart_and_share_nothing_secret():
    script = Scripted()
    connector, circuits = guarded(script)
    await fail(connector, times=3)
    script.outcomes.append("socket")
    assert await attempt(connector, "wss://other.invalid/") == "socket"
    assert [circuits.stats_of(url).endpoint for url in (URL, "wss://other.invalid/")] == [
        "wss://b.invalid:443",
        "wss://other.invalid:443",
    ]


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("wss://user:pass@H.example/x?token=1#f", "wss://h.example:443"),
        ("ws://h.example/", "ws://h.example:80"),
        ("ws://[::1]:9000/x", "ws://[::1]:9000"),
        ("ws://h:99999/", "an endpoint that is not a URL"),
    ],
)
def test_an_endpoint_is_scheme_host_and_port(url, endpoint):
    assert endpoint_of(url) == endpoint


@virtual
async def test_the_registry_forgets_circuits_that_remember_nothing(monkeypatch):
    monkeypatch.setattr("pooling.connectors.circuit_connector.MAX_CIRCUITS", 4)
    connector, circuits = guarded(Scripted())
    await fail(connector, times=3)
    for number in range(20):
        circuits.circuit(f"wss://h{number}/")
    kept = [n for n in range(20) if circuits.stats_of(f"wss://h{n}/") is not None]
    assert len(kept) <= 4
    assert circuits.stats_of(URL).failures == 3


def test_backoff_waits_as_long_as_the_circuit_says_and_counts_no_failure():
    backoff = Backoff(rng=MiddleOfRange())
    for _ in range(9):
        error = CircuitOpenError("x", retry_after_seconds=4, spread_seconds=2)
        assert backoff.delay_seconds(error) == 5
    assert backoff.attempt == 0


ACCOUNTS = 100


class DownBroker(FakeBroker):
    """Takes a while until it refuses, as a connect that times out does."""

    async def __call__(self, handshake, **options):
        await asyncio.sleep(0.2)
        return await super().__call__(handshake, **options)


async def _attempts_of_many_accounts(seconds, *, is_guarded):
    broker = DownBroker()
    broker.refuse(503)
    clock, rng = VirtualClock(), random.Random(7)
    connector: Connector = broker
    if is_guarded:
        circuits = CircuitRegistry(clock=clock, rng=rng)
        connector = CircuitConnector(connector=broker, circuits=circuits, clock=clock)
    pools = []
    for _ in range(ACCOUNTS):
        account = spec()
        pool = ConnectionPool(
            spec=account,
            adapter_class=make_adapter_class(),
            sink=RecordingSink(),
            store=InMemoryAccountStore(account),
            clock=clock,
            rng=rng,
            connector=connector,
            on_event=lambda event: None,
            on_note=lambda kind, message: None,
        )
        await pool.open()
        pools.append(pool)
        pool.want(ANN, [Want(key(1), QUOTE)], {key(1): make_instrument(1)})
    await asyncio.sleep(seconds)
    attempts = len(broker.attempts)
    broker.accept()
    came_back = clock.monotonic()
    while len(broker.open) < ACCOUNTS:
        await asyncio.sleep(0.1)
        assert clock.monotonic() - came_back < 120, f"only {len(broker.open)} came back"
    recovery = clock.monotonic() - came_back
    for pool in pools:
        await pool.close()
    return attempts, recovery


@virtual
async def test_many_accounts_at_a_broker_that_is_down_do_not_hammer_it():
    """One probe at a time instead of a backoff each, and all are back soon after the broker is."""
    alone, _ = await _attempts_of_many_accounts(300, is_guarded=False)
    shared, recovery = await _attempts_of_many_accounts(300, is_guarded=True)
    assert alone > 10 * ACCOUNTS
    assert shared < 2 * ACCOUNTS, "beside the first herd there are only probes"
    assert recovery < 35
