"""What supervisors are told."""

from __future__ import annotations

import httpx2
import pytest
from django.core.asgi import get_asgi_application

from tests.integration.edge.conftest import EdgeServer, MakeEdge, ask

pytestmark = pytest.mark.django_db(transaction=True)


async def health(edge: EdgeServer, path: str) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        return await http.get(f"http://127.0.0.1:{edge.port}{path}")


async def test_ready_counts_workers_pools_and_clients(make_edge: MakeEdge) -> None:
    edge = await make_edge(http=get_asgi_application())
    assert (await health(edge, "/livez")).json() == {"status": "ok"}
    socket = await edge.client()
    await ask(socket, action="subscribe", symbol="INFY", exchange="NSE")
    reply = await health(edge, "/readyz")
    assert reply.status_code == 200
    assert reply.json() == {
        "status": "ok",
        "database": True,
        "workers": 1,
        "degraded": [],
        "pools": {"live": 1, "total": 1},
        "clients": 1,
    }
    edge.link.go_stale("p1")
    reply = await health(edge, "/readyz")
    assert reply.status_code == 200
    assert (reply.json()["status"], reply.json()["pools"]) == ("degraded", {"live": 0, "total": 1})
    assert reply.json()["degraded"] == ["1 of 1 pools: stale"]
    edge.link.go_live("p1")
    edge.link.short_of_room["p1"] = 6
    reply = await health(edge, "/readyz")
    assert (reply.status_code, reply.json()["status"]) == (200, "degraded")
    assert reply.json()["degraded"] == ["6 symbols of 1 of 1 pools: waiting for room"]
    await socket.close()
