"""A site with a thousand pools, and its pages, for whoever measures them. Needs Django set up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import User
from django.db import models
from django.http import HttpRequest
from django.utils import timezone

from pooling.models import (
    AlertTarget,
    BrokerAccount,
    Instrument,
    PoolCommand,
    PoolConfig,
    PoolEvent,
    PoolRecord,
    PoolStatus,
    PoolUsage,
    PoolUsageDay,
)
from streaming.models import ApiKey, ClientConnection, GatewayStatus, Watchlist

__all__ = ["POOLS", "fill", "pages_of"]

POOLS = 1000


def fill() -> None:
    """Store a thousand users, each with one of everything; needs an empty, migrated database."""
    now = timezone.now()
    users = User.objects.bulk_create(User(username=f"user{n:04d}") for n in range(POOLS))
    accounts = BrokerAccount.objects.bulk_create(
        BrokerAccount(user=user, broker=("zerodha", "binance")[n % 2], paused=n % 7 == 0)
        for n, user in enumerate(users)
    )
    alive, dead = now + timedelta(hours=1), now - timedelta(hours=1)
    peaks: dict[str, Any] = {
        f"{name}_at": now for name in ("symbols", "connections", "clients", "ticks_per_second")
    }
    AlertTarget.objects.bulk_create(
        AlertTarget(account=each, kind="email", address="a@b.example") for each in accounts
    )
    PoolConfig.objects.bulk_create(PoolConfig(account=each) for each in accounts)
    PoolStatus.objects.bulk_create(
        PoolStatus(
            account=each,
            owner="here:1",
            state="live",
            since=now,
            heartbeat=dead if n % 5 == 0 else alive,
            used=n,
            capacity=3000,
            waiting=n % 3,
            stats={"padding": "x" * 3000},
        )
        for n, each in enumerate(accounts)
    )
    PoolRecord.objects.bulk_create(PoolRecord(account=each, **peaks) for each in accounts)
    PoolUsage.objects.bulk_create(
        PoolUsage(account=each, started=now - age, ended=now, **peaks)
        for each in accounts
        for age in (timedelta(0), timedelta(days=40))
    )
    PoolUsageDay.objects.bulk_create(
        PoolUsageDay(account=each, day=now.date(), **peaks) for each in accounts
    )
    PoolEvent.objects.bulk_create(
        PoolEvent(account=each, kind="connected", message="connection 1") for each in accounts
    )
    PoolCommand.objects.bulk_create(
        PoolCommand(account=each, verb="pause", source="admin", requested_by=users[0])
        for each in accounts
    )
    Instrument.objects.bulk_create(
        Instrument(
            broker="zerodha", exchange="NSE", symbol=f"S{n}", broker_token=str(n), loaded=now
        )
        for n in range(POOLS)
    )
    keys = ApiKey.objects.bulk_create(
        ApiKey(user=user, name="notebook", prefix=f"{n:08d}", hash=f"{n:064d}")
        for n, user in enumerate(users)
    )
    gateways = GatewayStatus.objects.bulk_create(
        GatewayStatus(gateway=f"g{n}", host="here", pid=n, started=now, heartbeat=alive)
        for n in range(8)
    )
    ClientConnection.objects.bulk_create(
        ClientConnection(
            gateway=gateways[n % 8],
            client=f"c{n}",
            user=users[n],
            api_key=keys[n],
            address="127.0.0.1",
            protocol="openalgo",
            connected=now,
        )
        for n in range(POOLS)
    )
    Watchlist.objects.bulk_create(Watchlist(user=user) for user in users)


def pages_of(account: BrokerAccount, request: HttpRequest) -> Iterator[tuple[str, str]]:
    """Yield kind and path of each page: the site's, and all of the admin that the user may see."""
    yield from _site(account)
    yield from _admin(request)


def _site(account: BrokerAccount) -> Iterator[tuple[str, str]]:
    yield "market watch", "/"
    yield "console", "/console/"
    yield "status", "/status/"
    yield "history", f"/status/{account.pk}/"
    for span in ("24h", "90d"):
        yield f"history: chart of {span}", f"/status/{account.pk}/history.json?range={span}"
    yield "pools of a user, JSON", "/api/pools"
    yield "admin: front page", "/admin/"
    for name in ("reconnect", "drain", "unsubscribe"):
        yield "admin: operation", f"/admin/pooling/brokeraccount/{account.pk}/operate/{name}/"


def _admin(request: HttpRequest) -> Iterator[tuple[str, str]]:
    for model, pages in admin.site._registry.items():
        base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        yield "admin: list", base
        if pages.has_add_permission(request):
            yield "admin: new", f"{base}add/"
        key = _one_of(model, pages)
        if key is not None:
            yield "admin: one", f"{base}{key}/change/"
            yield "admin: log of one", f"{base}{key}/history/"


def _one_of(model: type[models.Model], pages: ModelAdmin[Any]) -> Any:
    rows = model._default_manager.order_by("pk")
    count = rows.count()
    return rows[count // 2].pk if count else None
