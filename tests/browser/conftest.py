"""What the browser tests share: Chromium, and the stand-in site that they drive it against."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page

from tests.browser.fake_site import FakeSite
from tests.browser.watch import Watch
from tests.fix_browser import (
    PATIENCE_MS,
    ConsoleErrors,
    browser,
    console_errors,
    context,
    page,
    profile,
)

__all__ = [
    "browser",
    "console_errors",
    "context",
    "fake_process",
    "page",
    "profile",
    "site",
    "watch",
]


@pytest.fixture(scope="session")
def fake_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeSite]:
    """The stand-in site's process, kept for the whole run."""
    made = FakeSite(Path(tmp_path_factory.mktemp("fake-site")))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def site(fake_process: FakeSite) -> FakeSite:
    """The stand-in site as new: no lists, no refusals, prices at rest."""
    if not fake_process.is_running:
        fake_process.start()  # a failed test may have left it down
    fake_process.say("reset")
    return fake_process


@pytest_asyncio.fixture(loop_scope="session")
async def watch(page: Page, context: BrowserContext, site: FakeSite) -> AsyncIterator[Watch]:
    """The market watch, logged in, with the default list showing prices."""
    made = Watch(page)
    await context.add_cookies(site.cookies)
    await page.goto(site.url)
    if "/login/" in page.url:
        await made.log_in(site.url, site.username, site.password)
        site.cookies = [
            {"name": item["name"], "value": item["value"], "url": site.url}
            for item in await context.cookies()
        ]
    await made.has_prices()
    await made.is_remembered()
    yield made
    if made.page.url != "about:blank":
        await made.page.goto("about:blank")  # its socket ends before the next test's begins


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kept_page(browser: Browser) -> AsyncIterator[Page]:
    """A tab that stays open, for tests that only call what the pages' modules export."""
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    yield await context.new_page()
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def module_page(
    kept_page: Page, site: FakeSite, console_errors: ConsoleErrors
) -> AsyncIterator[Page]:
    """A page of the site with nothing of the test before it in its modules or its storage."""
    with console_errors.of(kept_page):
        await kept_page.goto(f"{site.url}/login/")
        yield kept_page
        await kept_page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
