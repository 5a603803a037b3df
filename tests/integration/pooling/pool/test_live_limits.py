"""Limits edited under load and a connection that stays away, on real sockets with measured gaps."""

from __future__ import annotations

import time
from collections import defaultdict
from itertools import pairwise

from brokers.pool_service import FeedStatus, Outcome, OutcomeState, RefusalCode
from brokers.testing import RecordingSink
from brokers.types import InstrumentKey
from pooling.contracts import PoolOptions
from tests.fix_running_time import RunningTime
from tests.support import eventually


class TimingSink(RecordingSink):
    """Notes when each instrument's ticks came."""

    def __init__(self, running_time: RunningTime) -> None:
        super().__init__()
        self.running_time = running_time
        self.times: dict[InstrumentKey, list[float]] = defaultdict(list)

    def publish(self, instrument, tick, ts_received_us) -> None:
        self.times[instrument.key].append(self.running_time.seconds)

    def longest_gap(self, keys, since: float) -> float:
        spells = []
        for key in keys:
            times = [since, *(at for at in self.times[key] if at >= since)]
            times.append(self.running_time.seconds)
            spells += [b - a for a, b in pairwise(times)]
        return max(spells)


async def open_timed(make_kite_server, open_pool, running_time, **options):
    """Open a pool whose instruments each tick about a hundred times a second."""
    exchange = await make_kite_server(rate=1000)
    sink = TimingSink(running_time)
    return exchange, await open_pool(exchange, sink=sink, **options), sink


async def test_limits_lowered_and_raised_on_the_run(make_kite_server, open_pool, running_time):
    exchange, kit, sink = await open_timed(
        make_kite_server, open_pool, running_time, symbols_per_connection=4
    )
    keys = kit.keys[:12]
    kit.want(*keys)
    await eventually(lambda: kit.confirmed == 12)
    kit.release(*keys[:2])
    await eventually(lambda: exchange.record().subscribed == 10)
    since = running_time.seconds

    kit.pool.update_options(
        PoolOptions(symbols_per_connection=4, max_connections=2, linger_seconds=0.1)
    )
    kept, lost = keys[2:10], keys[10:]
    await eventually(lambda: exchange.record().open == 2, timeout=30)
    await eventually(lambda: exchange.record().subscribed == 8, timeout=30)
    assert running_time.seconds - since < 5

    def told() -> list[Outcome]:
        return [o for o in kit.outcomes if o.code is RefusalCode.MAX_CAPACITY_REACHED]

    await eventually(lambda: {o.key for o in told()} == set(lost))
    assert told()[0].details["capacity"] == 8
    assert sink.longest_gap(kept, since) <= 1.0
    await eventually(lambda: {k for c in kit.feed for k in c.keys or ()} == set(lost))

    kit.events.clear()
    raised = running_time.seconds
    kit.pool.update_options(
        PoolOptions(symbols_per_connection=4, max_connections=3, linger_seconds=0.1)
    )
    await eventually(lambda: kit.confirmed == 10, timeout=30)
    assert running_time.seconds - raised < 5
    await eventually(
        lambda: {o.key for o in kit.outcomes if o.state is OutcomeState.ACTIVE} == set(lost)
    )
    await eventually(lambda: {k for c in kit.feed for k in c.keys or ()} == set(lost))
    assert kit.feed[-1].status is FeedStatus.LIVE
    assert sink.longest_gap(kept, since) <= 1.0
    record = exchange.record()
    assert record.peak_subscribed <= 4
    assert record.complaints() == []


async def test_fewer_symbols_per_connection_move_without_a_gap(
    make_kite_server, open_pool, running_time
):
    exchange, kit, sink = await open_timed(
        make_kite_server, open_pool, running_time, symbols_per_connection=9
    )
    keys = kit.keys[:9]
    kit.want(*keys)
    await eventually(lambda: kit.confirmed == 9)
    since = running_time.seconds
    kit.pool.update_options(PoolOptions(symbols_per_connection=3, max_connections=3))
    await eventually(
        lambda: exchange.record().open == 3 and exchange.record().subscribed == 9, timeout=30
    )
    await eventually(lambda: [c.used for c in kit.pool.get_stats().connections] == [3, 3, 3])
    assert sink.longest_gap(keys, since) <= 1.0
    assert not kit.feed
    assert exchange.record().complaints() == []


async def test_one_of_three_connections_stays_away_and_its_symbols_move(
    make_kite_server, open_pool, running_time
):
    exchange, kit, sink = await open_timed(
        make_kite_server, open_pool, running_time, symbols_per_connection=4
    )
    keys = kit.keys[:12]
    kit.want(*keys)
    await eventually(lambda: kit.confirmed == 12)
    kit.release(*keys[:2])
    await eventually(lambda: exchange.record().subscribed == 10)
    dropped, dropped_at = running_time.seconds, time.monotonic()
    exchange.refuse(503)
    exchange.drop(2)
    await eventually(lambda: kit.feed)
    away = set(kit.feed[0].keys or ())
    assert len(away) == 4
    others = [key for key in keys[2:] if key not in away]
    await eventually(lambda: kit.confirmed == len(others) + 2, timeout=60)
    assert time.monotonic() - dropped_at >= 14
    assert sink.longest_gap(others, dropped) <= 1.0
    assert {k for c in kit.feed if c.status is FeedStatus.STALE for k in c.keys or ()} == away
    exchange.accept()
    await eventually(lambda: kit.confirmed == 10, timeout=90)
    assert exchange.record().peak_subscribed <= 4
    complaints = exchange.record().complaints()
    assert all("HTTP 503" in complaint for complaint in complaints), "those we asked for"
