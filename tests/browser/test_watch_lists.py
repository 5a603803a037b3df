"""Several lists, the order book, keys and colours of the market watch, as their user meets them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.browser.fake_site import FakeSite
from tests.browser.watch import Watch
from tests.fix_browser import ConsoleErrors
from tests.support import eventually

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def lists(site: FakeSite) -> dict[str, list[str]]:
    """What the server remembers: names of lists with their symbols."""
    found: list[dict[str, Any]] = next(iter(site.say("watchlists").values()), [])
    return {each["name"]: [item["symbol"] for item in each["symbols"]] for each in found}


def tab(watch: Watch, name: str) -> Locator:
    return watch.page.locator("#list-tabs button").filter(has_text=name)


async def new_list(watch: Watch, name: str) -> None:
    """Make a list and wait until it is shown: until then the dialog has the keyboard."""
    await ask_for_list(watch, name)
    await expect(watch.page.get_by_role("dialog")).to_be_hidden()
    await expect(tab(watch, name)).to_have_attribute("aria-pressed", "true")


async def ask_for_list(watch: Watch, name: str) -> None:
    await watch.page.get_by_role("button", name="New list").click()
    await watch.page.get_by_label("Name", exact=True).fill(name)
    await watch.page.get_by_role("button", name="Create").click()


async def add(watch: Watch, name: str) -> None:
    await watch.search.fill(name)
    await watch.search.press("Enter")
    await expect(watch.row(name)).to_have_attribute("data-state", "live")


async def test_second_list_is_still_there_after_a_reload(watch: Watch, site: FakeSite):
    """A list is made, filled, left and come back to; the reload shows the one that was open."""
    await new_list(watch, "Metals")
    await expect(watch.page.get_by_text("Your list is empty.")).to_be_visible()
    await add(watch, "NSE:TATASTEEL")
    await eventually(lambda: lists(site).get("Metals") == ["TATASTEEL"])
    await watch.page.reload()
    await watch.has_prices()
    await watch.has_keys(["NSE:TATASTEEL"])
    await tab(watch, "Main").click()
    await expect(watch.page.locator("#rows tr")).to_have_count(9)
    await watch.has_prices()
    site.say("tick", exchange="NSE", symbol="INFY", ltp=1602.05)
    await expect(watch.cell("NSE:INFY", "last")).to_have_text("▲1,602.05")


async def test_switching_lets_go_of_what_is_no_longer_shown(watch: Watch, site: FakeSite):
    """Only the symbols that the new list does not have are unsubscribed, and new ones asked for."""
    await new_list(watch, "Two")
    await add(watch, "NSE:WIPRO")
    await add(watch, "NSE:INFY")
    site.say("set_market", requests=[])
    await tab(watch, "Main").click()
    await expect(watch.page.locator("#rows tr")).to_have_count(9)
    await watch.has_prices()

    def asked(action: str) -> list[str]:
        requests = [each for each in site.say("requests") if each["action"] == action]
        return [item["symbol"] for each in requests for item in each["symbols"]]

    await eventually(lambda: asked("unsubscribe") == ["WIPRO"])
    assert "INFY" not in asked("subscribe")
    assert len(asked("subscribe")) == 8


async def test_list_is_renamed_and_deleted(
    watch: Watch, site: FakeSite, console_errors: ConsoleErrors
):
    """A name that is taken is refused in the dialog; deleting asks first and shows another."""
    console_errors.allow("409")
    page = watch.page
    await ask_for_list(watch, "main")
    await expect(page.get_by_role("alert")).to_have_text("There is a list “main” already.")
    await page.get_by_label("Name", exact=True).fill("Banks")
    await page.get_by_role("button", name="Create").click()
    await page.get_by_role("button", name="Rename", exact=True).click()
    await page.get_by_label("Name", exact=True).fill("Lenders")
    await page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    await expect(tab(watch, "Lenders")).to_be_visible()
    await eventually(lambda: list(lists(site)) == ["Main", "Lenders"])
    await page.get_by_role("button", name="Delete", exact=True).click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Delete “Lenders”?")
    await dialog.get_by_role("button", name="Delete").click()
    await expect(tab(watch, "Lenders")).to_have_count(0)
    await watch.has_prices()
    await eventually(lambda: list(lists(site)) == ["Main"])
    await expect(page.get_by_role("button", name="Delete", exact=True)).to_be_disabled()


async def test_another_tab_follows(watch: Watch):
    """A list that grows in one tab grows in the other tab of the same browser."""
    other = Watch(await watch.page.context.new_page())
    await other.page.goto(watch.page.url)
    await other.has_prices()
    await add(watch, "NSE:WIPRO")
    await expect(other.row("NSE:WIPRO")).to_have_attribute("data-state", "live")
    await other.page.close()


async def test_click_opens_the_order_book(watch: Watch, site: FakeSite):
    """Levels of both sides as they were sent, following the ticks, until it is clicked again."""
    book = watch.page.get_by_role("row", name="Order book of INFY")
    await watch.row("NSE:INFY").locator(".c-last").click()
    await expect(book.locator(".book tbody tr").first).to_have_text(
        re.compile(r"3\s*120\s*1,573\.65\s*1,573\.75\s*4,210\s*9")
    )
    site.say("tick", exchange="NSE", symbol="INFY", ltp=1580.125, low=1500.05, oi=77)
    await expect(book.locator(".l-bid.l-price").first).to_have_text("1,580.075")
    await expect(book.locator(".facts")).to_contain_text(re.compile(r"Low\s*1,500\.050"))
    await expect(book.locator(".facts")).to_contain_text(re.compile(r"Open interest\s*77"))
    await watch.row("NSE:INFY").get_by_role("button", name="INFY", exact=True).click()
    await expect(book).to_have_count(0)


async def test_order_book_of_a_stale_feed_says_so(watch: Watch, site: FakeSite):
    """What is open when the feed stops does not pass for current."""
    await watch.row("NSE:INFY").locator(".c-last").click()
    site.say("feed", status="stale", reason="worker restarts")
    status = watch.page.locator(".ladder-status")
    await expect(status).to_contain_text("stale: these figures are not current. worker restarts.")


async def test_day_range_and_trend_are_drawn(watch: Watch, site: FakeSite):
    """The mark stands where the price lies between low and high; the trend is a line."""
    line = watch.row("NSE:INFY").locator(".spark path")

    async def is_drawn() -> bool:
        for price in (1550.0, 1560.0):
            site.say("tick", exchange="NSE", symbol="INFY", ltp=price, low=1540.0, high=1580.0)
        return bool(re.match(r"M[\d. ]+L[\d. ]+", await line.get_attribute("d") or ""))

    await eventually(is_drawn, interval=0.25, timeout=20)  # a sample is two seconds long
    await expect(watch.cell("NSE:INFY", "range")).to_have_text(re.compile(r"1,540\.00\s*1,580\.00"))
    mark = watch.row("NSE:INFY").locator(".range-mark")
    await expect(mark).to_have_attribute("style", "left: 50%;")


async def test_trend_outlives_a_change_of_list_and_a_reload(watch: Watch, site: FakeSite):
    """What this tab has seen of a price is there again with its row."""
    line = watch.row("NSE:INFY").locator(".spark path")

    async def is_drawn() -> bool:
        for price in (1550.0, 1560.0):
            site.say("tick", exchange="NSE", symbol="INFY", ltp=price)
        return bool(await line.get_attribute("d"))

    await eventually(is_drawn, interval=0.25, timeout=20)
    await new_list(watch, "Empty")
    await tab(watch, "Main").click()
    await watch.has_prices()
    await expect(line).to_have_attribute("d", re.compile("M.*L"))
    await watch.page.reload()
    await watch.has_prices()
    await expect(line).to_have_attribute("d", re.compile("M.*L"))


async def test_a_new_list_waits_for_its_first_instrument(watch: Watch):
    """Whoever made a list types the first name at once."""
    await new_list(watch, "Metals")
    await expect(watch.search).to_be_focused()
    await watch.page.keyboard.type("NSE:TATASTEEL")
    await watch.page.keyboard.press("Enter")
    await expect(watch.row("NSE:TATASTEEL")).to_have_attribute("data-state", "live")


async def test_order_book_leaves_out_what_a_share_does_not_have(watch: Watch, site: FakeSite):
    """Wires send 0 for none: an open interest of a share, an average price without a trade."""
    await watch.row("NSE:INFY").locator(".c-last").click()
    site.say("tick", exchange="NSE", symbol="INFY", ltp=1580.0, oi=0, avg_trade_price=0, ltt=0)
    facts = watch.page.locator(".facts")
    await expect(watch.cell("NSE:INFY", "last")).to_have_text("▲1,580.00")
    await expect(facts).to_contain_text("Previous close")
    for name in ("Open interest", "Average price", "Last trade"):
        await expect(facts.get_by_text(name, exact=True)).to_be_hidden()
    await add(watch, "NFO:NIFTY27OCT2624500CE")
    await watch.row("NFO:NIFTY27OCT2624500CE").locator(".c-last").click()
    site.say("tick", exchange="NFO", symbol="NIFTY27OCT2624500CE", ltp=142.0, oi=0)
    await expect(facts).to_contain_text(re.compile(r"Open interest\s*0"))


async def test_rows_are_worked_by_keyboard(watch: Watch, site: FakeSite):
    """Down, open, close, move, remove, next list, help: the keys that the help names."""
    press = watch.page.keyboard.press
    await watch.page.evaluate("document.activeElement.blur()")
    await press("j")
    await expect(watch.page.get_by_role("button", name="NIFTY", exact=True)).to_be_focused()
    await press("End")
    await expect(watch.page.get_by_role("button", name="ITC", exact=True)).to_be_focused()
    await press("ArrowUp")
    await press("Enter")
    await expect(watch.page.get_by_role("row", name="Order book of ICICIBANK")).to_be_visible()
    await press("Escape")
    await expect(watch.page.locator(".ladder")).to_have_count(0)
    await press("Alt+ArrowUp")
    order = ["NSE:ICICIBANK", "NSE:HDFCBANK", "NSE:ITC"]
    await eventually(lambda: ends_with(watch, order))
    await press("Delete")
    await expect(watch.row("NSE:ICICIBANK")).to_have_count(0)
    await expect(watch.page.get_by_role("button", name="HDFCBANK", exact=True)).to_be_focused()
    await eventually(lambda: lists(site)["Main"][-2:] == ["HDFCBANK", "ITC"])
    await press("n")
    await expect(watch.page.get_by_label("Name", exact=True)).to_be_focused()
    await watch.page.keyboard.type("Second")
    await press("Enter")
    await expect(watch.page.get_by_role("dialog")).to_be_hidden()
    await expect(tab(watch, "Second")).to_have_attribute("aria-pressed", "true")
    await expect(watch.search).to_be_focused()
    await press("Escape")
    await press("[")
    await expect(tab(watch, "Main")).to_have_attribute("aria-pressed", "true")
    await press("?")
    help_dialog = watch.page.get_by_role("dialog", name="Keys")
    await expect(help_dialog).to_contain_text("open or close the order book")
    await press("Escape")
    await expect(help_dialog).to_be_hidden()


async def ends_with(watch: Watch, keys: list[str]) -> bool:
    return (await watch.keys())[-len(keys) :] == keys


async def test_colours_follow_the_system_until_chosen(watch: Watch):
    """Dark by the system, light by choice; the choice stays."""
    body, ground = watch.page.locator("body"), "background-color"
    light: str = await body.evaluate("body => getComputedStyle(body).backgroundColor")
    await expect(body).to_have_css(ground, light)
    await watch.page.emulate_media(color_scheme="dark")
    await expect(body).not_to_have_css(ground, light)
    dark: str = await body.evaluate("body => getComputedStyle(body).backgroundColor")
    switch = watch.page.get_by_role("button", name="Colours")
    await switch.click()
    await expect(switch).to_have_text("Light")
    await expect(body).to_have_css(ground, light)
    await watch.page.reload()
    await expect(switch).to_have_text("Light")
    await expect(body).to_have_css(ground, light)
    await switch.click()
    await expect(switch).to_have_text("Dark")
    await watch.page.emulate_media(color_scheme="light")
    await expect(body).to_have_css(ground, dark)


async def test_five_hundred_rows_are_all_written(watch: Watch, site: FakeSite):
    """Rows far below the window are built, and get their last price without being looked at."""
    symbols = [{"exchange": "NSE", "symbol": f"X{n:03d}"} for n in range(499)]
    lists_before = site.say("watchlists")
    ((owner, known),) = lists_before.items()
    long = {"id": 7000, "name": "Long", "symbols": [*symbols, {"exchange": "NSE", "symbol": "ITC"}]}
    site.say("set_state", watchlists={owner: [*known, long]})
    await watch.page.reload()
    await watch.has_prices()
    await tab(watch, "Long").click()
    await expect(watch.page.locator("#rows tr")).to_have_count(500)
    await expect(watch.row("NSE:ITC")).to_have_attribute("data-state", "live")
    site.say("tick", exchange="NSE", symbol="ITC", ltp=460.0)
    await expect(watch.cell("NSE:ITC", "last")).to_have_text("▲460.00")
    await expect(watch.cell("NSE:ITC", "last")).not_to_be_in_viewport()
