"""Angel One counts pairs of token and mode: a full connection changes its modes all the same."""

from __future__ import annotations

import pytest

from brokers.simulator.angel.exchange import MAX_PAIRS
from brokers.types import FeedMode
from tests.integration.brokers.angel_lab import ANGEL
from tests.integration.brokers.conftest import OpenPool
from tests.support import eventually


@pytest.mark.parametrize("lab", [ANGEL], ids=["angel"], indirect=True)
async def test_a_full_connection_changes_modes_within_its_thousand_pairs(open_pool: OpenPool):
    room = ANGEL.adapter.capabilities.symbols_per_connection
    kit = await open_pool(rate=0, size=1_200, symbols_per_connection=room, max_connections=1)
    keys = kit.keys[:room]
    for mode in (FeedMode.LTP, FeedMode.DEPTH):
        kit.want(*keys, mode=mode)

        def all_have_it(mode: FeedMode = mode) -> bool:
            latest = {each.instrument.key: each.tick.mode for each in kit.sink.published}
            return latest == dict.fromkeys(keys, mode)

        await eventually(all_have_it, timeout=30, interval=0.05)
    await eventually(lambda: kit.exchange.record().subscribed == room)
    record = kit.exchange.record()
    assert room < record.peak_subscribed <= MAX_PAIRS
    assert (record.opened, record.complaints()) == (1, [])
