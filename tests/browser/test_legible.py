"""Every text stands out from its ground in light and dark, what is old and what is wrong too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import expect

from tests.browser.fake_site import FakeSite
from tests.browser.legible import pale_texts
from tests.browser.watch import Watch
from tests.fix_browser import ConsoleErrors

SITE_CSS = Path(__file__).resolve().parents[2] / "streaming/static/streaming/site.css"
Scheme = Literal["light", "dark"]


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_what_is_old_can_be_read(
    watch: Watch, site: FakeSite, console_errors: ConsoleErrors, scheme: Scheme
) -> None:
    """Stale and refused rows, the cards of pools of which nothing is known, notices, the banner."""
    console_errors.allow("503")
    await watch.page.emulate_media(color_scheme=scheme)
    assert await pale_texts(watch.page) == []
    site.say("feed", status="stale", exchange="NSE", symbols=["INFY"], reason="worker restarts")
    site.say("end", symbol="TCS", code="SYMBOL_EXPIRED", message="It is no more.")
    site.say("set_state", fail=["pools"])
    await expect(watch.page.locator("#pools")).to_have_attribute("data-state", "old")
    await expect(watch.badge("NSE:INFY")).to_have_text("stale")
    await watch.cell("NSE:SBIN", "last").click()
    await expect(watch.page.locator(".ladder")).to_contain_text("Exchange time")
    assert await pale_texts(watch.page) == []
    assert await watch.overflow() == 0


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_console_can_be_read(watch: Watch, site: FakeSite, scheme: Scheme) -> None:
    """Chips that are active, stale and refused, at the width of a phone."""
    site.say("set_market", pools={"ITC": "2"})
    page = watch.page
    await page.emulate_media(color_scheme=scheme)
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.goto(f"{site.url}/console/")
    search = page.get_by_role("combobox", name="Find an instrument to subscribe")
    for name in ("NSE:INFY", "NSE:ITC", "NSE:NOSUCH"):
        await search.fill(name)
        await search.press("Enter")
        await expect(page.locator("#chosen")).to_contain_text(name)
    chosen = page.locator("#chosen")
    await expect(chosen).to_contain_text("refused")
    await expect(chosen.locator('[data-state="active"]')).to_have_count(2)
    site.say("feed", pool_id="2", status="auth_required", reason="access token expired")
    await expect(chosen).to_contain_text("login needed: access token expired")
    assert await pale_texts(page) == []
    assert await watch.overflow() == 0


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_a_row_and_its_book_fit_every_width(watch: Watch, site: FakeSite) -> None:
    """At the ends of each layout nothing scrolls sideways and no name is cut, stale or not."""
    site.say("feed", status="stale", exchange="NSE_INDEX", symbols=["BANKNIFTY"], reason="no data")
    await expect(watch.badge("NSE_INDEX:BANKNIFTY")).to_have_text("stale")
    await watch.cell("NSE:SBIN", "last").click()
    await expect(watch.page.locator(".ladder")).to_contain_text("Exchange time")
    for width in (320, 360, 760, 761, 1000, 1001, 1270, 1271, 1599, 1600, 1920):
        await watch.page.set_viewport_size({"width": width, "height": 800})
        assert await watch.overflow() == 0, width
        cut = await watch.page.evaluate(
            """[...document.querySelectorAll('#rows .c-symbol, #rows td:is(.c-last, .c-bid)')]
                .filter((cell) => cell.scrollWidth > cell.clientWidth + 1)
                .map((cell) => cell.innerText)"""
        )
        assert cut == [], width


def _light(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_fields_and_buttons_have_an_edge_that_is_seen() -> None:
    """Three to one against every ground on which they stand."""
    pairs = {
        name: (light, dark)
        for name, light, dark in re.findall(
            r"(--[\w-]+): light-dark\((#\w{6}), (#\w{6})\)", SITE_CSS.read_text()
        )
    }
    for scheme in (0, 1):
        edge = _light(pairs["--line-strong"][scheme])
        for ground in ("--ground", "--surface", "--raised"):
            low, high = sorted((edge, _light(pairs[ground][scheme])))
            assert (high + 0.05) / (low + 0.05) >= 3, (scheme, ground)
