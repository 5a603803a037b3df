"""A worker of another version, whose ticks this gateway cannot read."""

from __future__ import annotations

import pytest

from brokers.pool_service import FeedStatus
from streaming.wire.message import FORMAT_VERSION
from streaming.worker import control_server, publisher
from tests.integration.streaming.bus_kit.ends import INFY, INFY_TOPIC, want
from tests.integration.streaming.bus_kit.support import tick
from tests.support import eventually


async def test_ticks_that_cannot_be_read_make_a_pool_stale_with_the_reason(
    worker, gateway, monkeypatch: pytest.MonkeyPatch
):
    """Also where the worker says "live" on the control link; and it is over with the cause."""
    await gateway.link.want("1", "a", [want()])
    await eventually(lambda: gateway.link.feed("1").status is FeedStatus.LIVE)
    with monkeypatch.context() as newer:
        for module in (control_server, publisher):
            newer.setattr(module, "FORMAT_VERSION", FORMAT_VERSION + 1, raising=False)
        worker.sink().publish(INFY, tick(1), 1)
        await eventually(lambda: gateway.link.counters.malformed == 1)
        await eventually(lambda: gateway.link.feed("1").status is FeedStatus.STALE)
        reason = gateway.listener.changes()[-1].reason
        assert f"format {FORMAT_VERSION + 1}, this gateway reads {FORMAT_VERSION}" in reason
        heard = len(gateway.listener.changes())
        worker.service.change("1", FeedStatus.LIVE, 5, "connected again")
        before = gateway.link.feed("2").status
        assert before is FeedStatus.STALE
        beats = worker.server._beat_number
        await eventually(lambda: worker.server._beat_number > beats + 2)
        assert gateway.link.feed("1").status is FeedStatus.STALE
        assert len(gateway.listener.changes()) == heard
    await eventually(lambda: gateway.link.feed("1").status is FeedStatus.LIVE)
    worker.sink().publish(INFY, tick(2), 1)
    await eventually(lambda: gateway.listener.sequences(INFY_TOPIC)[-1:] == [2])
