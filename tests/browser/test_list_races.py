"""Lists that are made, left and changed while the server takes its time: nothing goes astray."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.fake_site import FakeSite
from tests.browser.test_watch_lists import add, ask_for_list, lists, new_list, tab
from tests.browser.watch import DEFAULTS, Watch, saved
from tests.fix_browser import ConsoleErrors
from tests.support import eventually

SYMBOLS = [key.partition(":")[2] for key in DEFAULTS]
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@asynccontextmanager
async def held_back(page: Page, method: str) -> AsyncIterator[asyncio.Event]:
    """Hold requests of ``method`` to the lists back until the block ends; the event: one came."""
    came, go = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        if route.request.method == method:
            came.set()
            await go.wait()
        await route.continue_()

    await page.route("**/api/watchlists**", hold)
    try:
        yield came
    finally:
        go.set()


async def test_who_leaves_the_dialog_stays_in_the_list_that_is_shown(watch: Watch, site: FakeSite):
    """Escape while a list is being made: it comes, beside the one that the user went on with."""
    await watch.is_remembered()  # so that the request held back is the new list's
    async with held_back(watch.page, "POST") as came:
        await ask_for_list(watch, "Metals")
        await came.wait()
        await watch.page.keyboard.press("Escape")
        await expect(watch.page.get_by_role("dialog")).to_be_hidden()
        await add(watch, "NSE:TATASTEEL")
    await expect(tab(watch, "Metals")).to_have_attribute("aria-pressed", "false")
    await expect(tab(watch, "Main")).to_have_attribute("aria-pressed", "true")
    await expect(watch.row("NSE:TATASTEEL")).to_be_visible()
    await eventually(
        lambda: "TATASTEEL" in lists(site)["Main"] and lists(site).get("Metals") == [],
        timeout=15,
    )


async def test_a_failure_behind_a_dialog_that_was_left_is_told(
    watch: Watch, console_errors: ConsoleErrors
):
    """The reason comes as a message, and the dialog that is open by then is left alone."""
    console_errors.allow("409")
    page = watch.page
    await watch.is_remembered()
    async with held_back(page, "POST") as came:
        await ask_for_list(watch, "main")
        await came.wait()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_be_hidden()
        await page.get_by_role("button", name="Rename", exact=True).click()
    await expect(page.locator("#notices")).to_contain_text("List “main” was not made.")
    await expect(page.locator("#notices")).to_contain_text("There is a list “main” already.")
    await expect(page.get_by_role("dialog")).to_contain_text("Rename list")
    await expect(page.locator("#list-error")).to_have_text("")
    await expect(page.locator("#list-confirm")).to_be_enabled()


@pytest.mark.parametrize("removed", [["NIFTY"], ["NIFTY", "INFY"]], ids=["one", "two"])
async def test_a_removal_is_taken_back_though_the_first_save_was_not_answered(
    page: Page, site: FakeSite, removed: list[str]
):
    """A new user's list gets its id in the meantime, and stays the list that it was."""
    watch = Watch(page)
    async with held_back(page, "POST") as came:
        await watch.log_in(site.url, site.username, site.password)
        await watch.has_prices()
        await came.wait()
        before = await watch.keys()
        await watch.offer_for_long()
        for name in removed:
            await page.get_by_role("button", name=f"Remove {name}").click()
        await expect(page.locator("#undo")).to_contain_text("removed")
    await watch.is_remembered()
    await page.keyboard.press("u")
    await expect(page.locator("#undo")).to_be_hidden()
    await watch.has_keys(before)
    await eventually(lambda: saved(site) == before)


async def test_a_list_that_could_not_be_stored_can_be_left_and_shown_again(
    page: Page, site: FakeSite, console_errors: ConsoleErrors
):
    """The server refuses to keep the first one for now: its tab works all the same."""
    console_errors.allow("503")

    async def refuse_main(route: Route) -> None:
        made: Any = route.request.post_data_json if route.request.method == "POST" else None
        if made and made["name"] == "Main":
            await route.fulfill(status=503, json={"message": "busy"})
        else:
            await route.continue_()

    await page.route("**/api/watchlists**", refuse_main)
    watch = Watch(page)
    await watch.log_in(site.url, site.username, site.password)
    await watch.has_prices()
    before = await watch.keys()
    await new_list(watch, "Metals")
    await expect(tab(watch, "Metals")).to_have_attribute("aria-pressed", "true")
    await tab(watch, "Main").click()
    await expect(tab(watch, "Main")).to_have_attribute("aria-pressed", "true")
    await watch.has_keys(before)


async def test_what_is_added_before_the_lists_have_come_joins_them(watch: Watch, site: FakeSite):
    """Whoever types at once on a slow line keeps what the list had, and what was added."""
    async with held_back(watch.page, "GET") as came:
        await watch.page.reload(wait_until="commit")
        await came.wait()
        await add(watch, "NSE:WIPRO")
        await watch.page.get_by_role("button", name="Last", exact=True).click()
        await add(watch, "NSE:TATASTEEL")
        await watch.page.get_by_role("button", name="Remove TATASTEEL (NSE)").click()
        await expect(watch.row("NSE:TATASTEEL")).to_have_count(0)
    await watch.has_prices()
    await eventually(lambda: lists(site)["Main"] == [*SYMBOLS, "WIPRO"], timeout=15)
    await expect(watch.page.locator("#rows tr")).to_have_count(len(SYMBOLS) + 1)
    assert await watch.keys() == [*DEFAULTS, "NSE:WIPRO"]


async def test_a_row_whose_list_is_gone_does_not_come_back(
    watch: Watch, site: FakeSite, console_errors: ConsoleErrors
):
    """Another browser deleted the list meanwhile: the offer to undo says so."""
    console_errors.allow("404")  # a save of the list may still be under way
    await watch.offer_for_long()
    await new_list(watch, "Two")
    await add(watch, "NSE:WIPRO")
    await watch.page.get_by_role("button", name="Remove WIPRO (NSE)").click()
    await eventually(lambda: lists(site)["Two"] == [], timeout=15)
    ((owner, known),) = site.say("watchlists").items()
    site.say("set_state", watchlists={owner: known[:1]})
    await watch.page.evaluate(
        "new BroadcastChannel(`tickpool.lists.${document.body.dataset.userId}`).postMessage('')"
    )
    await expect(tab(watch, "Two")).to_have_count(0)
    await watch.page.get_by_role("button", name="Undo").click()
    await expect(watch.page.locator("#notices")).to_contain_text(
        "WIPRO is not back. That list is gone."
    )


async def test_a_paste_whose_dialog_was_left_leaves_the_next_one_alone(
    watch: Watch, site: FakeSite, console_errors: ConsoleErrors
):
    """What comes of it is told beside the dialog that is open by then."""
    console_errors.allow("503")
    page = watch.page
    dialog = page.get_by_role("dialog", name="Add a list")
    text = dialog.get_by_label("Names such as")
    for fails, told in (([], "1 added"), (["instruments"], "Nothing was added.")):
        site.say("set_state", fail=fails)
        async with held_back(page, "POST") as came:
            await page.get_by_role("button", name="Import").click()
            await text.fill("NSE:WIPRO")
            await dialog.get_by_role("button", name="Add").click()
            await came.wait()
            await dialog.get_by_role("button", name="Cancel").click()
            await page.get_by_role("button", name="Import").click()
            await text.fill("NSE:ITC, NSE:")
        await expect(page.locator("#notices")).to_contain_text(told)
        await expect(text).to_have_value("NSE:ITC, NSE:")
        await expect(page.locator("#import-error")).to_have_text("")
        await dialog.get_by_role("button", name="Cancel").click()
        await page.unroute_all(behavior="wait")


# A server of two lists; `answer` decides when and how, and sees the state before and after.
_SERVER = """
  const server = { 1: ["A"], 2: ["B"] };
  let answer = async (method, act) => act();
  const body = (id) => ({ id, name: `list ${id}`,
    symbols: server[id].map((symbol) => ({ exchange: "NSE", symbol })) });
  window.fetch = async (path, { method = "GET", body: text }) => {
    const id = Number(path.split("/")[3]) || 3;
    const act = () => {
      if (method === "GET") return { lists: Object.keys(server).map((each) => body(Number(each))) };
      if (method === "DELETE") { delete server[id]; return {}; }
      const { symbols } = JSON.parse(text);
      if (symbols) server[id] = symbols.map(({ symbol }) => symbol);
      return body(id);
    };
    const found = await answer(method, act);
    return found instanceof Response ? found : Response.json(found);
  };
  const gate = () => { let open; const wait = new Promise((go) => { open = go; });
    return { wait, open }; };
  const rows = (...symbols) => symbols.map((symbol) => ({ exchange: "NSE", symbol }));
  const names = (list) => list.symbols.map(({ symbol }) => symbol);
  const { Lists } = await import("/static/streaming/js/lists.js");
  const lists = new Lists({ userId: crypto.randomUUID() });
  await lists.load();
"""


async def drive(page: Page, script: str) -> Any:
    """Run ``script`` with a fresh user's ``lists`` in front of that server."""
    return json.loads(
        await page.evaluate(f"async () => {{ {_SERVER}\nreturn JSON.stringify(await (async () => {{"
                            f"{script} }})()); }}")
    )  # fmt: skip


async def test_changes_of_two_lists_within_a_moment_are_both_saved(module_page: Page):
    """What was added to one while another was made is the first one's, whatever follows at once."""
    assert await drive(
        module_page,
        """
  const posted = gate();
  const begun = gate();
  answer = async (method, act) => {
    if (method === "POST") { begun.open(); await posted.wait; }
    return act();
  };
  lists.save(rows("A", "X"));
  const made = lists.create("list 3");
  await begun.wait;
  lists.save(rows("A", "X", "Y"));
  posted.open();
  const id = await made;
  const stayed = lists.current.id;
  lists.select(id);
  lists.save(rows("Z"));
  await lists.flush();
  return [stayed, server];
""",
    ) == [1, {"1": ["A", "X", "Y"], "2": ["B"], "3": ["Z"]}]


async def test_a_change_during_a_reload_of_the_lists_is_kept(module_page: Page):
    """An answer that is older than what was changed here does not take the change back."""
    assert await drive(
        module_page,
        """
  let first = true;
  answer = async (method, act) => {
    const found = act();
    if (method === "GET" && first) {
      first = false;
      lists.save(rows("A", "X"));
      await lists.flush();
    }
    return found;
  };
  await lists.load();
  await lists.flush();
  return [names(lists.current), server];
""",
    ) == [["A", "X"], {"1": ["A", "X"], "2": ["B"]}]


async def test_a_list_made_during_a_reload_is_there_once(module_page: Page):
    """Whichever of the two answers comes first."""
    assert await drive(
        module_page,
        """
  const counts = [];
  for (const order of ["made first", "fetched first"]) {
    const held = gate();
    answer = async (method, act) => {
      const found = act();
      if (method === (order === "made first" ? "GET" : "POST")) await held.wait;
      return found;
    };
    const loading = lists.load();
    const making = lists.create("list 3");
    await (order === "made first" ? making : loading);
    held.open();
    await Promise.all([loading, making]);
    counts.push(lists.lists.map(({ id }) => id).join());
  }
  return counts;
""",
    ) == ["1,2,3", "1,2,3"]


async def test_a_refused_deletion_loses_no_change(module_page: Page):
    """What waited to be saved is saved before, and the list and its place are what they were."""
    assert await drive(
        module_page,
        """
  answer = async (method, act) =>
    method === "DELETE" ? Response.json({ message: "no" }, { status: 403 }) : act();
  lists.save(rows("A", "X"));
  const problem = await lists.remove().catch((error) => error.message);
  await lists.flush();
  return [problem, lists.current.id, lists.lists.length, server];
""",
    ) == ["no", 1, 2, {"1": ["A", "X"], "2": ["B"]}]


async def test_a_list_deleted_behind_another_one_leaves_that_one_shown(module_page: Page):
    """Who went on to another list meanwhile is not moved, and no other list goes."""
    assert await drive(
        module_page,
        """
  const held = gate();
  const begun = gate();
  answer = async (method, act) => {
    if (method === "DELETE") { begun.open(); await held.wait; }
    return act();
  };
  const removing = lists.remove();
  await begun.wait;
  await lists.load();
  lists.select(2);
  held.open();
  return [await removing, lists.current.id, lists.lists.map(({ id }) => id)];
""",
    ) == [None, 2, [2]]
