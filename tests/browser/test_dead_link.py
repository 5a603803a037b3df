"""A link that says nothing: within four seconds nothing on any page passes for current."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.browser.fake_site import FakeSite
from tests.browser.memory import Memory
from tests.browser.still_clock import StillClock
from tests.browser.watch import Watch
from tests.fix_browser import ConsoleErrors

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

ROWS = 9
HIDE = """isHidden => {
    Object.defineProperty(document, 'hidden', {configurable: true, get: () => isHidden});
    document.dispatchEvent(new Event('visibilitychange'));
}"""


async def on_still_clock(page: Page, site: FakeSite) -> tuple[Watch, StillClock]:
    """The watch, logged in, by a clock that only the test moves on."""
    clock = await StillClock.install(page)
    watch = Watch(page)
    await watch.log_in(site.url, site.username, site.password)
    await watch.has_prices()
    await expect(watch.page.locator(".pool")).to_have_attribute("data-status", "live")
    await clock.stop()
    return watch, clock


async def nothing_is_current(watch: Watch, pill: str = "No answer") -> None:
    """Pill, banner, title, rows and pool cards: all of them say that they are old."""
    await expect(watch.pill).to_have_text(re.compile(f"^({pill})$"))
    await expect(watch.banner).to_contain_text("Prices below are from before")
    await expect(watch.page).to_have_title(re.compile(f"^({pill}) "))
    await expect(watch.page.locator('#rows tr[data-state="stale"]')).to_have_count(ROWS)
    await expect(watch.page.locator('.pool:not([data-status="live"])')).to_have_count(1)
    await expect(watch.page.locator(".pool")).not_to_contain_text("live")


async def everything_is_current(watch: Watch) -> None:
    await watch.has_prices()
    await expect(watch.pill).to_have_text("Connected")
    await expect(watch.banner).to_be_hidden()
    await expect(watch.page).to_have_title(re.compile("^Market watch"))
    await expect(watch.page.locator(".pool")).to_have_attribute("data-status", "live")


async def test_silence_of_four_seconds_is_told_everywhere(page: Page, site: FakeSite):
    """The server stands still with its sockets open, and no close frame ever comes."""
    watch, clock = await on_still_clock(page, site)
    site.say("set_market", is_silent=True)
    await clock.run(4000)
    assert await watch.pill.text_content() == "No answer"
    await clock.draw()
    await nothing_is_current(watch)
    site.say("set_market", is_silent=False)
    await clock.go_on()
    await everything_is_current(watch)


async def test_stopped_server_is_noticed_by_the_clock_on_the_wall(watch: Watch, site: FakeSite):
    """Stopped as a debugger stops it, then gone on: the same socket is believed again.

    Four seconds from the last frame, in one of three times: a busy machine may hold the browser up.
    """
    taken: list[float] = []
    while len(taken) < 3 and (not taken or taken[-1] >= 5):
        pill = await Memory.of(watch.pill)
        began: float = await watch.page.evaluate("Date.now()")
        site.freeze()
        try:
            await nothing_is_current(watch)
        finally:
            site.thaw()
        await everything_is_current(watch)
        taken.append(await pill.saw("No answer") - began / 1000)
        assert (await pill.all())[1] == "No answer"
        assert taken[-1] > 2
    assert taken[-1] < 5, taken


async def test_quiet_market_is_no_dead_link(page: Page, site: FakeSite):
    """No tick for minutes, but every question is answered: nothing is doubted."""
    watch, clock = await on_still_clock(page, site)
    pill = await Memory.of(watch.pill)
    for _ in range(60):
        await clock.run(500)
        await clock.all_is_answered()
    assert await pill.all() == ["Connected"]
    await clock.go_on()
    await everything_is_current(watch)


async def test_a_machine_that_goes_offline_is_told_at_once(
    watch: Watch, context: BrowserContext, console_errors: ConsoleErrors
):
    """The browser's word is enough to doubt, and an answer is needed to believe again."""
    console_errors.allow("ERR_INTERNET_DISCONNECTED|WebSocket")
    pill = await Memory.of(watch.pill)
    states = await Memory.of(watch.row("NSE:INFY"), "data-state")
    pool = await Memory.of(watch.page.locator(".pool"), "data-status")
    await context.set_offline(True)
    await pill.saw("No answer")
    await states.saw("stale")
    await pool.saw("stale")
    await nothing_is_current(watch)
    await context.set_offline(False)
    await everything_is_current(watch)


async def test_prices_that_waited_on_a_dead_link_are_not_live_before_it_is_proved(
    page: Page, site: FakeSite
):
    """What comes first after a silence may be as old as the silence is long."""
    watch, clock = await on_still_clock(page, site)
    site.say("set_market", is_silent=True)
    await clock.run(4000)
    await clock.draw()
    await nothing_is_current(watch)
    async with clock.comes("frames"):
        site.say("tick", exchange="NSE", symbol="INFY", ltp=1600.0)
    await clock.draw()
    await expect(watch.cell("NSE:INFY", "last")).to_have_text("▲1,600.00")
    await expect(watch.badge("NSE:INFY")).to_have_text("stale")
    site.say("set_market", is_silent=False)
    await clock.go_on()
    await everything_is_current(watch)


async def test_feed_that_went_stale_meanwhile_stays_so(page: Page, site: FakeSite):
    """The end of the doubt about the link is not the end of what is the matter with a feed."""
    watch, clock = await on_still_clock(page, site)
    site.say("set_market", is_silent=True)
    await clock.run(4000)
    await clock.draw()
    await nothing_is_current(watch)
    async with clock.comes("frames"):
        site.say("feed", status="stale", exchange="NSE", symbols=["INFY"], reason="worker restarts")
    site.say("set_market", is_silent=False)
    async with clock.comes("answered"):
        await clock.run(1500)  # it asks once a second
    await clock.draw()
    await expect(watch.page.locator('#rows tr[data-state="live"]')).to_have_count(ROWS - 1)
    await expect(watch.badge("NSE:INFY")).to_have_text("stale")


async def test_a_page_that_is_looked_at_again_believes_nothing_old(page: Page, site: FakeSite):
    """A hidden page's timers come late: what it says is judged before it is seen."""
    watch, clock = await on_still_clock(page, site)
    site.say("set_market", is_silent=True)
    await page.evaluate(HIDE, True)
    await clock.jump(60)
    await page.evaluate(HIDE, False)
    assert await watch.pill.text_content() == "No answer"
    await clock.draw()
    await nothing_is_current(watch)
    site.say("set_market", is_silent=False)
    await clock.go_on()
    await everything_is_current(watch)


async def test_what_waited_for_a_page_that_stood_still_is_not_live(page: Page, site: FakeSite):
    """Frozen, or with its machine asleep, it gets what was sent meanwhile as if it were news."""
    watch, clock = await on_still_clock(page, site)
    site.say("set_market", is_silent=True)
    await clock.jump(8)  # no timer has fired when the first of it comes
    async with clock.comes("frames"):
        site.say("tick", exchange="NSE", symbol="INFY", ltp=1600.0)
    await clock.draw()
    await expect(watch.cell("NSE:INFY", "last")).to_have_text("▲1,600.00")
    await nothing_is_current(watch)
    site.say("set_market", is_silent=False)
    await clock.go_on()
    await everything_is_current(watch)


async def test_nor_where_a_timer_fires_before_it_comes(page: Page, site: FakeSite):
    """Which of both a browser is quicker with, it does not say."""
    watch, clock = await on_still_clock(page, site)
    site.say("set_market", is_silent=True)
    await clock.jump(8)
    await clock.run(600)  # it looks, and asks
    async with clock.comes("frames"):
        site.say("tick", exchange="NSE", symbol="INFY", ltp=1600.0)
    await clock.draw()
    await expect(watch.cell("NSE:INFY", "last")).to_have_text("▲1,600.00")
    await nothing_is_current(watch)
    site.say("set_market", is_silent=False)
    await clock.go_on()
    await everything_is_current(watch)


async def test_late_timers_of_a_hidden_page_are_no_silence(page: Page, site: FakeSite):
    """Once a minute a hidden page may look: what it has not asked is not unanswered."""
    watch, clock = await on_still_clock(page, site)
    pill = await Memory.of(watch.pill)
    for _ in range(3):
        await page.clock.fast_forward(60_000)
        await clock.run(1)
        await clock.all_is_answered()
    assert await pill.all() == ["Connected"]


async def test_dead_link_is_replaced(page: Page, site: FakeSite, console_errors: ConsoleErrors):
    """What does not come back within ten seconds is given up, and a new socket is tried."""
    console_errors.allow("WebSocket connection to")
    watch, clock = await on_still_clock(page, site)
    site.say("set_market", is_silent=True)
    await clock.run(11_000)
    await nothing_is_current(watch, pill="Disconnected|Reconnecting")  # a new one within a second
    site.say("set_market", is_silent=False)
    await clock.go_on()
    await everything_is_current(watch)


async def test_console_follows_the_same_rule(page: Page, site: FakeSite):
    """Its pill and its chips say when nothing answers, and its heartbeat is not in the way."""
    clock = await StillClock.install(page)
    await Watch(page).log_in(site.url, site.username, site.password)
    await page.goto(f"{site.url}/console/")
    pill = page.locator("#pill")
    await expect(pill).to_have_text("Connected")
    await clock.stop()
    site.say("set_market", is_silent=True)
    await clock.run(4000)
    await expect(pill).to_have_text("No answer from the server")
    await expect(page.locator("#frames li").filter(has_text="ping")).to_have_count(0)
    site.say("set_market", is_silent=False)
    async with clock.comes("answered"):
        await clock.run(1500)
    await expect(pill).to_have_text("Connected")
