"""Limits of a client and of a process, each at a server that has a smaller one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from brokers.pool_service import RefusalCode
from brokers.types import InstrumentKey
from streaming.gateway.server import GatewayProtocol
from streaming.testing.edge import make_principal
from tests.integration.streaming.clients.test_freed import Wire
from tests.integration.streaming.edge_kit import MakeEdge, ask, closing

pytestmark = pytest.mark.django_db(transaction=True)

LONG = "y" * 3000


def names(count: int) -> list[dict[str, str]]:
    return [{"symbol": f"S{number}", "exchange": "NSE"} for number in range(count)]


async def test_a_process_has_so_many_clients_whatever_their_addresses(make_edge: MakeEdge) -> None:
    edge = await make_edge(max_clients=1)
    first = await edge.client()
    with pytest.raises(Exception, match="503"):
        await edge.connect(local_addr=("127.0.0.2", 0))
    await first.close()


async def test_a_client_holds_so_many_instruments(make_edge: MakeEdge) -> None:
    edge = await make_edge(max_instruments_per_client=3)
    client, other = await edge.client(), await edge.client()
    answer = await ask(client, action="subscribe", symbols=names(3), mode=1)
    assert answer["status"] == "success"
    answer = await ask(client, action="subscribe", symbol="S3", exchange="NSE", mode=1)
    assert answer["status"] == "error"
    assert "3" in json.dumps(answer)
    answer = await ask(other, action="subscribe", symbol="S3", exchange="NSE", mode=1)
    assert answer["status"] == "success"
    await client.close()
    await other.close()


async def test_an_answer_has_so_many_nearest_symbols(make_edge: MakeEdge) -> None:
    edge = await make_edge(max_suggestions=2)
    for number in range(4):
        edge.directory.suggestions[f"S{number}"] = ["INFY"]
        edge.link.refuse(
            InstrumentKey("NSE", f"S{number}"), RefusalCode.SYMBOL_NOT_FOUND, "Unknown."
        )
    client = await edge.client()
    answer = await ask(client, action="subscribe", symbols=names(4), mode=1)
    told = [entry for entry in answer["subscriptions"] if "suggestions" in entry]
    assert len(told) == 2
    await client.close()


@pytest.mark.parametrize("route", ["stranger", "key", "page"])
async def test_each_route_takes_frames_of_its_own_size(make_edge: MakeEdge, route: str) -> None:
    """One more byte than that is too much, and a frame of just that many is not."""
    sizes = {"unauthenticated_frame_bytes": 1000, "api_frame_bytes": 3000,
             "browser_frame_bytes": 2000}  # fmt: skip
    most = {"stranger": 1000, "key": 3000, "page": 2000}[route]
    edge = await make_edge(**sizes)
    edge.directory.add_session("s", make_principal(1))
    page: dict[str, Any] = {
        "url": f"{edge.site_url}/ws/ticks/", "origin": f"http://127.0.0.1:{edge.port}",
        "additional_headers": {"Cookie": "sessionid=s"},
    }  # fmt: skip
    socket = await (edge.client() if route == "key" else edge.connect(**page)
                    if route == "page" else edge.connect())  # fmt: skip
    bare = len(json.dumps({"action": "ping", "x": ""}))
    await socket.send(json.dumps({"action": "ping", "x": LONG[: most - bare]}))
    while '"pong"' not in str(await socket.recv()):
        pass
    await socket.send(json.dumps({"action": "ping", "x": LONG[: most - bare + 1]}))
    assert (await closing(socket))[0] == 1009


async def test_one_turn_parses_so_many_bytes_of_a_client(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large its frames are: the parser gets no part that is larger."""
    edge = await make_edge(turn_bytes=5000)
    parts: list[int] = []
    parent: Any = GatewayProtocol.__mro__[2]
    original = parent.data_received

    def noted(protocol: Any, data: bytes) -> None:
        parts.append(len(data))
        original(protocol, data)

    wire = await Wire.open(edge.openalgo_port, "/")
    wire.ask(action="authenticate", api_key="good-key")
    await wire.until(b'"success"')
    monkeypatch.setattr(parent, "data_received", noted)
    asked = json.dumps({"action": "ping", "request_id": "end", "x": LONG * 20}).encode()
    wire.writer.write(Frame(Opcode.TEXT, asked).serialize(mask=True))
    await wire.until(b'"end"')
    assert sum(parts) > 60_000
    assert max(parts) <= 5000 + 14
    wire.vanish()
