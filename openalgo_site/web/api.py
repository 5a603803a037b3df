"""JSON for programs and for the page: instruments and pools (the lists are in ``watchlists``)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.urls import include, path
from django.utils import timezone

from brokers.exceptions import BrokerConfigError
from openalgo_site.adapters.last_prices import PRICES
from openalgo_site.web import api_access
from openalgo_site.web.api_access import ApiError, api_view
from openalgo_site.web.preferences import preferred_exchange
from pooling.instruments.reasons import why_nothing_found
from pooling.instruments.search import search_instruments
from pooling.models import BrokerAccount, PoolStatus
from pooling.operations.state_rows import state_now
from streaming.scopes import Scope

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["instruments", "pools", "urlpatterns"]

MAX_LIMIT = 10_000
DEFAULT_LIMIT = 50
MAX_QUERY_LENGTH = 64
# What a search takes, in look-ups, beside those for its rows.
_SEARCH_COST = 4
_ROWS_OF_A_LOOK_UP = 100
# What a worker held went with it.
_HELD_BY_NOBODY = {
    "connections": (),
    "symbols": 0,
    "used": 0,
    "wanted": 0,
    "confirmed": 0,
    "waiting": 0,
    "clients": 0,
    "ticks_per_second": 0.0,
}


@api_view("GET", scope=Scope.READ_TICKS, cost=_SEARCH_COST)
def instruments(request: HttpRequest, user: User) -> dict[str, Any]:
    """Return the instruments of the caller's brokers that match, best first.

    Where there are none, ``reason`` says what is missing; "" where it is only the text.
    """
    accounts = list(BrokerAccount.objects.filter(user=user))
    pools = [account.pool_id for account in accounts if account.enabled]
    exchange = _text(request, "exchange", 16)
    rows = search_instruments(
        {account.broker for account in accounts if account.enabled},
        _text(request, "q", MAX_QUERY_LENGTH),
        exchange,
        _number(request, "limit", DEFAULT_LIMIT, MAX_LIMIT),
        preferred=preferred_exchange(user),
        prices=lambda keys: PRICES.of(pools, keys),
    )
    api_access.API_SHARES.charge(user.pk, len(rows) / _ROWS_OF_A_LOOK_UP)
    if rows:
        return {"results": rows}
    return {"results": [], "reason": why_nothing_found(accounts, exchange)}


@api_view("GET", scope=Scope.READ_STATUS)
def pools(request: HttpRequest, user: User) -> dict[str, Any]:
    """Return the pools that the caller may see: its own, with the permission all."""
    accounts = BrokerAccount.objects.select_related("user", "config", "status").order_by("pk")
    if not user.has_perm("pooling.view_poolstatus"):
        accounts = accounts.filter(user=user)
    now = timezone.now()
    return {"results": [_pool(account, now) for account in accounts]}


def _pool(account: BrokerAccount, now: datetime) -> dict[str, Any]:
    """Return one pool with its last known figures and how old they are."""
    facts = {
        "pool_id": account.pool_id,
        "broker": account.broker,
        "label": account.label,
        "username": account.user.get_username(),
        "enabled": account.enabled,
    }
    row: PoolStatus | None = getattr(account, "status", None)
    state, reason = state_now(account, row, now)
    told = {
        "status": state.value,
        "tone": state.tone.value,
        "feed_status": state.feed_status.value,
        "reason": reason,
    }
    if row is None:
        return {**_unserved(account), **told, **facts}
    is_served = account.enabled and row.is_alive(now)
    age = max(0.0, (now - row.heartbeat).total_seconds())
    return {
        **row.figures,
        **({} if is_served else _HELD_BY_NOBODY),
        **facts,
        **told,
        "is_served": is_served,
        "owner": row.owner,
        "heartbeat_age_ms": round(age * 1000),
        "applied_revision": row.applied_revision,
    }


def _unserved(account: BrokerAccount) -> dict[str, Any]:
    """Return what a pool that no worker has ever reported could hold."""
    nothing = {"is_served": False, "connections": []}
    try:
        options = account.to_spec().options
    except BrokerConfigError:
        return nothing
    return {
        **nothing,
        "used": 0,
        "capacity": options.symbols_per_connection * options.max_connections,
        "max_connections": options.max_connections,
        "symbols_per_connection": options.symbols_per_connection,
        "heartbeat_age_ms": None,
    }


def _text(request: HttpRequest, name: str, max_length: int) -> str:
    value = request.GET.get(name, "").strip().upper()
    if len(value) > max_length or "\x00" in value:
        raise ApiError(400, f"{name} is text of at most {max_length} characters.", parameter=name)
    return value


def _number(request: HttpRequest, name: str, default: int, maximum: int) -> int:
    text = request.GET.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= maximum):
        raise ApiError(400, f"{name} is a whole number from 1 to {maximum:,}.", parameter=name)
    return int(text)


urlpatterns = [
    path("instruments", instruments, name="api-instruments"),
    path("pools", pools, name="api-pools"),
    path("", include("openalgo_site.web.credentials_api")),
    path("", include("openalgo_site.web.watchlists")),
    path("", include("openalgo_site.web.preferences")),
]
