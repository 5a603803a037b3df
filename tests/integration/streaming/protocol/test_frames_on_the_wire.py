"""Subscriptions and bad input over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket as socket_module

import httpx2
import msgspec
import pytest

from brokers.pool_service import RefusalCode
from brokers.types import FeedMode, InstrumentKey
from streaming.testing.edge import make_principal
from tests.integration.streaming.edge_kit import INFY, TCS, EdgeServer, MakeEdge, ask, closing, read
from tests.integration.streaming.gateway.test_metrics import stats
from tests.support import AgingClock, eventually


async def test_answer_snapshot_tick_unsubscribe(edge: EdgeServer) -> None:
    socket = await edge.client()
    edge.link.remember("p1", INFY, ltp=100)
    answer = await ask(
        socket, action="subscribe", symbol="INFY", exchange="NSE", mode="LTP", request_id=5
    )
    assert (answer["type"], answer["request_id"]) == ("subscribe", 5)
    assert (await read(socket))["data"]["ltp"] == 1.0
    edge.link.tick("p1", INFY, ltp=200)
    raw = await socket.recv()
    assert isinstance(raw, str)
    assert '"symbol":"INFY"' in raw
    assert json.loads(raw)["data"]["ltp"] == 2.0
    answer = await ask(socket, action="unsubscribe", symbol="INFY", exchange="NSE")
    assert [entry["mode"] for entry in answer["successful"]] == [1]
    edge.link.tick("p1", INFY)
    assert (await ask(socket, action="ping"))["type"] == "pong"
    assert edge.link.held == {}
    await socket.close()


async def test_unknown_and_known_symbols_in_one_request(edge: EdgeServer) -> None:
    edge.directory.suggestions["INFI"] = ["INFY"]
    edge.link.refuse(InstrumentKey("NSE", "INFI"), RefusalCode.SYMBOL_NOT_FOUND, "Unknown.")
    edge.link.refuse(TCS, RefusalCode.MAX_CAPACITY_REACHED, "Full.", {"used": 9000})
    socket = await edge.client()
    symbols = [{"symbol": name, "exchange": "NSE"} for name in ("INFI", "TCS", "INFY")]
    answer = await ask(socket, action="subscribe", symbols=symbols, mode=2)
    assert answer["status"] == "partial"
    assert [entry.get("code") for entry in answer["subscriptions"]] == [
        "SYMBOL_NOT_FOUND",
        "MAX_CAPACITY_REACHED",
        None,
    ]
    assert answer["subscriptions"][0]["suggestions"] == ["INFY"]
    assert answer["subscriptions"][1]["details"] == {"used": 9000}
    edge.link.tick("p1", INFY)
    assert (await read(socket))["symbol"] == "INFY"
    await socket.close()


async def test_a_gone_client_gives_up_what_it_held(edge: EdgeServer) -> None:
    socket = await edge.client()
    await ask(socket, action="subscribe", symbol="INFY", exchange="NSE")
    assert edge.link.held
    socket.transport.abort()
    await eventually(lambda: edge.link.held == {})


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "INVALID_JSON"),
        ("[]", "INVALID_JSON"),
        (b"\x00\x01", "INVALID_JSON"),
        (b'{"action":"ping"}', "INVALID_JSON"),
        ("[" * 100_000, "INVALID_JSON"),
        ('{"a":' * 100_000, "INVALID_JSON"),
        ('{"action":"fly"}', "INVALID_ACTION"),
        ('{"action":5}', "INVALID_ACTION"),
        ('{"action":"subscribe"}', "INVALID_PARAMETERS"),
        ('{"action":"subscribe","symbols":7}', "INVALID_PARAMETERS"),
        ('{"action":"subscribe","symbol":"A","exchange":"NSE","mode":9}', "INVALID_MODE"),
        ('{"action":"unsubscribe","symbol":"A","exchange":"NSE"}', "NOT_SUBSCRIBED"),
        ('{"action":"ping","request_id":[1]}', "INVALID_PARAMETERS"),
    ],
)
async def test_bad_input_is_a_coded_error_and_the_socket_stays(
    edge: EdgeServer, frame: str | bytes, code: str
) -> None:
    socket = await edge.client()
    await socket.send(frame)
    reply = await read(socket)
    assert (reply["status"], reply["code"]) == ("error", code)
    assert "Traceback" not in json.dumps(reply)
    assert (await ask(socket, action="ping"))["type"] == "pong"
    await socket.close()


async def test_tolerated_words(edge: EdgeServer) -> None:
    socket = await edge.client()
    for frame in ("pong", '{"type":"pong"}'):
        await socket.send(frame)
    await socket.send("ping")
    assert (await read(socket))["type"] == "pong"
    pong = await ask(socket, type="ping", timestamp=5, _pingId="x")
    assert (pong["client_timestamp"], pong["_pingId"]) == (5, "x")
    assert isinstance(pong["server_timestamp"], int)
    await socket.close()


async def test_a_replay_of_nine_thousand_symbols_fits_into_a_frame(edge: EdgeServer) -> None:
    socket = await edge.client(max_size=None)
    symbols = [{"symbol": f"SYMBOL{n:05}", "exchange": "NSE"} for n in range(9000)]
    answer = await ask(socket, action="subscribe", symbols=symbols, mode=3, depth=5)
    assert answer["status"] == "success"
    assert len(answer["subscriptions"]) == 9000
    await socket.close()


async def test_a_frame_over_a_mebibyte_is_too_big(edge: EdgeServer) -> None:
    socket, other = await edge.client(), await edge.client()
    await socket.send(json.dumps({"action": "ping", "x": "y" * (1024 * 1024)}))
    assert (await closing(socket))[0] == 1009
    assert (await ask(other, action="ping"))["type"] == "pong"
    await other.close()


async def test_too_many_requests_are_refused_then_closed(make_edge: MakeEdge) -> None:
    edge = await make_edge(
        messages_per_second=0.001, message_burst=3, messages_refused_before_close=3
    )
    socket = await edge.client()
    for _ in range(5):
        await socket.send('{"action":"ping"}')
    replies = [await read(socket) for _ in range(5)]
    assert [reply.get("code") for reply in replies] == [None, None, *["RATE_LIMITED"] * 3]
    assert (await closing(socket))[0] == 4429


async def test_so_many_requests_a_second_are_served(make_edge: MakeEdge) -> None:
    now = [1000.0]
    edge = await make_edge(clock=lambda: now[-1], messages_per_second=2.0, message_burst=3)
    socket = await edge.client()
    codes = [(await ask(socket, action="ping")).get("code") for _ in range(3)]
    now.append(1001.0)
    codes += [(await ask(socket, action="ping")).get("code") for _ in range(3)]
    # The first of the burst was the authentication.
    assert codes == [None, None, "RATE_LIMITED", None, None, "RATE_LIMITED"]
    await socket.close()


async def test_a_failure_of_the_link_is_a_coded_error(
    edge: EdgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: object) -> None:
        raise RuntimeError("secret details")

    socket = await edge.client()
    monkeypatch.setattr(edge.link, "want", fail)
    reply = await ask(socket, action="subscribe", symbol="INFY", exchange="NSE")
    assert reply["code"] == "SERVER_ERROR"
    assert "secret" not in reply["message"]
    monkeypatch.undo()
    reply = await ask(socket, action="subscribe", symbol="INFY", exchange="NSE")
    assert reply["status"] == "success"
    await socket.close()


async def test_orders_and_ticks_stay_with_their_user(edge: EdgeServer) -> None:
    edge.directory.add_key("other", make_principal(2))
    mine, theirs = await edge.client(), await edge.client("other")
    for socket in (mine, theirs):
        await ask(socket, action="subscribe_orders")
        await ask(socket, action="subscribe", symbol="INFY", exchange="NSE", mode=1)
    edge.link.order("p1", {"order_id": "1"})
    edge.link.tick("p1", INFY)
    assert (await read(mine))["orderid"] == "1"
    assert (await read(mine))["type"] == "market_data"
    assert (await ask(theirs, action="ping"))["type"] == "pong"
    await mine.close()
    await theirs.close()


async def test_broker_info_names_limits_and_usage(edge: EdgeServer) -> None:
    socket = await edge.client()
    info = await ask(socket, action="get_broker_info")
    assert info["type"] == "broker_info"
    assert (info["broker"], info["adapter_status"], info["user_id"]) == (
        "zerodha",
        "connected",
        "user1",
    )
    assert info["client"]["subscriptions"] == 0
    await socket.close()


async def test_broker_info_counts_each_pool_of_the_user(make_edge: MakeEdge) -> None:
    """Each account that a worker answers for has its own limits and usage."""
    edge = await make_edge()
    first = edge.principal.accounts[0]
    other = msgspec.structs.replace(first, pool_id="p2", broker="binance", label="spot")
    edge.directory.add_key("two", msgspec.structs.replace(edge.principal, accounts=(first, other)))
    edge.link.pool_stats = {"p1": stats("p1"), "p2": stats("p2", "binance")}
    socket = await edge.client("two")
    info = await ask(socket, action="get_broker_info")
    assert [each["usage"]["used"] for each in info["accounts"]] == [2, 2]
    assert [each["limits"]["capacity"] for each in info["accounts"]] == [30, 30]
    assert info["usage"] == info["accounts"][0]["usage"]
    del edge.link.pool_stats["p1"]
    info = await ask(socket, action="get_broker_info")
    assert ["usage" in each for each in info["accounts"]] == [False, True]
    assert "usage" not in info
    await socket.close()


async def test_two_accounts_at_one_broker_are_told_apart(make_edge: MakeEdge) -> None:
    """Every entry and every word on a feed names its pool: the user's own, and no label."""
    edge = await make_edge()
    first, second = (
        msgspec.structs.replace(
            edge.principal.accounts[0],
            pool_id=pool,
            label=f"of {pool}",
            exchanges=frozenset({name}),
        )
        for pool, name in (("p1", "NSE"), ("p2", "BSE"))
    )
    edge.directory.add_key("two", msgspec.structs.replace(edge.principal, accounts=(first, second)))
    edge.directory.add_key("other", make_principal(3))
    socket, other = await edge.client("two"), await edge.client("other")
    await ask(other, action="subscribe_status")
    await ask(socket, action="subscribe_status")
    assert [(await read(socket))["pool_id"] for _ in range(2)] == ["p1", "p2"]
    await read(other)
    symbols = [{"symbol": "INFY", "exchange": name} for name in ("NSE", "BSE")]
    for action, entries in (
        ("subscribe", "subscriptions"),
        ("list_subscriptions", "subscriptions"),
        ("get_broker_info", "accounts"),
        ("unsubscribe", "successful"),
    ):
        answer = await ask(socket, action=action, symbols=symbols)
        assert [each["pool_id"] for each in answer[entries]] == ["p1", "p2"], action
    edge.link.go_stale("p2")
    assert (await read(socket))["pool_id"] == "p2"
    assert (await ask(other, action="ping"))["type"] == "pong"
    await socket.close()
    await other.close()


async def test_a_client_that_stops_reading_is_closed_and_others_lose_nothing(
    make_edge: MakeEdge,
) -> None:
    clock = AgingClock()
    edge = await make_edge(stall_seconds=4.0, clock=clock)
    narrow = socket_module.socket()
    narrow.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", edge.openalgo_port))
    slow = await edge.client(sock=narrow, max_queue=1)
    healthy = await edge.client(max_queue=None)
    for socket in (slow, healthy):
        await ask(socket, action="subscribe", symbol="INFY", exchange="NSE", mode=3)
    hub = edge.gateway.current_hub
    assert hub is not None
    sent = 0
    slow_client, healthy_client = sorted(hub.clients, key=lambda client: int(client.id))
    while not slow_client.outbox.conflated:
        for _ in range(200):
            edge.link.tick("p1", INFY, FeedMode.DEPTH)
        sent += 200
        await eventually(lambda: not len(healthy_client.outbox))
        assert sent < 100_000
    for _ in range(sent):
        assert (await read(healthy))["type"] == "market_data"

    def is_closed() -> bool:
        clock.added_seconds += 1
        return hub.slow_clients_closed == 1

    await eventually(is_closed)
    assert (await closing(slow)) == (4408, "too slow")
    assert (await ask(healthy, action="ping"))["type"] == "pong"
    await healthy.close()


async def test_http_on_the_openalgo_port_says_what_it_is_for(edge: EdgeServer) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        reply = await http.get(f"http://127.0.0.1:{edge.openalgo_port}/")
        assert reply.status_code == 426
        assert "WebSocket" in reply.text
        reply = await http.get(f"http://127.0.0.1:{edge.port}/")
        assert (reply.status_code, reply.text) == (200, "site")
        assert "server" not in reply.headers
