"""Whether this gateway is alive and what it can reach, for supervisors and load balancers."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse

from brokers.feed import FeedStatus
from streaming.gateway import Gateway
from streaming.link import FeedOverview
from streaming.routing import GATEWAY_SCOPE_KEY

__all__ = ["livez", "readyz"]


async def livez(request: HttpRequest) -> JsonResponse:
    """Answer 200 whenever the event loop answers at all."""
    return JsonResponse({"status": "ok"})


async def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 with the state of things; 503 when the database does not answer.

    ``degraded``: a pool is not live or no worker is there; clients are served all the same.
    """
    database = await sync_to_async(_database_answers)()
    gateway: Gateway | None = getattr(request, "scope", {}).get(GATEWAY_SCOPE_KEY)
    hub = await gateway.open() if gateway is not None else None
    link = hub.link if hub is not None else None
    pools: dict[str, FeedStatus] = dict(link.pools()) if isinstance(link, FeedOverview) else {}
    workers = link.workers() if isinstance(link, FeedOverview) else 0
    live = sum(status is FeedStatus.LIVE for status in pools.values())
    status = "ok" if workers and live == len(pools) else "degraded"
    return JsonResponse(
        {
            "status": status if database else "unavailable",
            "database": database,
            "workers": workers,
            "pools": {"live": live, "total": len(pools)},
            "clients": len(hub.clients) if hub is not None else 0,
        },
        status=200 if database else 503,
    )


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True
