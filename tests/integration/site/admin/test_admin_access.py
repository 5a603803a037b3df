"""Who may see and do what in the admin: every address and every action, for every kind of person.

The tables name each address; a test fails when the admin has one that is in no table.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern
from django.utils import timezone

from pooling.models import (
    AlertTarget,
    BrokerAccount,
    Instrument,
    LoginAttempt,
    LoginSetup,
    PoolCommand,
    PoolConfig,
    PoolEvent,
    PoolRecord,
    PoolUsage,
    PoolUsageDay,
    TradingDay,
)
from streaming.models import ApiKey, ClientConnection, GatewayStatus, Watchlist
from tests.integration.site.admin.admin_kit import account_form, answering, make_status, staff

OURS = ("pooling", "streaming")
OUTSIDERS = ("anonymous", "other", "owner")
VIEWS = ("changelist", "add", "change", "history", "delete")
# What staff with every permission of the model get; the others of VIEWS are refused to everybody.
EDITED = {
    "loginsetup": frozenset(VIEWS) - {"add"},
    "brokeraccount": frozenset(VIEWS),
    "tradingday": frozenset(VIEWS),
    "watchlist": frozenset(VIEWS),
    "apikey": frozenset({"changelist", "add", "change", "history"}),
    "alerttarget": frozenset(VIEWS),
}
READ = frozenset({"changelist", "change", "history"})
MODELS = (
    "alerttarget",
    "brokeraccount",
    "instrument",
    "loginattempt",
    "loginsetup",
    "poolcommand",
    "poolevent",
    "poolrecord",
    "poolstatus",
    "poolusage",
    "poolusageday",
    "tradingday",
    "apikey",
    "clientconnection",
    "gatewaystatus",
    "watchlist",
)
OPERATIONS = ("start", "pause", "resume", "reconnect", "drain", "rebalance", "unsubscribe")


class World:
    """One row of every model, all of the owner's, and the people who may ask for them."""

    def __init__(self, account: BrokerAccount) -> None:
        now, owner = timezone.now(), account.user
        peaks: dict[str, Any] = {
            f"{name}_at": now for name in ("symbols", "connections", "clients", "ticks_per_second")
        }
        gateway = GatewayStatus.objects.create(
            gateway="g1", host="here", pid=1, started=now, heartbeat=now + timedelta(hours=1)
        )
        self.account = account
        self.key, _ = ApiKey.objects.issue(owner, "notebook")
        rows = (
            account,
            AlertTarget.objects.create(account=account, kind="email", address="a@b.example"),
            Instrument.objects.create(
                broker="zerodha", exchange="NSE", symbol="INFY", broker_token="1", loaded=now
            ),
            LoginAttempt.objects.create(
                account=account, user=owner, kind="browser", state="late", deadline=now
            ),
            LoginSetup.objects.create(account=account),
            PoolCommand.objects.create(
                account=account, verb="pause", source="admin", state=PoolCommand.State.DONE
            ),
            PoolEvent.objects.create(account=account, kind="connected", message="connection 1"),
            PoolRecord.objects.create(account=account, **peaks),
            make_status(account),
            PoolUsage.objects.create(account=account, started=now, ended=now, **peaks),
            PoolUsageDay.objects.create(account=account, day=now.date(), **peaks),
            TradingDay.objects.create(market="equity", day=now.date()),
            self.key,
            ClientConnection.objects.create(
                gateway=gateway,
                client="c1",
                user=owner,
                address="127.0.0.1",
                protocol="openalgo",
                connected=now,
            ),
            gateway,
            Watchlist.objects.create(user=owner),
        )
        self.rows = {row._meta.model_name: row for row in rows}
        self.clients: dict[str, Client] = {"anonymous": Client()}
        self.let_in("owner", owner)
        self.let_in("other", User.objects.create_user("other"))
        self.let_in("bare staff", staff("bare"))

    def let_in(self, name: str, user: User) -> Client:
        client = self.clients[name] = Client()
        client.force_login(user)
        return client

    def url(self, model: str, view: str) -> str:
        row = self.rows[model]
        below = {"changelist": "", "add": "add/"}.get(view, f"{row.pk}/{view}/")
        return f"/admin/{row._meta.app_label}/{model}/{below}"

    def permissions(self, model: str) -> list[str]:
        app = self.rows[model]._meta.app_label
        return [f"{app}.{verb}_{model}" for verb in ("view", "add", "change", "delete")]


@pytest.fixture
def world(account: BrokerAccount) -> World:
    return World(account)


def outcome(answer: Any) -> str:
    """Return in a word what came of a request."""
    if answer.status_code == 302:
        return "login" if "/admin/login/" in answer["Location"] else "moved"
    return {200: "shown", 403: "refused", 404: "missing"}[answer.status_code]


def test_every_model_of_ours_in_the_admin_is_in_the_table() -> None:
    registered = {
        model._meta.model_name for model in admin.site._registry if model._meta.app_label in OURS
    }
    assert registered == set(MODELS)


def test_every_address_of_the_admin_is_in_a_table() -> None:
    """Beside Django's five views of each model there are the operations of a pool, and no more."""
    for model, model_admin in admin.site._registry.items():
        if model._meta.app_label not in OURS:
            continue
        name = f"{model._meta.app_label}_{model._meta.model_name}_"
        names = {
            each.name.removeprefix(name)
            for each in model_admin.get_urls()
            if isinstance(each, URLPattern) and each.name
        }
        own = {"operate"} if model is BrokerAccount else set()
        assert names == {*VIEWS, *own}


@pytest.mark.parametrize("model", MODELS)
def test_every_page_for_every_person(world: World, model: str) -> None:
    """Strangers, other users and owners are sent to log in; staff see what they may."""
    full = world.let_in("full staff", staff("full", *world.permissions(model)))
    viewer = world.let_in("viewer", staff("viewer", world.permissions(model)[0]))
    allowed = EDITED.get(model, READ)
    for view in VIEWS:
        url = world.url(model, view)
        for person in OUTSIDERS:
            assert outcome(world.clients[person].get(url)) == "login", (person, url)
            assert outcome(world.clients[person].post(url)) == "login", (person, url)
        assert outcome(world.clients["bare staff"].get(url)) == "refused", url
        assert outcome(world.clients["bare staff"].post(url)) == "refused", url
        assert outcome(full.get(url)) == ("shown" if view in allowed else "refused"), url
        assert outcome(viewer.get(url)) == ("shown" if view in READ else "refused"), url
        if view in ("add", "change", "delete"):
            assert outcome(viewer.post(url)) == "refused", url


def test_the_front_page_and_its_pools(world: World) -> None:
    for person in OUTSIDERS:
        assert outcome(world.clients[person].get("/admin/")) == "login"
    assert "Pools at a glance" not in world.clients["bare staff"].get("/admin/").content.decode()
    viewer = world.let_in("viewer", staff("viewer", "pooling.view_brokeraccount"))
    assert "Pools at a glance" in viewer.get("/admin/").content.decode()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_for_every_person(world: World, operation: str) -> None:
    url = f"{world.url('brokeraccount', 'changelist')}{world.account.pk}/operate/{operation}/"
    data = {"slot": "1", "symbols": "NSE:INFY"}
    before = PoolCommand.objects.count()
    for person in OUTSIDERS:
        assert outcome(world.clients[person].get(url)) == "login", person
        assert outcome(world.clients[person].post(url, data)) == "login", person
    every_other = [
        name for name in world.permissions("brokeraccount") if name != "pooling.operate_pool"
    ]
    for name, permissions in (
        ("bare", ()),
        ("editor", every_other),
        ("blind operator", ("pooling.operate_pool",)),
    ):
        client = world.let_in(name, staff(f"staff {name}", *permissions))
        assert outcome(client.get(url)) == "refused", name
        assert outcome(client.post(url, data)) == "refused", name
    assert PoolCommand.objects.count() == before
    permitted = ("pooling.view_brokeraccount", "pooling.operate_pool")
    operator = world.let_in("operator", staff("operator", *permitted))
    assert outcome(operator.get(url)) == "shown"
    with answering(world.account):
        assert outcome(operator.post(url, data)) == "moved"


@pytest.mark.parametrize(
    ("model", "action", "permission", "is_done"),
    [
        ("apikey", "revoke", "streaming.revoke_apikey", lambda w: w.key.revoked_at is not None),
        (
            "clientconnection",
            "disconnect",
            "streaming.disconnect_clientconnection",
            lambda w: w.rows["clientconnection"].disconnect_requested,
        ),
        (
            "brokeraccount",
            "pause",
            "pooling.operate_pool",
            lambda w: w.account.paused,
        ),
    ],
)
def test_every_action_for_every_person(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    action: str,
    permission: str,
    is_done: Any,
) -> None:
    for module in ("streaming.admin.keys", "streaming.admin.gateways", "pooling.admin.operate"):
        monkeypatch.setattr(f"{module}.WAIT_SECONDS", 0.0)
    url, row = world.url(model, "changelist"), world.rows[model]
    data = {"action": action, "_selected_action": [row.pk], "confirmed": "yes"}
    view, *others = world.permissions(model)
    unpermitted = world.let_in("unpermitted", staff("unpermitted", view, *others))
    for person in (*OUTSIDERS, "bare staff", "unpermitted"):
        world.clients[person].post(url, data)
        row.refresh_from_db()
        assert not is_done(world), person
    assert f'value="{action}"' not in unpermitted.get(url).content.decode()
    permitted = world.let_in("permitted", staff("permitted", view, permission))
    assert f'value="{action}"' in permitted.get(url).content.decode()
    unconfirmed = {name: value for name, value in data.items() if name != "confirmed"}
    assert "are you sure?" in permitted.post(url, unconfirmed).content.decode()
    row.refresh_from_db()
    assert not is_done(world)
    assert outcome(permitted.post(url, data)) == "moved"
    row.refresh_from_db()
    assert is_done(world)


def test_limits_need_their_own_permission(world: World) -> None:
    """Whoever may change an account may not yet change what it may hold."""
    client = world.let_in("editor", staff("editor", *world.permissions("brokeraccount")))
    form = account_form(world.account, **{"config-0-max_connections": 3})
    assert outcome(client.post(world.url("brokeraccount", "change"), form)) == "moved"
    assert not PoolConfig.objects.exists()


@pytest.mark.parametrize("field", ["user"])
def test_autocomplete_shows_users_to_those_who_may_see_users(world: World, field: str) -> None:
    url = (
        "/admin/autocomplete/?app_label=pooling&model_name=brokeraccount"
        f"&field_name={field}&term=ash"
    )
    for person in OUTSIDERS:
        assert outcome(world.clients[person].get(url)) == "login"
    assert outcome(world.clients["bare staff"].get(url)) == "refused"
    permitted = world.let_in("clerk", staff("clerk", "auth.view_user"))
    assert permitted.get(url).json()["results"][0]["text"] == "asha"
