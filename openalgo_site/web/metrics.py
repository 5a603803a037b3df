"""``/metrics`` for Prometheus, with a key of its own, and for staff to look at."""

from __future__ import annotations

import os

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from brokers.pool_service import PoolStats
from openalgo_site.config.metrics_key import REFUSAL, shows_metrics_key
from openalgo_site.processes.gateways import ENV_SIBLINGS
from openalgo_site.processes.siblings import Siblings
from openalgo_site.web import api_access
from pooling.operations.pool_state import state_of_feed
from streaming.fanout.hub import GatewayHub
from streaming.gateway.gateway import Gateway
from streaming.gateway.metrics import (
    exposition,
    gateway_metrics,
    merged,
    parsed,
    pool_metrics,
    pool_stats,
    publisher_metrics,
)
from streaming.gateway.routing import GATEWAY_SCOPE_KEY
from streaming.ports.link import PoolTold, PoolWord

__all__ = ["SIBLINGS", "answer_siblings", "metrics", "pool_word", "state_label"]

SIBLINGS = Siblings.from_text(os.environ.get(ENV_SIBLINGS, ""))


async def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with the metrics of all processes of this gateway and of the pools.

    For whoever shows the key of the metrics, and for logged-in staff. Where a request comes from
    counts for nothing: behind a proxy on this machine everybody comes from it.
    """
    if request.method not in ("GET", "HEAD"):
        return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
    if not shows_metrics_key(request) and not await sync_to_async(_is_staff)(request):
        return HttpResponse(
            f"{REFUSAL}\n",
            status=401,
            content_type="text/plain",
            headers={"WWW-Authenticate": 'Bearer realm="metrics"', "Cache-Control": "no-store"},
        )
    gateway: Gateway | None = getattr(request, "scope", {}).get(GATEWAY_SCOPE_KEY)
    if gateway is None:
        return HttpResponse("No gateway runs here.\n", status=503)
    hub = await gateway.open()
    others = [parsed(text) for text in await SIBLINGS.ask()]
    own = _own(gateway, hub)
    processes = GaugeMetricFamily(
        "tickpool_gateway_processes", "Gateway processes that answered this scrape."
    )
    processes.add_metric([], 1 + len(others))
    known = [processes, *await _accounts(gateway)]
    workers = publisher_metrics(hub.link) + pool_metrics(await pool_stats(hub.link), state_label)
    return HttpResponse(
        exposition(merged([own, *others, known, workers])),
        content_type=CONTENT_TYPE_LATEST,
        headers={"Cache-Control": "no-store"},
    )


async def _accounts(gateway: Gateway) -> list[Metric]:
    """Return the number of enabled accounts; nothing while the database does not say it."""
    accounts = (await gateway.database.look()).accounts if gateway.database is not None else None
    if accounts is None:
        return []
    return [GaugeMetricFamily("tickpool_accounts", "Enabled broker accounts.", value=accounts)]


def answer_siblings(gateway: Gateway) -> None:
    """Let the other processes of this gateway read this one's metrics; needs an open gateway."""

    def own() -> bytes:
        hub = gateway.current_hub
        return exposition(_own(gateway, hub)) if hub else b""

    SIBLINGS.open(own)


def _own(gateway: Gateway, hub: GatewayHub) -> list[Metric]:
    """Return what this process counts: the gateway, and the API beside it."""
    process = str(SIBLINGS.number)
    refused = CounterMetricFamily(
        "tickpool_requests_refused",
        "Requests of the JSON API refused, by what of the user's was used up.",
        labels=["gateway", "reason"],
    )
    for reason, count in api_access.API_SHARES.refused.items():
        refused.add_metric([process, reason], count)
    return merged([gateway_metrics(gateway, hub, process), [refused]])


def state_label(stats: PoolStats) -> str:
    """Return the word of a pool's state, whose worker told these statistics."""
    return state_of_feed(stats.status.value, stats.reason, stats.waiting).value


def pool_word(told: PoolTold) -> PoolWord:
    """Return how a pool is called of which a worker told that."""
    state = state_of_feed(told.status.value, told.reason, told.waiting)
    return PoolWord(state.value, state.needs_somebody)


def _is_staff(request: HttpRequest) -> bool:
    return request.user.is_active and request.user.is_staff
