"""Last values from a gateway, as another thread asks for them."""

from __future__ import annotations

import asyncio

import pytest

from brokers.types import InstrumentKey
from streaming.gateway.gateway import Gateway
from streaming.ports.link import TickMessage
from streaming.testing.edge import FakeDirectory, FakeFeedLink

INFY = InstrumentKey("NSE", "INFY")


class OneValue(FakeFeedLink):
    """Knows one value, of one pool; silent, it does not answer."""

    is_silent = False

    async def last_values(self, pool_id: str, keys: object) -> list[TickMessage]:
        if self.is_silent:
            await asyncio.Event().wait()
        return [TickMessage(b"", 1, 1, 1, 1, b"body")] if pool_id == "1" else []


async def test_another_thread_gets_them_and_never_waits_for_long() -> None:
    link = OneValue()
    gateway = Gateway(make_link=lambda: link, directory=FakeDirectory())

    async def ask(*pools: str, seconds: float = 5.0) -> list[bytes]:
        found = await asyncio.to_thread(gateway.last_values, pools, [INFY], seconds)
        return list(found)

    assert await ask("1") == [], "it is not open"
    await gateway.open()
    try:
        assert await ask("2", "1") == [b"body"]
        link.is_silent = True
        with pytest.raises(TimeoutError):
            await ask("1", seconds=0.01)
    finally:
        await gateway.close()
    assert await ask("1") == []
