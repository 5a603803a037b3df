"""The batch subprotocol on the wire: both routes, its order, its pace and its end."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from streaming.clients.batches import BATCH_SUBPROTOCOL
from streaming.testing.edge import make_principal
from tests.integration.streaming.edge_kit import INFY, TCS, EdgeServer, MakeEdge, ask, closing, read
from tests.integration.streaming.gateway.test_browser_route import Login, login, open_page
from tests.support import AgingClock, eventually

__all__ = ["login"]

OFFER = [Subprotocol(BATCH_SUBPROTOCOL)]


async def batch_client(edge: EdgeServer, query: str = "") -> ClientConnection:
    """Open and authenticate a batch client; read what it is told of its feeds."""
    socket = await edge.client(url=edge.url + query, subprotocols=OFFER)
    assert socket.subprotocol == BATCH_SUBPROTOCOL
    assert (await read(socket))["type"] == "feed"
    return socket


async def subscribe(socket: ClientConnection, *symbols: str, mode: int = 2) -> dict[str, Any]:
    items = [{"symbol": symbol, "exchange": "NSE"} for symbol in symbols]
    return await ask(socket, action="subscribe", symbols=items, mode=mode)


def prices(batch: dict[str, Any]) -> list[tuple[str, float]]:
    assert batch["type"] == "ticks", batch
    assert all(tick["type"] == "market_data" for tick in batch["ticks"])
    return [(tick["symbol"], tick["data"]["ltp"]) for tick in batch["ticks"]]


async def test_the_latest_tick_of_each_instrument_comes_in_one_frame(edge: EdgeServer) -> None:
    socket = await batch_client(edge, "?interval=100")
    assert (await subscribe(socket, "INFY", "TCS"))["status"] == "success"
    for ltp in (100, 200, 300):
        edge.link.tick("p1", INFY, ltp=ltp)
    edge.link.tick("p1", TCS, ltp=900)
    assert prices(await read(socket)) == [("INFY", 3.0), ("TCS", 9.0)]
    hub = edge.gateway.current_hub
    assert hub is not None
    assert hub.ticks_conflated == 2
    await socket.close()


async def test_the_answer_precedes_the_snapshot_and_both_modes_come(edge: EdgeServer) -> None:
    edge.link.remember("p1", INFY, ltp=100)
    socket = await batch_client(edge)
    items = [{"symbol": "INFY", "exchange": "NSE", "mode": mode} for mode in (1, 2)]
    assert (await ask(socket, action="subscribe", symbols=items))["type"] == "subscribe"
    batch = await read(socket)
    assert [tick["mode"] for tick in batch["ticks"]] == [1, 2]
    await socket.close()


async def test_at_most_one_frame_an_interval(edge: EdgeServer) -> None:
    socket = await batch_client(edge, "?interval=80")
    await subscribe(socket, "INFY")
    started = time.monotonic()

    async def tick_on() -> None:
        while True:
            edge.link.tick("p1", INFY)
            await asyncio.sleep(0.005)

    ticking = asyncio.create_task(tick_on())
    for frames in range(1, 7):
        assert [symbol for symbol, _ in prices(await read(socket))] == ["INFY"]
        assert (frames - 1) * 0.08 <= time.monotonic() - started
    ticking.cancel()
    await socket.close()


async def test_interval_zero_sends_every_turn_of_the_loop(edge: EdgeServer) -> None:
    socket = await batch_client(edge, "?interval=0")
    await subscribe(socket, "INFY")
    for ltp in (100, 200, 300):
        edge.link.tick("p1", INFY, ltp=ltp)
        assert prices(await read(socket)) == [("INFY", ltp / 100)]
    await socket.close()


async def test_nothing_of_a_line_after_its_unsubscribe(edge: EdgeServer) -> None:
    socket = await batch_client(edge, "?interval=50")
    await subscribe(socket, "INFY", "TCS")
    edge.link.tick("p1", INFY)
    edge.link.tick("p1", TCS)
    answer = await ask(socket, action="unsubscribe", symbol="INFY", exchange="NSE")
    while answer["type"] == "ticks":  # the batch may have been quicker than the request
        edge.link.tick("p1", INFY)
        edge.link.tick("p1", TCS)
        answer = await read(socket)
    assert answer["type"] == "unsubscribe"
    edge.link.tick("p1", INFY)
    edge.link.tick("p1", TCS, ltp=555)
    seen = []
    while ("TCS", 5.55) not in seen:
        seen += prices(await read(socket))
    assert {symbol for symbol, _ in seen} == {"TCS"}
    await socket.close()


async def test_a_client_that_offers_nothing_or_something_else_gets_plain_frames(
    edge: EdgeServer,
) -> None:
    for offered in (None, [Subprotocol("other.v1")]):
        socket = await edge.client(subprotocols=offered)
        assert socket.subprotocol is None
        await subscribe(socket, "INFY")
        edge.link.tick("p1", INFY)
        assert (await read(socket))["type"] == "market_data"
        await socket.close()


@pytest.mark.parametrize(
    "interval", ["-1", "1001", "1e2", "", "x", "%2B5", "99999999999", "%D9%A5"]
)
async def test_a_bad_interval_closes_with_4400(edge: EdgeServer, interval: str) -> None:
    socket = await edge.connect(f"{edge.url}?interval={interval}", subprotocols=OFFER)
    code, reason = await closing(socket)
    assert code == 4400
    assert "0 to 1000" in (reason or "")


async def test_feed_changes_come_unasked_and_behind_the_ticks_before_them(
    edge: EdgeServer,
) -> None:
    socket = await batch_client(edge, "?interval=200")
    await subscribe(socket, "INFY")
    edge.link.tick("p1", INFY, ltp=400)
    edge.link.go_stale("p1")
    assert prices(await read(socket)) == [("INFY", 4.0)]
    stale = await read(socket)
    assert (stale["type"], stale["status"]) == ("feed", "stale")
    await socket.close()


async def test_a_restart_says_when_to_come_back(edge: EdgeServer) -> None:
    batched = await batch_client(edge)
    plain = await edge.client()
    stopping = asyncio.create_task(edge.stop())
    farewell = await read(batched)
    assert farewell["type"] == "reconnect"
    assert 0 < farewell["after_ms"] <= 10_000
    assert (await closing(batched))[0] == 1012
    with pytest.raises(ConnectionClosed):
        await plain.recv()  # its close is all it gets
    assert plain.close_code == 1012
    await stopping


async def test_a_client_that_does_not_read_is_conflated_then_closed(make_edge: MakeEdge) -> None:
    clock = AgingClock()
    edge = await make_edge(stall_seconds=4.0, clock=clock)
    slow = await batch_client(edge, "?interval=0")
    healthy = await batch_client(edge, "?interval=0")
    symbols = [f"{name}{n}" for name in ("INFY", "TCS") for n in range(400)]
    for socket in (slow, healthy):
        await subscribe(socket, *symbols, mode=3)
    hub = edge.gateway.current_hub
    assert hub is not None
    received = 0

    async def read_on() -> None:
        nonlocal received
        async for frame in healthy:
            received += len(json.loads(frame).get("ticks", ()))  # else the feed's state

    reading = asyncio.create_task(read_on())
    slow.transport.pause_reading()
    sent = 0
    slow_client = min(hub.clients, key=lambda client: int(client.id))

    def is_conflated() -> bool:
        nonlocal sent
        # No faster than the healthy client reads: half a megabyte a turn is more than its loop,
        # which is this one, takes.
        if received == sent:
            for key in (INFY, TCS):
                for n in range(400):
                    edge.link.tick("p1", key._replace(symbol=f"{key.symbol}{n}"))
            sent += 800
        return slow_client.outbox.conflated > 0

    await eventually(is_conflated, timeout=60)
    await eventually(lambda: received >= sent)
    assert received == sent

    def is_closed() -> bool:
        clock.added_seconds += 1
        return hub.slow_clients_closed == 1

    await eventually(is_closed)
    slow.transport.resume_reading()
    assert (await closing(slow))[0] == 4408
    await healthy.close()
    await reading


@pytest.mark.django_db(transaction=True)
async def test_a_page_negotiates_batches_too(edge: EdgeServer, login: Login) -> None:
    edge.directory.add_session(login.session_key, make_principal(login.user_id, pool_id="p1"))
    page = await open_page(edge, login.session_key, subprotocols=OFFER)
    assert page.subprotocol == BATCH_SUBPROTOCOL
    assert (await read(page))["type"] == "feed"
    await subscribe(page, "INFY")
    edge.link.tick("p1", INFY, ltp=100)
    assert prices(await read(page)) == [("INFY", 1.0)]
    await page.close()
