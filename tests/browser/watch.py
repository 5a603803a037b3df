"""The market watch in the words of its user, for tests against any server that serves it."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Locator, Page, expect

from tests.browser.fake_site import FakeSite
from tests.support import eventually

__all__ = ["DEFAULTS", "Watch", "saved"]

DEFAULTS = [
    "NSE_INDEX:NIFTY",
    "NSE_INDEX:BANKNIFTY",
    "NSE:RELIANCE",
    "NSE:TCS",
    "NSE:INFY",
    "NSE:SBIN",
    "NSE:HDFCBANK",
    "NSE:ICICIBANK",
    "NSE:ITC",
]


class Watch:
    """Drives the page as a person does: by what is written on it."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def log_in(self, url: str, username: str, password: str) -> None:
        await self.page.goto(url + "/")
        await self.page.get_by_label("User name").fill(username)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Log in").click()
        await expect(self.table).to_be_visible()

    @property
    def table(self) -> Locator:
        return self.page.get_by_role("table", name="Market watch")

    @property
    def search(self) -> Locator:
        return self.page.get_by_role("combobox", name="Find an instrument to add")

    @property
    def options(self) -> Locator:
        return self.page.locator("#found").get_by_role("option")

    @property
    def banner(self) -> Locator:
        return self.page.locator("#banner")

    @property
    def pill(self) -> Locator:
        return self.page.locator("#pill")

    def row(self, key: str) -> Locator:
        """The row of ``EXCHANGE:SYMBOL``."""
        return self.page.locator(f'#rows tr[data-key="{key}"]')

    def cell(self, key: str, column: str) -> Locator:
        return self.row(key).locator(f".c-{column}")

    def badge(self, key: str) -> Locator:
        return self.row(key).locator(".badge")

    async def keys(self) -> list[str]:
        keys: list[str] = await self.page.locator("#rows tr").evaluate_all(
            "rows => rows.map(row => row.dataset.key)"
        )
        return keys

    async def has_keys(self, keys: list[str]) -> None:
        """Wait until the rows are these: they are drawn with the browser's next frame."""

        async def are_drawn() -> bool:
            return await self.keys() == keys

        await eventually(are_drawn)

    async def has_prices(self) -> None:
        """Wait until every row has a live price."""
        await expect(self.page.locator("#rows tr")).not_to_have_count(0)
        await expect(self.page.locator('#rows tr:not([data-state="live"])')).to_have_count(0)

    async def is_remembered(self) -> None:
        """Wait until the server has the list: only then can it be renamed."""
        await expect(self.page.get_by_role("button", name="Rename", exact=True)).to_be_enabled()

    async def offer_for_long(self) -> None:
        """Let offers to undo stand: ten seconds may be less than a busy machine needs."""
        await self.page.evaluate(
            """() => {
                const later = window.setTimeout;
                window.setTimeout = (run, ms, ...more) =>
                    later(run, ms === 10_000 ? 600_000 : ms, ...more);
            }"""
        )

    async def overflow(self) -> int:
        """How many pixels the page is wider than its window."""
        width: int = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return width


def saved(site: FakeSite) -> list[str]:
    """What the server remembers of the user's first list."""
    lists: list[dict[str, Any]] = next(iter(site.say("watchlists").values()), [])
    symbols = lists[0]["symbols"] if lists else []
    return [f"{item['exchange']}:{item['symbol']}" for item in symbols]
