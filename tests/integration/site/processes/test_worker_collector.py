"""A worker that serves has a calm collector: none of its looks stops all ticks."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import UTC

import pytest

from brokers.registry import BrokerRegistry
from openalgo_site.processes.worker import WorkerSettings, _serve
from pooling.testing.store import InMemoryAccountStore
from streaming.collector import THRESHOLDS
from tests.support import bus_at


class DoneError(Exception):
    """The test has seen enough."""


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


async def test_a_worker_calms_the_collector_before_it_serves() -> None:
    seen: list[tuple[int, int, int]] = []

    async def watch() -> None:
        seen.append(gc.get_threshold())
        raise DoneError

    settings = WorkerSettings(
        bus=bus_at(),
        usage_interval_seconds=60,
        zone=UTC,
    )
    with pytest.raises(DoneError):
        await _serve(settings, InMemoryAccountStore(), BrokerRegistry(), None, watch, None)
    assert seen == [THRESHOLDS]
