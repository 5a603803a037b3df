"""The profile that browser tests have one after the other: nothing of one reaches the next."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, Route

from tests.browser.fake_site import FakeSite
from tests.fix_browser import Profile, spoil

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LEAVE = """async () => {
    localStorage.setItem('left', 'here');
    sessionStorage.setItem('left', 'here');
    document.cookie = 'left=here';
    addEventListener('pagehide', () => localStorage.setItem('at the end', 'too'));
    await (await caches.open('left')).put('/left', new Response('here'));
    await new Promise(resolve => { indexedDB.open('left').onsuccess = resolve; });
}"""
FIND = """async () => ({
    local: {...localStorage},
    session: {...sessionStorage},
    cookies: document.cookie.split('; ').map(each => each.split('=')[0]),
    caches: await caches.keys(),
    databases: await indexedDB.databases(),
    permission: (await navigator.permissions.query({name: 'clipboard-read'})).state,
})"""


async def found(context: BrowserContext, site: FakeSite) -> dict[str, Any]:
    """What a page that has just been opened finds."""
    page = await context.new_page()
    await page.goto(f"{site.url}/login/")
    seen: dict[str, Any] = await page.evaluate(FIND)
    await page.close()
    return seen


async def leave(context: BrowserContext, site: FakeSite) -> None:
    """Leave behind what a page and a test can leave behind."""

    async def refuse(route: Route) -> None:
        await route.abort()

    page = await context.new_page()
    await page.goto(f"{site.url}/login/")
    await page.evaluate(LEAVE)
    elsewhere = {"name": "left", "value": "here", "url": "http://elsewhere.test"}
    await context.add_cookies([elsewhere])  # type: ignore[list-item]
    await context.grant_permissions(["clipboard-read"])
    await context.route("**/*", refuse)
    await context.set_offline(True)


async def test_what_a_test_leaves_behind_is_not_found_by_the_next(profile: Profile, site: FakeSite):
    """Also what a page writes while it is closed, and that page itself."""
    context = await profile.take()
    pages = list(context.pages)
    clean = await found(context, site)
    await leave(context, site)
    await profile.give_back()
    assert await profile.take() is context
    assert await context.cookies() == []
    assert context.pages == pages
    assert await found(context, site) == clean
    assert clean["local"] == clean["session"] == {}
    assert clean["caches"] == clean["databases"] == []
    assert "left" not in clean["cookies"]
    await profile.give_back()


async def test_what_cannot_be_taken_back_goes_with_its_profile(profile: Profile, site: FakeSite):
    """A clock that every page of a profile has; the one that follows has the machine's."""
    before = await profile.take()
    page: Page = await before.new_page()
    await page.clock.install(time=0)
    spoil(before)
    await profile.give_back()
    after = await profile.take()
    page = await after.new_page()
    await page.goto(f"{site.url}/login/")
    assert after is not before
    assert await page.evaluate("Date.now()") > 1e12
    await profile.give_back()
