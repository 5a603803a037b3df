"""How messages of the server find the consumer's methods."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from channels.exceptions import StopConsumer

from streaming.gateway.consumers import EdgeConsumer


async def test_a_method_is_looked_up_by_one_text_however_often() -> None:
    """Python keeps each text by which something was looked up, thousands of them for ever."""
    names: list[str] = []

    class Watched(EdgeConsumer):
        def __getattribute__(self, name: str) -> Any:
            if name.startswith("websocket_"):
                names.append(name)
            return super().__getattribute__(name)

    consumer = Watched.__new__(Watched)
    for _ in range(2):
        with pytest.raises(StopConsumer):
            await consumer.dispatch({"type": "websocket.disconnect"})
    assert names[0] is names[1] is sys.intern("websocket_disconnect")
