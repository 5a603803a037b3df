"""What tests of every layer share: waiting for a condition, free ports, recorded data."""

from __future__ import annotations

import asyncio
import inspect
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

__all__ = ["SHARED_DATA", "eventually", "eventually_sync", "free_port"]

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


async def eventually(
    condition: Callable[[], object] | Callable[[], Awaitable[object]],
    *,
    timeout: float = 10.0,
    interval: float = 0.01,
    message: str = "",
) -> object:
    """Wait until ``condition`` is true and return its value; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(message or f"did not become true within {timeout} s: {condition}")
        await asyncio.sleep(interval)


def eventually_sync(
    condition: Callable[[], object],
    *,
    timeout: float = 10.0,
    interval: float = 0.02,
    message: str = "",
) -> object:
    """``eventually`` for tests without an event loop."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(message or f"did not become true within {timeout} s: {condition}")
        time.sleep(interval)
    return value


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
