"""The first word of a worker, which tells others that its accounts are taken."""

from __future__ import annotations

import asyncio

from tests.unit.pooling.kit import virtual
from tests.unit.pooling.worker.test_worker import WorkerKit, open_worker


@virtual
async def test_who_serves_is_written_before_the_worker_is_open():
    """A second worker that looks at this moment is to see that the account is taken."""
    async with open_worker() as kit:
        assert [each.pool_id for each in kit.store.statuses[-1]] == ["7"]


@virtual
async def test_a_store_that_fails_at_the_first_heartbeat_keeps_no_worker_from_opening():
    seen: list[object] = []

    def fail_once(stats):
        if not seen:
            kit.store.go_down()
        seen.append(stats)

    kit = WorkerKit(on_status=fail_once)
    await kit.worker.open()
    assert kit.worker.pool_ids() == ["7"]
    kit.store.come_back()
    await asyncio.sleep(1.5)
    assert kit.store.statuses
    await kit.worker.close()
