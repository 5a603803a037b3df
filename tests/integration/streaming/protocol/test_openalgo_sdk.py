"""The OpenAlgo SDK of PyPI, unmodified, against our server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from brokers.testing import kite_frame, kite_full, kite_quote
from brokers.zerodha.codec import decode_frame
from streaming.testing.edge import make_away
from streaming.wire.tick_json import encode_tick
from tests.integration.streaming.edge_kit import INFY, KEY, TCS, EdgeServer, MakeEdge
from tests.support import eventually, free_port

pytestmark = pytest.mark.oracle

SCRIPT = "openalgo_client.py"
QUOTE_FIELDS = {
    *("open", "high", "low", "close", "ltp", "volume", "last_trade_quantity"),
    *("avg_trade_price", "change", "change_percent", "timestamp"),
}


@pytest.fixture
def sdk2(oracle_python: Path) -> str:
    """Directory of SDK 2.x, whose package wants Python 3.12 but runs on ours."""
    path = Path(os.environ.get("TICKPOOL_OPENALGO2") or oracle_python.parent.parent / "openalgo2")
    if not (path / "openalgo").is_dir():
        missing = (
            "SDK 2.x is not installed: run `make test`, or .venv-oracles/bin/pip install --no-deps "
            "--ignore-requires-python --target .venv-oracles/openalgo2 "
            "--requirement requirements/oracles-sdk2.txt"
        )
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(missing)
        pytest.skip(missing)
    return str(path)


@asynccontextmanager
async def ticking(edge: EdgeServer) -> AsyncIterator[None]:
    """Let INFY and TCS tick while the block runs."""

    async def tick_forever() -> None:
        while True:
            edge.link.tick("p1", INFY)
            edge.link.tick("p1", TCS)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(tick_forever(), name="market")
    try:
        yield
    finally:
        task.cancel()


def check_modes(result: dict[str, Any]) -> None:
    assert result["connected"]
    assert result["arrived"]
    first = result["first"]
    assert first["ltp"]["mode"] == 1
    assert set(first["ltp"]["data"]) == {"ltp", "timestamp", "ltt"}
    assert first["ltp"]["data"]["ltp"] == 1573.7
    assert first["quote"]["mode"] == 2
    assert set(first["quote"]["data"]) >= QUOTE_FIELDS
    assert first["quote"]["data"]["volume"] == 1_192_471
    assert first["depth"]["mode"] == 3
    buy = first["depth"]["data"]["depth"]["buy"]
    assert buy[0] == {"price": 1573.65, "quantity": 10, "orders": 1}
    ltp, quotes, depth = result["caches"]
    assert ltp["ltp"]["NSE"]["INFY"]["ltp"] == 1573.7
    assert quotes["quote"]["NSE"]["INFY"]["close"] == 1572.7
    assert depth["depth"]["NSE"]["INFY"]["sellBook"]["1"]["qty"] == 30
    assert result["after_unsubscribe"] == [{"ltp": {}}, {"quote": {}}, {"depth": {}}]
    assert result["late"] == {"ltp": 0, "quote": 0, "depth": 0}


async def test_three_modes_of_one_symbol(edge: EdgeServer, run_oracle: Callable[..., Any]) -> None:
    async with ticking(edge):
        check_modes(await run_oracle(SCRIPT, "modes", edge.url, KEY))
    await eventually(lambda: edge.link.held == {})


@pytest.mark.parametrize("is_sdk2", [False, True], ids=["SDK 1", "SDK 2"])
async def test_an_account_that_is_switched_off_and_on_again_needs_no_action(
    edge: EdgeServer, run_oracle: Callable[..., Any], sdk2: str, is_sdk2: bool
) -> None:
    principal = edge.principal

    def holds_tcs() -> bool:
        return any(TCS in held for held in edge.link.held.values())

    hub = edge.gateway.current_hub
    assert hub is not None
    async with ticking(edge):
        client = asyncio.create_task(
            run_oracle(SCRIPT, "resume", edge.url, KEY, *([sdk2] if is_sdk2 else []))
        )
        await eventually(holds_tcs, timeout=60)
        edge.directory.change(make_away(principal))
        hub.principals_changed([principal.user_id])
        await eventually(lambda: client.done() or not holds_tcs(), timeout=60)
        edge.directory.change(principal)
        hub.principals_changed([principal.user_id])
        result = await client
    assert result == {
        **{"connected": True, "arrived": True, "silent": True, "resumed": True},
        "connect_seconds": result["connect_seconds"],
    }


async def test_a_wrong_key_returns_quickly(
    make_edge: MakeEdge, run_oracle: Callable[..., Any]
) -> None:
    # It looks every 0.1 s whether it is connected; a busy machine lets it look later.
    edge = await make_edge(auth_failure_close_seconds=1.0)
    result = await run_oracle(SCRIPT, "wrong_key", edge.url, "wrong")
    assert result["connected"] is False
    assert result["connect_seconds"] < 5, "it waits so long for an answer"


async def test_three_modes_of_one_symbol_in_sdk2(
    edge: EdgeServer, run_oracle: Callable[..., Any], sdk2: str
) -> None:
    async with ticking(edge):
        check_modes(await run_oracle(SCRIPT, "modes", edge.url, KEY, sdk2))


@pytest.mark.parametrize("is_sdk2", [False, True], ids=["SDK 1", "SDK 2"])
async def test_a_symbol_without_a_price_has_no_change_either(
    edge: EdgeServer, run_oracle: Callable[..., Any], sdk2: str, is_sdk2: bool
) -> None:
    """Kite's packet of before the first trade: last price 0, close 15000."""
    body = kite_full(kite_quote(408065, 0, ohlc=(0, 0, 0, 1_500_000)), asks=[(1_500_500, 7, 1)])
    (tick,), _ = decode_frame(kite_frame(body))

    async def tick_forever() -> None:
        while True:
            message = edge.link.message("p1", INFY)
            edge.link.publish([message._replace(body=encode_tick("zerodha", INFY, tick))])
            await asyncio.sleep(0.02)

    market = asyncio.create_task(tick_forever(), name="market")
    try:
        sdk = (sdk2,) if is_sdk2 else ()
        result = await run_oracle(SCRIPT, "untraded", edge.url, KEY, *sdk)
    finally:
        market.cancel()
    assert result["arrived"]
    assert result["seen"]["ltp"] == [], "there is none"
    quote = result["seen"]["quote"][0]["data"]
    assert (quote["close"], quote["ltp"]) == (15000.0, 0), "what is left out is 0 to the SDK"
    assert (quote["change"], quote["change_percent"]) == (0, 0)
    depth = result["seen"]["depth"][0]["data"]["depth"]
    assert depth == {"buy": [], "sell": [{"price": 15005.0, "quantity": 7, "orders": 1}]}
    ltp, quotes, _ = result["caches"]
    assert ltp == {"ltp": {}}
    assert quotes["quote"]["NSE"]["INFY"]["close"] == 15000.0


async def test_orders_reach_sdk2(
    edge: EdgeServer, run_oracle: Callable[..., Any], sdk2: str
) -> None:
    running = asyncio.create_task(run_oracle(SCRIPT, "orders", edge.url, KEY, sdk2))
    hub = await edge.gateway.open()
    await eventually(lambda: any(client.session.wants_orders for client in hub.clients), timeout=60)
    edge.link.order("p1", {"order_id": "7", "tradingsymbol": "INFY", "status": "OPEN PENDING"})
    result = await running
    assert result["seen"] == 1
    assert result["orders"][0]["orderid"] == "7"
    assert result["orders"][0]["order_status"] == "open pending"


async def test_sdk2_reconnects_and_resumes(
    make_edge: MakeEdge, run_oracle: Callable[..., Any], sdk2: str
) -> None:
    first = await make_edge(openalgo_port=free_port())
    async with ticking(first):
        running = asyncio.create_task(run_oracle(SCRIPT, "reconnect", first.url, KEY, sdk2))
        # It asks for TCS once it has seen INFY tick.
        await eventually(lambda: any(TCS in held for held in first.link.held.values()), timeout=60)
        await first.stop()
    second = await make_edge(openalgo_port=first.openalgo_port)
    async with ticking(second):
        result = await running
    assert result["lost"]
    assert result["resumed"]
