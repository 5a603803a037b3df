"""The capacity strip over the market watch: what it says of each pool, and the room it takes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import expect

from pooling.operations.pool_state import PoolState, Tone
from tests.browser.fake_site import FakeSite
from tests.browser.memory import Memory
from tests.browser.watch import Watch
from tests.fix_browser import ConsoleErrors

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

DASH = "\N{EN DASH}"


async def test_unhealthy_pool_says_why(watch: Watch, site: FakeSite):
    """The capacity strip shows state and reason."""
    site.say("set_state", pool={"status": "login needed", "reason": "access token expired"})
    strip = watch.page.get_by_label("Capacity of your pools")
    await expect(strip).to_contain_text("login needed")
    await expect(strip).to_contain_text("access token expired")


async def test_strip_says_what_the_socket_says_of_its_feed(watch: Watch, site: FakeSite):
    """The figures may call a pool live for seconds after its worker has gone; the page may not."""
    strip = watch.page.get_by_label("Capacity of your pools")
    await expect(strip).to_contain_text("live")
    site.say("feed", status="stale", reason="the worker does not answer")
    await expect(strip).to_contain_text("stale")
    await expect(strip).to_contain_text("the worker does not answer")
    await expect(strip).not_to_contain_text("live")
    async with watch.page.expect_response("**/api/pools") as told:
        pass
    assert '"live"' in await (await told.value).text()
    await expect(strip).to_contain_text("stale")
    site.say("feed", status="live", reason="")
    await expect(strip).to_contain_text("live")
    await expect(strip).not_to_contain_text("stale")


async def test_strip_says_that_a_trouble_is_over_as_soon_as_the_rows_do(
    watch: Watch, site: FakeSite
):
    """The figures are from before until their worker writes new ones."""
    site.say("set_state", pool={"status": "stale", "reason": "no data"}, written_ago_ms=60_000)
    card = watch.page.locator(".pool")
    await expect(card).to_have_attribute("data-status", "stale")
    site.say("feed", status="live", reason="")
    await expect(card).to_have_attribute("data-status", "live")
    await expect(card).not_to_contain_text("no data")
    async with watch.page.expect_response("**/api/pools"):
        pass
    await expect(card).to_have_attribute("data-status", "live")
    site.say("set_state", written_ago_ms=0)  # it is so again, or still
    await expect(card).to_have_attribute("data-status", "stale")


STOPPED = {"status": "closed", "reason": "the pool was closed", "used": 0, "connections": []}
GONE = {
    "stopped": STOPPED,
    "killed": {"connections": [{"slot": 0, "state": "backoff", "used": 9}]},
    "found out": {"status": "no worker", "reason": "w:1 ended", "is_served": False},
}


async def looks(watch: Watch, state: PoolState) -> None:
    """Pill and banner have the tone of the pool's state, as its strip has."""
    await expect(watch.pill).to_have_attribute("data-state", state.tone)
    kind = "bad" if state.tone is Tone.BAD else "warn"
    await expect(watch.banner).to_have_attribute("data-kind", kind)


@pytest.mark.parametrize("written", GONE.values(), ids=GONE)
async def test_what_a_worker_wrote_before_it_went_is_not_shown(
    watch: Watch, site: FakeSite, written: dict[str, Any]
):
    """Neither its last words nor what it held: strip, pill and banner say the same.

    The socket only says that prices are stale; the server, once it knows, that there is no worker.
    """
    is_known = written is GONE["found out"]
    state, pill = ("no worker", "No worker") if is_known else ("stale", "Feed stale")
    reason = "w:1 ended" if is_known else "the worker was stopped"
    site.say("feed", status="stale", reason="the worker was stopped")
    site.say("set_state", pool=written, written_ago_ms=60_000)
    card = watch.page.locator(".pool")
    shown = await Memory.of(card)
    await shown.saw(re.compile("worker was stopped"))
    for _ in range(2):
        async with watch.page.expect_response("**/api/pools"):
            pass
    await expect(card).to_have_attribute("data-tone", PoolState(state).tone)
    await expect(card.locator("[data-field=state]")).to_have_text(state)
    await expect(card.locator("[data-field=reason]")).to_have_text(reason)
    await expect(card.locator("[data-field=symbols]")).to_have_text(f"{DASH} of 9,000 symbols")
    connections = card.locator("[data-field=connections]")
    await expect(connections).to_have_text(f"{DASH} of 3 connections")
    headline = "No worker serves the feed" if is_known else "The feed is stale"
    await expect(watch.banner).to_contain_text(headline)
    await expect(watch.pill).to_have_text(pill)
    await looks(watch, PoolState(state))
    assert not [each for each in await shown.all() if re.search("closed|trying", each or "")]


@pytest.mark.parametrize("written", GONE.values(), ids=GONE)
async def test_a_worker_that_is_back_is_shown_by_its_own_count_at_once(
    watch: Watch, site: FakeSite, written: dict[str, Any]
):
    """What its predecessor wrote last may stand in the figures for a while."""
    card = watch.page.locator(".pool")
    connections = card.locator("[data-field=connections]")
    site.say("feed", status="stale", reason="the worker was stopped")
    site.say("set_state", pool=written, written_ago_ms=60_000)
    async with watch.page.expect_response("**/api/pools"):
        pass
    await expect(connections).to_have_text(f"{DASH} of 3 connections")
    site.say("set_market", counted=9)
    shown = await Memory.of(card)
    site.say("feed", status="live", reason="")
    await expect(card).to_have_attribute("data-status", "live")
    await expect(card.locator("[data-field=symbols]")).to_have_text("9 of 9,000 symbols")
    await expect(connections).to_have_text("1 of 3 connections")
    async with watch.page.expect_response("**/api/pools"):
        pass
    await expect(connections).to_have_text("1 of 3 connections")
    assert not [each for each in await shown.all() if re.search("closed|trying", each or "")]


async def test_a_pool_that_a_person_paused_reads_so(watch: Watch, site: FakeSite):
    """Closed at once, whatever its worker wrote before; paused, once the server tells."""
    site.say("feed", status="closed", reason="paused")
    card = watch.page.locator(".pool")
    await expect(card.locator("[data-field=state]")).to_have_text("closed")
    await expect(card.locator("[data-field=reason]")).to_have_text("paused")
    await expect(watch.banner).to_contain_text("The feed is closed.")
    site.say("set_state", pool={"status": "paused", "reason": "closed", "connections": []}, used=0)
    async with watch.page.expect_response("**/api/pools"):
        pass
    await expect(card.locator("[data-field=state]")).to_have_text("paused")
    await expect(watch.banner).to_contain_text("The feed is paused. Closed.")
    await expect(watch.pill).to_have_text("Paused")
    await looks(watch, PoolState.PAUSED)
    await expect(card.locator("[data-field=connections]")).to_have_text("0 of 3 connections")


async def test_capacity_comes_with_the_answer_for_the_list(watch: Watch, site: FakeSite):
    """The worker's own count, where what it wrote is older than the list."""
    symbols = watch.page.locator(".pool [data-field=symbols]")
    site.say("set_state", used=0, written_ago_ms=120_000)
    site.say("set_market", counted=9)
    await watch.page.reload()
    await expect(symbols).to_have_text("9 of 9,000 symbols")
    shown = await Memory.of(symbols)
    async with watch.page.expect_response("**/api/pools"):
        pass
    site.say("set_state", used=8, written_ago_ms=0)
    await shown.saw("8 of 9,000 symbols")
    assert await shown.all() == ["9 of 9,000 symbols", "8 of 9,000 symbols"]


async def test_disabled_accounts_are_one_line_without_figures(watch: Watch, site: FakeSite):
    """What nobody uses takes no room and shows nothing that is not current."""
    closed = {"status": "disabled", "reason": "the account is switched off", "enabled": False}
    others = [{**closed, "pool_id": "7", "label": "old"}, {**closed, "pool_id": "8", "label": "x"}]
    site.say("set_state", other_pools=others)
    strip = watch.page.get_by_label("Capacity of your pools")
    await expect(strip).to_contain_text("Disabled: Zerodha pool old, Zerodha pool x.")
    await expect(watch.page.locator(".pool")).to_have_count(1)
    await expect(watch.page.locator(".pool")).to_contain_text("9 of 9,000 symbols")
    site.say("set_state", other_pools=[])
    await expect(strip.get_by_text("Disabled")).to_be_hidden()


@pytest.mark.parametrize("width", [360, 1280, 1920])
async def test_a_note_takes_no_room_from_the_cards(
    watch: Watch, site: FakeSite, console_errors: ConsoleErrors, width: int
):
    """ "Capacity figures are not available" and "Disabled: ..." stand on lines of their own."""
    console_errors.allow("503")
    closed = {"pool_id": "7", "label": "old", "status": "disabled", "enabled": False}
    await watch.page.set_viewport_size({"width": width, "height": 800})
    card = watch.page.locator(".pool")
    site.say("set_state", other_pools=[closed])
    async with watch.page.expect_response("**/api/pools"):
        pass
    site.say("set_state", fail=["pools"])
    strip = watch.page.get_by_label("Capacity of your pools")
    await expect(strip).to_contain_text("Capacity figures are not available; asking again.")
    await expect(card).to_be_visible()
    room = await strip.bounding_box()
    taken = await card.bounding_box()
    assert room
    assert taken
    assert taken["width"] == room["width"]
    assert await watch.overflow() == 0
