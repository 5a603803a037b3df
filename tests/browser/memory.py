"""What a node of a page has shown, also what lasted too short to be looked at.

A page may pass through a state in a quarter of a second; on a busy machine nobody looks at it
within that time. So the page itself writes down what its node shows, and when.
"""

from __future__ import annotations

import asyncio
import re

from playwright.async_api import JSHandle, Locator

from tests.fix_browser import PATIENCE_MS

__all__ = ["Memory"]

RECORD = """(node, attribute) => {
    const read = () => attribute ? node.getAttribute(attribute) : node.textContent.trim();
    const seen = [[Date.now(), read()]];
    let tell = [];
    const look = () => {
        const shown = read();
        if (shown === seen.at(-1)[1]) return;
        seen.push([Date.now(), shown]);
        tell.forEach(each => each());
        tell = [];
    };
    const what = {attributes: true, characterData: true, childList: true, subtree: true};
    new MutationObserver(look).observe(node, what);
    const more = async (known) => {
        if (seen.length <= known) await new Promise(resolve => tell.push(resolve));
        return seen.slice(known);
    };
    return {seen, more};
}"""


class Memory:
    """What one node shows from ``of`` on. It must not be replaced by another meanwhile."""

    def __init__(self, record: JSHandle) -> None:
        self._record = record

    @classmethod
    async def of(cls, locator: Locator, attribute: str | None = None) -> Memory:
        """Begin with what the only node of ``locator`` shows now: an attribute, or its text."""
        return cls(await locator.evaluate_handle(RECORD, attribute))

    async def saw(self, wanted: str | re.Pattern[str], *, times: int = 1) -> float:
        """Wait until ``wanted`` was shown for the n-th time; returns when, in epoch seconds.

        A pattern is looked for anywhere in what is shown.
        """

        def is_wanted(shown: str | None) -> bool:
            if shown is None or isinstance(wanted, str):
                return shown == wanted
            return wanted.search(shown) is not None

        known = 0
        at: list[float] = []
        try:
            async with asyncio.timeout(PATIENCE_MS / 1000):
                while len(at) < times:
                    # The page answers when there is more: asking it again and again costs its time.
                    more = await self._record.evaluate(
                        "(record, known) => record.more(known)", known
                    )
                    known += len(more)
                    at += [moment for moment, shown in more if is_wanted(shown)]
        except TimeoutError:
            raise AssertionError(f"{wanted!r} was never shown") from None
        return at[times - 1] / 1000

    async def all(self) -> list[str | None]:
        """Everything that was shown, in order."""
        seen = await self._record.evaluate("record => record.seen")
        return [shown for _, shown in seen]
