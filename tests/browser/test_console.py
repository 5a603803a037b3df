"""The console as a developer uses it: choose, watch the frames, stop and search them, copy."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.browser.fake_site import FakeSite
from tests.browser.memory import Memory
from tests.browser.watch import Watch

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


class Console:
    """The page in the words of its user."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.frames = page.locator("#frames li")
        self.bodies = page.locator("#frames .body")
        self.ticks = self.bodies.filter(has_text='"market_data"')
        self.note = page.locator("#frame-note")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def chip(self, name: str) -> Locator:
        return self.page.get_by_role("list", name="Subscriptions").get_by_role(
            "listitem"
        ).filter(has_text=name)  # fmt: skip

    def mode(self, symbol: str) -> Locator:
        return self.page.get_by_label(f"Mode of {symbol}", exact=True)

    async def subscribe(self, name: str, mode: str = "Quote") -> None:
        await self.page.locator("#mode").select_option(mode)
        search = self.page.get_by_role("combobox", name="Find an instrument to subscribe")
        await search.fill(name)
        await search.press("Enter")


@pytest_asyncio.fixture(loop_scope="session")
async def console(page: Page, context: BrowserContext, site: FakeSite) -> Console:
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    await context.add_cookies(site.cookies)
    await page.goto(f"{site.url}/console/")
    if "/login/" in page.url:
        await page.get_by_label("User name").fill(site.username)
        await page.get_by_label("Password").fill(site.password)
        await page.get_by_role("button", name="Log in").click()
    await expect(page.locator("#pill")).to_have_text("Connected")
    return Console(page)


async def test_frames_are_shown_as_they_are_on_the_wire(console: Console, site: FakeSite):
    """What is chosen is asked for, and every frame stands there unchanged, the newest first."""
    await console.subscribe("NSE:INFY", "Depth")
    await expect(console.chip("NSE:INFY")).to_contain_text("active")
    await expect(console.mode("INFY")).to_have_value("3")
    await expect(console.frames.filter(has_text='"action":"subscribe"')).to_contain_text("sent")
    site.say("tick", exchange="NSE", symbol="INFY", ltp=1602.05)
    newest = console.ticks.first  # a pong may come behind it
    await expect(newest).to_contain_text("1602.05")
    # Not its inner text: that is empty until the browser has drawn the line.
    tick = json.loads(await newest.text_content() or "")
    assert (tick["type"], tick["symbol"], tick["data"]["ltp"]) == ("market_data", "INFY", 1602.05)
    asked = [item for item in site.say("requests") if item["action"] == "subscribe"]
    assert [(item["symbols"], item["mode"]) for item in asked] == [
        ([{"exchange": "NSE", "symbol": "INFY"}], 3)
    ]


async def test_refusal_is_said_where_it_was_asked(console: Console):
    """An unknown name says so on its chip, and stays out of the code."""
    await console.subscribe("NSE:WIPRRO")
    await expect(console.chip("NSE:WIPRRO")).to_contain_text("WIPRRO is not known on NSE")
    await expect(console.page.locator("#python")).to_contain_text("# An example:")
    await expect(console.page.locator("#python")).not_to_contain_text("WIPRRO")
    await console.button("Unsubscribe WIPRRO Quote").click()
    await expect(console.page.get_by_text("Nothing is subscribed yet")).to_be_visible()


async def test_paused_frames_stand_still(console: Console, site: FakeSite):
    """While it is paused nothing moves and what comes is counted; afterwards it goes on."""
    await console.subscribe("NSE:INFY")
    await expect(console.chip("NSE:INFY")).to_contain_text("active")
    await console.button("Pause").click()
    shown = await console.frames.count()
    site.say("tick", exchange="NSE", symbol="INFY", ltp=1555.5)
    await expect(console.note).to_contain_text(re.compile(r"Paused: [1-9]\d* frames since then"))
    assert await console.frames.count() == shown
    await console.button("Resume").click()
    site.say("tick", exchange="NSE", symbol="INFY", ltp=1556.5)
    await expect(console.ticks.first).to_contain_text("1556.5")
    await expect(console.frames.filter(has_text="1555.5")).to_have_count(0)


async def test_frames_are_filtered_and_copied(console: Console, site: FakeSite):
    """Kind and text narrow what is shown, and that is what is copied, whole."""
    for name in ("NSE:INFY", "NSE:TCS"):
        await console.subscribe(name)
        await expect(console.chip(name)).to_contain_text("active")
    site.say("tick", exchange="NSE", symbol="TCS", ltp=3901.0)
    await expect(console.frames.filter(has_text="3901.0")).to_have_count(1)
    await console.page.get_by_label("Show").select_option("ticks")
    await expect(console.frames.filter(has_text='"action"')).to_have_count(0)
    await console.page.get_by_label("Filter").fill('"ltp":3901')
    await expect(console.frames).to_have_count(1)
    label = await Memory.of(console.page.locator("#copy"))
    await console.button("Copy shown").click()
    await label.saw("Copied")
    copied: str = await console.page.evaluate("navigator.clipboard.readText()")
    assert copied == await console.bodies.text_content()
    assert json.loads(copied)["data"]["ltp"] == 3901.0
    await console.button("Clear").click()
    await expect(console.frames).to_have_count(0)


async def test_rate_and_latency_are_measured(console: Console, site: FakeSite):
    """Ticks per second, how old they are on arrival, and the round trip."""
    site.say("set_market", rate=20)
    await console.subscribe("NSE:INFY")
    page = console.page
    await expect(page.locator("#tick-rate")).to_have_text(re.compile(r"^[1-9]\d* /s$"))
    await expect(page.locator("#byte-rate")).to_have_text(re.compile(r"^[1-9][\d,]* k?B/s$"))
    for figure in ("latency-median", "latency-high", "round-trip"):
        await expect(page.locator(f"#{figure}")).to_have_text(re.compile(r"^[\d,]+ ms$"))


async def test_stamps_of_whole_seconds_give_a_bound(console: Console):
    """512 ms would be a figure of the stamp's rounding, not of any delay."""
    shown = await console.page.evaluate(
        """async () => {
            const { Meter } = await import('/static/streaming/js/meter.js');
            const [second, quarter] = [1_700_000_000_000, 1_700_000_000_250];
            const coarse = (...stamps) => {
                const meter = new Meter();
                for (const stamp of stamps) meter.age(512, stamp);
                return meter.isCoarse;
            };
            const many = Array(3000).fill(quarter);
            return {
                none: coarse(), whole: coarse(second, second), fine: coarse(quarter, quarter),
                half: coarse(second, quarter), chance: coarse(...many, second),
                turned: coarse(...many, ...many.map(() => second)),
            };
        }"""
    )
    assert shown == {
        "none": False, "whole": True, "fine": False, "half": True, "chance": False, "turned": True,
    }  # fmt: skip


async def test_a_chip_is_no_better_than_its_feed(console: Console, site: FakeSite):
    """Of two accounts at one broker only the paused one's chip says so, and until it is over."""
    site.say("set_market", pools={"ITC": "2"})
    for name in ("NSE:INFY", "NSE:ITC"):
        await console.subscribe(name)
        await expect(console.chip(name)).to_contain_text("active")
    site.say("feed", pool_id="2", status="closed", reason="the account is paused")
    await expect(console.chip("NSE:ITC")).to_contain_text("closed: the account is paused")
    await expect(console.chip("NSE:ITC")).to_have_attribute("data-state", "stale")
    await expect(console.chip("NSE:INFY")).to_contain_text("active")
    site.say("feed", pool_id="2", status="live", reason="")
    await expect(console.chip("NSE:ITC")).to_contain_text("active")


async def test_what_waits_for_room_is_not_refused(console: Console, site: FakeSite):
    """It is held, says why no price comes, and stays in the code."""
    waits = {"status": "error", "state": "pending", "code": "MAX_CAPACITY_REACHED"}
    site.say("set_market", refusals={"INFY": {**waits, "message": "All 6 places are taken"}})
    await console.subscribe("NSE:INFY")
    chip = console.chip("NSE:INFY")
    await expect(chip).to_contain_text("waiting for room: All 6 places are taken")
    await expect(console.page.locator("#python")).to_contain_text("INFY")


async def test_a_reload_brings_back_what_was_subscribed(console: Console, site: FakeSite):
    """Subscriptions, the mode to choose and the delivery stay, in this browser."""
    await console.subscribe("NSE:INFY", "Depth")
    await expect(console.chip("NSE:INFY")).to_contain_text("active")  # the search has answered
    await console.subscribe("NSE:TCS", "LTP")
    await expect(console.chip("NSE:TCS")).to_contain_text("active")
    await console.page.get_by_label("Delivery").select_option("batches, 250 ms")
    await expect(console.chip("NSE:TCS")).to_contain_text("active")
    await console.page.reload()
    for name, mode in (("INFY", "3"), ("TCS", "1")):
        await expect(console.chip(f"NSE:{name}")).to_contain_text("active")
        await expect(console.mode(name)).to_have_value(mode)
    await expect(console.page.locator("#mode")).to_have_value("1")
    await expect(console.page.get_by_label("Delivery")).to_have_value("250")
    await console.button("Unsubscribe TCS LTP").click()
    await console.page.reload()
    await expect(console.chip("NSE:INFY")).to_contain_text("active")
    await expect(console.chip("NSE:TCS")).to_have_count(0)


@pytest.mark.parametrize("kept", ["{", "[]", '{"subscriptions": [{}, 7, null]}', '{"mode": "<b>"}'])
async def test_what_was_kept_and_cannot_be_read_is_nothing(console: Console, kept: str):
    key: str = await console.page.evaluate("`tickpool.console.${document.body.dataset.user}`")
    await console.page.evaluate("([key, kept]) => localStorage.setItem(key, kept)", [key, kept])
    await console.page.reload()
    await expect(console.page.locator("#pill")).to_have_text("Connected")
    await expect(console.page.get_by_text("Nothing is subscribed yet")).to_be_visible()
    await console.subscribe("NSE:INFY")
    await expect(console.chip("NSE:INFY")).to_contain_text("active")


async def test_a_chips_mode_is_changed_in_place(console: Console, site: FakeSite):
    """The new mode is asked for before the old one is let go."""
    await console.subscribe("NSE:INFY", "LTP")
    await expect(console.chip("NSE:INFY")).to_contain_text("active")
    await console.mode("INFY").select_option("Depth")
    await expect(console.chip("NSE:INFY")).to_contain_text("active")
    await expect(console.page.locator("#python")).to_contain_text('"symbol": "INFY", "mode": 3')
    asked = [each for each in site.say("requests") if "symbols" in each]
    assert [(each["action"], each["mode"]) for each in asked] == [
        ("subscribe", 1),
        ("subscribe", 3),
        ("unsubscribe", 1),
    ]
    await console.subscribe("NSE:INFY", "Quote")
    await expect(console.chip("NSE:INFY")).to_have_count(2)
    await console.mode("INFY").first.select_option("Quote")
    await expect(console.chip("NSE:INFY")).to_have_count(1)
    await expect(console.button("Unsubscribe INFY Quote")).to_be_visible()


async def test_batches_are_chosen_on_the_page(console: Console, site: FakeSite):
    """The connection is made again with the subprotocol, and the code says so too."""
    await console.subscribe("NSE:INFY")
    await expect(console.chip("NSE:INFY")).to_contain_text("active")
    await console.page.get_by_label("Delivery").select_option("batches, 250 ms")
    await expect(console.frames.filter(has_text='"type":"ticks"')).not_to_have_count(0)
    for code in ("python", "javascript"):
        await expect(console.page.locator(f"#{code}")).to_contain_text("tickpool.batch.v1")
        await expect(console.page.locator(f"#{code}")).to_contain_text("/ws?interval=250")


async def test_ended_session_is_said(console: Console, site: FakeSite):
    """4401 stops the console and offers to log in."""
    site.say("close", code=4401)
    await expect(console.page.locator("#pill")).to_have_text("Signed out (code 4401)")
    await expect(console.page.get_by_role("link", name="Log in again")).to_be_visible()


@pytest.mark.parametrize("width", [360, 1280, 1920])
async def test_no_line_of_code_or_of_a_frame_is_cut(console: Console, site: FakeSite, width: int):
    """Also where the line of a long name is longer than its column: then it goes on in the next."""
    await console.page.set_viewport_size({"width": width, "height": 800})
    await console.subscribe("NFO:NIFTY27OCT2624500CE")
    await expect(console.page.locator("#python")).to_contain_text("NIFTY27OCT2624500CE")
    await expect(console.ticks).not_to_have_count(0)
    await console.button("Pause").click()
    cut = """nodes => nodes.filter(node => {
        const lines = document.createRange();
        lines.selectNodeContents(node);
        const { right } = lines.getBoundingClientRect();
        return right > node.getBoundingClientRect().right + 0.5;
    }).map(node => node.textContent)"""
    boxes = console.page.locator(".codes pre, #frames li > span")
    assert await boxes.evaluate_all(cut) == []


async def test_phone_width_needs_no_sideways_scrolling(console: Console, site: FakeSite):
    """At 360 pixels long names, frames and code stay inside the window."""
    await console.page.set_viewport_size({"width": 360, "height": 740})
    await console.subscribe("NFO:NIFTY27OCT2624500CE", "Depth")
    await console.subscribe("NSE:WIPRRO")
    await expect(console.chip("WIPRRO")).to_contain_text("not known")
    assert await Watch(console.page).overflow() == 0
    await console.button("Pause").click()
    await expect(console.note).to_contain_text("Paused")
    assert await Watch(console.page).overflow() == 0


@pytest.mark.parametrize(
    "hostile", ['"]; import os #', "</script><img src=x onerror=alert(1)>", "é\u2028\\"]
)
async def test_names_cannot_leave_their_string(console: Console, hostile: str):
    """Whatever a symbol is called, in the code it is one string and nothing else."""
    code: dict[str, str] = await console.page.evaluate(
        """async (symbol) => {
            const m = await import('/static/streaming/js/snippets.js');
            const choice = {url: 'ws://x/ws', subscriptions: [{exchange: 'NSE', symbol, mode: 1}]};
            return {python: m.pythonCode(choice), javascript: m.javascriptCode(choice)};
        }""",
        hostile,
    )
    scope: dict[str, Any] = {}
    line = code["python"].split("SYMBOLS = ")[1].split("\nKEY = ")[0]
    exec(f"found = {line}", scope)
    assert scope["found"] == [{"exchange": "NSE", "symbol": hostile, "mode": 1}]
    line = code["javascript"].split("const symbols = ")[1].split(";\nconst apiKey")[0]
    assert await console.page.evaluate(f"({line})[0].symbol") == hostile
