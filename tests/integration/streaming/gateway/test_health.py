"""What supervisors are told."""

from __future__ import annotations

import httpx2
import pytest
from django.core.asgi import get_asgi_application

from brokers.pool_service import FeedStatus
from openalgo_site.web.metrics import pool_word
from pooling.feed_health import IDLE_REASON, PAUSED_REASON
from streaming.gateway.database_probe import DatabaseProbe
from streaming.ports.link import PoolTold
from streaming.wire.versions import PROTOCOL_VERSION, UNTOLD, version_trouble
from tests.integration.streaming.edge_kit import EdgeServer, MakeEdge, ask

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
        "bus_version": PROTOCOL_VERSION,
        "degraded": [],
        "accounts": None,
        "pools": {"live": 1, "total": 1},
        "clients": 1,
    }
    edge.link.go_stale("p1")
    reply = await health(edge, "/readyz")
    assert reply.status_code == 200
    assert (reply.json()["status"], reply.json()["pools"]) == (
        "degraded",
        {"live": 0, "stale": 1, "total": 1},
    )
    assert reply.json()["degraded"] == ["1 of 1 pool: stale"]
    edge.link.go_live("p1")
    edge.link.short_of_room["p1"] = 6
    reply = await health(edge, "/readyz")
    assert (reply.status_code, reply.json()["status"]) == (200, "degraded")
    assert reply.json()["degraded"] == ["6 symbols of 1 of 1 pool: waiting for room"]
    await socket.close()


async def test_a_worker_of_another_version_degrades_with_the_sentence(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = await make_edge(http=get_asgi_application())
    words = version_trouble(worker=UNTOLD, gateway=PROTOCOL_VERSION)
    monkeypatch.setattr(edge.link, "version_troubles", lambda: [words], raising=False)
    reply = (await health(edge, "/readyz")).json()
    assert (reply["status"], reply["degraded"]) == ("degraded", [words])


async def test_ready_speaks_of_pools_by_the_words_of_their_states(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One without a login degrades, whether or not anybody subscribes; ready ones do not."""
    edge = await make_edge(http=get_asgi_application())
    edge.gateway.pool_word = pool_word
    pools = {
        "1": PoolTold(FeedStatus.LIVE),
        "2": PoolTold(FeedStatus.LIVE, IDLE_REASON),
        "3": PoolTold(FeedStatus.CLOSED, PAUSED_REASON),
    }
    monkeypatch.setattr(edge.link, "pools", lambda: pools)
    reply = (await health(edge, "/readyz")).json()
    assert (reply["status"], reply["degraded"]) == ("ok", [])
    assert reply["pools"] == {"live": 1, "idle": 1, "paused": 1, "total": 3}
    pools["2"] = PoolTold(FeedStatus.AUTH_REQUIRED, "no credential is stored")
    pools["3"] = PoolTold(FeedStatus.LIVE, "", 6)
    reply = (await health(edge, "/readyz")).json()
    assert reply["degraded"] == [
        "1 of 3 pools: login needed",
        "6 symbols of 1 of 3 pools: waiting for room",
    ]
    assert reply["pools"] == {"live": 1, "login needed": 1, "waiting for room": 1, "total": 3}


async def test_ready_counts_accounts_that_no_worker_serves(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the worker announces and what the database has enabled are told apart."""
    edge = await make_edge(http=get_asgi_application())
    edge.gateway.database = DatabaseProbe(lambda: 3)
    monkeypatch.setattr(edge.link, "pools", lambda: {"p1": PoolTold(FeedStatus.LIVE)})
    reply = await health(edge, "/readyz")
    assert (reply.status_code, reply.json()["status"]) == (200, "degraded")
    assert reply.json()["accounts"] == 3
    assert reply.json()["pools"]["total"] == 3
    assert "2 of 3 enabled accounts: no worker" in reply.json()["degraded"]


async def test_without_a_worker_ready_says_what_that_costs_and_what_mends_it(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = await make_edge(http=get_asgi_application())
    edge.gateway.database = DatabaseProbe(lambda: 1)
    monkeypatch.setattr(edge.link, "workers", lambda: 0)
    monkeypatch.setattr(edge.link, "pools", dict)
    reply = (await health(edge, "/readyz")).json()
    assert (reply["status"], reply["pools"]) == ("degraded", {"live": 0, "total": 1})
    assert reply["degraded"] == [
        "no worker answers, so there are no prices: start `python manage.py runpool`"
    ]
