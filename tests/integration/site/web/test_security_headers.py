"""Every answer has the headers by which browsers protect a site: pages, errors, files, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.test import Client

from openalgo_site.asgi import application
from openalgo_site.config.public_url import parse_public_url
from tests.integration.site.admin.admin_kit import answering
from tests.integration.site.web.header_rules import broken_rules
from tests.integration.site.web.test_authorization import URLS, Site, site

__all__ = ["site"]

HOST = "ticks.example.com"
GOOD = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    f"connect-src 'self' wss://{HOST}; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Strict-Transport-Security": "max-age=31536000",
}


@pytest.fixture(autouse=True)
def _public(settings: Any) -> None:
    settings.PUBLIC_URL = parse_public_url(f"https://{HOST}")
    settings.ALLOWED_HOSTS = [HOST]
    settings.CSRF_TRUSTED_ORIGINS = [f"https://{HOST}"]
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    settings.SECURE_HSTS_SECONDS = 31_536_000


def wrong_with(answer: Any) -> list[str]:
    """Return what is wrong with an answer of Django's client."""
    is_page = answer["Content-Type"].startswith("text/html") if "Content-Type" in answer else False
    body = answer.content.decode() if is_page and not answer.streaming else ""
    if answer.streaming:
        answer.close()
    wrong = broken_rules(answer.headers, answer.cookies, body, host=HOST)
    kept = answer.headers.get("Cache-Control", "")
    if "no-store" not in kept and "public" not in kept:  # only our files are everybody's
        wrong.append(f"a cache may keep it for somebody else: Cache-Control is {kept!r}")
    return wrong


def ask(client: Client, path: str, method: str = "get", **details: Any) -> Any:
    headers = {"Host": HOST} | details.pop("headers", {})
    return getattr(client, method)(path, secure=True, headers=headers, **details)


def get_routes() -> Iterator[str]:
    return (route for method, route in URLS if method == "GET")


def test_every_page_for_everybody(site: Site) -> None:
    """Those that are shown, those that lead to the login, and those that are refused."""
    site.let_in("root", User.objects.create_superuser("root"))
    wrong, pages = [], 0
    with answering(site.account):
        for person in ("anonymous", "owner", "permitted", "root"):
            for route in get_routes():
                answer = ask(site.clients[person], site.address(route))
                pages += answer.status_code == 200
                wrong += [f"{person} at {route}: {each}" for each in wrong_with(answer)]
    assert not wrong, "\n".join(wrong)
    assert pages > 80, "most were refused, so little was seen"


@pytest.mark.django_db
def test_a_login_and_what_it_sets() -> None:
    User.objects.create_user("asha", password="a long password 7")
    client = Client()
    assert wrong_with(ask(client, "/login/")) == []
    fields = {"username": "asha", "password": "a long password 7"}
    answer = ask(client, "/login/", "post", data=fields)
    assert answer.status_code == 302
    assert {"sessionid", "known_browser"} <= set(answer.cookies)
    assert wrong_with(answer) == []


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/nowhere/", "/api/nowhere", "/admin/nowhere/", "/static/no.js"])
def test_what_is_not_there(path: str) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    answer = ask(client, path)
    assert answer.status_code == 404
    assert wrong_with(answer) == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("no"), 500),
        (OperationalError("database is locked"), 503),
        (PermissionDenied(), 403),
    ],
)
@pytest.mark.parametrize("path", ["/login/", "/api/pools"])
def test_what_fails(
    monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, path: str
) -> None:
    def fail(*args: object, **details: object) -> None:
        raise error

    monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.cursor", fail)
    client = Client(raise_request_exception=False)
    client.cookies["sessionid"] = "x" * 32
    answer = ask(client, path, headers={"X-API-KEY": "k" * 64})
    assert answer.status_code == status
    assert wrong_with(answer) == []


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/login/", "/api/watchlists"])
def test_a_form_of_nowhere(path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_user("asha"))
    answer = ask(client, path, "post", data={})
    assert answer.status_code == 403
    assert wrong_with(answer) == []


@pytest.mark.parametrize(("path", "status"), [("/login/", 400), ("/api/pools", 400)])
def test_a_host_that_is_none_of_ours(path: str, status: int) -> None:
    answer = ask(Client(), path, headers={"Host": "evil.example; script-src *"})
    assert answer.status_code == status
    assert wrong_with(answer) == []
    assert "evil" not in answer["Content-Security-Policy"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/static/streaming/site.css", "get", 200),
        ("/static/streaming/js/main.js", "head", 200),
        ("/favicon.ico", "get", 302),
        ("/logout/", "get", 405),
        ("/metrics", "post", 405),
        ("/api/pools", "delete", 405),
        ("/livez", "get", 200),
    ],
)
def test_files_and_other_methods(path: str, method: str, status: int) -> None:
    answer = ask(Client(), path, method)
    assert answer.status_code == status
    assert wrong_with(answer) == []


def in_clear(path: str) -> Any:
    return Client().get(path, headers={"Host": HOST}, REMOTE_ADDR="192.0.2.7")


@pytest.mark.parametrize(("path", "status"), [("/login/", 301), ("/api/pools", 403)])
def test_what_came_in_clear(path: str, status: int) -> None:
    """Browsers take no word about TLS from there, and are given none."""
    answer = in_clear(path)
    assert answer.status_code == status
    assert broken_rules(answer.headers, answer.cookies, "") == []


async def test_answers_that_never_came_to_django() -> None:
    """A body that is too large, and a socket where there is none."""
    scope = {
        "type": "http", "method": "POST", "path": "/login/", "query_string": b"",
        "headers": [(b"host", HOST.encode()), (b"content-length", b"999999999")],
        "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 8000), "scheme": "https",
    }  # fmt: skip
    told = ApplicationCommunicator(application, scope)
    start = await told.receive_output(10)
    assert start["status"] == 413
    assert bare(start) == []
    socket = WebsocketCommunicator(application, "/nowhere/")
    socket.scope["extensions"] = {"websocket.http.response": {}}
    await socket.send_input({"type": "websocket.connect"})
    start = await socket.receive_output(10)
    assert start["status"] == 404
    assert bare(start) == []


def bare(start: dict[str, Any]) -> list[str]:
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return broken_rules(headers, {}, "")


def test_an_answer_with_all_of_them_is_fine() -> None:
    assert broken_rules(GOOD, {}, "<script src='/static/x.js'></script>", host=HOST) == []


@pytest.mark.parametrize("name", GOOD)
def test_the_rules_miss_each_header(name: str) -> None:
    without = {each: value for each, value in GOOD.items() if each != name}
    assert broken_rules(without, {}, "", host=HOST)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("script-src 'self'", "script-src 'self' 'unsafe-inline'"),
        ("script-src 'self'", "script-src 'self' 'unsafe-eval'"),
        ("script-src 'self'", "script-src 'self' data:"),
        ("script-src 'self'", "script-src https:"),
        ("style-src 'self'", "style-src 'self' 'unsafe-inline'"),
        ("default-src 'none'", "default-src *"),
        (f"wss://{HOST}", f"ws://{HOST}"),
        ("base-uri 'none'", "base-uri 'self'"),
        ("frame-ancestors 'none'", "frame-ancestors 'self'"),
        ("form-action 'self'", "form-action https:"),
        ("camera=()", "camera=(self)"),
        ("camera=()", "camera=*"),
        ("max-age=31536000", "max-age=3600"),
    ],
)
def test_the_rules_bite(old: str, new: str) -> None:
    assert sum(old in value for value in GOOD.values()) == 1
    changed = {name: value.replace(old, new) for name, value in GOOD.items()}
    assert broken_rules(changed, {}, "", host=HOST)


@pytest.mark.parametrize(
    "page",
    [
        "<script>1</script>", "<style>a{}</style>", "<a style='x'>", "<a onclick='x'>",
        "<script src='https://cdn.example/x.js'></script>", "<form action='//evil.example/'>",
        "<a href=' JavaScript:x'>",
    ],
)  # fmt: skip
def test_the_rules_read_pages(page: str) -> None:
    assert broken_rules(GOOD, {}, page, host=HOST)


@pytest.mark.parametrize(
    "text",
    ["sessionid=x; HttpOnly; SameSite=Lax", "sessionid=x; Secure; SameSite=Lax",
     "sessionid=x; Secure; HttpOnly; SameSite=None", "csrftoken=x; Secure"],
)  # fmt: skip
def test_the_rules_read_cookies(text: str) -> None:
    assert broken_rules(GOOD, SimpleCookie(text), "", host=HOST)
