"""``StatusSource`` on Django's database: every view of one look, with a handful of queries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.contrib.auth import get_user_model
from django.db import Error
from django.utils import timezone

from brokers.words import named_error
from openalgo_site.web.status.access import SEE_GATEWAYS, SEE_POOLS
from openalgo_site.web.status.shape import Page, page_of, pool_entry
from pooling.models import PoolStatus
from pooling.operations.describe import PoolView, accounts_with_status, view_of
from pooling.store.database import from_database
from streaming.exceptions import StatusUnavailableError
from streaming.models import GatewayStatus
from streaming.ports.status import StatusView

__all__ = ["MODEL_BACKEND", "DjangoStatusSource", "read_views"]

# The one of the site's backends that knows permissions.
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
GATEWAYS_SHOWN = 64
_KEPT_AWAY = ("status__stats", "credentials")


class DjangoStatusSource:
    """Figures of pools and gateways, as their processes wrote it; see ``StatusSource``.

    Who sees what: one's own pools; with the permission to view pool statuses all of them, with that
    to view gateway statuses every gateway.
    """

    async def read(
        self, views: Collection[StatusView], *, gateway: str
    ) -> Mapping[StatusView, str]:
        """Return each view's ``pool_status`` object; runs in a thread for look-ups."""
        try:
            return await from_database(read_views, views, gateway)
        except Error as error:
            raise StatusUnavailableError(named_error(error)) from error


def read_views(views: Collection[StatusView], gateway: str) -> dict[StatusView, str]:
    """Return each view's object; blocking."""
    users = {view.user_id for view in views}
    active = set(_users(users).values_list("pk", flat=True))
    see_pools, see_gateways = (
        _permitted(active, SEE_POOLS),
        _permitted(active, SEE_GATEWAYS),
    )
    now = timezone.now()
    owned = _pools(None if active & see_pools else active, now)
    pages = {
        view: page_of(
            (
                pool
                for owner, pool, _ in owned
                if owner == view.user_id or view.user_id in see_pools
            ),
            view.search,
            view.page,
        )
        for view in views
        if view.user_id in active
    }
    credentials = {pool.id: has_credential for _, pool, has_credential in owned}
    shown = {pool.id for page in pages.values() for pool in page.pools}
    stats = dict(PoolStatus.objects.filter(account__in=shown).values_list("account_id", "stats"))
    gateways = _gateways(gateway, now)
    here: Mapping[str, Any] = next((each["latency"] for each in gateways if each["is_here"]), {})
    now_ms = round(now.timestamp() * 1000)
    entries = {
        pool.id: pool_entry(
            pool, stats.get(pool.id) or {}, has_credential=credentials[pool.id], now_ms=now_ms
        )
        for page in pages.values()
        for pool in page.pools
    }
    return {
        view: _encoded(
            page,
            entries,
            gateways[:GATEWAYS_SHOWN] if view.user_id in see_gateways else None,
            here,
            now_ms,
            sees_all=view.user_id in see_pools,
        )
        for view, page in pages.items()
    }


def _encoded(
    page: Page,
    entries: Mapping[int, Mapping[str, Any]],
    gateways: Sequence[Mapping[str, Any]] | None,
    latency: Mapping[str, Any],
    now_ms: int,
    *,
    sees_all: bool,
) -> str:
    return msgspec.json.encode(
        {
            "type": "pool_status",
            "now": now_ms,
            "sees_all": sees_all,
            "total": page.total,
            "page": page.page,
            "pages": page.pages,
            "states": page.states,
            "pools": [entries[pool.id] for pool in page.pools],
            "gateways": gateways,
            "latency": latency,
        }
    ).decode()


def _users(ids: Iterable[int]) -> Any:
    return get_user_model().objects.filter(pk__in=ids, is_active=True)


def _permitted(ids: set[int], permission: str) -> set[int]:
    found = get_user_model().objects.with_perm(permission, backend=MODEL_BACKEND)
    return set(found.filter(pk__in=ids).values_list("pk", flat=True))


def _pools(owners: set[int] | None, now: datetime) -> list[tuple[int, PoolView, bool]]:
    """Return owner, pool, and whether a credential is stored; ``None``: the pools of everybody."""
    accounts = accounts_with_status().defer(*_KEPT_AWAY)
    if owners is not None:
        accounts = accounts.filter(user__in=owners)
    return [
        (account.user_id, view_of(account, now), account.credentials_version > 0)
        for account in accounts
    ]


def _gateways(here: str, now: datetime) -> list[dict[str, Any]]:
    """Return the gateways that are there; the dead leave by themselves."""
    return [
        {
            "name": str(row),
            "is_here": row.gateway == here,
            "started_age_ms": round((now - row.started).total_seconds() * 1000),
            "heartbeat_age_ms": max(0, round((now - row.heartbeat).total_seconds() * 1000)),
            "clients": row.clients,
            "deliveries": row.deliveries,
            "deliveries_per_second": row.deliveries_per_second,
            "conflated": row.conflated,
            "dropped": row.dropped,
            "slow_closes": row.slow_closes,
            "latency": row.latency,
        }
        for row in GatewayStatus.objects.alive(now)
    ]
