"""JSON for programs and for the page: instruments and pools (the lists are in ``watchlists``)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db.models import Q, QuerySet
from django.db.models.functions import Length
from django.http import HttpRequest
from django.urls import include, path
from django.utils import timezone

from brokers.exceptions import BrokerConfigError
from openalgo_site.api_access import ApiError, api_view
from pooling.models import BrokerAccount, Instrument, PoolStatus, starting_with

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["instruments", "pools", "search", "urlpatterns"]

MAX_LIMIT = 10_000
DEFAULT_LIMIT = 50
MAX_QUERY_LENGTH = 64
STALE_AFTER_SECONDS = 5.0
COLUMNS = (
    "symbol",
    "exchange",
    "name",
    "broker",
    "instrument_type",
    "expiry",
    "strike",
    "lot_size",
    "tick_size",
)


@api_view("GET")
def instruments(request: HttpRequest, user: User) -> dict[str, Any]:
    """Return the instruments of the caller's brokers that match, best first."""
    accounts = BrokerAccount.objects.filter(user=user, enabled=True)
    brokers = list(accounts.values_list("broker", flat=True).distinct())
    rows = search(
        brokers,
        _text(request, "q", MAX_QUERY_LENGTH),
        _text(request, "exchange", 16),
        _number(request, "limit", DEFAULT_LIMIT, MAX_LIMIT),
    )
    return {"results": rows}


def search(brokers: list[str], q: str, exchange: str, limit: int) -> list[dict[str, Any]]:
    """Return up to ``limit`` rows: the exact symbol, symbols that begin with ``q``, then names.

    Further words narrow: ``NIFTY 24000 CE`` finds the calls of that strike. A shorter symbol comes
    before a longer one, so a share comes before its options. The symbols are found in an index; a
    name is looked through only while there is room for more.
    """
    known = Instrument.objects.filter(broker__in=brokers)
    if exchange:
        known = known.filter(exchange=exchange)
    first, *others = q.split() or [""]
    if not first:
        return list(known.order_by("id").values(*COLUMNS)[:limit])
    for word in others:
        known = known.filter(Q(symbol__contains=word) | Q(name__contains=word))
    begins = starting_with("symbol", first)
    rows = _best(known.filter(begins), limit)
    if len(rows) < limit:
        named = Q(name__startswith=first) | Q(name__contains=f" {first}")
        rows += _best(known.filter(named).exclude(begins), limit - len(rows))
    return rows


def _best(matching: QuerySet[Instrument], limit: int) -> list[dict[str, Any]]:
    return list(matching.order_by(Length("symbol"), "symbol", "id").values(*COLUMNS)[:limit])


@api_view("GET")
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
    if row is None:
        return {**_unserved(account), **facts}
    age = max(0.0, (now - row.heartbeat).total_seconds())
    status, reason = row.state, row.reason
    if not account.enabled:
        status, reason = "closed", "the account is disabled"
    elif age > STALE_AFTER_SECONDS:
        status, reason = "stale", f"no word from the worker for {age:.0f} seconds"
    return {
        **row.stats,
        **facts,
        "status": status,
        "reason": reason,
        "owner": row.owner,
        "heartbeat_age_ms": round(age * 1000),
        "applied_revision": row.applied_revision,
    }


def _unserved(account: BrokerAccount) -> dict[str, Any]:
    """Return what is known of a pool that no worker has ever reported."""
    try:
        options = account.to_spec().options
    except BrokerConfigError as error:
        return {"status": "closed", "reason": str(error), "connections": []}
    return {
        "status": "closed",
        "reason": "no worker has served this pool yet",
        "connections": [],
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
    path("", include("openalgo_site.watchlists")),
]
