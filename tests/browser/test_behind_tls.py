"""The whole system behind nginx and Caddy, by the recipes of ``deploy/``, with TLS."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.browser.tls_proxies import NAME, Certificates, Ports, bare_nginx, caddy, nginx
from tests.browser.watch import Watch
from tests.fault.test_demo import RunningDemo, demo, run_django
from tests.fix_browser import PATIENCE_MS, ConsoleErrors
from tests.support import eventually, free_port, metrics_headers

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(240),
]

ELSEWHERE = "127.0.0.9"  # a client that is not where the proxy is
CLAIMED = "203.0.113.9"
YEAR = "max-age=31536000"
ORACLE = Path(__file__).resolve().parents[1] / "oracles" / "openalgo_client.py"
NO_PAGE = re.compile(r"\.(csv|json)$|/(logout|metrics|livez|readyz)")
SEEN_FROM = """
import django; django.setup()
from streaming.models import ClientConnection
print(sorted(set(ClientConnection.objects.values_list("address", flat=True))))
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, tls_port: int) -> Iterator[RunningDemo]:
    """A demo that is known under its public URL, as the recipes say."""
    with demo(
        tmp_path_factory.mktemp("tls"),
        SIMULATOR_RATE="200",
        PUBLIC_URL=f"https://{NAME}:{tls_port}",
        TRUSTED_PROXIES="127.0.0.1",
    ) as started:
        started.ready()
        yield started


@pytest.fixture(scope="module")
def ports(running: RunningDemo, tls_port: int) -> Ports:
    return Ports(clear=free_port(), tls=tls_port, site=int(running.ports["PORT"]))


@pytest.fixture(scope="module", params=[nginx, caddy], ids=["nginx", "caddy"])
def proxied(
    request: Any,
    tmp_path_factory: pytest.TempPathFactory,
    ports: Ports,
    certificates: Certificates,
) -> Iterator[Ports]:
    with request.param(tmp_path_factory.mktemp("proxy"), ports, certificates):
        yield ports


class Site:
    """The site as a program sees it that believes the test's authority alone."""

    def __init__(self, ports: Ports, certificates: Certificates) -> None:
        self.ports, self.certificates = ports, certificates
        self.origin = f"https://{NAME}:{ports.tls}"
        self._http = httpx2.Client(
            base_url=f"https://127.0.0.1:{ports.tls}",
            verify=certificates.trust(),
            trust_env=False,
            timeout=60,
            headers={"Host": f"{NAME}:{ports.tls}"},
            follow_redirects=False,
        )

    def ask(self, path: str, method: str = "GET", **details: Any) -> httpx2.Response:
        return self._http.request(method, path, extensions={"sni_hostname": NAME}, **details)

    def in_clear(self, path: str) -> httpx2.Response:
        return httpx2.get(
            f"http://127.0.0.1:{self.ports.clear}{path}",
            headers={"Host": NAME},
            trust_env=False,
            timeout=60,
        )

    def log_in(self, ready: dict[str, Any]) -> httpx2.Response:
        form = self.ask("/login/")
        assert form.status_code == 200
        (token,) = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
        fields = {"username": ready["username"], "password": ready["password"]}
        return self.ask(
            "/login/",
            "POST",
            data={**fields, "csrfmiddlewaretoken": token},
            headers={"Origin": self.origin, "Referer": f"{self.origin}/login/"},
        )

    def socket(self, path: str, **details: Any) -> connect:
        return connect(
            f"wss://{NAME}:{self.ports.tls}{path}",
            host="127.0.0.1",
            port=self.ports.tls,
            ssl=self.certificates.trust(),
            proxy=None,
            open_timeout=60,
            **details,
        )

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def site(proxied: Ports, certificates: Certificates) -> Iterator[Site]:
    made = Site(proxied, certificates)
    yield made
    made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def tls_page(browser: Browser, console_errors: ConsoleErrors) -> AsyncIterator[Page]:
    """An empty page of a profile of its own; complaints fail the test."""
    context = await browser.new_context(
        ignore_https_errors=True, viewport={"width": 1280, "height": 800}
    )
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    with console_errors.of(page):
        yield page
    await context.close()


async def test_http_leads_to_the_same_place_with_tls(site: Site) -> None:
    answer = site.in_clear("/status/?x=1")
    assert answer.status_code in (301, 308)
    # Caddy takes the port that it listens at for one that others come to as 443.
    location = answer.headers["Location"].replace(f":{site.ports.tls}/", "/")
    assert location == f"https://{NAME}/status/?x=1"
    assert "set-cookie" not in answer.headers


async def test_a_login_sets_cookies_that_never_travel_in_clear(
    site: Site, running: RunningDemo
) -> None:
    form = site.ask("/login/")
    assert form.headers["Strict-Transport-Security"] == YEAR
    answer = site.log_in(running.ready())
    assert answer.status_code == 302
    cookies = answer.headers.get_list("set-cookie")
    assert {each.partition("=")[0] for each in cookies} >= {"sessionid", "csrftoken"}
    assert all("secure" in each.lower().split("; ") for each in cookies), cookies


async def test_a_program_gets_ticks_and_is_who_it_is(site: Site, running: RunningDemo) -> None:
    """Whatever it claims to be: the proxy says who connects, not the client."""
    ready = running.ready()
    claims = {"X-Forwarded-For": CLAIMED, "X-Forwarded-Proto": "http"}
    async with site.socket("/ws", additional_headers=claims, local_addr=(ELSEWHERE, 0)) as socket:
        await socket.send(json.dumps({"action": "authenticate", "api_key": ready["api_key"]}))
        assert json.loads(await socket.recv())["status"] == "success"
        wanted = [{"symbol": "RELIANCE", "exchange": "NSE"}]
        await socket.send(json.dumps({"action": "subscribe", "symbols": wanted, "mode": "LTP"}))
        while json.loads(await socket.recv())["type"] != "market_data":
            pass

        async def is_known() -> bool:
            seen = await asyncio.to_thread(run_django, running.data_dir, SEEN_FROM)
            assert CLAIMED not in seen
            return ELSEWHERE in seen

        await eventually(is_known, timeout=60, interval=0.5)  # it is written behind the socket


async def test_both_sdks_of_openalgo_get_ticks(
    site: Site, running: RunningDemo, oracle_python: Path
) -> None:
    """As they are, with the address that the documentation tells them; by a name that resolves."""
    second = str(oracle_python.parent.parent / "openalgo2")
    api_key = running.ready()["api_key"]

    async def result_of(*sdk: str) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            str(oracle_python), str(ORACLE), "modes", f"wss://localhost:{site.ports.tls}/ws",
            api_key, *sdk,
            env={**os.environ, "SSL_CERT_FILE": str(site.certificates.authority)},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(180):
            output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        result: dict[str, Any] = json.loads(output[output.index(b"{") :])
        return result

    for result in await asyncio.gather(result_of(), result_of(second)):
        assert result["connected"]
        assert result["arrived"]


async def test_a_foreign_page_opens_no_socket(site: Site) -> None:
    for origin in ("https://evil.example", f"http://{NAME}:{site.ports.tls}", f"https://{NAME}"):
        with pytest.raises(InvalidStatus) as refused:
            async with site.socket("/ws/ticks/", origin=origin):
                pass
        assert refused.value.response.status_code == 403


async def test_metrics_are_closed_but_for_their_key(site: Site, running: RunningDemo) -> None:
    assert site.ask("/metrics").status_code == 401
    headers = metrics_headers(running.data_dir)
    assert "tickpool_clients" in site.ask("/metrics", headers=headers).text


async def test_pages_work_as_ever(tls_page: Page, proxied: Ports, running: RunningDemo) -> None:
    """A person logs in, sees prices over a secure socket, saves a form in the admin, logs out."""
    ready, sockets = running.ready(), []
    tls_page.on("websocket", lambda socket: sockets.append(socket.url))
    watch = Watch(tls_page)
    origin = f"https://{NAME}:{proxied.tls}"
    await watch.log_in(origin, ready["username"], ready["password"])
    await watch.has_prices()
    assert sockets
    assert all(each.startswith(f"wss://{NAME}:{proxied.tls}/") for each in sockets), sockets
    cookies = await tls_page.context.cookies()
    assert {each["name"] for each in cookies} >= {"sessionid", "csrftoken"}
    assert all(each["secure"] for each in cookies)
    await tls_page.goto(f"{origin}/admin/auth/user/")
    await tls_page.locator("#result_list").get_by_role("link", name="demo").click()
    await tls_page.get_by_role("button", name="Save", exact=True).click()
    await expect(tls_page.locator(".messagelist .success")).to_contain_text("changed successfully")
    await tls_page.goto(origin)
    await watch.has_prices()
    await tls_page.get_by_role("button", name="Log out").click()
    await expect(tls_page.get_by_text("You are logged out.")).to_be_visible()


async def test_a_proxy_that_tells_nothing_opens_nothing_and_turns_nobody_in_circles(
    ports: Ports, certificates: Certificates, running: RunningDemo, tmp_path: Path
) -> None:
    """Everybody comes from this machine and in clear then, as far as the site can see."""
    own = Ports(clear=0, tls=free_port(), site=ports.site)
    with bare_nginx(tmp_path, own, certificates):
        site = Site(own, certificates)
        site.origin = f"https://{NAME}:{ports.tls}"
        assert site.ask("/metrics").status_code == 401
        assert site.log_in(running.ready()).status_code == 302
        assert site.ask("/").status_code == 200
        site.close()


async def test_no_page_breaks_the_policy(
    tls_page: Page, running: RunningDemo, console_errors: ConsoleErrors
) -> None:
    """Every page that one can come to, on this machine itself, and pages of refusals."""
    console_errors.allow(r"status of 40[34]")
    ready, origin = running.ready(), running.ready()["url"].rstrip("/")
    await tls_page.goto(f"{origin}/login/")
    await tls_page.evaluate("document.querySelector('[name=csrfmiddlewaretoken]').value = ''")
    await tls_page.get_by_label("User name").fill("somebody")
    await tls_page.get_by_label("Password").fill("something")
    await tls_page.get_by_role("button", name="Log in").click()
    await expect(tls_page.get_by_role("heading")).to_have_text("This form was not accepted")
    await Watch(tls_page).log_in(origin, ready["username"], ready["password"])
    seen: set[str] = set()
    waiting = ["/", "/status/1/", "/admin/", "/nowhere/", "/admin/nowhere/"]
    while waiting:
        path = waiting.pop()
        await tls_page.goto(origin + path, wait_until="domcontentloaded")
        found = await tls_page.locator("a[href]").evaluate_all(
            "links => links.filter(link => link.host === location.host && !link.download)"
            ".map(link => link.pathname)"
        )
        for each in sorted(set(found)):
            kind = re.sub(r"\d+", "N", each)
            if kind not in seen and not NO_PAGE.search(each):
                seen.add(kind)
                waiting.append(each)
    assert {
        "/console/", "/status/", "/admin/pooling/brokeraccount/N/change/",
        "/admin/streaming/apikey/add/", "/admin/auth/user/N/password/", "/admin/password_change/",
    } <= seen  # fmt: skip
