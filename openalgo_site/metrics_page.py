"""``/metrics``: what Prometheus reads, for this machine and for people who may."""

from __future__ import annotations

import os

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import GaugeMetricFamily, Metric

from brokers.addresses import is_loopback
from openalgo_site.api_access import KEY_GATE, ApiError
from openalgo_site.gateway_processes import ENV_SIBLINGS
from openalgo_site.gateway_siblings import Siblings
from pooling.database import from_database
from streaming.gateway import Gateway
from streaming.metrics import (
    exposition,
    gateway_metrics,
    merged,
    parsed,
    pool_metrics,
    pool_stats,
    publisher_metrics,
)
from streaming.routing import GATEWAY_SCOPE_KEY

__all__ = ["SIBLINGS", "answer_siblings", "metrics"]

SIBLINGS = Siblings.from_text(os.environ.get(ENV_SIBLINGS, ""))
# A proxy on this machine makes everybody look local; each of these gives it away.
FORWARDING_HEADERS = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Forwarded", "Via")


async def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with the metrics of all processes of this gateway and of the pools.

    For requests from this machine, logged-in staff, and holders of an API key in ``X-API-KEY``.
    """
    if request.method not in ("GET", "HEAD"):
        return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
    try:
        allowed = await _may_read(request)
    except ApiError as error:
        return HttpResponse(error.message, status=error.status, headers=error.headers)
    if not allowed:
        return HttpResponse("Send an API key in the header X-API-KEY.\n", status=401)
    gateway: Gateway | None = getattr(request, "scope", {}).get(GATEWAY_SCOPE_KEY)
    if gateway is None:
        return HttpResponse("No gateway runs here.\n", status=503)
    hub = await gateway.open()
    others = [parsed(text) for text in await SIBLINGS.ask()]
    own = gateway_metrics(gateway, hub, str(SIBLINGS.number))
    processes = GaugeMetricFamily(
        "tickpool_gateway_processes", "Gateway processes that answered this scrape."
    )
    processes.add_metric([], 1 + len(others))
    known = [processes, *await _accounts(gateway)]
    workers = publisher_metrics(hub.link) + pool_metrics(await pool_stats(hub.link))
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
        return exposition(gateway_metrics(gateway, hub, str(SIBLINGS.number))) if hub else b""

    SIBLINGS.open(own)


async def _may_read(request: HttpRequest) -> bool:
    key = request.headers.get("X-API-KEY", "")
    address = request.META.get("REMOTE_ADDR", "")
    if key:
        await from_database(KEY_GATE.user_of, key, address)
        return True
    forwarded = any(name in request.headers for name in FORWARDING_HEADERS)
    if not forwarded and is_loopback(address):
        return True
    return await sync_to_async(_is_staff)(request)


def _is_staff(request: HttpRequest) -> bool:
    return request.user.is_active and request.user.is_staff
