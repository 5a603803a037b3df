"""What a broker declares is never exceeded: every connect and message of a pool is on record."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from itertools import pairwise

import msgspec
import pytest

from pooling.testing import FakeAdapter
from tests.unit.pooling.kit import DEPTH, QUOTE, open_kit, virtual

CONNECT, MESSAGE, BATCH, BYTES = 2.0, 0.25, 4, 60
SLACK = 1e-9  # sums of floating-point seconds


def check(broker):
    times = [at for at, _ in broker.attempts]
    assert all(b - a >= CONNECT - SLACK for a, b in pairwise(times)), "connects too close"
    sent = defaultdict(list)
    for at, transport, said in broker.messages:
        sent[transport].append(at)
        assert len(said["items"]) <= BATCH, "a message with too many instruments"
        assert len(msgspec.json.encode(said)) <= BYTES, "a message that is too long"
    for messages in sent.values():
        assert all(b - a >= MESSAGE - SLACK for a, b in pairwise(messages)), "messages too close"
    assert not broker.complaints


@pytest.mark.parametrize("seed", range(20))
@virtual
async def test_connects_messages_and_batches_keep_the_brokers_limits(seed):
    """Subscribes, mode changes, unsubscribes, drops and refusals at random, over three slots."""
    rng = random.Random(seed)
    async with open_kit(
        options={"symbols_per_connection": 12, "linger_seconds": 1.0},
        rng=rng,
        symbols_per_connection=12,
        batch_size=BATCH,
        max_message_bytes=BYTES,
        connect_interval_seconds=CONNECT,
        message_interval_seconds=MESSAGE,
    ) as kit:
        for _ in range(40):
            numbers = rng.sample(range(36), rng.randint(1, 20))
            what = rng.randrange(6)
            if what < 3:
                kit.want(*numbers, mode=rng.choice([QUOTE, DEPTH]))
            elif what == 3:
                kit.release(*numbers)
            elif what == 4:
                kit.broker.drop()
            else:
                kit.broker.refuse(503)
                await asyncio.sleep(rng.uniform(0, 10))
                kit.broker.accept()
            await asyncio.sleep(rng.uniform(0, 3))
        await asyncio.sleep(200)
        assert kit.pool.get_stats().confirmed == len(kit.broker.subscribed) > 0
        check(kit.broker)
        assert len(kit.broker.attempts) > 3
        assert len(kit.broker.messages) > 10


@virtual
async def test_a_message_that_an_adapter_did_not_cut_is_never_sent(monkeypatch):
    """It costs the connection, which says why, and not the account's standing at the broker."""
    monkeypatch.setattr(FakeAdapter, "subscribe", lambda adapter, items: ["x" * (BYTES + 1)])
    async with open_kit(max_message_bytes=BYTES) as kit:
        kit.want(1)
        await asyncio.sleep(5)
        assert kit.broker.messages == []
        (connection,) = kit.pool.get_stats().connections
        assert connection.state == "backoff"
        assert "60 bytes, this one has 61" in connection.last_close
        monkeypatch.undo()
        await asyncio.sleep(60)
        assert kit.states() == ["live"]
