"""Why sockets end, as statistics count it."""

from __future__ import annotations

import asyncio

import pytest

from brokers.exceptions import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerProtocolError,
    BrokerRateLimitError,
    BrokerUnavailableError,
)
from pooling.connection.losses import LossReason, loss_reason
from pooling.exceptions import (
    CircuitOpenError,
    ConnectionLostError,
    HeldUpError,
    PlannedReconnectError,
    SilentConnectionError,
)
from tests.unit.pooling.kit import virtual
from tests.unit.pooling.worker.test_worker import open_worker

FAILURES: list[tuple[Exception, str]] = [
    (ConnectionLostError("gone", code=1006), "closed"),
    (SilentConnectionError("quiet"), "silent"),
    (HeldUpError("the worker stood still"), "held_up"),
    (PlannedReconnectError("soon"), "planned"),
    (CircuitOpenError("wss://x:1", retry_after_seconds=1.0), "circuit_open"),
    (BrokerAuthError("no"), "refused"),
    (BrokerConfigError("no"), "refused"),
    (BrokerRateLimitError("slow"), "rate_limited"),
    (BrokerUnavailableError("down"), "unreachable"),
    (BrokerProtocolError("what"), "protocol"),
    (RuntimeError("oops"), "internal"),
]


@pytest.mark.parametrize(("failure", "reason"), FAILURES)
def test_every_failure_counts_as_one_thing(failure: Exception, reason: str) -> None:
    assert loss_reason(failure) == reason


def test_every_reason_has_a_failure() -> None:
    assert {reason for _, reason in FAILURES} == set(LossReason)


@virtual
async def test_a_worker_tells_losses_and_the_circuit_of_each_pool():
    async with open_worker() as kit:
        await kit.want(1)
        await asyncio.sleep(1)
        assert kit.worker.stats("7").losses == {}
        assert kit.worker.stats("7").circuit == "closed"
        kit.broker.drop()
        await asyncio.sleep(30)
        assert kit.worker.stats("7").losses == {"closed": 1}
        kit.broker.refuse(503)
        kit.broker.drop()
        await asyncio.sleep(20)
        stats = kit.worker.stats("7")
        assert stats.losses["closed"] == 2
        assert stats.losses["unreachable"] >= 1
