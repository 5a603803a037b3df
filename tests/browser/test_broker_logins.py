"""Logging in at a broker as its user does it: from nothing to the first tick, in a browser.

A demo with Zerodha's exchange, whose prices reach the watch, and beside it an exchange of each
other broker. Every broker has a user of its own, who has no account here yet.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from brokers.simulator.login.people import APP, PEOPLE, Person, totp_at
from brokers.simulator.runner import LOGINS
from tests.browser.watch import Watch
from tests.fault.test_demo import ROOT, RunningDemo, demo, run_django
from tests.support import eventually_sync, free_port

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(240),
]

PASSWORD = "a-long-password-1"
# What each asks for when an account is added, and whether a page of the broker's follows.
KEYS: dict[str, tuple[str, dict[str, str], bool]] = {
    "zerodha": ("", {"API key": APP.key, "API secret": APP.secret}, True),
    "upstox": ("browser", {"API key": APP.key, "API secret": APP.secret}, True),
    "fyers": ("", {"App ID": APP.key, "Secret ID": APP.secret}, True),
    "dhan": (
        "browser",
        {"Client ID": "1000000001", "API key": APP.key, "API secret": APP.secret},
        True,
    ),
    "angel": (
        "",
        {
            "API key": APP.key,
            "Client code": "AB1234",
            "PIN": PEOPLE[0].pin[:4],
            "TOTP secret": PEOPLE[0].totp_secret,
        },
        False,
    ),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """The demo, with all five brokers played on this machine and a user for each."""
    data_dir = tmp_path_factory.mktemp("broker-logins")
    with contextlib.ExitStack() as stack:
        ports = {broker: (free_port(), free_port()) for broker in KEYS}
        places = ",".join(
            f"{broker}=ws://127.0.0.1:{feed} http://127.0.0.1:{login}"
            for broker, (feed, login) in ports.items()
        )
        feed, login = ports["zerodha"]
        started = stack.enter_context(
            demo(
                data_dir,
                SIMULATOR_RATE="300",
                SIMULATOR_PORT=str(feed),
                SIMULATOR_LOGIN_PORT=str(login),
                LOCAL_EXCHANGES=places,
            )
        )
        site = f"http://127.0.0.1:{started.ports['PORT']}"
        for broker in KEYS.keys() - {"zerodha"}:
            stack.enter_context(exchange(broker, *ports[broker], site))
        started.ready()
        names = ", ".join(repr(f"{broker}-user") for broker in KEYS)
        run_django(
            data_dir,
            "import django; django.setup(); from django.contrib.auth.models import User\n"
            f"for name in ({names}): User.objects.create_user(name, password={PASSWORD!r})",
        )
        yield started


@contextlib.contextmanager
def exchange(broker: str, port: int, login_port: int, site: str) -> Iterator[None]:
    command = [sys.executable, "manage.py", "runsimulator", "--broker", broker, "--rate", "100"]
    command += ["--port", str(port), "--login-port", str(login_port), "--login-redirect", site]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines: list[str] = []
        eventually_sync(
            lambda: lines.append(process.stdout.readline()) or "Logins are at" in lines[-1],  # type: ignore[union-attr, func-returns-value]
            timeout=60,
        )
        yield
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


class Trader:
    """Somebody with an account at a broker and none here. Counts the clicks."""

    def __init__(self, page: Page, url: str, broker: str) -> None:
        self.page, self.url, self.broker = page, url.rstrip("/"), broker
        self.kind, self.fields, self.has_page = KEYS[broker]
        people = LOGINS[broker].people
        self.person: Person = people[0]
        self.clicks = 0

    async def click(self, role: Any, name: str) -> None:
        self.clicks += 1
        await self.page.get_by_role(role, name=name, exact=True).click()

    async def add(self, label: str) -> None:
        """Add the account from the market watch on: the broker, then only its own fields."""
        await self.click("link", "Brokers")
        await self.click("link", label)
        if self.kind:
            await self.click("link", "Log in at the broker's page")
        for name, value in self.fields.items():
            await self.page.get_by_label(name, exact=True).fill(value)

    async def at_the_broker(self, answer: str = "Allow") -> None:
        """Fill in the broker's page."""
        await self.page.get_by_label("User").fill(self.person.user_id)
        await self.page.get_by_label("PIN").fill(self.person.pin)
        code = totp_at(self.person.totp_secret, time.time())
        await self.page.get_by_label("Code of the second factor").fill(code)
        await self.click("button", answer)

    async def is_accepted(self) -> None:
        await expect(self.page.locator(".attempts summary")).to_contain_text("accepted")
        await expect(self.page.locator('[data-part="token"]')).not_to_have_text("none yet")


LABELS = {
    "zerodha": "Zerodha",
    "upstox": "Upstox",
    "fyers": "Fyers",
    "dhan": "Dhan",
    "angel": "Angel One",
}


@pytest.mark.parametrize("broker", KEYS)
async def test_from_nothing_to_the_days_login(
    page: Page, running: RunningDemo, broker: str
) -> None:
    """At most four clicks where the broker's recommended login is chosen, one more for another."""
    ready = running.ready()
    await log_in(page, ready["url"], f"{broker}-user")
    trader = Trader(page, ready["url"], broker)
    await trader.add(LABELS[broker])
    if trader.has_page:
        await trader.click("button", "Save and log in")
        await trader.at_the_broker()
    else:
        await page.get_by_role("checkbox", name="I know that").check()
        await trader.click("button", "Save and log in now")
    await expect(page).to_have_url(f"{trader.url}/brokers/#account-" + await account_of(page))
    await trader.is_accepted()
    assert trader.clicks <= 4 + bool(trader.kind)
    if broker == "zerodha":
        await page.get_by_role("link", name="Market watch", exact=True).click()
        await Watch(page).has_prices()


async def log_in(page: Page, url: str, username: str) -> None:
    await page.goto(url)
    await page.get_by_label("User name").fill(username)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("link", name="Brokers", exact=True)).to_be_visible()


async def account_of(page: Page) -> str:
    await expect(page.locator(".account")).to_be_visible()
    found = await page.locator(".account").get_attribute("data-id")
    return str(found)


async def test_a_declined_login_says_so_and_the_next_click_tries_again(
    page: Page, running: RunningDemo
) -> None:
    ready = running.ready()
    run_django(
        running.data_dir,
        "import django; django.setup(); from django.contrib.auth.models import User\n"
        f"User.objects.create_user('unsure', password={PASSWORD!r})",
    )
    await log_in(page, ready["url"], "unsure")
    trader = Trader(page, ready["url"], "zerodha")
    await trader.add("Zerodha")
    await trader.click("button", "Save and log in")
    await page.get_by_role("button", name="Deny").click()
    await expect(page.get_by_role("alert")).to_contain_text("cancelled or declined")
    await expect(page.locator('[data-part="token"]')).to_have_text("none yet")
    await trader.click("button", "Log in")
    trader.person = PEOPLE[1]  # the other's code was used by another test
    await trader.at_the_broker()
    await trader.is_accepted()


async def test_back_in_another_tab_after_logging_out_stores_nothing(
    page: Page, running: RunningDemo
) -> None:
    ready = running.ready()
    url = ready["url"].rstrip("/")
    await log_in(page, url, "zerodha-user")
    await page.goto(f"{url}/brokers/zerodha/callback/?request_token=abc&state=of-another")
    await expect(page.get_by_role("alert")).to_contain_text("was not begun here")
    await expect(page).to_have_url(f"{url}/brokers/")
    await page.context.clear_cookies()
    await page.goto(f"{url}/brokers/zerodha/callback/?request_token=abc&state=of-another")
    await expect(page.get_by_role("status")).to_contain_text("You were logged out here")
    assert "request_token" not in page.url


async def test_a_card_that_has_not_changed_is_not_read_out_again(
    page: Page, running: RunningDemo
) -> None:
    """A screen reader reads a live part out whenever it is written, were it the same words."""
    url = running.ready()["url"].rstrip("/")
    run_django(
        running.data_dir,
        "import django; django.setup(); from django.contrib.auth.models import User\n"
        "from pooling.models import BrokerAccount\n"
        f"listener = User.objects.create_user('listener', password={PASSWORD!r})\n"
        "BrokerAccount.objects.create(user=listener, broker='zerodha', enabled=False)",
    )
    await log_in(page, url, "listener")
    answers: list[bytes] = []

    async def same(route: Route) -> None:
        if not answers:
            answers.append(await (await route.fetch()).body())
        await route.fulfill(body=answers[0], content_type="application/json")

    await page.route("**/brokers/cards.json", same)

    async def looked(times: int) -> None:
        for _ in range(times):
            await page.wait_for_event("response", lambda each: each.url.endswith("cards.json"))

    await page.goto(f"{url}/brokers/")
    await looked(2)  # what the first one changed is on the page once the second is asked
    await page.evaluate(
        "() => { window.written = 0;"
        " new MutationObserver((all) => { window.written += all.length; }).observe("
        " document.querySelector('.account'),"
        " {childList: true, characterData: true, subtree: true}); }"
    )
    await looked(2)
    assert await page.evaluate("window.written") == 0
