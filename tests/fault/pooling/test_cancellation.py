"""Cancelled at any point, a pool lets go of everything and stays consistent. Virtual time."""

from __future__ import annotations

import asyncio

import pytest

from brokers.pool_service import Want
from tests.unit.pooling.kit import ANN, QUOTE, TOKEN_FIELD, key, open_kit, virtual
from tests.unit.pooling.worker.test_worker import open_worker


@pytest.mark.parametrize("turns", range(25))
def test_a_pool_closed_at_any_turn_of_its_opening_leaves_nothing(turns):
    close_after(turns)


@virtual
async def close_after(turns):
    async with open_kit(credential_fields=TOKEN_FIELD, message_interval_seconds=0.1) as kit:
        kit.want(*range(9))
        for _ in range(turns):
            await asyncio.sleep(0)
        await kit.pool.close()
        assert not kit.broker.open
        assert all(state == "closed" for state in kit.states())


@pytest.mark.parametrize("turns", range(12))
def test_a_pool_closed_at_any_turn_of_a_recovery_leaves_nothing(turns):
    close_while_recovering(turns)


@virtual
async def close_while_recovering(turns):
    async with open_kit() as kit:
        kit.want(*range(9))
        await asyncio.sleep(1)
        kit.broker.drop()
        for _ in range(turns):
            await asyncio.sleep(0)
        await kit.pool.close()
        assert not kit.broker.open


@pytest.mark.parametrize("turns", range(8))
def test_a_want_cancelled_at_any_turn_leaves_the_worker_usable(turns):
    cancel_want(turns)


@virtual
async def cancel_want(turns):
    async with open_worker() as kit:
        wants = [Want(key(number), QUOTE) for number in range(5)]
        asking = asyncio.create_task(kit.worker.want("7", ANN, wants))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        await kit.worker.release("7", ANN, None)
        await asyncio.sleep(10)
        assert kit.worker.stats("7").wanted == 0
        assert not kit.broker.subscribed
        await kit.want(1)
        await asyncio.sleep(1)
        assert kit.worker.stats("7").confirmed == 1


@virtual
async def test_closing_that_is_cancelled_may_be_done_again():
    async with open_kit() as kit:
        kit.want(*range(9))
        await asyncio.sleep(1)
        closing = asyncio.create_task(kit.pool.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        await kit.pool.close()
        assert not kit.broker.open
