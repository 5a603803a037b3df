"""Fixtures ``browser`` and ``page``: headless Chromium for tests marked ``browser``.

They live on one event loop per session, so a test that uses them is marked
``pytest.mark.asyncio(loop_scope="session")``. Every page fails its test when the console shows an
error or a script throws; ``console_errors.allow`` names those that the test provokes.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    async_playwright,
    expect,
)

__all__ = ["ConsoleErrors", "browser", "console_errors", "context", "page"]

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
IS_INSTALLED = CHROMIUM.exists()
INSTALL = "Chromium is missing: apt-get install -y chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
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


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser profile of its own: no cookies, no storage."""
    made = await browser.new_context(viewport={"width": 1280, "height": 800})
    made.set_default_timeout(PATIENCE_MS)
    yield made
    await made.close()


@pytest.fixture
def console_errors() -> ConsoleErrors:
    """The complaints of ``page``."""
    return ConsoleErrors()


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext, console_errors: ConsoleErrors) -> AsyncIterator[Page]:
    """An empty page at 1280 x 800; the test fails for what its console complained about."""
    made = await context.new_page()
    made.on("console", console_errors.on_console)
    made.on("pageerror", lambda error: console_errors.seen.append(str(error)))
    yield made
    assert not console_errors.unexpected, console_errors.unexpected
