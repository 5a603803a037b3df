"""Working with lists: pasting, files, copies, undo, sorting, columns, dragging, and room."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.fake_site import FakeSite
from tests.browser.still_clock import StillClock
from tests.browser.test_watch_lists import add, lists, new_list, tab
from tests.browser.watch import DEFAULTS, Watch, saved
from tests.fix_browser import ConsoleErrors
from tests.support import eventually

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASTE = """text => {
    const data = new DataTransfer();
    data.setData('text/plain', text);
    const event = new ClipboardEvent('paste', {clipboardData: data, cancelable: true});
    document.getElementById('search').dispatchEvent(event);
    return event.defaultPrevented;
}"""


def views(site: FakeSite) -> dict[str, Any]:
    """How the server remembers that lists are looked at."""
    found: list[dict[str, Any]] = next(iter(site.say("watchlists").values()), [])
    return {each["name"]: each.get("view", {}) for each in found}


def dialog(watch: Watch, name: str) -> Locator:
    return watch.page.get_by_role("dialog", name=name)


def button(watch: Watch, name: str) -> Locator:
    return watch.page.get_by_role("button", name=name, exact=True)


async def names_of(page: Page, text: str) -> list[str]:
    found: list[str] = await page.evaluate(
        """async text => {
            const m = await import('/static/streaming/js/names.js');
            return m.parseNames(text).map(m.labelOf);
        }""",
        text,
    )
    return found


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("NSE:TCS, NSE:INFY", ["NSE:TCS", "NSE:INFY"]),
        ("nse:tcs;infy\tNSE: ITC\r\n\r\nM&M", ["NSE:TCS", "INFY", "NSE:ITC", "M&M"]),
        ("NSE:TCS NSE:INFY NSE:TCS", ["NSE:TCS", "NSE:INFY"]),
        ("exchange,symbol,name\nNSE,INFY,Infosys, Ltd\nNFO,X1", ["NSE:INFY", "NFO:X1"]),
        ('\ufeff"Symbol";"Exchange"\n"INFY";"NSE"', ["NSE:INFY"]),
        ("Symbol\nNSE:INFY\nTCS", ["NSE:INFY", "TCS"]),
        ("NSE,INFY,Infosys Limited\nBSE,TCS", ["NSE:INFY", "BSE:TCS"]),
        ("NSE\tINFY\tBSE\tTCS", ["NSE:INFY", "BSE:TCS"]),
        ("BSE_INDEX:BSESENSEXSIXTY65:35", ["BSE_INDEX:BSESENSEXSIXTY65:35"]),
        ("'=INFY',TCS", ["=INFY", "TCS"]),
        ("A" * 65 + ",TCS", ["TCS"]),
        ("", []),
    ],
)
async def test_lists_are_read_as_people_have_them(
    page: Page, site: FakeSite, text: str, names: list[str]
):
    """Commas, semicolons, tabs, lines, spaces, titles, quotes: each name once, in order."""
    await page.goto(f"{site.url}/login/")
    assert await names_of(page, text) == names
    many = await names_of(page, ",".join(f"S{n}" for n in range(1500)))
    assert len(many) == 1000


async def test_pasted_list_is_added_with_a_report(watch: Watch, site: FakeSite):
    """Known names are added in one go, and what was not found is named."""
    site.say("set_market", requests=[])
    await watch.search.focus()
    text = "NSE:WIPRO, NSE:INFY,\nTATASTEEL\tNSE:NOSUCH; NOWHERE"
    assert await watch.page.evaluate(PASTE, text)
    report = watch.page.get_by_role("status").filter(has_text="2 added")
    await expect(report).to_contain_text("1 already in the list. Not found: NSE:NOSUCH, NOWHERE.")
    await watch.has_prices()
    assert (await watch.keys())[-2:] == ["NSE:WIPRO", "NSE:TATASTEEL"]
    await eventually(lambda: saved(site) == [*DEFAULTS, "NSE:WIPRO", "NSE:TATASTEEL"])
    asked = [each for each in site.say("requests") if each["action"] == "subscribe"]
    assert [len(each["symbols"]) for each in asked] == [2]


async def test_typed_list_is_added_and_words_are_searched(watch: Watch):
    """Commas make a list; words of one name do not."""
    await watch.search.fill("wipro, tatasteel")
    await watch.search.press("Enter")
    await expect(watch.row("NSE:TATASTEEL")).to_have_attribute("data-state", "live")
    await expect(watch.search).to_have_value("")
    assert not await watch.page.evaluate(PASTE, "NIFTY 24500 CE")
    assert not await watch.page.evaluate(PASTE, "INFY\n")


async def test_list_that_cannot_be_looked_up_says_so(
    watch: Watch, site: FakeSite, console_errors: ConsoleErrors
):
    """A server that fails adds nothing, and the list is what it was."""
    console_errors.allow("503")
    site.say("set_state", fail=["instruments"])
    await watch.page.evaluate(PASTE, "NSE:WIPRO,NSE:TATASTEEL")
    await expect(watch.page.get_by_role("alert")).to_contain_text("Nothing was added.")
    await watch.has_keys(DEFAULTS)


async def test_file_goes_out_and_comes_in(watch: Watch, site: FakeSite):
    """A list as a CSV file, read by whoever reads CSV, and taken back into another list."""
    async with watch.page.expect_download() as started:
        await button(watch, "Export").click()
    download = await started.value
    assert download.suggested_filename == "Main.csv"
    content = (await download.path()).read_bytes()
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert [f"{row['exchange']}:{row['symbol']}" for row in rows] == DEFAULTS
    await new_list(watch, "Copy")
    await button(watch, "Import").click()
    taking = dialog(watch, "Add a list")
    await taking.get_by_role("button", name="Add").click()
    await expect(taking.get_by_role("alert")).to_contain_text("There is no name in it.")
    file: Any = {"name": "list.csv", "mimeType": "text/csv", "buffer": content}
    await taking.get_by_label("or a file").set_input_files(file)
    await expect(taking.get_by_label("Names such as")).to_have_value(
        content.decode().replace("\r", "")
    )
    await taking.get_by_role("button", name="Add").click()
    await expect(taking).to_be_hidden()
    await watch.has_prices()
    await watch.has_keys(DEFAULTS)
    await eventually(lambda: len(lists(site)["Copy"]) == len(DEFAULTS))


async def test_a_file_is_no_formula(page: Page, site: FakeSite):
    """Whatever a name begins with, a spreadsheet takes it for text."""
    await page.goto(f"{site.url}/login/")
    file: str = await page.evaluate(
        """async () => {
            const m = await import('/static/streaming/js/names.js');
            return m.csvOf([{exchange: 'NSE', symbol: '=1+1', name: 'A, "B"'},
                             {exchange: 'NSE', symbol: 'C', name: ' \\uff1d1'}]);
        }"""
    )
    assert file == ('exchange,symbol,name\r\nNSE,\'=1+1,"A, ""B"""\r\n' + "NSE,C,' \uff1d1\r\n")
    assert await names_of(page, file) == ["NSE:=1+1", "NSE:C"]


async def test_rows_are_copied_and_moved_between_lists(watch: Watch, site: FakeSite):
    """From the keyboard, and from the open order book."""
    await new_list(watch, "Metals")
    await tab(watch, "Main").click()
    await watch.has_prices()
    await button(watch, "INFY").focus()
    await watch.page.keyboard.press("c")
    await dialog(watch, "INFY (NSE) to another list").get_by_role("button", name="Copy").click()
    await eventually(lambda: lists(site)["Metals"] == ["INFY"])
    await expect(watch.row("NSE:INFY")).to_have_attribute("data-state", "live")
    await watch.row("NSE:ITC").locator(".c-last").click()
    await button(watch, "Copy or move to another list").click()
    await dialog(watch, "ITC (NSE) to another list").get_by_role("button", name="Move").click()
    await expect(watch.row("NSE:ITC")).to_have_count(0)
    await eventually(lambda: lists(site)["Metals"] == ["INFY", "ITC"])
    await eventually(lambda: "ITC" not in lists(site)["Main"])
    await tab(watch, "Metals").click()
    await watch.has_prices()
    await watch.has_keys(["NSE:INFY", "NSE:ITC"])


async def test_removed_rows_come_back_to_their_places(watch: Watch, site: FakeSite):
    """Several removals are one offer, and the list is what it was."""
    await watch.offer_for_long()
    for name in ("TCS", "INFY"):
        await button(watch, f"Remove {name} (NSE)").click()
    offer = watch.page.get_by_role("status").filter(has_text="INFY and 1 other removed")
    await eventually(lambda: "NSE:INFY" not in saved(site))
    await offer.get_by_role("button", name="Undo").click()
    await expect(offer).to_be_hidden()
    await watch.has_prices()
    await watch.has_keys(DEFAULTS)
    await eventually(lambda: saved(site) == DEFAULTS)


async def test_offer_to_undo_ends_after_ten_seconds(page: Page, site: FakeSite):
    """The key does the same while it stands, and nothing afterwards."""
    clock = await StillClock.install(page)
    watch = Watch(page)
    await watch.log_in(site.url, site.username, site.password)
    await watch.has_prices()
    await clock.stop()
    await button(watch, "NIFTY").focus()
    await page.keyboard.press("Delete")
    await clock.run(9_900)
    await expect(page.get_by_text("NIFTY removed")).to_have_count(2)  # seen, and read aloud
    await page.keyboard.press("u")
    await clock.draw()
    await expect(watch.row("NSE_INDEX:NIFTY")).to_have_count(1)
    await page.keyboard.press("Delete")
    await clock.run(10_100)
    await expect(page.locator("#undo")).to_be_hidden()
    before = await watch.keys()
    await page.keyboard.press("u")
    await clock.draw()
    assert await watch.keys() == before


async def test_deleted_list_comes_back(watch: Watch, site: FakeSite):
    """With its rows and how it was looked at."""
    await watch.offer_for_long()
    await new_list(watch, "Metals")
    await add(watch, "NSE:TATASTEEL")
    await watch.page.get_by_role("button", name="Volume", exact=True).click()
    await eventually(lambda: views(site)["Metals"] == {"sort": "-volume"})
    await button(watch, "Delete").click()
    await watch.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(tab(watch, "Metals")).to_have_count(0)
    await watch.page.get_by_role("button", name="Undo").click()
    await expect(tab(watch, "Metals")).to_have_attribute("aria-pressed", "true")
    await watch.has_prices()
    await watch.has_keys(["NSE:TATASTEEL"])
    assert (lists(site)["Metals"], views(site)["Metals"]) == (["TATASTEEL"], {"sort": "-volume"})


async def test_sorting_is_kept_with_the_list_and_leaves_its_order(watch: Watch, site: FakeSite):
    """A title sorts, once more turns round, a third time gives the list's own order back."""
    title = watch.page.get_by_role("button", name="Last", exact=True)
    header = watch.page.get_by_role("columnheader", name="Last")
    by_price = [
        "NSE_INDEX:BANKNIFTY", "NSE_INDEX:NIFTY", "NSE:TCS", "NSE:RELIANCE", "NSE:INFY",
        "NSE:HDFCBANK", "NSE:ICICIBANK", "NSE:SBIN", "NSE:ITC",
    ]  # fmt: skip
    await title.click()
    await watch.has_keys(by_price)
    await expect(header).to_have_attribute("aria-sort", "descending")
    site.say("tick", exchange="NSE", symbol="ITC", ltp=99_000.0)
    await watch.has_keys(["NSE:ITC", *by_price[:-1]])
    await eventually(lambda: views(site)["Main"] == {"sort": "-last"})
    assert saved(site) == DEFAULTS
    await new_list(watch, "Other")
    await expect(header).to_have_count(0)  # nothing to sort
    await tab(watch, "Main").click()
    await watch.page.reload()
    await watch.has_prices()
    await watch.has_keys(["NSE:ITC", *by_price[:-1]])
    await title.click()
    await expect(header).to_have_attribute("aria-sort", "ascending")
    await watch.has_keys([*by_price[-2::-1], "NSE:ITC"])
    await title.click()
    await watch.has_keys(DEFAULTS)
    await expect(header).not_to_have_attribute("aria-sort", "ascending")


async def test_order_book_and_focus_stay_with_a_row_that_is_sorted_away(
    watch: Watch, site: FakeSite
):
    """What a person is at does not move to another row."""
    await button(watch, "ITC").focus()
    await watch.page.keyboard.press("Enter")
    await watch.page.get_by_role("button", name="Last", exact=True).click()
    await button(watch, "ITC").focus()
    site.say("tick", exchange="NSE", symbol="ITC", ltp=99_000.0)

    async def is_first() -> bool:
        first: str = await watch.page.locator("#rows tr").first.get_attribute("data-key") or ""
        return first == "NSE:ITC"

    await eventually(is_first)
    await expect(button(watch, "ITC")).to_be_focused()
    await expect(watch.page.locator("#rows tr").nth(1)).to_have_class("ladder")


async def test_columns_are_chosen_for_a_list(watch: Watch, site: FakeSite):
    """What is not wanted takes no room, on every width and device, for this list only."""
    await button(watch, "View").click()
    view = dialog(watch, "View of “Main”")
    for column in ("Trend", "Day range"):
        await view.get_by_label(column).uncheck()
    await view.get_by_role("button", name="Close").click()
    await expect(watch.cell("NSE:INFY", "range")).to_be_hidden()
    await expect(watch.cell("NSE:INFY", "trend")).to_be_hidden()
    kept = ["symbol", "last", "change", "percent", "bid", "ask", "volume", "age"]
    await eventually(lambda: views(site)["Main"] == {"columns": kept})
    last = await watch.cell("NSE:INFY", "last").bounding_box()
    title = await watch.page.get_by_role("columnheader", name="Last").bounding_box()
    assert last
    assert title
    assert abs(last["x"] - title["x"]) < 1  # titles stand over their figures
    await watch.page.reload()
    await watch.has_prices()
    await expect(watch.cell("NSE:INFY", "range")).to_be_hidden()
    await watch.page.set_viewport_size({"width": 360, "height": 740})
    await expect(watch.cell("NSE:INFY", "bid")).to_be_visible()
    assert await watch.overflow() == 0
    await watch.page.set_viewport_size({"width": 1280, "height": 800})
    await new_list(watch, "Other")
    await add(watch, "NSE:WIPRO")
    await expect(watch.cell("NSE:WIPRO", "range")).to_be_visible()
    await tab(watch, "Main").click()
    await button(watch, "View").click()
    await view.get_by_role("button", name="Reset").click()
    await view.get_by_role("button", name="Close").click()
    await expect(watch.cell("NSE:INFY", "range")).to_be_visible()


async def drag(watch: Watch, key: str, onto: str, *, let_go: bool = True) -> None:
    """Take a row by its grip and hold it over the lower half of another."""
    grip, target = watch.row(key).locator(".grip"), watch.row(onto)
    await watch.row(key).hover()
    start, end = await grip.bounding_box(), await target.bounding_box()
    assert start
    assert end
    mouse = watch.page.mouse
    await mouse.move(start["x"] + 6, start["y"] + 10)
    await mouse.down()
    await mouse.move(start["x"] + 40, (start["y"] + end["y"]) / 2, steps=4)
    await mouse.move(start["x"] + 40, end["y"] + end["height"] - 4, steps=4)
    if let_go:
        await mouse.up()


async def test_row_is_dragged_to_another_place(watch: Watch, site: FakeSite):
    """The order is the list's own: it is saved, and a click opens nothing by accident."""
    await drag(watch, "NSE:RELIANCE", "NSE:INFY")
    moved = [*DEFAULTS[:2], "NSE:TCS", "NSE:INFY", "NSE:RELIANCE", *DEFAULTS[5:]]
    await watch.has_keys(moved)
    await eventually(lambda: saved(site) == moved)
    await expect(watch.page.locator(".ladder")).to_have_count(0)
    await drag(watch, "NSE:TCS", "NSE:ITC", let_go=False)
    await watch.page.keyboard.press("Escape")
    await watch.page.mouse.up()
    await watch.has_keys(moved)


async def test_row_is_dragged_by_a_finger(watch: Watch, site: FakeSite):
    """Touch moves the row, not the page."""
    session = await watch.page.context.new_cdp_session(watch.page)
    await session.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    start = await watch.row("NSE_INDEX:NIFTY").locator(".grip").bounding_box()
    end = await watch.row("NSE:RELIANCE").bounding_box()
    assert start
    assert end
    x, y = start["x"] + 5, start["y"] + 8
    for kind, at in (
        ("touchStart", y),
        ("touchMove", y + 20),
        ("touchMove", end["y"] + 10),
        ("touchMove", end["y"] + end["height"] - 5),
        ("touchEnd", None),
    ):
        points = [] if at is None else [{"x": x, "y": at}]
        await session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    moved = [*DEFAULTS[1:3], "NSE_INDEX:NIFTY", *DEFAULTS[3:]]
    await eventually(lambda: saved(site) == moved)
    await watch.has_keys(moved)


async def test_sorted_list_is_not_dragged(watch: Watch, site: FakeSite):
    """It has no place to drag to."""
    await watch.page.get_by_role("button", name="Symbol", exact=True).click()
    await expect(watch.page.locator("#rows tr").first).to_have_attribute(
        "data-key", "NSE_INDEX:BANKNIFTY"
    )
    before = await watch.keys()
    await expect(watch.row("NSE:INFY").locator(".grip")).to_be_hidden()
    await button(watch, "INFY").focus()
    await watch.page.keyboard.press("Alt+ArrowUp")
    await expect(watch.page.get_by_text("A sorted list has no order of its own")).to_have_count(1)
    assert await watch.keys() == before
    assert saved(site) == DEFAULTS


async def test_wide_window_shows_a_long_list_in_two_columns(watch: Watch, site: FakeSite):
    """At 1920 pixels twice as many rows fit; keys and the order book work across both."""
    ((owner, known),) = site.say("watchlists").items()
    more = [{"exchange": "NSE", "symbol": f"X{n:02d}"} for n in range(51)]
    known[0]["symbols"] += more
    site.say("set_state", watchlists={owner: known})
    await watch.page.set_viewport_size({"width": 1920, "height": 1080})
    await watch.page.reload()
    await expect(watch.page.locator("#rows tr")).to_have_count(60)
    # At one moment: what is told above the table moves all of them.
    boxes = await watch.page.locator("#rows tr").evaluate_all(
        "rows => [0, 29, 30, 59].map(n => rows[n].getBoundingClientRect().toJSON())"
    )
    first, end, second, last = boxes
    assert first["x"] < 200
    assert second["x"] > 900
    assert (first["y"], end["y"]) == (second["y"], last["y"])
    await expect(watch.page.locator("#watch thead tr")).to_have_count(2)
    await watch.row("NSE:INFY").locator(".c-last").click()
    await expect(watch.page.get_by_role("row", name="Order book of INFY")).to_be_in_viewport()
    assert await watch.overflow() == 0
    box = await watch.table.bounding_box()
    assert box
    assert box["width"] > 1800
    await watch.page.set_viewport_size({"width": 1280, "height": 800})
    await expect(watch.page.locator("#watch .second")).to_be_hidden()


async def test_two_lists_stand_side_by_side(watch: Watch, site: FakeSite):
    """Where there is room: both tick, a common row is asked for once, and tabs change places."""
    await new_list(watch, "Metals")
    await add(watch, "NSE:TATASTEEL")
    await add(watch, "NSE:INFY")
    await tab(watch, "Main").click()
    await watch.has_prices()
    choice = watch.page.get_by_label("Beside it")
    await expect(choice).to_be_hidden()
    await watch.page.set_viewport_size({"width": 1920, "height": 1080})
    await choice.select_option("Metals")
    other = watch.page.get_by_role("table", name="List Metals")
    rows = other.locator("tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_have_attribute("data-state", "live")
    site.say("tick", exchange="NSE", symbol="INFY", ltp=1602.05)
    site.say("tick", exchange="NSE", symbol="TATASTEEL", ltp=150.0)
    await expect(watch.cell("NSE:INFY", "last")).to_have_text("▲1,602.05")
    await expect(rows.nth(1).locator(".c-last")).to_have_text("▲1,602.05")
    await expect(rows.first.locator(".c-last")).to_have_text("▲150.00")
    assert await watch.overflow() == 0
    site.say("set_market", requests=[])
    await button(watch, "Remove INFY (NSE)").first.click()
    site.say("tick", exchange="NSE", symbol="INFY", ltp=1603.0)
    await expect(rows.nth(1).locator(".c-last")).to_have_text("▲1,603.00")
    assert "unsubscribe" not in {each["action"] for each in site.say("requests")}
    site.say("feed", status="stale", reason="no data")
    await expect(rows.first.locator(".badge")).to_have_text("stale")
    await watch.page.reload()
    await expect(rows.first).to_have_attribute("data-state", "live")
    await tab(watch, "Metals").click()
    await expect(watch.page.get_by_role("table", name="List Main")).to_be_visible()

    async def is_shown() -> bool:
        return await watch.keys() == ["NSE:TATASTEEL", "NSE:INFY"]

    await eventually(is_shown)
    await watch.page.get_by_label("Beside it").select_option("nothing")
    await expect(watch.page.locator("#watch-beside")).to_be_hidden()
    await eventually(lambda: any(each["action"] == "unsubscribe" for each in site.say("requests")))


async def test_phone_shows_nine_rows_under_a_folded_header(watch: Watch, site: FakeSite):
    """At 360 by 740 pixels; the pools unfold, and by themselves when one is in trouble."""
    await watch.page.set_viewport_size({"width": 360, "height": 740})
    for key in DEFAULTS:
        await expect(watch.cell(key, "last")).to_be_in_viewport(ratio=1)
    assert await watch.overflow() == 0
    pool = watch.page.locator(".pool")
    await expect(pool).to_be_hidden()
    fold = watch.page.get_by_role("button", name="9 of 9,000")
    await fold.click()
    await expect(pool).to_be_visible()
    await fold.click()
    await expect(pool).to_be_hidden()
    site.say("feed", status="stale", reason="no data")
    await expect(pool).to_be_visible()
    await expect(button(watch, "Rename")).to_be_hidden()
    await button(watch, "More").click()
    await expect(button(watch, "Rename")).to_be_visible()
    assert await watch.overflow() == 0
