"""The admin on the whole system, as a person works in it: limits, pausing, keys."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
import websockets
from playwright.async_api import Locator, Page, expect

from tests.fault.test_demo import RunningDemo, demo
from tests.support import eventually

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(240),
]

HELD = 30
PATIENCE_MS = 20_000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """A demo of its own, kept for this module."""
    with demo(tmp_path_factory.mktemp("admin"), SIMULATOR_RATE="100") as started:
        started.ready()
        yield started


@pytest.fixture
def ready(running: RunningDemo) -> dict[str, Any]:
    return running.ready()


@pytest_asyncio.fixture(loop_scope="session")
async def admin(page: Page, ready: dict[str, Any]) -> Page:
    """The admin's first page, logged in by hand."""
    await page.goto(ready["admin_url"])
    await page.get_by_label("Username:").fill(ready["username"])
    await page.get_by_label("Password:").fill(ready["password"])
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", name="Pools at a glance")).to_be_visible()
    return page


def some_symbols(ready: dict[str, Any], count: int) -> list[dict[str, str]]:
    """Return instruments of the demo's exchange."""
    found: dict[str, dict[str, str]] = {}
    for letter in "ABCDEIKMRST":
        request = urllib.request.Request(
            f"{ready['url']}api/instruments?q={letter}", headers={"X-API-KEY": ready["api_key"]}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            for item in json.load(answer)["results"]:
                if item["exchange"] == "NSE":
                    found[item["symbol"]] = {"symbol": item["symbol"], "exchange": "NSE"}
    assert len(found) >= count
    return list(found.values())[:count]


@asynccontextmanager
async def program(ready: dict[str, Any], api_key: str) -> AsyncIterator[Any]:
    """A program that is logged in at the OpenAlgo port, and reads what it is sent."""
    async with websockets.connect(ready["openalgo_url"]) as socket:
        await socket.send(json.dumps({"action": "authenticate", "api_key": api_key}))
        assert json.loads(await socket.recv())["status"] == "success"
        # Who does not read answers no pings, and loses its socket and its symbols.
        reading = asyncio.create_task(read(socket), name="program-reads")
        yield socket
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def read(socket: Any) -> None:
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            await socket.recv()


async def open_pool(admin: Page, ready: dict[str, Any]) -> None:
    """Open the page of the demo's pool by way of the list."""
    await admin.goto(f"{ready['admin_url']}pooling/brokeraccount/")
    await admin.locator("#result_list tbody").get_by_role("link", name="demo").first.click()
    await expect(admin.get_by_role("heading", name="The pool now")).to_be_visible()


async def test_a_limit_is_lowered_after_its_price_was_told(admin: Page, ready: dict[str, Any]):
    """Type it, read what it drops, say yes, and see it in force, in the history too."""
    symbols = await asyncio.to_thread(some_symbols, ready, HELD)
    async with program(ready, ready["api_key"]) as socket:
        await socket.send(json.dumps({"action": "subscribe", "symbols": symbols, "mode": "LTP"}))

        async def shows_held() -> bool:
            await open_pool(admin, ready)
            return await admin.locator(f"[data-held='{HELD}']").count() == 1

        await eventually(shows_held, timeout=60, interval=0.5)
        hint = admin.locator(".tp-hint")
        await expect(hint).to_contain_text(f"room for all {HELD} symbols held now")
        await admin.get_by_label("Symbols per connection:").fill("5")
        await admin.get_by_label("Max connections:").fill("2")
        await expect(hint).to_have_text(
            "2 x 5 = 10 places: 20 of 30 symbols would have no place, the newest first."
        )
        table = admin.locator(".tp-limits-table")
        await table.evaluate("table => { table.dataset.accountCap = 8; }")
        await admin.get_by_label("Max connections:").fill("3")
        await expect(hint).to_have_text(
            "3 x 5 = 15 places, of which the broker grants an account 8: "
            "22 of 30 symbols would have no place, the newest first."
        )
        await admin.get_by_label("Max connections:").fill("2")
        await admin.get_by_role("button", name="Save", exact=True).click()
        await expect(admin.get_by_role("heading", name="Lower the limits?")).to_be_visible()
        await expect(admin.locator(".tp-note-warn")).to_contain_text(
            "2 x 5 leaves 20 of 30 symbols without a place; the newest are dropped first"
        )
        await admin.get_by_role("button", name="Yes, save the lower limits").click()
        await expect(admin.locator(".messagelist .success")).to_contain_text("changed successfully")

        async def is_in_force() -> bool:
            await open_pool(admin, ready)
            panel = await admin.locator(".tp-limits").inner_text()
            pool = await admin.locator(".tp-pool").inner_text()
            is_applied = re.search(r"Revision [2-9] in force since", panel) is not None
            return is_applied and "10 / 10" in pool and "live" in pool

        await eventually(is_in_force, timeout=60, interval=0.5)
        await admin.get_by_role("link", name="History").click()
        entries = admin.locator("#change-history tbody tr")
        entry = entries.filter(has_text="Symbols per connection: 3,000 → 5")
        await expect(entry).to_contain_text("Max connections: 3 → 2")
        await expect(entry).to_contain_text(ready["username"])
    await open_pool(admin, ready)
    await admin.get_by_label("Symbols per connection:").fill("3000")
    await admin.get_by_label("Max connections:").fill("3")
    await admin.get_by_role("button", name="Save", exact=True).click()
    await expect(admin.locator(".messagelist .success")).to_be_visible()


async def test_a_pool_is_paused_and_resumed(admin: Page, ready: dict[str, Any]):
    """Each asks first, waits for the worker, shows its words, and the badge follows.

    Nobody wants a price of it meanwhile: it is idle then.
    """
    pool = admin.locator(".tp-pool-state")
    await open_pool(admin, ready)
    for name, badge in (("Pause", "paused"), ("Resume", "idle")):
        await admin.get_by_role("link", name=f"{name}…").click()
        await expect(admin.get_by_role("heading", name=f"{name}: are you sure?")).to_be_visible()
        await admin.get_by_role("button", name=name).click()
        await expect(admin.locator(".messagelist .success")).to_contain_text(
            f"The pool is {name.lower()}d".replace("ee", "e"), timeout=PATIENCE_MS
        )

        async def shows(word: str = badge) -> bool:
            await open_pool(admin, ready)
            return word in await pool.inner_text()

        await eventually(shows, timeout=60, interval=0.5)
    await admin.get_by_role("link", name="Commands", exact=True).click()
    rows = admin.locator("#result_list tbody tr")
    await expect(rows.nth(0)).to_contain_text("resume")
    await expect(rows.nth(1)).to_contain_text("pause")
    await expect(rows.nth(1)).to_contain_text("done")


async def test_a_key_is_made_shown_once_and_revoked(admin: Page, ready: dict[str, Any]):
    """The program that uses it loses its socket within five seconds and cannot come back."""
    await admin.goto(f"{ready['admin_url']}streaming/apikey/add/")
    await admin.get_by_label("Name:").fill("notebook")
    await admin.get_by_role("button", name="Save", exact=True).click()
    await expect(admin.get_by_role("heading", name="New API key")).to_be_visible()
    (key,) = re.findall(r"[0-9a-f]{64}", await admin.locator("#content code").inner_text())
    await admin.get_by_role("link", name="Back to the list of API keys").click()
    async with program(ready, key) as socket:
        row = admin.locator("#result_list tbody tr").filter(has_text="notebook")
        await row.get_by_role("checkbox").check()
        await admin.get_by_label("Action:").select_option(label="Revoke the selected API keys")
        await admin.get_by_role("button", name="Go").click()
        await expect(admin.get_by_role("heading", name="Revoke: are you sure?")).to_be_visible()
        await admin.get_by_role("button", name="Revoke").click()
        async with asyncio.timeout(60):
            await socket.wait_closed()
        assert socket.close_code == 4401
    await expect(admin.locator(".messagelist li")).to_contain_text("1 API key revoked.")
    await expect(row).to_contain_text("revoked")
    async with websockets.connect(ready["openalgo_url"]) as again:
        await again.send(json.dumps({"action": "authenticate", "api_key": key}))
        assert json.loads(await again.recv())["status"] == "error"


async def asked_for(page: Page) -> set[str]:
    """The brokers whose credential fields are shown."""
    fields = page.locator("input[name^=credential_]:visible")
    names: list[str] = await fields.evaluate_all("fields => fields.map(field => field.name)")
    return {name.split("_")[1] for name in names}


async def test_a_new_account_asks_for_the_credential_of_its_broker_alone(
    admin: Page, ready: dict[str, Any]
):
    """What was typed for another one is not sent, and comes back with that one."""
    await admin.goto(f"{ready['admin_url']}pooling/brokeraccount/add/")
    broker = admin.get_by_label("Broker:")
    note = admin.get_by_role("status")
    await expect(note).to_have_text("Choose a broker: what it needs is asked for here.")
    assert await asked_for(admin) == set()
    await broker.select_option("zerodha")
    assert await asked_for(admin) == {"zerodha"}
    await expect(note).to_be_hidden()
    token = admin.locator("[name=credential_zerodha_access_token]")
    await token.fill("typed by mistake")
    await broker.select_option("binance")
    await expect(note).to_have_text("This broker needs no credential.")
    assert await asked_for(admin) == set()
    await broker.select_option("zerodha")
    await expect(token).to_have_value("typed by mistake")
    await broker.select_option("dhan")
    assert await asked_for(admin) == {"dhan"}
    await admin.get_by_label("Label:").fill("")
    await admin.get_by_role("button", name="Save and continue editing").click()
    await expect(admin.locator(".errornote")).to_be_visible()
    await expect(admin.get_by_text("another broker")).to_have_count(0)
    assert await asked_for(admin) == {"dhan"}  # the choice that the answer came with


async def test_what_the_server_says_of_a_field_is_not_hidden(admin: Page, ready: dict[str, Any]):
    """A page without the script sends what is typed anywhere."""
    await admin.goto(f"{ready['admin_url']}pooling/brokeraccount/add/")
    await admin.get_by_label("Broker:").select_option("dhan")
    field = "[name=credential_zerodha_access_token]"
    await admin.locator(field).evaluate(
        "field => { field.disabled = false; field.value = 'typed by mistake'; }"
    )
    await admin.get_by_role("button", name="Save and continue editing").click()
    await expect(admin.get_by_text("This belongs to another broker")).to_be_visible()
    await expect(admin.locator(field)).to_be_enabled()
    assert await asked_for(admin) == {"dhan", "zerodha"}


async def test_without_scripts_every_credential_can_be_typed(admin: Page, ready: dict[str, Any]):
    browser = admin.context.browser
    assert browser
    state = await admin.context.storage_state()
    context = await browser.new_context(java_script_enabled=False, storage_state=state)
    page = await context.new_page()
    await page.goto(f"{ready['admin_url']}pooling/brokeraccount/add/")
    shown = page.locator(".form-row input[name^=credential_]:visible")
    await expect(shown).to_have_count(await page.locator("input[name^=credential_]").count())
    await expect(page.locator("[name=credential_zerodha_api_key]")).to_be_visible()
    await context.close()


async def replace_credential(admin: Page, ready: dict[str, Any], token: str) -> None:
    """Type an access token into the form of the demo's account, and see that it is not shown."""
    await open_pool(admin, ready)
    field = admin.get_by_label("Access token:")
    await field.fill(token)
    await admin.get_by_role("button", name="Save and continue editing").click()
    await expect(admin.locator(".messagelist .success")).to_be_visible()
    await expect(field).to_have_value("")
    assert token not in await admin.content()


async def test_a_credential_is_replaced_and_never_shown(
    admin: Page, ready: dict[str, Any], running: RunningDemo
):
    """What the exchange does not know is refused at the next connect; its own is taken again."""
    pool = admin.locator(".tp-pool-state")
    own = json.loads((running.data_dir / "demo.json").read_text())["simulator_access_token"]
    symbols = await asyncio.to_thread(some_symbols, ready, 3)

    async def shows(word: str) -> bool:
        await open_pool(admin, ready)
        return word in await pool.inner_text()

    async with program(ready, ready["api_key"]) as socket:
        await socket.send(json.dumps({"action": "subscribe", "symbols": symbols, "mode": 1}))
        await replace_credential(admin, ready, "planted-and-unknown")
        await admin.get_by_role("link", name="Reconnect…").click()
        await admin.get_by_role("button", name="Reconnect").click()
        await eventually(lambda: shows("login needed"), timeout=60, interval=0.5)
        await replace_credential(admin, ready, own)
        await eventually(lambda: shows("live"), timeout=60, interval=0.5)


async def test_pages_fit_wide_and_narrow_in_light_and_dark(admin: Page, ready: dict[str, Any]):
    """Nothing runs out of the page, and a badge stands out from what is behind it."""
    symbols = await asyncio.to_thread(some_symbols, ready, 2)
    account = f"{ready['admin_url']}pooling/brokeraccount/"
    async with program(ready, ready["api_key"]) as socket:
        await socket.send(json.dumps({"action": "subscribe", "symbols": symbols, "mode": "LTP"}))

        async def shows_connections() -> bool:
            await open_pool(admin, ready)
            return await admin.locator(".tp-scroll").count() == 1

        await eventually(shows_connections, timeout=60, interval=0.5)
        for url in (ready["admin_url"], account, f"{account}1/change/"):
            await admin.goto(url)
            badge = admin.locator(".tp-badge").first
            await expect(badge).to_be_visible()
            for width in (360, 1280):
                await admin.set_viewport_size({"width": width, "height": 800})
                assert await admin.evaluate("document.documentElement.scrollWidth") <= width, url
                for scheme in ("light", "dark"):
                    await admin.emulate_media(color_scheme=scheme)
                    await eventually(
                        lambda badge=badge: stands_out(badge),
                        message=f"{url} {width} {scheme}: too little contrast",
                    )


async def test_one_long_word_and_many_pages_fit_a_phone(admin: Page, ready: dict[str, Any]):
    """The name of an account, what a history says, and the numbers under a list."""
    await admin.set_viewport_size({"width": 360, "height": 800})
    await admin.goto(f"{ready['admin_url']}pooling/brokeraccount/1/change/")
    name = admin.locator("#content > h2")
    await name.evaluate("heading => { heading.textContent = 'x'.repeat(150); }")
    assert await admin.evaluate("document.documentElement.scrollWidth") <= 360
    for page in ("pooling/brokeraccount/1/", "streaming/apikey/1/"):
        await admin.goto(f"{ready['admin_url']}{page}history/")
        await admin.locator("#change-history").evaluate(HISTORY)
        assert await admin.evaluate("document.documentElement.scrollWidth") <= 360, page
    await admin.goto(f"{ready['admin_url']}pooling/instrument/")
    pages = admin.locator("#changelist .paginator")
    await expect(pages).to_contain_text("instruments")
    assert await pages.evaluate("pages => pages.scrollWidth - pages.clientWidth") <= 0


# A row of a history with long words of users, as Django writes one.
HISTORY = """history => {
  const word = 'x'.repeat(150);
  history.innerHTML = `<table><tbody><tr><th scope="row">2026-12-01 03:19:30 IST</th>
    <td>${word}</td><td>Changed ${word}.</td></tr></tbody></table>`;
}"""


async def stands_out(badge: Locator) -> bool:
    contrast: float = await badge.evaluate(CONTRAST)
    return contrast >= 4.5


# The contrast of an element's text against the first opaque background behind it, as WCAG has it.
CONTRAST = """element => {
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map(part => part / 255)
    .map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  let behind = element;
  let colour = [255, 255, 255];
  while (behind) {
    const found = numbers(getComputedStyle(behind).backgroundColor);
    if (found.length < 4 || found[3] > 0) { colour = found; break; }
    behind = behind.parentElement;
  }
  const pair = [light(numbers(getComputedStyle(element).color)), light(colour)];
  return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}"""
