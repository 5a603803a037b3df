"""Who may do what: every URL, WebSocket action and admin action, for each kind of person.

One table for each of the three. A test fails when the site has a URL, the protocol an action or the
admin an action that has no row here: write down who may use it, then it is tested.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.testing import WebsocketCommunicator
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver

from openalgo_site.adapters.users_and_accounts import DjangoDirectory
from openalgo_site.web.status.source import DjangoStatusSource
from pooling.models import BrokerAccount, PoolCommand
from streaming.gateway.gateway import Gateway
from streaming.gateway.routing import build_application
from streaming.models import ApiKey
from streaming.protocol import parsing
from streaming.testing.edge import FakeFeedLink
from tests.integration.site.admin.admin_kit import answering, staff
from tests.integration.site.admin.test_admin_access import World

# In the order of the columns. The owner owns the account, the key, the list and the client; staff
# have no permission at all, permitted staff every one, and are no superuser.
PEOPLE = ("anonymous", "other", "owner", "staff", "permitted")

# What comes of a request: L sent to log in, S shown, M moved on, F forbidden, N not there,
# U asked for a credential, C let in, and refused because of a list of that name.
OUTCOMES = {200: "S", 302: "M", 401: "U", 403: "F", 404: "N", 409: "C", 503: "S"}

ADMIN_READ = "LLLFS"
ADMIN_NEVER = "LLLFF"
VIEWS = {
    "": "changelist",
    "add/": "add",
    "<path:object_id>/change/": "change",
    "<path:object_id>/history/": "history",
    "<path:object_id>/delete/": "delete",
}
# What permitted staff may look at, of the pages that Django makes for each model.
READ_ONLY = frozenset({"changelist", "change", "history"})
MODELS = {
    "auth/group": frozenset(VIEWS.values()),
    "auth/user": frozenset(VIEWS.values()),
    "pooling/alerttarget": frozenset(VIEWS.values()),
    "pooling/brokeraccount": frozenset(VIEWS.values()),
    "pooling/instrument": READ_ONLY,
    "pooling/loginattempt": READ_ONLY,
    "pooling/loginsetup": READ_ONLY | {"delete"},
    "pooling/poolcommand": READ_ONLY,
    "pooling/poolevent": READ_ONLY,
    "pooling/poolrecord": READ_ONLY,
    "pooling/poolstatus": READ_ONLY,
    "pooling/poolusage": READ_ONLY,
    "pooling/poolusageday": READ_ONLY,
    "pooling/tradingday": frozenset(VIEWS.values()),
    "streaming/apikey": READ_ONLY | {"add"},
    "streaming/clientconnection": READ_ONLY,
    "streaming/gatewaystatus": READ_ONLY,
    "streaming/watchlist": frozenset(VIEWS.values()),
}

# (method, route of the resolver) -> outcome for each of PEOPLE.
URLS: dict[tuple[str, str], str] = {
    ("GET", ""): "LSSSS",
    ("GET", "login/"): "SMMMM",
    ("POST", "logout/"): "MMMMM",
    ("GET", "favicon.ico"): "MMMMM",
    ("GET", "console/"): "LSSSS",
    ("GET", "status/"): "LSSSS",
    ("GET", "account/"): "LSSSS",
    ("POST", "account/keys/"): "LSSSS",
    # A key is its owner's: staff revoke others' in the admin.
    ("POST", "account/keys/<int:key_id>/revoke/"): "LNMNN",
    ("POST", "account/sessions/"): "LMMMM",
    ("POST", "account/preferences/"): "LMMMM",
    ("GET", "account/password/"): "LSSSS",
    ("GET", "brokers/"): "LSSSS",
    ("GET", "brokers/cards.json"): "LSSSS",
    ("GET", "brokers/add/<slug:broker>/"): "LSSSS",
    # Logging in at a broker is its owner's affair, whatever others may do.
    **{
        ("GET", f"brokers/<int:account_id>/{below}/"): "LNSNN"
        for below in ("setup", "token", "remove")
    },
    **{
        ("POST", f"brokers/<int:account_id>/{below}/"): "LNMNN"
        for below in ("login", "login-now", "pause", "resume", "test")
    },
    ("GET", "brokers/attempts/<int:attempt_id>.json"): "LNSNN",
    ("GET", "brokers/<slug:broker>/callback/"): "LMMMM",
    # Of somebody else's pool nobody learns that it exists.
    ("GET", "status/<int:account_id>/"): "LNSNS",
    ("GET", "status/<int:account_id>/history.json"): "UNSNS",
    ("GET", "status/<int:account_id>/history.csv"): "UNSNS",
    ("GET", "status/<int:account_id>/history-events.csv"): "UNSNS",
    ("GET", "api/instruments"): "USSSS",
    ("GET", "api/pools"): "USSSS",
    # A key opens it, no session.
    ("PUT", "api/pools/<int:account_id>/credentials"): "UUUUU",
    ("GET", "api/watchlists"): "USSSS",
    ("POST", "api/watchlists"): "USSSS",
    ("POST", "api/watchlists/named"): "USSSS",
    ("GET", "api/watchlists/<int:list_id>"): "UNSNN",
    ("PUT", "api/watchlists/<int:list_id>"): "UNCNN",
    ("DELETE", "api/watchlists/<int:list_id>"): "UNSNN",
    ("GET", "api/watchlists/<int:list_id>/instruments"): "UNSNN",
    ("GET", "api/preferences"): "USSSS",
    ("PUT", "api/preferences"): "USSSS",
    ("GET", "livez"): "SSSSS",
    ("GET", "readyz"): "SSSSS",
    # Without the key of the metrics, which nobody in particular has.
    ("GET", "metrics"): "UUUSS",
    ("GET", "admin/"): "LLLSS",
    ("GET", "admin/login/"): "SSSMM",
    ("GET", "admin/logins/"): ADMIN_READ,
    ("POST", "admin/logout/"): "MMMMM",
    ("GET", "admin/password_change/"): "LLLSS",
    ("GET", "admin/password_change/done/"): "LLLSS",
    ("GET", "admin/autocomplete/"): ADMIN_READ,
    ("GET", "admin/jsi18n/"): "LLLSS",
    ("GET", "admin/r/<path:content_type_id>/<path:object_id>/"): "LLLNN",
    ("GET", "admin/auth/user/<id>/password/"): ADMIN_READ,
    ("GET", "admin/pooling/brokeraccount/<path:object_id>/operate/<slug:name>/"): ADMIN_READ,
    ("POST", "admin/pooling/brokeraccount/<path:object_id>/operate/<slug:name>/"): "LLLFM",
    ("GET", "admin/^(?P<app_label>auth|pooling|streaming)/$"): "LLLNS",
    ("GET", "admin/(?P<url>.*)$"): "LLLNN",
    **{
        ("GET", f"admin/{model}/{below}"): ADMIN_READ if view in allowed else ADMIN_NEVER
        for model, allowed in MODELS.items()
        for below, view in VIEWS.items()
    },
    **{("GET", f"admin/{model}/<path:object_id>/"): "LLLMM" for model in MODELS},
}

# Action -> the error code for each of PEOPLE, "ok" without one. Anonymous is who has not
# authenticated. Whatever is answered, the owner is named to nobody else.
NEEDS_KEY = ("NOT_AUTHENTICATED", "ok", "ok", "ok", "ok")
FOR_ALL = ("ok", "ok", "ok", "ok", "ok")
ONCE = (
    "AUTHENTICATION_ERROR",
    "INVALID_ACTION",
    "INVALID_ACTION",
    "INVALID_ACTION",
    "INVALID_ACTION",
)
NO_POOL = "SYMBOL_NOT_FOUND"  # only the owner has a pool, and nobody may use another's
OWN_POOL = ("NOT_AUTHENTICATED", NO_POOL, "ok", NO_POOL, NO_POOL)
HOLDS_NOTHING = ("NOT_AUTHENTICATED", *("NOT_SUBSCRIBED",) * 4)
ACTIONS: dict[str, tuple[str, ...]] = {
    "authenticate": ONCE,
    "auth": ONCE,
    "subscribe": OWN_POOL,
    "unsubscribe": HOLDS_NOTHING,
    "unsubscribe_all": NEEDS_KEY,
    "subscribe_orders": NEEDS_KEY,
    "unsubscribe_orders": NEEDS_KEY,
    "subscribe_status": NEEDS_KEY,
    "unsubscribe_status": NEEDS_KEY,
    "subscribe_pool_status": NEEDS_KEY,
    "unsubscribe_pool_status": NEEDS_KEY,
    "get_broker_info": NEEDS_KEY,
    "get_supported_brokers": FOR_ALL,
    "list_subscriptions": NEEDS_KEY,
    "ping": FOR_ALL,
    "pong": FOR_ALL,
}
# ... but by these actions to those who hold the permission to see all pools.
SHOWS_ALL_POOLS = {"subscribe_pool_status"}

# (model, action) -> the one permission beside "view" that it takes.
ADMIN_ACTIONS: dict[tuple[str, str], str] = {
    ("auth.group", "delete_selected"): "auth.delete_group",
    ("auth.user", "delete_selected"): "auth.delete_user",
    ("pooling.alerttarget", "delete_selected"): "pooling.delete_alerttarget",
    ("pooling.brokeraccount", "delete_selected"): "pooling.delete_brokeraccount",
    ("pooling.brokeraccount", "start"): "pooling.operate_pool",
    ("pooling.brokeraccount", "pause"): "pooling.operate_pool",
    ("pooling.brokeraccount", "resume"): "pooling.operate_pool",
    ("pooling.brokeraccount", "reconnect"): "pooling.operate_pool",
    ("pooling.brokeraccount", "rebalance"): "pooling.operate_pool",
    ("pooling.loginsetup", "delete_selected"): "pooling.delete_loginsetup",
    ("pooling.tradingday", "delete_selected"): "pooling.delete_tradingday",
    ("streaming.apikey", "revoke"): "streaming.revoke_apikey",
    ("streaming.clientconnection", "disconnect"): "streaming.disconnect_clientconnection",
    ("streaming.watchlist", "delete_selected"): "streaming.delete_watchlist",
}


class Site(World):
    """The world of the admin's tests, with a person for each column."""

    def __init__(self, account: BrokerAccount) -> None:
        super().__init__(account)
        self.users = {
            "other": User.objects.get(username="other"),
            "owner": account.user,
            "staff": User.objects.get(username="bare"),
            "permitted": staff("permitted"),
        }
        self.rows: dict[Any, Any] = {
            **self.rows,
            "group": Group.objects.create(name="g"),
            "user": self.users["other"],
        }
        permitted = self.users["permitted"]
        permitted.user_permissions.set(Permission.objects.all())
        for name, user in self.users.items():
            self.let_in(name, User.objects.get(pk=user.pk))

    def address(self, route: str) -> str:
        """Return the route with the numbers of what is the owner's."""
        model = route.removeprefix("admin/").split("/<path:object_id>")[0]
        row = self.rows.get(model.partition("/")[2])
        fixed = {
            "<path:content_type_id>/<path:object_id>": f"{self.content_type}/{self.account.pk}",
            "<path:object_id>": str(row.pk if row else self.users["other"].pk),
            "<slug:name>": "reconnect",
            "<id>": str(self.users["other"].pk),
            "<int:account_id>": str(self.account.pk),
            "<int:key_id>": str(self.key.pk),
            "<int:attempt_id>": str(self.rows["loginattempt"].pk),
            "<slug:broker>": self.account.broker,
            "<int:list_id>": str(self.rows["watchlist"].pk),
            "^(?P<app_label>auth|pooling|streaming)/$": "pooling/",
            "(?P<url>.*)$": "no/such/page/",
            "admin/autocomplete/": "admin/autocomplete/?app_label=pooling"
            "&model_name=brokeraccount&field_name=user&term=o",
        }
        for pattern, value in fixed.items():
            route = route.replace(pattern, value)
        return f"/{route}"

    @property
    def content_type(self) -> int:
        return ContentType.objects.get_for_model(BrokerAccount).pk


@pytest.fixture
def site(account: BrokerAccount) -> Site:
    return Site(account)


def routes(resolver: URLResolver, before: str = "") -> Iterator[str]:
    for entry in resolver.url_patterns:
        route = before + str(entry.pattern)
        if isinstance(entry, URLPattern):
            yield route
        else:
            yield from routes(entry, route)


def test_every_url_has_a_row() -> None:
    assert {route for _, route in URLS} == set(routes(get_resolver()))


def came_of(answer: Any) -> str:
    if (
        answer.status_code == 302
        and "/login/" in answer["Location"]
        and "next=" in answer["Location"]
    ):
        return "L"
    return OUTCOMES[answer.status_code]


BODIES = {
    "POST": {"name": "mine", "symbols": []},
    "PUT": {"name": "mine", "symbols": []},
}


def ask(site: Site, person: str, method: str, route: str) -> str:
    """Return what comes of a request of this person."""
    client = site.clients[person]
    if "logout" in route:
        client = Client()
        if person != "anonymous":
            client.force_login(site.users[person])
    extra: dict[str, Any] = {"REMOTE_ADDR": "203.0.113.7"}
    if route.startswith("api/"):
        bodies: dict[str, dict[str, Any]] = {
            "api/watchlists/named": {"names": []},
            "api/preferences": {"preferred_exchange": ""},
        }
        body = bodies.get(route, {"name": "mine", "symbols": []})
        extra["data"] = json.dumps(body)
        extra["content_type"] = "application/json"
    if method == "GET":
        extra = {"REMOTE_ADDR": "203.0.113.7"}
    return came_of(getattr(client, method.lower())(site.address(route), **extra))


def test_every_url_for_every_person(site: Site) -> None:
    # What deletes comes last: the others want to find it.
    rows = sorted(URLS.items(), key=lambda row: row[0][0] == "DELETE")
    wrong = []
    with answering(site.account):
        for (method, route), expected in rows:
            found = "".join(ask(site, person, method, route) for person in PEOPLE)
            if found != expected:
                wrong.append(f"{method} {route}: {found}, not {expected}")
    assert not wrong, "\n".join(wrong)


# -- WebSocket actions ------------------------------------------------------------------------


def test_every_action_of_the_protocol_has_a_row() -> None:
    assert set(ACTIONS) == set(parsing._PARSERS)


class Edge:
    """The site's own application, with a worker in memory."""

    def __init__(self) -> None:
        self.gateway = Gateway(
            make_link=FakeFeedLink, directory=DjangoDirectory(), status=DjangoStatusSource()
        )
        self.application = build_application(http=nothing, gateway=self.gateway)

    async def answers(self, key: str | None, action: str) -> list[dict[str, Any]]:
        """Return what one client is told: the answer, and what follows within a moment."""
        socket = WebsocketCommunicator(self.application, "/ws")
        await socket.connect(timeout=10)
        if key is not None:
            await socket.send_json_to({"action": "authenticate", "api_key": key})
            assert (await socket.receive_json_from(timeout=10))["status"] == "success"
        symbols = [{"exchange": "NSE", "symbol": "INFY"}]
        request = {"action": action, "symbols": symbols, "api_key": "0" * 64}
        await socket.send_json_to(request)
        if action == "pong":
            await socket.send_json_to({"action": "ping"})
        found = [await socket.receive_json_from(timeout=10)]
        if action == "subscribe_pool_status" and found[0]["status"] == "success":
            found.append(await socket.receive_json_from(timeout=10))
        await socket.disconnect(timeout=10)
        return found


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """No pages are asked for."""


def code_of(answer: dict[str, Any]) -> str:
    items = answer.get("subscriptions") or [answer]
    found: str = items[0].get("code") or answer.get("code") or "ok"
    return found


def test_every_action_for_every_person(site: Site) -> None:
    keys = {name: ApiKey.objects.issue(user, "k")[1] for name, user in site.users.items()}

    async def all_rows() -> list[str]:
        edge, wrong = Edge(), []
        try:
            for action, expected in ACTIONS.items():
                for person, wanted in zip(PEOPLE, expected, strict=True):
                    told = await edge.answers(keys.get(person), action)
                    if code_of(told[0]) != wanted:
                        wrong.append(f"{action} by {person}: {told[0]}, not {wanted}")
                    names_owner = "asha" in json.dumps(told)
                    may = person == "owner" or (person == "permitted" and action in SHOWS_ALL_POOLS)
                    must = action in SHOWS_ALL_POOLS and may
                    if (names_owner and not may) or (must and not names_owner):
                        wrong.append(f"{action} shows {person} {told}")
        finally:
            await edge.gateway.close()
        return wrong

    wrong = async_to_sync(all_rows)()
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("person", "origin", "is_let_in"),
    [
        ("anonymous", "http://testserver", False),
        ("other", "http://testserver", True),
        ("owner", "http://testserver", True),
        ("owner", "http://evil.example", False),
        ("owner", None, False),
    ],
)
def test_the_browser_route_wants_a_session_and_the_sites_own_origin(
    site: Site, person: str, origin: str | None, is_let_in: bool
) -> None:
    cookie = site.clients[person].cookies.get("sessionid")
    headers = [(b"host", b"testserver")]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    if cookie is not None:
        headers.append((b"cookie", f"sessionid={cookie.value}".encode()))

    async def state() -> bool:
        edge = Edge()
        socket = WebsocketCommunicator(edge.application, "/ws/ticks/", headers=headers)
        try:
            is_connected, _ = await socket.connect(timeout=10)
            if not is_connected:
                return False
            await socket.send_json_to({"action": "list_subscriptions"})
            said = await socket.receive_output(timeout=10)
            await socket.disconnect(timeout=10)
            return said["type"] == "websocket.send" and '"success"' in said["text"]
        finally:
            await edge.gateway.close()

    assert async_to_sync(state)() is is_let_in


# -- Actions of the admin ---------------------------------------------------------------------


def offered(user: User, model: str) -> set[str]:
    request: HttpRequest = RequestFactory().get("/")
    request.user = User.objects.get(pk=user.pk)
    (model_admin,) = [each for kind, each in admin.site._registry.items() if label(kind) == model]
    return set(model_admin.get_actions(request))


def label(kind: Any) -> str:
    found: str = kind._meta.label_lower
    return found


def test_every_admin_action_has_a_row(site: Site) -> None:
    permitted = site.users["permitted"]
    assert set(ADMIN_ACTIONS) == {
        (label(kind), name)
        for kind in admin.site._registry
        for name in offered(permitted, label(kind))
    }


def test_every_admin_action_takes_its_own_permission(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offered to nobody without it, and refused to who posts it all the same."""
    for module in ("streaming.admin.keys", "streaming.admin.gateways", "pooling.admin.operate"):
        monkeypatch.setattr(f"{module}.WAIT_SECONDS", 0.0)
    wrong = []
    before = (PoolCommand.objects.count(), ApiKey.objects.valid().count(), User.objects.count())
    for number, ((model, action), permission) in enumerate(ADMIN_ACTIONS.items()):
        app, name = model.split(".")
        every = Permission.objects.exclude(
            content_type__app_label=permission.split(".")[0], codename=permission.split(".")[1]
        )
        lacking = staff(f"lacking{number}")
        lacking.user_permissions.set(every)
        holding = staff(f"holding{number}", f"{app}.view_{name}", permission)
        if action in offered(lacking, model):
            wrong.append(f"{model}: {action} is offered without {permission}")
        if action not in offered(holding, model):
            wrong.append(f"{model}: {action} is not offered with {permission}")
        data = {
            "action": action,
            "_selected_action": [site.rows[name].pk],
            "post": "yes",
            "confirmed": "yes",
        }
        site.let_in("lacking", User.objects.get(pk=lacking.pk))
        # Who may look at the list but lacks the permission is shown it, as if nothing was asked.
        for person, expected in zip((*PEOPLE[:4], "lacking"), (*"LLLF", "SM"), strict=True):
            said = came_of(site.clients[person].post(f"/admin/{app}/{name}/", data))
            if said not in expected:
                wrong.append(f"{model}: {action} by {person}: {said}")
            if not type(site.rows[name])._default_manager.filter(pk=site.rows[name].pk).exists():
                wrong.append(f"{model}: {action} by {person} deleted")
    assert not wrong, "\n".join(wrong)
    made = 2 * len(ADMIN_ACTIONS)
    assert before == (
        PoolCommand.objects.count(),
        ApiKey.objects.valid().count(),
        User.objects.count() - made,
    )
