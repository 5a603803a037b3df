"""What keys of a narrower scope are told, and when a key's end comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from typing import Any

import msgspec
import pytest

from streaming.scopes import READING, Scope
from streaming.testing.edge import make_principal
from tests.integration.streaming.edge_kit import EdgeServer, MakeEdge, ask, closing, read
from tests.support import eventually

TICKS, STATUS = frozenset({Scope.READ_TICKS}), frozenset({Scope.READ_STATUS})
ITEM = {"symbol": "INFY", "exchange": "NSE"}
# Which scopes an action is for; ``get_supported_brokers``, ``ping`` and ``pong`` are for anybody.
ACTIONS = {
    "subscribe": TICKS,
    "unsubscribe": TICKS,
    "unsubscribe_all": TICKS,
    "list_subscriptions": TICKS,
    "subscribe_orders": TICKS,
    "unsubscribe_orders": TICKS,
    "subscribe_status": READING,
    "unsubscribe_status": READING,
    "subscribe_pool_status": STATUS,
    "unsubscribe_pool_status": STATUS,
    "get_broker_info": STATUS,
}


def issue(
    edge: EdgeServer, key: str, scope: Collection[Scope] = READING, ends_ms: int | None = None
) -> None:
    principal = make_principal(2)
    edge.directory.add_key(
        key, msgspec.structs.replace(principal, scope=frozenset(scope), ends_ms=ends_ms)
    )


async def answer_to(socket: Any, action: str) -> dict[str, Any]:
    """Return the answer to a request, whatever is told between."""
    await socket.send(json.dumps({"action": action, **ITEM, "request_id": action}))
    while (told := await read(socket)).get("request_id") != action:
        pass
    return told


@pytest.mark.parametrize("scope", [TICKS, STATUS, READING])
async def test_every_action_is_for_keys_of_its_scope(
    edge: EdgeServer, scope: frozenset[Scope]
) -> None:
    issue(edge, "narrow", scope)
    socket = await edge.client("narrow")
    for action, needed in ACTIONS.items():
        told = await answer_to(socket, action)
        is_refused = told.get("code") == "FORBIDDEN"
        assert is_refused == (not needed & scope), told
        if is_refused:
            assert told["message"].startswith("This API key may read ")
    assert (await ask(socket, action="ping"))["type"] == "pong"
    assert bool(edge.link.calls) == (Scope.READ_TICKS in scope)
    await socket.close()


async def test_a_session_may_do_everything(edge: EdgeServer) -> None:
    assert make_principal(1, session_key="s").scope == frozenset(Scope)


async def test_a_key_that_may_read_nothing_has_no_business_here(edge: EdgeServer) -> None:
    issue(edge, "writes", {Scope.SET_CREDENTIALS})
    socket = await edge.connect()
    reply = await ask(socket, action="authenticate", api_key="writes")
    assert (reply["status"], reply["code"]) == ("error", "FORBIDDEN")
    assert reply["message"].startswith("This API key may set credentials, not read ticks:")
    assert await closing(socket) == (4403, "API key may not read")


async def test_an_ended_key_is_told_so_however_often_it_comes(edge: EdgeServer) -> None:
    issue(edge, "old")
    edge.directory.end_key("old")
    for _ in range(edge.gateway.limits.auth_failures_per_minute + 2):
        socket = await edge.connect()
        reply = await ask(socket, action="authenticate", api_key="old")
        assert reply["code"] == "AUTHENTICATION_ERROR"
        assert reply["message"] == "This API key ended at noon; have a new one made."
        assert await closing(socket) == (4401, "API key ended")
    gate = edge.gateway.gate
    assert (gate.refused, gate.limited, gate.ended) == (0, 0, 7)


async def test_the_end_closes_a_keys_sockets_also_while_the_directory_is_away(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge(revalidate_seconds=0.05)
    hub = edge.gateway.current_hub
    assert hub is not None
    end_ms = hub.wall_clock_ms() + 3_600_000
    issue(edge, "old", ends_ms=end_ms)
    issue(edge, "good", ends_ms=end_ms + 1)
    old, good = await edge.client("old"), await edge.client("good")
    looks = edge.directory.refreshes
    await eventually(lambda: edge.directory.refreshes > looks)
    assert (await ask(old, action="ping"))["type"] == "pong"
    edge.directory.fail()
    hub.wall_clock_ms = lambda: end_ms
    assert await closing(old) == (4401, "API key ended")
    assert (await ask(good, action="ping"))["type"] == "pong"
    await good.close()


async def test_an_end_that_comes_while_the_directory_is_asked_is_called_one(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge(revalidate_seconds=0.05)
    hub, directory = edge.gateway.current_hub, edge.directory
    assert hub is not None
    end_ms = hub.wall_clock_ms() + 3_600_000
    issue(edge, "old", ends_ms=end_ms)
    socket = await edge.client("old")
    looks = directory.refreshes
    # The clock reaches the end within the look that finds the key ended, and not before.
    hub.wall_clock_ms = lambda: end_ms if directory.refreshes > looks else end_ms - 1
    directory.end_key("old")
    assert await closing(socket) == (4401, "API key ended")


async def test_a_key_whose_scope_changed_connects_anew(make_edge: MakeEdge) -> None:
    """What it holds could be more than it may hold now."""
    edge = await make_edge(revalidate_seconds=0.05)
    issue(edge, "narrowed", READING)
    socket = await edge.client("narrowed")
    await answer_to(socket, "subscribe")
    known = edge.directory.keys["narrowed"]
    edge.directory.change(msgspec.structs.replace(known, scope=STATUS))
    assert await closing(socket) == (4401, "API key changed")
    await eventually(lambda: not any(edge.link.held.values()))


async def test_what_is_sent_at_once_with_a_wrong_scope_is_answered_in_order(
    edge: EdgeServer,
) -> None:
    issue(edge, "status", STATUS)
    socket = await edge.client("status")
    async with asyncio.timeout(30):
        for action in ("subscribe", "get_broker_info"):
            await socket.send(json.dumps({"action": action, **ITEM, "request_id": action}))
        told = [(await read(socket)) for _ in range(2)]
    assert [each["request_id"] for each in told] == ["subscribe", "get_broker_info"]
    assert told[0]["code"] == "FORBIDDEN"
    await socket.close()
