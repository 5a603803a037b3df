"""The market watch as its user sees it: prices, adding, removing, refusals, and lost servers."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pytest
from playwright.async_api import Page, WebSocket, expect
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from tests.browser.fake_site import FakeSite
from tests.browser.memory import Memory
from tests.browser.still_clock import StillClock
from tests.browser.watch import DEFAULTS, Watch, saved
from tests.fix_browser import ConsoleErrors
from tests.support import eventually

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

NUMBER = re.compile(r"\d")


def subscribed(site: FakeSite) -> list[dict[str, Any]]:
    """The requests that asked for symbols."""
    return [item for item in site.say("requests") if item["action"] == "subscribe"]


async def test_default_list_shows_live_prices_after_login(watch: Watch, site: FakeSite):
    """A new user logs in and sees the usual names with prices, and what the pool uses."""
    await watch.has_keys(DEFAULTS)
    row = await Memory.of(watch.row("NSE:INFY"))
    site.say("tick", exchange="NSE", symbol="INFY", ltp=1602.05)
    await row.saw(re.compile(r"1,602\.05.*now", re.DOTALL))  # for two seconds
    await expect(watch.cell("NSE:INFY", "last")).to_have_text("▲1,602.05")
    await expect(watch.cell("NSE:INFY", "change")).to_have_text("+44.09")
    await expect(watch.cell("NSE:INFY", "percent")).to_have_text("+2.83%")
    await expect(watch.cell("NSE:INFY", "bid")).to_have_text("1,602.00 120")
    await expect(watch.cell("NSE:INFY", "ask")).to_have_text("1,602.10 4,210")
    await expect(watch.cell("NSE:INFY", "volume")).to_have_text(re.compile(r"12,34,\d{3}"))
    await expect(watch.pill).to_have_text("Connected")
    await expect(watch.page.get_by_role("meter")).to_have_attribute(
        "aria-valuetext", "9 of 9,000 symbols"
    )
    await expect(watch.page.get_by_text("1 of 3 connections")).to_be_visible()
    await eventually(lambda: saved(site) == DEFAULTS)


async def test_price_flashes_and_points_the_way_it_moved(watch: Watch, site: FakeSite):
    """A change is seen by its arrow as well as by its colour, and the colour goes again."""
    flashes = await Memory.of(watch.row("NSE:TCS"), "data-flash")
    site.say("tick", exchange="NSE", symbol="TCS", ltp=3900.0)
    await expect(watch.cell("NSE:TCS", "last")).to_have_text("▼3,900.00")
    await flashes.saw("")
    assert await flashes.all() == [None, "down", ""]
    site.say("tick", exchange="NSE", symbol="TCS", ltp=3901.0)
    await expect(watch.cell("NSE:TCS", "last")).to_have_text("▲3,901.00")


async def test_a_colour_ends_when_the_price_turns(watch: Watch, site: FakeSite):
    """Another flash may not come so soon, and this one would contradict the arrow beside it."""
    row = watch.row("NSE:TCS")
    pairs = await row.evaluate_handle(
        """node => {
            const seen = [];
            const note = () => seen.push([node.dataset.direction, node.dataset.flash]);
            new MutationObserver(note).observe(node, {attributes: true});
            return seen;
        }"""
    )
    flashes = await Memory.of(row, "data-flash")
    site.say("tick", exchange="NSE", symbol="TCS", ltp=3900.0)
    await flashes.saw("down")
    site.say("tick", exchange="NSE", symbol="TCS", ltp=3901.0)
    await expect(watch.cell("NSE:TCS", "last")).to_have_text("▲3,901.00")
    shown = await pairs.json_value()
    assert ["down", "down"] in shown
    assert ["up", "down"] not in shown


async def test_index_has_no_bid_ask_or_volume(watch: Watch):
    """What an index does not have is a dash, not a zero."""
    for column in ("bid", "ask", "volume"):
        await expect(watch.cell("NSE_INDEX:NIFTY", column)).to_have_text(re.compile("^\u2013 ?$"))


async def test_currency_shows_four_decimals(watch: Watch):
    """Decimals follow the tick size of the instrument."""
    await watch.search.fill("USDINR")
    await watch.options.first.click()
    await expect(watch.cell("CDS:USDINR29OCT26FUT", "last")).to_have_text("84.2375")


async def test_removed_instrument_stays_away(watch: Watch, site: FakeSite):
    """Removing a row ends its subscription and is remembered."""
    await watch.page.get_by_role("button", name="Remove SBIN (NSE)").click()
    await expect(watch.row("NSE:SBIN")).to_have_count(0)
    await expect(watch.page.get_by_role("button", name="Remove HDFCBANK (NSE)")).to_be_focused()
    await eventually(
        lambda: (
            [item["symbols"] for item in site.say("requests") if item["action"] == "unsubscribe"]
            == [[{"symbol": "SBIN", "exchange": "NSE"}]]
        )
    )
    await eventually(lambda: "NSE:SBIN" not in saved(site))
    await watch.page.reload()
    await watch.has_prices()
    assert "NSE:SBIN" not in await watch.keys()


async def test_emptied_list_stays_empty_until_asked(watch: Watch, site: FakeSite):
    """Someone who removed everything is not given the defaults again by a reload."""
    while await watch.keys():
        await watch.page.get_by_role("button", name="Remove").first.click()
    await eventually(lambda: saved(site) == [])
    await watch.page.reload()
    await expect(watch.page.get_by_text("Your list is empty.")).to_be_visible()
    await watch.page.get_by_role("button", name="Add the default list").click()
    await watch.has_prices()
    await watch.has_keys(DEFAULTS)


FULL = {
    "status": "error",
    "code": "MAX_CAPACITY_REACHED",
    "broker": "zerodha",
    "message": "The pool is full.",
    "details": {"used": 9000, "capacity": 9000, "connections": 3, "max_connections": 3},
}


async def test_what_had_no_room_comes_by_itself_once_there_is_some(watch: Watch, site: FakeSite):
    """Somebody else left, or the limits were raised: the row needs no click."""
    site.say("set_state", used=9000)
    site.say("set_market", refusals={"WIPRO": FULL})
    await watch.search.fill("wipro")
    await watch.search.press("Enter")
    await expect(watch.badge("NSE:WIPRO")).to_have_text("refused")
    site.say("set_market", refusals={})
    site.say("set_state", used=8999)
    await expect(watch.cell("NSE:WIPRO", "last")).to_have_text("402.60")
    await expect(watch.badge("NSE:WIPRO")).to_be_hidden()
    await expect(watch.page.get_by_role("alert").filter(has_text="refused")).to_have_count(0)


async def test_full_pool_is_told_with_its_numbers(watch: Watch, site: FakeSite):
    """A refusal for capacity gives the numbers, and can be tried again later."""
    site.say("set_state", used=9000)
    site.say("set_market", refusals={"WIPRO": FULL})
    await watch.search.fill("wipro")
    await watch.search.press("Enter")
    alert = watch.page.get_by_role("alert")
    await expect(alert).to_contain_text(
        "WIPRO refused. The pool is full. (9,000 of 9,000 symbols in use on 3 of 3 connections)"
    )
    await expect(watch.badge("NSE:WIPRO")).to_have_text("refused")
    site.say("set_market", refusals={})
    await alert.get_by_role("button", name="Try again").click()
    await expect(watch.cell("NSE:WIPRO", "last")).to_have_text("402.60")
    await expect(watch.badge("NSE:WIPRO")).to_be_hidden()


async def test_a_name_that_ends_takes_its_last_price_along(watch: Watch, site: FakeSite):
    """What was shown of an expired contract may be another's price: nothing of it stays."""
    await expect(watch.cell("NSE:TCS", "last")).to_have_text(NUMBER)
    refusal = {"code": "SYMBOL_EXPIRED", "message": "NSE:TCS expired on 24 Nov 2026"}
    site.say("end", symbol="TCS", **refusal)
    alert = watch.page.get_by_role("alert")
    await expect(alert).to_contain_text("TCS expired. NSE:TCS expired on 24 Nov 2026")
    await expect(watch.badge("NSE:TCS")).to_have_text("expired")
    for field in ("last", "bid", "ask", "change"):
        await expect(watch.cell("NSE:TCS", field)).not_to_have_text(NUMBER)
    await expect(watch.cell("NSE:INFY", "last")).to_have_text(NUMBER)
    await alert.get_by_role("button", name="Remove").click()
    await expect(watch.row("NSE:TCS")).to_have_count(0)
    await eventually(lambda: "NSE:TCS" not in saved(site))


async def test_message_can_be_dismissed(watch: Watch):
    """Messages go away when told to."""
    await watch.search.fill("NSE:NOSUCH")
    await watch.search.press("Enter")
    notice = watch.page.get_by_role("status").filter(has_text="was not added")
    await notice.get_by_role("button", name="Dismiss this message").click()
    await expect(notice).to_have_count(0)


async def test_server_restart_shows_stale_then_live_again(
    watch: Watch, site: FakeSite, console_errors: ConsoleErrors
):
    """While the server is away nothing passes for live; when it is back everything ticks again."""
    console_errors.allow("WebSocket connection to|net::ERR_(CONNECTION_|EMPTY_RESPONSE|SOCKET_)")
    site.stop()
    await expect(watch.badge("NSE:INFY")).to_have_text("stale")
    await expect(watch.badge("NSE:INFY")).to_be_visible()
    await expect(watch.page.locator('#rows tr[data-state="stale"]')).to_have_count(len(DEFAULTS))
    await expect(watch.banner).to_contain_text("The connection to the server is lost. Prices below")
    await expect(watch.cell("NSE:INFY", "age")).to_have_text(re.compile(r"\d+[sm]"))
    site.start()
    with contextlib.suppress(PlaywrightTimeoutError):  # the page's own attempt may come first
        await watch.page.get_by_role("button", name="Connect now").click(timeout=2000)
    await watch.has_prices()
    await expect(watch.badge("NSE:INFY")).to_be_hidden()
    await expect(watch.banner).to_be_hidden()
    await expect(watch.pill).to_have_text("Connected")
    site.say("tick", exchange="NSE", symbol="INFY", ltp=1580.0)
    await expect(watch.cell("NSE:INFY", "last")).to_have_text("▲1,580.00")


async def test_server_that_went_silent_is_noticed(
    page: Page, site: FakeSite, console_errors: ConsoleErrors
):
    """A link that is open but dead shows its prices as stale and is replaced."""
    console_errors.allow("WebSocket connection to")  # an attempt is given up after 15 s
    clock = await StillClock.install(page)
    watch = Watch(page)
    await watch.log_in(site.url, site.username, site.password)
    await watch.has_prices()
    await clock.stop()
    site.say("set_market", is_silent=True)
    await clock.run(21_000)
    await expect(watch.page.locator('#rows tr[data-state="stale"]')).to_have_count(len(DEFAULTS))
    await expect(watch.banner).to_contain_text("The connection to the server is lost.")
    site.say("set_market", is_silent=False)
    await clock.go_on()
    await watch.has_prices()
    await expect(watch.banner).to_be_hidden()


@pytest.mark.parametrize("code", [1012, 4408, 4503])
async def test_page_comes_back_by_itself(watch: Watch, site: FakeSite, code: int):
    """Closes that promise a return are followed by one, and everything is subscribed again."""
    site.say("set_market", requests=[])
    pill = await Memory.of(watch.pill)
    site.say("close", code=code)
    await pill.saw("Disconnected")
    await pill.saw("Connected", times=2)
    await eventually(lambda: len(subscribed(site)) == 1)
    (asked,) = subscribed(site)
    assert [f"{item['exchange']}:{item['symbol']}" for item in asked["symbols"]] == DEFAULTS
    assert asked["mode"] == 3
    await watch.has_prices()


async def test_rate_limited_page_waits_as_long_as_told(watch: Watch, site: FakeSite):
    """4429 carries its waiting time."""
    countdown = await Memory.of(watch.page.locator("#countdown"))
    site.say("close", code=4429, reason="retry_after=40")
    await countdown.saw("Connecting again in 40 s.")
    await expect(watch.banner).to_contain_text(re.compile(r"Connecting again in \d+ s\."))


@pytest.mark.parametrize("code", [1009, 4400, 4403, 4413])
async def test_page_stays_away_when_told_so(watch: Watch, site: FakeSite, code: int):
    """Closes that ask not to come back are explained, and only the user tries again."""
    site.say("set_market", requests=[])
    site.say("close", code=code)
    await expect(watch.banner).to_contain_text(f"code {code}")
    await expect(watch.badge("NSE:INFY")).to_have_text("stale")
    assert not subscribed(site)
    await watch.page.get_by_role("button", name="Connect now").click()
    await watch.has_prices()


async def test_ended_session_says_signed_out(watch: Watch, site: FakeSite):
    """4401 shows old prices as old and offers to log in."""
    site.say("close", code=4401)
    await expect(watch.banner).to_contain_text("You are signed out.")
    await expect(watch.badge("NSE:INFY")).to_have_text("stale")
    await expect(watch.pill).to_have_text("Signed out")
    await expect(watch.page.get_by_role("link", name="Log in again")).to_be_visible()


async def test_logging_in_again_resumes(
    watch: Watch, site: FakeSite, console_errors: ConsoleErrors
):
    """The link of the signed-out banner leads back to the same list."""
    # The page is left while it may just be trying to connect again.
    console_errors.allow("401|WebSocket is closed before the connection is established")
    site.say("log_everyone_out")
    site.say("close", code=1012)
    await expect(watch.banner).to_contain_text("You are signed out.")
    await watch.page.get_by_role("link", name="Log in again").click()
    await watch.log_in(site.url, site.username, site.password)
    await watch.has_prices()
    await watch.has_keys(DEFAULTS)


async def test_stale_feed_marks_the_symbols_it_names(watch: Watch, site: FakeSite):
    """A feed that stopped is shown on its rows, with the reason, and only there."""
    site.say(
        "feed", status="stale", exchange="NSE", symbols=["INFY", "TCS"], reason="worker restarts"
    )
    await expect(watch.badge("NSE:INFY")).to_have_text("stale")
    await expect(watch.badge("NSE:TCS")).to_have_text("stale")
    await expect(watch.page.locator('#rows tr[data-state="stale"]')).to_have_count(2)
    await expect(watch.banner).to_contain_text("Worker restarts.")
    site.say("feed", status="live", exchange="NSE", symbols=["INFY", "TCS"], reason="")
    await expect(watch.banner).to_be_hidden()
    await expect(watch.badge("NSE:INFY")).to_have_text("stale")
    site.say("tick", exchange="NSE", symbol="INFY", ltp=1581.0)
    await expect(watch.badge("NSE:INFY")).to_be_hidden()
    await expect(watch.badge("NSE:TCS")).to_have_text("stale")


async def test_two_accounts_at_one_broker_are_told_apart(watch: Watch, site: FakeSite):
    """Pausing the one leaves rows of the other live: of old ones and of one that comes then."""
    site.say("set_market", pools={"ITC": "2", "WIPRO": "2"})
    await watch.page.reload()
    await watch.has_prices()
    site.say("feed", pool_id="2", status="closed", reason="the account is paused")
    await expect(watch.badge("NSE:ITC")).to_have_text("stale")
    await expect(watch.banner).to_contain_text("The account is paused.")
    await expect(watch.page.locator('#rows tr[data-state="stale"]')).to_have_count(1)
    for name in ("NSE:WIPRO", "NSE:TATASTEEL"):
        await watch.search.fill(name)
        await watch.search.press("Enter")
        await expect(watch.row(name)).not_to_have_attribute("data-state", "waiting")
    await expect(watch.badge("NSE:WIPRO")).to_have_text("stale")
    await expect(watch.row("NSE:TATASTEEL")).to_have_attribute("data-state", "live")


async def test_snapshot_of_a_stale_feed_is_not_shown_as_live(watch: Watch, site: FakeSite):
    """The stored price that a new subscription brings is as stale as the feed that it is from."""
    site.say("feed", status="stale", reason="no data from the broker")
    await watch.search.fill("wipro")
    await watch.search.press("Enter")
    await expect(watch.cell("NSE:WIPRO", "last")).to_have_text("402.60")
    await expect(watch.badge("NSE:WIPRO")).to_have_text("stale")


async def test_broker_login_needed_is_said(watch: Watch, site: FakeSite):
    """An expired broker login is named as such."""
    site.say("feed", status="auth_required", reason="access token expired")
    await expect(watch.pill).to_have_text("Broker login needed")
    await expect(watch.banner).to_contain_text("Access token expired.")


async def test_old_price_carries_its_age(watch: Watch, site: FakeSite):
    """A stored price counts from the exchange's time, not from its arrival."""
    await watch.page.get_by_role("button", name="Remove ITC (NSE)").click()
    hours_ago = await watch.page.evaluate("Date.now() - 3 * 3600 * 1000")
    await watch.search.fill("NSE:ITC")
    site.say("set_market", stored={"ITC": hours_ago})
    await watch.search.press("Enter")
    await expect(watch.cell("NSE:ITC", "age")).to_have_text("3h")
    await expect(watch.badge("NSE:ITC")).to_have_text("quiet")


async def test_list_survives_a_server_that_cannot_save(
    watch: Watch, site: FakeSite, console_errors: ConsoleErrors
):
    """The list is kept in the browser when the server fails, and saved later."""
    console_errors.allow("503")
    site.say("set_state", fail=["watchlist"])
    await watch.search.fill("wipro")
    await watch.search.press("Enter")
    await expect(watch.page.get_by_text("Your list is kept in this browser only.")).to_be_visible()
    await watch.page.reload()
    await watch.has_prices()
    await watch.has_keys([*DEFAULTS, "NSE:WIPRO"])
    site.say("set_state", fail=[])
    await watch.page.reload()
    await watch.has_prices()
    await eventually(lambda: saved(site) == [*DEFAULTS, "NSE:WIPRO"])


async def test_ticks_come_in_batches(watch: Watch, site: FakeSite):
    """The page asks for batches, and what it hears of prices is nothing else."""
    frames = wire(watch.page)
    await watch.page.reload()
    await watch.has_prices()
    site.say("tick", exchange="NSE", symbol="INFY", ltp=1590.5)
    await expect(watch.cell("NSE:INFY", "last")).to_have_text("▲1,590.50")
    kinds = [json.loads(frame).get("type") for frame in frames]
    assert "ticks" in kinds
    assert "market_data" not in kinds


async def test_server_without_batches_serves_the_page_too(
    watch: Watch, site: FakeSite, console_errors: ConsoleErrors
):
    """Refused the subprotocol, the page comes back without it."""
    console_errors.allow("Sec-WebSocket-Protocol")
    site.say("set_market", knows_batches=False)
    pill = await Memory.of(watch.pill)
    frames = wire(watch.page)
    site.say("close", code=4503)
    await pill.saw("Disconnected")
    await pill.saw("Connected", times=2)
    await eventually(
        lambda: any('"market_data"' in frame and '"INFY"' in frame for frame in frames)
    )
    site.say("tick", exchange="NSE", symbol="INFY", ltp=1590.5)
    await expect(watch.cell("NSE:INFY", "last")).to_have_text("▲1,590.50")


async def test_restart_is_waited_out_as_the_server_asked(watch: Watch, site: FakeSite):
    """The page comes back by itself, and no sooner than it was told."""
    states = await Memory.of(watch.row("NSE:INFY"), "data-state")
    pill = await Memory.of(watch.pill)
    site.say("restart", after_ms=3000)
    await states.saw("stale")
    went = await pill.saw("Disconnected")
    assert await pill.saw("Connected", times=2) - went > 2.9
    await watch.has_prices()
    await expect(watch.pill).to_have_text("Connected")


def wire(page: Page) -> list[str]:
    """The list that the text frames of sockets opened from now on go into."""
    frames: list[str] = []

    def opened(socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: frames.append(str(frame)))

    page.on("websocket", opened)
    return frames


async def test_a_figure_of_the_open_row_stands_on_one_line(watch: Watch):
    """The longest of them, "Exchange time", with its zone, beside a book and without one."""
    await watch.page.set_viewport_size({"width": 1280, "height": 900})
    for key in ("NSE:INFY", "NSE_INDEX:NIFTY"):
        await watch.cell(key, "last").click()
        await expect(watch.page.locator(".ladder")).to_contain_text("Exchange time")
        lines = await watch.page.evaluate(
            """[...document.querySelectorAll('.ladder .facts :is(dt, dd)')].map((node) => {
              const range = document.createRange();
              range.selectNodeContents(node);
              return new Set([...range.getClientRects()].map((box) => box.top)).size;
            })"""
        )
        assert set(lines) <= {0, 1}, "0: not shown"
        await watch.cell(key, "last").click()


async def test_phone_width_needs_no_sideways_scrolling(watch: Watch, site: FakeSite):
    """At 360 pixels nothing is cut off; what a row has no room for stands in its order book."""
    await watch.search.fill("NFO:NIFTY27OCT2624500CE")
    await watch.search.press("Enter")
    await expect(watch.row("NFO:NIFTY27OCT2624500CE")).to_have_attribute("data-state", "live")
    await watch.page.set_viewport_size({"width": 360, "height": 740})
    for column in ("symbol", "last", "change", "percent", "age", "remove"):
        await watch.cell("NSE:INFY", column).scroll_into_view_if_needed()
        await expect(watch.cell("NSE:INFY", column)).to_be_in_viewport(ratio=1)
    assert await watch.overflow() == 0
    await watch.cell("NSE:INFY", "last").click()
    await expect(watch.page.locator(".ladder")).to_contain_text("Volume")
    assert await watch.overflow() == 0
    # Staff have one link more in the header; the way out must stay on the screen.
    await watch.page.evaluate(
        """const link = document.querySelector('nav a').cloneNode();
        link.textContent = 'Admin';
        document.querySelector('nav').append(link)"""
    )
    await watch.page.evaluate("scrollTo(0, 0)")
    await expect(watch.page.get_by_role("button", name="Log out")).to_be_in_viewport(ratio=1)
    site.say("close", code=4429, reason="retry_after=60")  # so that the banner stays
    await expect(watch.banner).to_be_visible()
    assert await watch.overflow() == 0


async def test_everything_is_reached_by_keyboard(watch: Watch):
    """Tab walks from the skip link through header, lists and search to one row; arrows go on."""
    await watch.page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(24):
        await watch.page.keyboard.press("Tab")
        reached.append(
            await watch.page.evaluate(
                "document.activeElement.getAttribute('aria-label')"
                " ?? document.activeElement.labels?.[0]?.textContent"
                " ?? document.activeElement.textContent.trim()"
            )
        )
    assert reached == [
        "Skip to content",
        "TickPool",
        "Market watch",
        "Console",
        "Colours: auto. Change",
        "Log out",
        "Main 9",
        "New list",
        "Rename",
        "Import",
        "Export",
        "View",
        "Find an instrument to add",
        "Exchange that comes first in a search",
        "Keys ?",
        "Symbol",
        "Last",
        "Change",
        "Change\N{NO-BREAK SPACE}%",
        "Bid",
        "Ask",
        "Volume",
        "Age",
        "NIFTY",
    ]
    for key in ("ArrowDown", "ArrowDown", "Tab"):
        await watch.page.keyboard.press(key)
    await expect(watch.page.get_by_role("button", name="Remove RELIANCE (NSE)")).to_be_focused()


async def test_logging_out_ends_at_the_login_page(watch: Watch, console_errors: ConsoleErrors):
    """Log out is one button, and the page behind it needs a login again."""
    # What the page asked for just before, or as it comes back from the history, is refused now.
    console_errors.allow("status of 40[13]|WebSocket")
    await watch.page.get_by_role("button", name="Log out").click()
    await expect(watch.page.get_by_text("You are logged out.")).to_be_visible()
    await watch.page.go_back()
    await expect(watch.page.get_by_role("button", name="Log in")).to_be_visible()


async def test_wrong_password_is_said(page: Page, site: FakeSite):
    """A failed login stays on the form and says so."""
    await page.goto(site.url)
    await page.get_by_label("User name").fill(site.username)
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).to_contain_text("do not match")


async def test_page_allows_nothing_but_its_own_files(page: Page, site: FakeSite):
    """The policy forbids inline scripts, framing and foreign hosts."""
    response = await page.goto(site.url)
    assert response
    policy = (await response.all_headers())["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert f"connect-src 'self' ws://127.0.0.1:{site.port} wss://127.0.0.1:{site.port}" in policy
    assert "unsafe" not in policy
