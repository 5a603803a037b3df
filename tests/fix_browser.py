"""Fixtures ``browser`` and ``page``: headless Chromium for tests marked ``browser``.

A page is new in each test, and so is all that it can find: its profile has no cookies, no storage
and no permissions. But the profile itself stays, because Chromium keeps the scripts that it has
compiled in one, and compiles them all again in the next: three quarters of the work of a test that
opens the market watch. What cannot be taken back from a profile is said with ``spoil``.

They live on one event loop per session, so a test that uses them is marked
``pytest.mark.asyncio(loop_scope="session")``. Every page fails its test when the console shows an
error or a script throws; ``console_errors.allow`` names those that the test provokes.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from weakref import WeakSet

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    CDPSession,
    ConsoleMessage,
    Error,
    Page,
    async_playwright,
    expect,
)

__all__ = ["ConsoleErrors", "browser", "console_errors", "context", "page", "profile", "spoil"]

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
IS_INSTALLED = CHROMIUM.exists()
INSTALL = "Chromium is missing: apt-get install -y chromium"
PUBLIC_NAME = "ticks.example.com"  # leads to this machine
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {PUBLIC_NAME} 127.0.0.1",
]
PATIENCE_MS = 45_000  # a loaded machine is slow; a test that claims a time says which

expect.set_options(timeout=PATIENCE_MS)


class ConsoleErrors:
    """What a page complained about. ``allow`` names complaints that the test provokes."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._allowed: list[str] = []

    def allow(self, pattern: str) -> None:
        self._allowed.append(pattern)

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.seen.append(f"{message.text} ({message.location.get('url', '')})")

    def on_throw(self, error: Error) -> None:
        self.seen.append(str(error))

    @contextmanager
    def of(self, page: Page) -> Iterator[None]:
        """Hear a page within the block, and fail for what was not allowed."""
        page.on("console", self.on_console)
        page.on("pageerror", self.on_throw)
        try:
            yield
        finally:
            page.remove_listener("console", self.on_console)
            page.remove_listener("pageerror", self.on_throw)
        assert not self.unexpected, self.unexpected

    @property
    def unexpected(self) -> list[str]:
        return [
            text for text in self.seen if not any(re.search(item, text) for item in self._allowed)
        ]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all tests; skipped where it is missing, but not on CI."""
    if not IS_INSTALLED:
        if os.environ.get("CI") == "true":
            pytest.fail(INSTALL)
        pytest.skip(INSTALL)
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=ARGUMENTS
        )
        yield chromium
        await chromium.close()


_spoilt: WeakSet[BrowserContext] = WeakSet()  # each says so itself; session's loop only


def spoil(context: BrowserContext) -> None:
    """Have a profile closed after the test: what was done to it would reach the next one."""
    _spoilt.add(context)


class Profile:
    """The profile that tests have one after the other; another one after it was spoilt.

    Session's loop only.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._context: BrowserContext | None = None  # empty, until a test has it
        self._keeper: CDPSession | None = None  # of a page that stays blank and empties storage
        self._origins: set[str] = set()  # what pages of this profile have asked

    async def take(self) -> BrowserContext:
        """Return it without cookies, storage and permissions, and with no page to be seen."""
        if self._context is None:
            made = await self._browser.new_context(viewport={"width": 1280, "height": 800})
            made.set_default_timeout(PATIENCE_MS)
            self._keeper = await made.new_cdp_session(await made.new_page())
            self._origins.clear()
            made.on("request", lambda request: self._origins.add(_origin(request.url)))
            self._context = made
        return self._context

    async def give_back(self) -> None:
        """Empty it for the next test, or close it if it is spoilt."""
        context, keeper = self._context, self._keeper
        assert context is not None
        assert keeper is not None
        if context in _spoilt:
            await self.close()
            return
        for page in context.pages[1:]:
            await page.close()  # first: a page that ends may write
        await context.clear_cookies()
        await context.clear_permissions()
        await context.set_offline(False)
        await context.unroute_all()
        for origin in self._origins:
            await keeper.send(
                "Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"}
            )

    async def close(self) -> None:
        """End it. Idempotent."""
        context, self._context = self._context, None
        if context is not None:
            await context.close()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def profile(browser: Browser) -> AsyncIterator[Profile]:
    """The profile of this run's tests."""
    made = Profile(browser)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(profile: Profile) -> AsyncIterator[BrowserContext]:
    """A browser profile as new: no cookies, no storage, no permissions."""
    yield await profile.take()
    await profile.give_back()


@pytest.fixture
def console_errors() -> ConsoleErrors:
    """The complaints of ``page``."""
    return ConsoleErrors()


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext, console_errors: ConsoleErrors) -> AsyncIterator[Page]:
    """An empty page at 1280 x 800; the test fails for what its console complained about."""
    made = await context.new_page()
    with console_errors.of(made):
        yield made
