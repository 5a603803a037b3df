"""Finding an instrument to add: what is offered, what a name that nobody knows is told, and which
exchange comes first.
"""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser.fake_site import FakeSite
from tests.browser.memory import Memory
from tests.browser.watch import DEFAULTS, Watch, saved
from tests.fix_browser import ConsoleErrors
from tests.support import eventually

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_instrument_is_added_by_typing(watch: Watch, site: FakeSite):
    """Type, choose with the keyboard, and the new row ticks and is remembered."""
    await watch.page.keyboard.press("/")
    await expect(watch.search).to_be_focused()
    await watch.search.press_sequentially("tata")
    await expect(watch.options).to_have_count(3)
    await expect(watch.search).to_have_attribute("aria-expanded", "true")
    await watch.page.keyboard.press("ArrowDown")
    chosen = watch.options.filter(has_text="TATAMOTORS")
    await expect(chosen).to_have_attribute("aria-selected", "true")
    await expect(watch.search).to_have_attribute(
        "aria-activedescendant", await chosen.get_attribute("id") or ""
    )
    await watch.page.keyboard.press("Enter")
    await expect(watch.cell("NSE:TATAMOTORS", "last")).to_have_text("951.15")
    await expect(watch.cell("NSE:TATAMOTORS", "symbol")).to_contain_text("TATA MOTORS")
    await expect(watch.search).to_have_value("")
    await expect(watch.search).to_be_focused()
    await eventually(lambda: saved(site) == [*DEFAULTS, "NSE:TATAMOTORS"])
    await watch.page.reload()
    await watch.has_prices()
    await watch.has_keys([*DEFAULTS, "NSE:TATAMOTORS"])
    await expect(watch.cell("NSE:TATAMOTORS", "symbol")).to_contain_text("TATA MOTORS")


async def test_fast_typist_gets_the_best_match(watch: Watch):
    """Enter before the answer is there adds what the answer finds first."""
    await watch.search.fill("wipro")
    await watch.search.press("Enter")
    await expect(watch.cell("NSE:WIPRO", "last")).to_have_text("402.60")


async def test_instrument_already_listed_is_pointed_out(watch: Watch):
    """Choosing a known name marks its row instead of adding it twice."""
    found = await Memory.of(watch.row("NSE:INFY"), "data-found")
    await watch.search.fill("NSE:INFY")
    await watch.search.press("Enter")
    await found.saw("")
    await expect(watch.page.get_by_text("INFY is already in your list")).to_have_count(1)
    await expect(watch.search).to_be_focused()
    await expect(watch.row("NSE:INFY")).to_have_count(1)


async def test_escape_closes_the_list_then_clears_the_text(watch: Watch):
    """Escape steps back once at a time."""
    await watch.search.fill("tata")
    await expect(watch.options).to_have_count(3)
    await watch.search.press("Escape")
    await expect(watch.options).to_have_count(0)
    await expect(watch.search).to_have_value("tata")
    await watch.search.press("Escape")
    await expect(watch.search).to_have_value("")


async def test_unknown_symbol_is_refused_with_the_nearest_ones(watch: Watch, site: FakeSite):
    """A name that does not exist is not added; the nearest one is a click away."""
    await watch.search.fill("NSE:WIPRRO")
    await expect(watch.options).to_have_text([re.compile("WIPRRO.*ask for exactly this name")])
    await watch.search.press("Enter")
    notice = watch.page.get_by_role("status").filter(has_text="NSE:WIPRRO was not added.")
    await expect(notice).to_contain_text("WIPRRO is not known on NSE")
    await expect(watch.row("NSE:WIPRRO")).to_have_count(0)
    await notice.get_by_role("button", name="Add WIPRO").click()
    await expect(watch.cell("NSE:WIPRO", "last")).to_have_text("402.60")
    await expect(notice).to_have_count(0)
    await eventually(lambda: saved(site) == [*DEFAULTS, "NSE:WIPRO"])


async def test_a_name_of_another_exchange_is_offered_before_it_is_asked_for(watch: Watch):
    """NIFTY is an index: NSE:NIFTY is nothing, and NSE_INDEX:NIFTY what is meant."""
    await watch.page.get_by_role("button", name="Remove NIFTY (NSE_INDEX)").click()
    await watch.search.fill("nse:nifty")
    await expect(watch.options).to_have_text(
        [re.compile("^NIFTY NSE_INDEX"), re.compile("^NIFTY NSE ask for exactly this name")]
    )
    await watch.search.press("Enter")
    await expect(watch.row("NSE_INDEX:NIFTY")).to_have_count(1)


async def test_the_exchange_that_comes_first_is_the_users_choice(watch: Watch, site: FakeSite):
    """It is kept by the server, and what was found before is asked for again."""
    choice = watch.page.get_by_label("Exchange that comes first in a search")
    await expect(choice).to_have_value("")
    assert await choice.locator("option").all_inner_texts() == [
        "NSE first",
        "BSE first",
        "MCX first",
    ]
    await watch.search.fill("tata")
    await expect(watch.options).to_have_count(3)
    await choice.focus()
    await expect(watch.options).to_have_count(0)
    await choice.select_option("BSE")
    await eventually(lambda: site.say("state", name="preferred") == "BSE")
    await watch.search.focus()
    await expect(watch.options).to_have_count(3)
    await watch.page.reload()
    await expect(choice).to_have_value("BSE")


async def test_choices_go_out_one_behind_the_other(watch: Watch):
    """Two quick changes of the preferred exchange: the one that was made last is kept."""
    steps = await watch.page.evaluate(
        """async () => {
            const { PreferredExchange } = await import('/static/streaming/js/preference.js');
            const [asked, answers, changes] = [[], [], []];
            const later = () => new Promise((done) => setTimeout(done));
            window.fetch = (_, { method, body }) => {
                if (method !== 'PUT') {
                    return new Response('{"preferred_exchange": "", "exchanges": ["A", "B", "C"]}');
                }
                asked.push(JSON.parse(body).preferred_exchange);
                return new Promise((done) => answers.push(() => done(new Response('{}'))));
            };
            const select = document.createElement('select');
            const onChanged = () => changes.push(select.value);
            await new PreferredExchange({ select, onChanged, onError: onChanged }).load();
            const choose = (value) => {
                select.value = value;
                select.dispatchEvent(new Event('change'));
                return later();
            };
            for (const value of ['B', '', 'C']) await choose(value);
            const before = [...asked];
            const until = async (isSo) => { while (!isSo()) await later(); };
            answers[0]();
            await until(() => answers.length > 1);
            answers[1]();
            await until(() => changes.length > 1);
            return { before, asked, kept: select.value, answers: answers.length };
        }"""
    )
    assert steps == {"before": ["B"], "asked": ["B", "C"], "kept": "C", "answers": 2}


async def test_a_choice_that_cannot_be_kept_is_taken_back(
    watch: Watch, site: FakeSite, console_errors: ConsoleErrors
):
    """The page shows what the server has, and says so."""
    console_errors.allow("503")
    select = watch.page.get_by_label("Exchange that comes first in a search")
    await select.select_option("BSE first")
    await eventually(lambda: site.say("state", name="preferred") == "BSE")
    await watch.page.route("**/api/preferences", lambda route: route.fulfill(status=503))
    await select.select_option("MCX first")
    await expect(watch.page.get_by_text("Your choice was not kept.")).to_be_visible()
    await expect(select).to_have_value("BSE")


async def test_a_search_without_instruments_says_what_to_do(watch: Watch, site: FakeSite):
    """That nothing is loaded is no fault of what was typed."""
    reason = "No instruments are loaded for Zerodha: run manage.py loadinstruments."
    site.say("set_state", reason=reason)
    hint = watch.page.locator("#search-hint")
    await watch.search.fill("infy")
    await expect(hint).to_have_text(reason)
    await expect(hint).to_be_visible()
    await watch.search.fill("NSE:INFY")
    await expect(hint).to_be_visible()
    await expect(hint).to_have_text(reason)
    await expect(watch.options).to_have_count(0)
    while await watch.keys():
        await watch.page.get_by_role("button", name="Remove").first.click()
    await watch.page.get_by_role("button", name="Add the default list").click()
    messages = watch.page.get_by_role("region", name="Messages")
    await expect(messages).to_contain_text(reason)
    site.say("set_state", reason="")
    await messages.get_by_role("button", name="Look again").click()
    await expect(messages).not_to_contain_text(reason)
    await expect(watch.page.locator("#rows tr")).not_to_have_count(0)
    await watch.search.fill("nosuchname")
    await expect(hint).to_contain_text("Nothing found for")
