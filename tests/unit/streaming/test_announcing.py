"""What a change of many instruments costs the clients that hold few of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from brokers.pool_service import FeedChange, FeedStatus
from brokers.types import InstrumentKey
from tests.support import eventually
from tests.unit.streaming.fanout.test_hub import INFY, TCS, Edge, of_type


class Keys(tuple[InstrumentKey, ...]):
    """Instruments of a change, which count how often they are walked."""

    walks = 0

    def __iter__(self) -> Iterator[InstrumentKey]:
        type(self).walks += 1
        return super().__iter__()


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    edge = Edge()
    await edge.hub.open()
    yield edge
    await edge.hub.close()


async def test_a_change_of_thousands_is_not_walked_for_each_client(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is told what it holds of them, whichever of both is less."""
    monkeypatch.setattr(Keys, "walks", 0)
    pairs = [edge.client() for _ in range(30)]
    for client, _ in pairs:
        client.session.wants_status = True
        await edge.subscribe(client, "INFY", 1)
        await edge.subscribe(client, "SBIN", 1)
    keys = Keys([InstrumentKey("NSE", f"S{number}") for number in range(2000)] + [INFY, TCS])
    edge.hub.on_event(FeedChange("p1", FeedStatus.STALE, 1, "silent", keys))
    edge.hub.on_event(FeedChange("other", FeedStatus.STALE, 1, "silent", keys))
    edge.hub.on_event(FeedChange("p1", FeedStatus.STALE, 2, "silent", (INFY,)))
    for _, sender in pairs:
        await eventually(lambda sender=sender: len(of_type(sender, "feed")) == 2)
        assert [frame["symbols"] for frame in of_type(sender, "feed")] == [["INFY"], ["INFY"]]
    assert Keys.walks < len(pairs)
