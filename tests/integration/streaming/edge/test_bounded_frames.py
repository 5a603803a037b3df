"""What one connection may send as frames, at a real server; and clients that never meet a bound."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from streaming.edge_limits import Refusal
from streaming.gateway.metrics import exposition, gateway_metrics
from streaming.gateway.server import GatewayProtocol
from streaming.testing.edge import make_principal
from tests.integration.streaming.clients.test_freed import Wire
from tests.integration.streaming.edge_kit import (
    KEY,
    EdgeServer,
    MakeEdge,
    ask,
    closing,
    read,
)

pytestmark = pytest.mark.django_db(transaction=True)

PING = Frame(Opcode.PING, b"?").serialize(mask=True)
CELLS = 2000


def text(fields: object, *, is_last: bool = True) -> bytes:
    return Frame(Opcode.TEXT, json.dumps(fields).encode(), fin=is_last).serialize(mask=True)


def piece(payload: bytes = b"", *, is_last: bool = False) -> bytes:
    return Frame(Opcode.CONT, payload, fin=is_last).serialize(mask=True)


async def close_code(wire: Wire) -> int:
    """Read to the end; return the code of the close frame that ends it."""
    async with asyncio.timeout(30):
        everything = await wire.reader.read()
    wire.writer.close()
    at = everything.rindex(b"\x88")
    return int.from_bytes(everything[at + 2 : at + 4])


def refused(edge: EdgeServer) -> dict[str, int]:
    return {str(reason): count for reason, count in edge.gateway.edge.refused.items() if count}


async def counted_by_turn(edge: EdgeServer, doing: Callable[[], Any]) -> list[int]:
    """Return how many pings were parsed in each turn of the loop while ``doing`` ran."""
    loop, turns, is_over = asyncio.get_running_loop(), [0], False
    original = GatewayProtocol.handle_ping

    def handle_ping(protocol: GatewayProtocol) -> None:
        turns[-1] += 1
        original(protocol)

    def next_turn() -> None:
        turns.append(0)
        if not is_over:
            loop.call_soon(next_turn)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GatewayProtocol, "handle_ping", handle_ping)
        loop.call_soon(next_turn)
        await doing()
        is_over = True
        await asyncio.sleep(0)
    return turns


@pytest.mark.parametrize(
    ("flood", "reason"),
    [
        (PING * 10_000, Refusal.FRAMES),
        (Frame(Opcode.PONG, b"").serialize(mask=True) * 10_000, Refusal.FRAMES),
        (text("ping") * 10_000, Refusal.FRAMES),
        (text("", is_last=False) + piece() * 10_000, Refusal.FRAMES),
    ],
    ids=["pings", "pongs", "texts", "pieces"],
)
async def test_a_stranger_that_floods_is_closed(
    edge: EdgeServer, flood: bytes, reason: Refusal
) -> None:
    neighbour = await edge.client()
    wire = await Wire.open(edge.openalgo_port, "/")
    wire.writer.write(flood)
    assert await close_code(wire) == 4429
    assert refused(edge) == {reason: 1}
    assert (await ask(neighbour, action="ping"))["type"] == "pong"
    await neighbour.close()


@pytest.mark.parametrize(
    ("flood", "reason"),
    [(PING * 40, "frames"), (text("", is_last=False) + piece() * 40, "pieces")],
)
async def test_a_client_that_floods_is_closed(
    make_edge: MakeEdge, flood: bytes, reason: str
) -> None:
    edge = await make_edge(frame_burst=35, frames_per_second=0.001, pieces_per_message=30)
    wire = await Wire.open(edge.openalgo_port, "/")
    wire.ask(action="authenticate", api_key=KEY)
    await wire.until(b'"success"')
    wire.writer.write(flood)
    assert await close_code(wire) == 4429
    assert refused(edge) == {reason: 1}


async def test_a_stranger_that_goes_on_after_it_was_told_is_cut_off(edge: EdgeServer) -> None:
    """Whoever reads why but sends for ever is not read for ever."""
    wire = await Wire.open(edge.openalgo_port, "/")

    async def send_for_ever() -> None:
        while True:
            wire.writer.write(PING * 10_000)
            await wire.writer.drain()

    with pytest.raises(ConnectionError):
        async with asyncio.timeout(30):
            await send_for_ever()
    wire.writer.close()
    assert refused(edge) == {"frames": 1}


async def test_a_large_frame_of_a_stranger_is_refused_by_its_header(edge: EdgeServer) -> None:
    """Nothing of it is kept: it is refused before it is there."""
    wire = await Wire.open(edge.openalgo_port, "/")
    wire.writer.write(Frame(Opcode.TEXT, bytes(5000)).serialize(mask=True)[:100])
    assert await close_code(wire) == 1009
    assert refused(edge) == {"frame_bytes": 1}
    hub = edge.gateway.current_hub
    assert hub is not None
    lines = exposition(gateway_metrics(edge.gateway, hub, "1")).decode()
    assert 'tickpool_edge_refused_total{gateway="1",reason="frame_bytes"} 1.0' in lines


@pytest.mark.parametrize(("clients", "pings"), [(1, 3000), (10, 300)])
async def test_one_turn_parses_few_frames_of_all_clients_together(
    edge: EdgeServer, clients: int, pings: int
) -> None:
    wires = [await Wire.open(edge.openalgo_port, "/") for _ in range(clients)]
    for wire in wires:
        wire.ask(action="authenticate", api_key=KEY)
        await wire.until(b"}}")

    async def ping() -> None:
        for wire in wires:
            wire.writer.write(PING * pings)
        for wire in wires:
            await wire.reader.readexactly(3 * pings)

    turns = await counted_by_turn(edge, ping)
    assert sum(turns) == clients * pings
    assert max(turns) <= 64
    for wire in wires:
        wire.vanish()


@pytest.mark.parametrize(("strangers", "pings", "most"), [(1, 30, 8), (60, 1, 3)])
async def test_one_turn_serves_few_strangers_a_little(
    edge: EdgeServer, strangers: int, pings: int, most: int
) -> None:
    """Each may ping; together they take no more of a turn than some of them."""
    wires = [await Wire.open(edge.openalgo_port, "/") for _ in range(strangers)]

    async def ping() -> None:
        for wire in wires:
            wire.writer.write(PING * pings)
        for wire in wires:
            await wire.reader.readexactly(3 * pings)

    turns = await counted_by_turn(edge, ping)
    assert sum(turns) == strangers * pings
    assert max(turns) <= most
    for wire in wires:
        wire.vanish()


@pytest.mark.parametrize("symbols", [400, 9000])
async def test_what_follows_the_key_at_once_is_judged_as_of_a_client(
    edge: EdgeServer, symbols: int
) -> None:
    edge.directory.hold()
    socket = await edge.connect(max_size=None)
    names = [{"symbol": f"S{n}", "exchange": "NSE"} for n in range(symbols)]
    await socket.send(json.dumps({"action": "authenticate", "api_key": KEY}))
    await socket.send(json.dumps({"action": "subscribe", "symbols": names, "mode": 1}))
    edge.directory.resume()
    assert (await read(socket))["type"] == "auth"
    assert len((await read(socket))["subscriptions"]) == symbols
    await socket.close()
    assert not refused(edge)


async def test_a_spreadsheet_asks_cell_by_cell_without_waiting(edge: EdgeServer) -> None:
    wire = await Wire.open(edge.openalgo_port, "/")
    wire.ask(action="authenticate", api_key=KEY)
    for cell in range(CELLS - 1):
        wire.ask(action="subscribe", symbol=f"S{cell}", exchange="NSE", request_id=cell)
        wire.send(9, b"alive")
    got, last = b"", b'"request_id":%d}' % (CELLS - 2)
    async with asyncio.timeout(60):
        while last not in got:
            got = got[-1000:] + await wire.reader.read(65_536)
    assert not refused(edge)
    wire.vanish()


async def test_a_page_sends_its_list_before_it_is_known(edge: EdgeServer) -> None:
    """A page on a bad line: everything arrives at once, in small packets, with the handshake."""
    edge.directory.add_session("s", make_principal(1))
    edge.directory.hold()
    wire = await Wire.open(
        edge.port, "/ws/ticks/", Origin=f"http://127.0.0.1:{edge.port}", Cookie="sessionid=s"
    )
    names = [{"symbol": f"S{n}", "exchange": "NSE"} for n in range(500)]
    asked = text({"action": "subscribe", "symbols": names, "request_id": "list"})
    for start in range(0, len(asked), 536):
        wire.writer.write(asked[start : start + 536])
        await asyncio.sleep(0)
    wire.send(10, b"late")
    edge.directory.resume()
    async with asyncio.timeout(30):
        await wire.until(b'"request_id":"list"')
    assert not refused(edge)
    wire.vanish()


async def test_large_messages_may_come_in_pieces(edge: EdgeServer) -> None:
    """Chromium cuts a mebibyte into 64 KiB or less."""
    socket = await edge.client(max_size=None)
    names = [{"symbol": f"S{n}", "exchange": "NSE"} for n in range(9000)]
    asked = json.dumps({"action": "subscribe", "symbols": names, "mode": 1})
    await socket.send(asked[start : start + 4096] for start in range(0, len(asked), 4096))
    assert len((await read(socket))["subscriptions"]) == 9000
    await socket.close()
    assert not refused(edge)


async def test_a_page_may_not_send_what_is_too_much_for_it(edge: EdgeServer) -> None:
    edge.directory.add_session("s", make_principal(1))
    page = await edge.connect(
        f"{edge.site_url}/ws/ticks/", origin=f"http://127.0.0.1:{edge.port}",
        additional_headers={"Cookie": "sessionid=s"},
    )  # fmt: skip
    await page.send(json.dumps({"action": "ping", "x": "y" * 70_000}))
    assert (await closing(page))[0] == 1009
