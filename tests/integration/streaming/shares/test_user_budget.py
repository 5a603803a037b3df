"""What one user may take, by all connections together, and that real clients never meet it."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from brokers.pool_service import RefusalCode
from brokers.types import InstrumentKey
from streaming.gateway.metrics import exposition, gateway_metrics
from streaming.testing.edge import make_principal
from tests.integration.streaming.edge_kit import EdgeServer, MakeEdge, ask, closing, read
from tests.support import eventually

HUNDRED = [{"symbol": f"S{n:03}", "exchange": "NSE"} for n in range(100)]


async def two_users(edge: EdgeServer) -> tuple[Any, Any, Any]:
    """Connect one user twice, with two keys, and another one."""
    edge.directory.add_key("second", make_principal(1, key_id=2))
    edge.directory.add_key("other", make_principal(2))
    return await edge.client(), await edge.client("second"), await edge.client("other")


def refused(edge: EdgeServer) -> dict[str, int]:
    """Return what the metrics say of refusals, without what was not."""
    hub = edge.gateway.current_hub
    assert hub is not None
    text = exposition(gateway_metrics(edge.gateway, hub, "1")).decode()
    name = "tickpool_requests_refused_total"
    found = re.findall(rf'^{name}{{gateway="1",reason="(\w+)"}} (\d+)', text, re.M)
    return {reason: int(count) for reason, count in found if count != "0"}


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "items": (
        {"user_items_per_second": 0.01, "user_item_burst": 100},
        {"action": "subscribe", "symbols": HUNDRED},
        {"action": "unsubscribe", "symbols": HUNDRED[:1]},
    ),
    "bytes": (
        {"user_bytes_per_second": 0.01, "user_byte_burst": 9000},
        {"action": "subscribe", "symbols": HUNDRED},
        {"action": "ping"},
    ),
    "queries": (
        {"user_queries_per_second": 0.01, "user_query_burst": 1},
        {"action": "get_broker_info"},
        {"action": "get_broker_info"},
    ),
}


@pytest.mark.parametrize("reason", CASES)
async def test_a_user_s_connections_share_a_budget(make_edge: MakeEdge, reason: str) -> None:
    """The second key is refused for what the first one used; another user is served."""
    limits, dear, cheap = CASES[reason]
    edge = await make_edge(**limits)
    first, second, other = await two_users(edge)
    answer = await ask(first, **dear, request_id="a")
    assert answer["status"] == "success"
    refusal = await ask(second, **cheap, request_id="b")
    assert (refusal["status"], refusal["code"]) == ("error", "RATE_LIMITED")
    assert refusal["request_id"] == "b"
    assert refusal["retry_after"] >= 1
    assert f"wait {refusal['retry_after']} s" in refusal["message"]
    assert (await ask(other, **dear))["status"] == "success"
    assert refused(edge) == {reason: 1}
    for socket in (first, second, other):
        await socket.close()


async def test_what_is_short_is_looked_up_no_more_and_answered_all_the_same(
    make_edge: MakeEdge,
) -> None:
    """Suggestions are a courtesy: without a budget for them the answer comes without."""
    edge = await make_edge(user_queries_per_second=0.01, user_query_burst=1)
    edge.link.refuse(InstrumentKey("NSE", "INFI"), RefusalCode.SYMBOL_NOT_FOUND)
    edge.directory.suggestions["INFI"] = ["INFY"]
    socket = await edge.client()
    wanted = {"symbol": "INFI", "exchange": "NSE"}
    answers = [await ask(socket, action="subscribe", symbols=[wanted]) for _ in range(2)]
    entries = [answer["subscriptions"][0] for answer in answers]
    assert [entry["code"] for entry in entries] == ["SYMBOL_NOT_FOUND"] * 2
    assert [entry.get("suggestions") for entry in entries] == [["INFY"], None]
    assert refused(edge) == {}
    await socket.close()


async def test_a_user_has_so_many_connections(make_edge: MakeEdge) -> None:
    edge = await make_edge(max_clients_per_user=2, auth_failure_close_seconds=0.0)
    first, second, other = await two_users(edge)
    third = await edge.connect()
    answer = await ask(third, action="authenticate", api_key="second")
    assert (answer["type"], answer["code"]) == ("auth", "RATE_LIMITED")
    assert "2 connections" in answer["message"]
    code, reason = await closing(third)
    assert code == 4429
    assert "close one" in (reason or "")
    assert refused(edge) == {"sockets": 1}
    await first.close()
    hub = edge.gateway.current_hub
    assert hub is not None
    await eventually(lambda: len(hub.clients) == 2)
    fourth = await edge.client()
    assert (await ask(fourth, action="ping"))["type"] == "pong"
    for socket in (second, other, fourth):
        await socket.close()


async def test_a_user_holds_so_many_instruments(make_edge: MakeEdge) -> None:
    """At all connections together, be they asked for at the same time."""
    edge = await make_edge(max_instruments_per_user=150)
    first, second, other = await two_users(edge)
    asked = {"action": "subscribe", "symbols": HUNDRED}
    answers = await asyncio.gather(*(ask(each, **asked) for each in (first, second, other)))
    granted = [
        sum(entry["status"] == "success" for entry in answer["subscriptions"]) for answer in answers
    ]
    assert (sum(granted[:2]), granted[2]) == (150, 100)
    entries = [entry for answer in answers for entry in answer["subscriptions"]]
    late = [entry for entry in entries if entry["status"] == "error"]
    assert {entry["code"] for entry in late} == {"SUBSCRIPTION_LIMIT"}
    assert "unsubscribe" in late[0]["message"]
    assert refused(edge) == {"instruments": 50}
    # What is held already is asked for again without more room, and what is left makes some.
    again = await ask(first, action="subscribe", symbols=HUNDRED[:20], mode=3)
    assert again["status"] == "success"
    await ask(first, action="unsubscribe_all")
    assert (await ask(second, **asked))["status"] == "success"
    for socket in (first, second, other):
        await socket.close()


async def test_refusals_without_end_close_the_client(make_edge: MakeEdge) -> None:
    edge = await make_edge(
        user_items_per_second=0.01, user_item_burst=1, messages_refused_before_close=3
    )
    socket = await edge.client()
    wanted = json.dumps({"action": "subscribe", "symbol": "INFY", "exchange": "NSE"})
    for _ in range(4):
        await socket.send(wanted)
    codes = [(await read(socket)).get("code") for _ in range(4)]
    assert codes == [None, *["RATE_LIMITED"] * 3]
    assert (await closing(socket))[0] == 4429


async def test_clients_as_they_are_meet_none_of_it(edge: EdgeServer) -> None:
    """One user at once: two programs with 9,000 symbols each, a spreadsheet, ten tabs."""
    many = [{"symbol": f"S{n:05}", "exchange": "NSE"} for n in range(9000)]
    cells = [json.dumps({"action": "subscribe", **each, "mode": 1}) for each in many[:2000]]
    everything = json.dumps({"action": "subscribe", "symbols": many, "mode": 2})
    page = json.dumps({"action": "subscribe", "symbols": many[:500], "mode": 3})

    async def client(frames: list[str]) -> None:
        socket = await edge.client(max_size=None)
        for frame in frames:
            await socket.send(frame)
        for _ in frames:
            assert (await read(socket))["status"] == "success"
        await socket.close()

    await asyncio.gather(
        *(client([everything]) for _ in range(2)),
        client(cells),
        *(client([page, page]) for _ in range(10)),
    )
    assert refused(edge) == {}
