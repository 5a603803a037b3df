"""What clients of a real server leave behind once they have gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from streaming.fanout import shrinking
from streaming.gateway import gateway
from streaming.protocol.held import forget_shared, shared_feeds
from tests.integration.streaming.edge_kit import MakeEdge, ask
from tests.support import eventually

pytestmark = pytest.mark.django_db(transaction=True)

HELD = 1500


async def test_what_was_kept_for_others_goes_once_most_is_read_no_more(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The neighbour goes on with what it holds."""
    looking: list[Callable[[], int]] = []

    async def keep(in_use: Callable[[], int]) -> None:
        looking.append(in_use)
        await asyncio.Event().wait()

    monkeypatch.setattr(gateway, "shrink_when_left", keep)
    forget_shared()
    edge = await make_edge()
    neighbour, client = await edge.client(), await edge.client()
    await eventually(lambda: looking)
    (in_use,) = looking
    await ask(neighbour, action="subscribe", symbol="INFY", exchange="NSE", mode=1)
    names = [{"symbol": f"S{number}", "exchange": "NSE"} for number in range(HELD)]
    answer: dict[str, Any] = await ask(client, action="subscribe", symbols=names, mode=1)
    assert answer["status"] == "success"
    await eventually(lambda: in_use() == HELD + 1)
    assert shared_feeds() == HELD + 1
    await client.close()
    await eventually(lambda: in_use() == 1)
    shrinks = asyncio.create_task(shrinking.shrink_when_left(in_use, seconds=0.0))
    await eventually(lambda: shared_feeds() == 0)
    shrinks.cancel()
    await neighbour.send(json.dumps({"action": "list_subscriptions"}))
    async with asyncio.timeout(30):
        while "INFY" not in str(await neighbour.recv()):
            pass
    await neighbour.close()
