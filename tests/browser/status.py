"""The status page in the words of its user, for tests against any server that serves it."""

from __future__ import annotations

import re

from playwright.async_api import Locator, Page, expect

from tests.support import eventually

__all__ = ["Status"]


class Status:
    """Drives the page as a person does: by what is written on it."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def open(self, url: str) -> None:
        """Show the page of somebody who is logged in, with its first figures."""
        await self.page.goto(f"{url}/status/")
        await expect(self.pool).to_be_visible()

    @property
    def pool(self) -> Locator:
        return self.page.locator("article.pool").first

    @property
    def state(self) -> Locator:
        return self.pool.locator("header .badge")

    @property
    def reason(self) -> Locator:
        return self.pool.locator(".reason")

    @property
    def banner(self) -> Locator:
        return self.page.locator("#banner")

    @property
    def link(self) -> Locator:
        return self.page.locator("#link")

    def fact(self, name: str) -> Locator:
        """What stands behind ``name`` in the pool's list of facts."""
        term = self.page.locator("dt", has_text=re.compile(f"^{re.escape(name)}$"))
        return self.pool.locator(".facts > div").filter(has=term).locator("dd")

    def meter(self, name: str) -> Locator:
        return self.pool.get_by_role("meter", name=re.compile(f"^{name}"))

    @property
    def connections(self) -> Locator:
        return self.pool.get_by_role("table", name="Connections").locator("tbody tr")

    @property
    def peaks(self) -> Locator:
        return self.pool.get_by_role("table", name="Peaks").locator("tbody tr")

    @property
    def gateways(self) -> Locator:
        return self.page.locator("#gateway-rows tr")

    async def worker_pid(self) -> int:
        """The process that owns the pool, as the page names it."""
        return await _pid(self.fact("Worker"), r":(\d+), heard")

    async def gateway_pid(self) -> int:
        """The gateway that serves the page, as the page names it."""
        return await _pid(self.gateways.filter(has_text="serves you"), r":(\d+)")


async def _pid(locator: Locator, pattern: str) -> int:
    async def found() -> re.Match[str] | None:
        return re.search(pattern, await locator.inner_text())

    match = await eventually(found, timeout=60)
    assert isinstance(match, re.Match)
    return int(match[1])
