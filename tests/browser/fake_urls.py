"""URLs of the stand-in site: the real pages, and the JSON that they read from memory."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path

from pooling.operations.pool_state import PoolState
from tests.browser.fake_market import INSTRUMENTS

STATE: dict[str, Any] = {"watchlists": {}, "made": 0, "fail": set(), "reason": ""}


def refuse(request: HttpRequest, name: str) -> HttpResponse | None:
    """Answer as a signed-out or failing server would."""
    if not request.user.is_authenticated:
        return JsonResponse({"status": "error", "code": "NOT_AUTHENTICATED"}, status=401)
    return HttpResponse(status=503) if name in STATE["fail"] else None


def instruments(request: HttpRequest) -> HttpResponse:
    if refused := refuse(request, "instruments"):
        return refused
    text, exchange = request.GET["q"].upper(), request.GET.get("exchange", "")
    found = [
        {name: value for name, value in item.items() if name != "price"}
        for item in INSTRUMENTS.values()
        if (text in item["symbol"] or text in item["name"])
        and (not exchange or item["exchange"] == exchange)
    ]
    if reason := STATE["reason"]:
        return JsonResponse({"results": [], "reason": reason})
    return JsonResponse({"results": found[: int(request.GET["limit"])]})


def preferences(request: HttpRequest) -> HttpResponse:
    if request.method == "PUT":
        STATE["preferred"] = json.loads(request.body)["preferred_exchange"]
    chosen = STATE.get("preferred", "")
    return JsonResponse({"preferred_exchange": chosen, "exchanges": ["NSE", "BSE", "MCX"]})


def watchlists(request: HttpRequest) -> HttpResponse:
    if refused := refuse(request, "watchlist"):
        return refused
    lists = lists_of(request)
    if request.method == "POST":
        STATE["made"] += 1
        made = {"symbols": [], **json.loads(request.body), "id": STATE["made"]}
        if any(each["name"].casefold() == made["name"].casefold() for each in lists):
            message = f"There is a list “{made['name']}” already."
            return JsonResponse({"status": "error", "message": message}, status=409)
        lists.append(made)
        return JsonResponse(made)
    return JsonResponse({"lists": lists})


def watchlist(request: HttpRequest, list_id: int) -> HttpResponse:
    if refused := refuse(request, "watchlist"):
        return refused
    found = next((each for each in lists_of(request) if each["id"] == list_id), None)
    if found is None:
        return JsonResponse({"message": "No such list."}, status=404)
    if request.method == "PUT":
        found |= json.loads(request.body)
    elif request.method == "DELETE":
        lists_of(request).remove(found)
    return JsonResponse(found)


def named(request: HttpRequest) -> HttpResponse:
    if refused := refuse(request, "instruments"):
        return refused
    results: list[Any] = []
    missing: list[Any] = []
    for name in json.loads(request.body)["names"]:
        found = [
            item
            for (exchange, symbol), item in INSTRUMENTS.items()
            if symbol == name["symbol"] and name["exchange"] in ("", exchange)
        ]
        (results if found else missing).append(found[0] if found else name)
    return JsonResponse({"results": results, "missing": missing})


def listed(request: HttpRequest, list_id: int) -> HttpResponse:
    if refused := refuse(request, "instruments"):
        return refused
    found = next(each for each in lists_of(request) if each["id"] == list_id)
    keys = [(item["exchange"], item["symbol"]) for item in found["symbols"]]
    results = [INSTRUMENTS[key] for key in keys if key in INSTRUMENTS]
    return JsonResponse({"results": results})


def lists_of(request: HttpRequest) -> list[dict[str, Any]]:
    lists: list[dict[str, Any]] = STATE["watchlists"].setdefault(str(request.user.pk), [])
    return lists


def pools(request: HttpRequest) -> HttpResponse:
    if refused := refuse(request, "pools"):
        return refused
    connection = {"slot": 0, "state": "live", "used": STATE["used"], "capacity": 3000}
    pool = {
        "pool_id": "1",
        "label": "main",
        "broker": "zerodha",
        "username": request.user.get_username(),
        "status": "live",
        "reason": "",
        "is_served": True,
        "connections": [connection],
        "max_connections": 3,
        "symbols_per_connection": 3000,
        "used": STATE["used"],
        "capacity": 9000,
        "heartbeat_age_ms": STATE["written_ago_ms"],
    }
    pools = [pool | STATE["pool"], *(pool | other for other in STATE["other_pools"])]
    return JsonResponse({"results": [_toned(each) for each in pools]})


def _toned(pool: dict[str, Any]) -> dict[str, Any]:
    """Return the pool with what the site says beside the word of its state."""
    state = PoolState(pool["status"])
    return {"tone": state.tone, "feed_status": state.feed_status, **pool}


urlpatterns = [
    path("", include("openalgo_site.web.pages")),
    path("api/instruments", instruments),
    path("api/preferences", preferences),
    path("api/watchlists", watchlists),
    path("api/watchlists/named", named),
    path("api/watchlists/<int:list_id>", watchlist),
    path("api/watchlists/<int:list_id>/instruments", listed),
    path("api/pools", pools),
]
