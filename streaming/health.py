"""Whether this gateway is alive and what it can reach, for supervisors and load balancers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import Error, close_old_connections
from django.http import HttpRequest, JsonResponse

from brokers.feed import WAITING_FOR_ROOM, FeedStatus
from streaming.gateway import Gateway
from streaming.link import FeedOverview
from streaming.models import ApiKey
from streaming.notices import NoticeState
from streaming.routing import GATEWAY_SCOPE_KEY

__all__ = ["DatabaseProbe", "livez", "readyz"]

PROBE_SECONDS = 1.5


async def livez(request: HttpRequest) -> JsonResponse:
    """Answer 200 whenever the event loop answers at all."""
    return JsonResponse({"status": "ok"})


async def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 with the state of things; 503 when the database does not answer.

    ``degraded``: a pool is not live, no worker is there, or the channel layer is away; clients are
    served all the same, so a load balancer must not take the gateway out. The list of the same name
    says what it is.
    """
    database = await _PROBE.answers()
    gateway: Gateway | None = getattr(request, "scope", {}).get(GATEWAY_SCOPE_KEY)
    hub = await gateway.open() if gateway is not None else None
    link = hub.link if hub is not None else None
    pools: dict[str, FeedStatus] = dict(link.pools()) if isinstance(link, FeedOverview) else {}
    workers = link.workers() if isinstance(link, FeedOverview) else 0
    live = sum(status is FeedStatus.LIVE for status in pools.values())
    degraded = _degraded(workers, pools.values())
    if isinstance(link, FeedOverview):
        degraded += _short_of_room(link.waiting())
    if gateway is not None and gateway.notices is not None:
        degraded += _late(gateway.notices.state, gateway.limits.revalidate_seconds)
    status = "degraded" if degraded else "ok"
    answer = JsonResponse(
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
    answer._has_been_logged = True  # type: ignore[attr-defined]  # a probe comes every few seconds
    return answer


def _degraded(workers: int, pools: Collection[FeedStatus]) -> list[str]:
    """Return what is not as it should be, in words that name nobody: anyone may read them."""
    found = [] if workers else ["no worker answers"]
    states = Counter(status for status in pools if status is not FeedStatus.LIVE)
    return found + [
        f"{states[each]} of {len(pools)} pools: {each.value}" for each in sorted(states)
    ]


def _short_of_room(waiting: Mapping[str, int]) -> list[str]:
    pools = sum(count > 0 for count in waiting.values())
    symbols = sum(waiting.values())
    text = f"{symbols} symbols of {pools} of {len(waiting)} pools: {WAITING_FOR_ROOM}"
    return [text] if symbols else []


class DatabaseProbe:
    """Looks whether a table can be read: one look at a time, and nobody waits for it for long.

    A database that hangs keeps a look for as long as it hangs; until then the answer is no.

    Args:
        look: blocking; raises what the database raises.
    """

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database probe")
        # The look under way, or the last one.
        self._looking: Future[bool] | None = None

    async def answers(self) -> bool:
        """Tell whether the database answers within two seconds."""
        if self._looking is None or self._looking.done():
            self._looking = self._executor.submit(self._try)
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await asyncio.shield(asyncio.wrap_future(self._looking))
        except TimeoutError:
            return False

    def _try(self) -> bool:
        try:
            self._look()
        except Error:
            return False
        finally:
            close_old_connections()
        return True


_PROBE = DatabaseProbe(lambda: ApiKey.objects.exists())


def _late(notices: NoticeState, look_seconds: float) -> list[str]:
    if notices is not NoticeState.AWAY:
        return []
    return [
        "the channel layer (Redis) does not answer: revoked keys, ended sessions and changed "
        f"accounts are noticed within {look_seconds:g} s instead of at once"
    ]
