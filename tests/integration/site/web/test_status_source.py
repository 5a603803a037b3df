"""Who sees which pools and gateways on the status page: decided for every view at every look."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone

from openalgo_site.web.status import source as source_module
from openalgo_site.web.status.source import DjangoStatusSource
from pooling.models import BrokerAccount, PoolStatus
from streaming.exceptions import StatusUnavailableError
from streaming.models import GatewayStatus
from streaming.ports.status import StatusView
from tests.integration.site.admin.admin_kit import make_status, permit, staff

pytestmark = pytest.mark.django_db(transaction=True)


def read(*views: StatusView, gateway: str = "g1") -> dict[StatusView, dict[str, Any]]:
    found = asyncio.run(DjangoStatusSource().read(views, gateway=gateway))
    return {view: json.loads(text) for view, text in found.items()}


def look(user: User, **options: Any) -> dict[str, Any]:
    view = StatusView(user.pk, **options)
    return read(view)[view]


def ids(figures: dict[str, Any]) -> list[int]:
    return [pool["id"] for pool in figures["pools"]]


@pytest.fixture
def other(account: BrokerAccount) -> BrokerAccount:
    """Somebody else's account, beside that of ``account``."""
    someone = User.objects.create_user("ravi", password="x")
    return BrokerAccount.objects.create(user=someone, broker="binance", label="theirs")


@pytest.fixture
def gateway(transactional_db: None) -> GatewayStatus:
    now = timezone.now()
    return GatewayStatus.objects.create(
        gateway="g1",
        host="box",
        pid=7,
        started=now,
        heartbeat=now + timedelta(hours=1),
        clients=3,
        deliveries=900,
        deliveries_per_second=45.5,
        conflated=4,
        dropped=2,
        slow_closes=1,
        latency={"bus": {"ticks": 5, "p50_ms": 0.2, "p99_ms": 1.0}},
    )


@pytest.mark.parametrize(
    ("who", "sees"),
    [
        ("asha", "own"),
        ("ravi", "other"),
        ("stranger", ""),
        ("staff", ""),
        ("operator", "own other"),
        ("superuser", "own other"),
        ("dismissed operator", None),
        ("nobody", None),
    ],
)
def test_everybody_sees_own_pools_and_the_permission_all(
    who: str, sees: str | None, account: BrokerAccount, other: BrokerAccount
) -> None:
    """One table of who sees what, on the socket."""
    make_status(account)
    make_status(other)
    people = {
        "asha": account.user,
        "ravi": other.user,
        "stranger": User.objects.create_user("stranger"),
        "staff": staff("staff"),
        "operator": staff("operator", "pooling.view_poolstatus"),
        "superuser": User.objects.create_superuser("superuser"),
        "dismissed operator": staff("dismissed", "pooling.view_poolstatus"),
    }
    User.objects.filter(username="dismissed").update(is_active=False)
    view = StatusView(people[who].pk if who in people else 999_999)
    found = read(view)
    if sees is None:
        assert found == {}
        return
    names = {"own": account.pk, "other": other.pk}
    assert ids(found[view]) == [names[name] for name in sees.split()]
    assert found[view]["sees_all"] is (who in ("operator", "superuser"))


def test_views_of_one_look_do_not_mix(account: BrokerAccount, other: BrokerAccount) -> None:
    """An operator's view beside theirs shows owners no more than before."""
    operator = staff("operator", "pooling.view_poolstatus")
    users = [account.user, other.user, operator]
    found = read(*(StatusView(user.pk) for user in users))
    assert [ids(figures) for figures in found.values()] == [
        [account.pk],
        [other.pk],
        [account.pk, other.pk],
    ]


def test_a_permission_taken_away_is_gone_from_the_next_look(other: BrokerAccount) -> None:
    operator = staff("operator", "pooling.view_poolstatus")
    assert ids(look(operator))
    operator.user_permissions.clear()
    assert ids(look(operator)) == []


def test_a_search_finds_nothing_of_others(account: BrokerAccount, other: BrokerAccount) -> None:
    assert ids(look(account.user, search="theirs")) == []
    assert ids(look(other.user, search="theirs")) == [other.pk]


@pytest.mark.parametrize("permission", ["", "streaming.view_gatewaystatus"])
def test_gateways_need_their_own_permission(
    permission: str, account: BrokerAccount, gateway: GatewayStatus
) -> None:
    """Without it only the times of one's own ticks are seen, which name nobody."""
    user = permit(account.user, permission) if permission else account.user
    figures = look(user)
    assert figures["latency"] == gateway.latency
    if not permission:
        assert figures["gateways"] is None
        return
    (shown,) = figures["gateways"]
    assert (shown["name"], shown["is_here"], shown["clients"]) == ("box:7", True, 3)
    assert (shown["deliveries_per_second"], shown["conflated"]) == (45.5, 4)
    assert (shown["dropped"], shown["slow_closes"]) == (2, 1)


def test_a_dead_gateway_leaves_by_itself(account: BrokerAccount, gateway: GatewayStatus) -> None:
    GatewayStatus.objects.update(heartbeat=timezone.now() - timedelta(seconds=11))
    figures = look(permit(account.user, "streaming.view_gatewaystatus"))
    assert (figures["gateways"], figures["latency"]) == ([], {})


def test_a_worker_that_fell_silent_takes_its_connections_along(account: BrokerAccount) -> None:
    make_status(account)
    (pool,) = look(account.user)["pools"]
    assert (pool["state"], pool["owner"], len(pool["connections"])) == ("live", "here:1", 3)
    PoolStatus.objects.update(heartbeat=timezone.now() - timedelta(seconds=6))
    (pool,) = look(account.user)["pools"]
    assert (pool["state"], pool["owner"], pool["connections"]) == ("no worker", None, [])
    assert "here:1 was last heard" in pool["reason"]


def test_no_secret_leaves(account: BrokerAccount, cipher: Any) -> None:
    account.set_credentials({"access_token": "canary-4711"}, cipher)
    account.save()
    view = StatusView(account.user.pk)
    text = asyncio.run(DjangoStatusSource().read([view], gateway="g1"))[view]
    assert "canary" not in text
    assert account.credentials["access_token"] not in text
    assert json.loads(text)["pools"][0]["has_credential"] is True


def test_queries_do_not_grow_with_pools_or_views(
    account: BrokerAccount, django_assert_max_num_queries: Any
) -> None:
    """Seven, for two hundred pools and three who look."""
    BrokerAccount.objects.bulk_create(
        BrokerAccount(user=account.user, broker="zerodha", label=f"l{number}")
        for number in range(200)
    )
    operators = [staff(f"o{n}", "pooling.view_poolstatus") for n in range(3)]
    views = [StatusView(user.pk, page=page) for user in operators for page in (1, 2)]
    with django_assert_max_num_queries(7):
        found = source_module.read_views(views, "g1")
    assert len(found) == 6


def test_a_database_that_is_away_is_named(
    account: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise DatabaseError("locked")

    monkeypatch.setattr(source_module, "read_views", fail)
    with pytest.raises(StatusUnavailableError, match="locked"):
        read(StatusView(account.user.pk))


def test_the_page_asks_strangers_to_log_in(client: Client, account: BrokerAccount) -> None:
    assert client.get("/status/").headers["Location"] == "/login/?next=/status/"
    client.force_login(account.user)
    page = client.get("/status/")
    assert page.status_code == 200
    assert "no-store" in page.headers["Cache-Control"]
    assert "unsafe-inline" not in page.headers["Content-Security-Policy"]
    assert b'href="/status/" aria-current="page"' in page.content
