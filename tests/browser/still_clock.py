"""A page's clock that stands still unless the test moves it on, however long the machine takes.

What the page does by its timers then happens in ``run`` and nowhere else. What comes over its
socket comes in its own time: the page counts it, so that a test can wait for it before it moves the
clock on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from playwright.async_api import Page

from tests.fix_browser import PATIENCE_MS, spoil
from tests.support import eventually

__all__ = ["StillClock"]

DRAWN_MS = 600  # longer than a table rests between two frames
COUNT = """
    window.counted = {asked: 0, answered: 0, frames: 0};
    const send = WebSocket.prototype.send;
    const heeded = new WeakSet();
    WebSocket.prototype.send = function (text) {
        if (!heeded.has(this)) {
            heeded.add(this);
            this.addEventListener('message', ({data}) => {
                counted.frames += 1;
                if (data.includes('"type":"pong"')) counted.answered += 1;
            });
        }
        if (text.includes('"action":"ping"')) counted.asked += 1;
        send.call(this, text);
    };
"""


class StillClock:
    """The clock of one page: ``install`` it, open and prepare the page, and ``stop`` it."""

    def __init__(self, page: Page) -> None:
        self._page = page

    @classmethod
    async def install(cls, page: Page) -> StillClock:
        """Take the page's clock over before anything is opened. It goes on until ``stop``."""
        await page.add_init_script(COUNT)
        await page.clock.install()
        spoil(page.context)  # every page of it has this clock now
        return cls(page)

    async def stop(self) -> None:
        """Let it stand still, with every question of the page answered."""
        await self._page.clock.pause_at(await self._moment(1))
        await self.all_is_answered()

    async def run(self, milliseconds: int) -> None:
        """Move it on; whatever timers are due meanwhile fire in their order."""
        await self._page.clock.run_for(milliseconds)

    async def draw(self) -> None:
        """Move it on as far as it takes to write what has changed."""
        await self.run(DRAWN_MS)

    async def go_on(self) -> None:
        """Let it go by itself from now on."""
        await self._page.clock.resume()

    async def jump(self, seconds: int) -> None:
        """Set the time of day on, with no timer fired."""
        await self._page.clock.set_system_time(await self._moment(seconds))

    async def all_is_answered(self) -> None:
        """Wait for the answers to all questions that the page has asked over its socket."""

        async def is_answered() -> bool:
            counted = await self._counted()
            return counted["answered"] >= counted["asked"]

        await eventually(is_answered, timeout=PATIENCE_MS / 1000)

    @asynccontextmanager
    async def comes(self, what: str) -> AsyncIterator[None]:
        """Wait at the end of the block until one more of ``frames`` or ``answered`` has come."""
        before = (await self._counted())[what]
        yield

        async def has_come() -> bool:
            return (await self._counted())[what] > before

        await eventually(has_come, timeout=PATIENCE_MS / 1000)

    async def _counted(self) -> dict[str, int]:
        counted: dict[str, int] = await self._page.evaluate("counted")
        return counted

    async def _moment(self, seconds: int) -> datetime:
        now: float = await self._page.evaluate("Date.now()")
        return datetime.fromtimestamp(now / 1000 + seconds, UTC)
