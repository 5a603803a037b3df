"""Whether this gateway is alive and what it can reach, for supervisors and load balancers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse

from brokers.feed import FeedStatus
from streaming.gateway import Gateway
from streaming.link import FeedOverview
from streaming.notices import NoticeState
from streaming.routing import GATEWAY_SCOPE_KEY

__all__ = ["livez", "readyz"]


async def livez(request: HttpRequest) -> JsonResponse:
    """Answer 200 whenever the event loop answers at all."""
    return JsonResponse({"status": "ok"})


async def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 with the state of things; 503 when the database does not answer.

    ``degraded``: a pool is not live, no worker is there, or the channel layer is away; clients are
    served all the same, so a load balancer must not take the gateway out. The list of the same name
    says what it is.
    """
    database = await sync_to_async(_database_answers)()
    gateway: Gateway | None = getattr(request, "scope", {}).get(GATEWAY_SCOPE_KEY)
    hub = await gateway.open() if gateway is not None else None
    link = hub.link if hub is not None else None
    pools: dict[str, FeedStatus] = dict(link.pools()) if isinstance(link, FeedOverview) else {}
    workers = link.workers() if isinstance(link, FeedOverview) else 0
    live = sum(status is FeedStatus.LIVE for status in pools.values())
    degraded = _degraded(workers, pools.values())
    if gateway is not None and gateway.notices is not None:
        degraded += _late(gateway.notices.state, gateway.limits.revalidate_seconds)
    status = "degraded" if degraded else "ok"
    return JsonResponse(
        {
            "status": status if database else "unavailable",
            "database": database,
            "workers": workers,
            "degraded": degraded if database else [*degraded, "the database does not answer"],
            "pools": {"live": live, "total": len(pools)},
            "clients": len(hub.clients) if hub is not None else 0,
        },
        status=200 if database else 503,
    )


def _degraded(workers: int, pools: Collection[FeedStatus]) -> list[str]:
    """Return what is not as it should be, in words that name nobody: anyone may read them."""
    found = [] if workers else ["no worker answers"]
    states = Counter(status for status in pools if status is not FeedStatus.LIVE)
    return found + [
        f"{states[each]} of {len(pools)} pools: {each.value}" for each in sorted(states)
    ]


def _late(notices: NoticeState, look_seconds: float) -> list[str]:
    if notices is not NoticeState.AWAY:
        return []
    return [
        "the channel layer (Redis) does not answer: revoked keys, ended sessions and changed "
        f"accounts are noticed within {look_seconds:g} s instead of at once"
    ]


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True
