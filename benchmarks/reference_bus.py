"""What the reference servers share: the bus, and the two requests that the load sends."""

from __future__ import annotations

import json
from typing import Any

import zmq
import zmq.asyncio

__all__ = ["answer_to", "open_bus", "symbols_of"]


def open_bus(endpoint: str, pool_id: str) -> zmq.asyncio.Socket:
    """Subscribe to everything of a pool."""
    bus = zmq.asyncio.Context.instance().socket(zmq.SUB)
    bus.set_hwm(100_000)
    bus.connect(endpoint)
    bus.subscribe(pool_id.encode() + b"/")
    return bus


def symbols_of(request: dict[str, Any]) -> list[str]:
    """Return what a request subscribes to; nothing when it is no subscribe."""
    return [item["symbol"] for item in request.get("symbols", ())]


def answer_to(request: dict[str, Any]) -> str:
    """Say yes."""
    return json.dumps({"type": request["action"], "status": "success"})
