"""Real traffic of Binance, through every part of the system, to a WebSocket client."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.fault.test_demo import RunningDemo, demo
from tests.support import SHARED_DATA

SPOT = SHARED_DATA / "capture_BINANCE.ws.1.0"
FUTURES = SHARED_DATA / "capture_BINANCE_FUTURES.ws.1.0"
SPEED = 10.0

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not SPOT.is_file(), reason="no recorded data beside the project"),
]


def recorded(capture: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what the capture's trades and best quotes say, per symbol, in order."""
    expected: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in capture.read_text().splitlines()[1:]:
        _, separator, frame = line.partition(": ")
        if not separator:
            continue
        message = json.loads(frame)
        data = message["data"]
        if message["stream"].endswith("@bookTicker"):
            fields = {
                "bid_price": float(data["b"]),
                "bid_size": float(data["B"]),
                "ask_price": float(data["a"]),
                "ask_size": float(data["A"]),
                # Spot sends no time with a quote; then there must be none.
                "timestamp": data.get("E"),
            }
        elif message["stream"].endswith("@aggTrade"):
            fields = {
                "ltp": float(data["p"]),
                "last_trade_quantity": float(data["q"]),
                "ltt": data["T"],
                "timestamp": data["E"],
            }
        else:
            continue
        expected[data["s"]].append(fields)
    return expected


async def collect(
    ready: dict[str, Any], symbols: Iterable[str], count: int
) -> dict[str, list[dict[str, Any]]]:
    """Subscribe ``symbols`` and return the ``data`` of their ticks until ``count`` have come."""
    ticks: dict[str, list[dict[str, Any]]] = defaultdict(list)
    # Without a bound: a client that stops reading is sent the latest only.
    async with connect(ready["openalgo_url"], compression=None, max_queue=None) as socket:
        await socket.send(json.dumps({"action": "authenticate", "api_key": ready["api_key"]}))
        assert json.loads(await socket.recv())["broker"] == "binance"
        items = [{"symbol": symbol, "exchange": "BINANCE"} for symbol in symbols]
        await socket.send(json.dumps({"action": "subscribe", "symbols": items, "mode": "Quote"}))
        answer = json.loads(await socket.recv())
        assert answer["status"] == "success", answer
        deadline = time.monotonic() + 120
        while sum(map(len, ticks.values())) < count:
            async with asyncio.timeout(deadline - time.monotonic()):
                message = json.loads(await socket.recv())
            if message.get("type") == "market_data":
                assert message["mode"] == 2
                ticks[message["symbol"]].append(message["data"])
        # Nothing may come beyond what was recorded.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await socket.recv()
    return ticks


@pytest.mark.parametrize(("capture", "total"), [(SPOT, 86), (FUTURES, 704)])
def test_every_trade_and_quote_of_a_capture_reaches_a_client(
    capture: Path, total: int, tmp_path: Path
) -> None:
    """Exchange server, adapter, bus, gateway: none loses, repeats, reorders or alters one."""
    expected = recorded(capture)
    assert sum(map(len, expected.values())) == total
    command = ("--replay", str(capture), "--speed", f"{SPEED:g}")
    with demo(tmp_path, *RunningDemo.command(), *command) as running:
        ticks = asyncio.run(collect(running.ready(), expected, total))
    for symbol, events in expected.items():
        assert len(ticks[symbol]) == len(events), symbol
        for tick, event in zip(ticks[symbol], events, strict=True):
            assert {name: tick.get(name) for name in event} == event
