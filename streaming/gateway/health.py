"""Health of this gateway and what it can reach, for supervisors and load balancers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from django.http import HttpRequest, JsonResponse

from brokers.pool_service import WAITING_FOR_ROOM
from brokers.words import counted
from streaming.gateway.database_probe import DatabaseProbe
from streaming.gateway.gateway import Gateway
from streaming.gateway.notices import NoticeState
from streaming.gateway.routing import GATEWAY_SCOPE_KEY
from streaming.models import ApiKey
from streaming.ports.link import BusVersions, FeedOverview, PoolTold, PoolWord, word_of_status
from streaming.wire.versions import PROTOCOL_VERSION

__all__ = ["livez", "readyz"]


async def livez(request: HttpRequest) -> JsonResponse:
    """Answer 200 whenever the event loop answers at all."""
    return JsonResponse({"status": "ok"})


async def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 with the state of things; 503 when the database does not answer.

    ``degraded``: a pool needs somebody, a login for instance, an enabled account has no worker, a
    worker is of another version, or the channel layer is away; clients are served all the same, so
    a load balancer must not take the gateway out. The list of the same name says what it is.
    ``pools`` counts them by the words of their states. ``accounts`` are the
    enabled ones, null while the database does not say.
    """
    gateway: Gateway | None = getattr(request, "scope", {}).get(GATEWAY_SCOPE_KEY)
    probe = (gateway and gateway.database) or _PROBE
    database = await probe.look()
    hub = await gateway.open() if gateway is not None else None
    link = hub.link if hub is not None else None
    pools: list[PoolTold] = [*link.pools().values()] if isinstance(link, FeedOverview) else []
    word_of = gateway.pool_word if gateway is not None else word_of_status
    words = [word_of(each) for each in pools]
    workers = link.workers() if isinstance(link, FeedOverview) else 0
    degraded = _degraded(workers, words, database.accounts) + _short_of_room(pools)
    total = max(len(pools), database.accounts or 0)
    if isinstance(link, BusVersions):
        degraded += link.version_troubles()
    if gateway is not None and gateway.notices is not None:
        degraded += _late(gateway.notices.state, gateway.limits.revalidate_seconds)
    status = "degraded" if degraded else "ok"
    answer = JsonResponse(
        {
            "status": "unavailable" if database.trouble else status,
            "database": not database.trouble,
            "workers": workers,
            "bus_version": PROTOCOL_VERSION,
            "degraded": [*degraded, database.trouble] if database.trouble else degraded,
            "accounts": database.accounts,
            "pools": {"live": 0, **Counter(each.word for each in words), "total": total},
            "clients": len(hub.clients) if hub is not None else 0,
        },
        status=503 if database.trouble else 200,
    )
    answer._has_been_logged = True  # type: ignore[attr-defined]  # a probe comes every few seconds
    return answer


def _degraded(workers: int, pools: Collection[PoolWord], accounts: int | None = None) -> list[str]:
    """Return what is not as it should be, in words that name nobody: anyone may read them."""
    found = []
    if not workers:
        found = ["no worker answers, so there are no prices: start `python manage.py runpool`"]
    elif accounts is not None and accounts > len(pools):
        found = [f"{accounts - len(pools)} of {counted(accounts, 'enabled account')}: no worker"]
    states = Counter(word for word, needs_somebody in pools if needs_somebody)
    del states[WAITING_FOR_ROOM]  # told with the number of symbols
    return found + [
        f"{states[each]} of {counted(len(pools), 'pool')}: {each}" for each in sorted(states)
    ]


def _short_of_room(told: Collection[PoolTold]) -> list[str]:
    pools = sum(each.waiting > 0 for each in told)
    symbols = sum(each.waiting for each in told)
    where = f"{pools} of {counted(len(told), 'pool')}"
    text = f"{counted(symbols, 'symbol')} of {where}: {WAITING_FOR_ROOM}"
    return [text] if symbols else []


def _read() -> None:
    ApiKey.objects.exists()


_PROBE = DatabaseProbe(_read)


def _late(notices: NoticeState, look_seconds: float) -> list[str]:
    if notices is not NoticeState.AWAY:
        return []
    return [
        "the channel layer (Redis) does not answer: revoked keys, ended sessions and changed "
        f"accounts are noticed within {look_seconds:g} s instead of at once"
    ]
