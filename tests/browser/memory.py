"""What a node of a page has shown, also what lasted too short to be looked at.

A page may pass through a state in a quarter of a second; on a busy machine nobody looks at it
within that time. So the page itself writes down what its node shows, and when.
"""

from __future__ import annotations

import re
from typing import Any

from playwright.async_api import JSHandle, Locator

from tests.fix_browser import PATIENCE_MS
from tests.support import eventually

__all__ = ["Memory"]

RECORD = """(node, attribute) => {
    const read = () => attribute ? node.getAttribute(attribute) : node.textContent.trim();
    const seen = [[Date.now(), read()]];
    const look = () => {
        const shown = read();
        if (shown !== seen.at(-1)[1]) seen.push([Date.now(), shown]);
    };
    const what = {attributes: true, characterData: true, childList: true, subtree: true};
    new MutationObserver(look).observe(node, what);
    return seen;
}"""


class Memory:
    """What one node shows from ``of`` on. It must not be replaced by another meanwhile."""

    def __init__(self, seen: JSHandle) -> None:
        self._seen = seen

    @classmethod
    async def of(cls, locator: Locator, attribute: str | None = None) -> Memory:
        """Begin with what the only node of ``locator`` shows now: an attribute, or its text."""
        return cls(await locator.evaluate_handle(RECORD, attribute))

    async def all(self) -> list[str | None]:
        """Everything that was shown, in order."""
        return [shown for _, shown in await self._read()]

    async def saw(self, wanted: str | re.Pattern[str], *, times: int = 1) -> float:
        """Wait until ``wanted`` was shown for the n-th time; returns when, in epoch seconds.

        A pattern is looked for anywhere in what is shown.
        """

        def is_wanted(shown: str | None) -> bool:
            if shown is None or isinstance(wanted, str):
                return shown == wanted
            return wanted.search(shown) is not None

        async def found() -> list[float]:
            at = [moment for moment, shown in await self._read() if is_wanted(shown)]
            return at[times - 1 : times]

        at: Any = await eventually(
            found, timeout=PATIENCE_MS / 1000, message=f"{wanted!r} was never shown"
        )
        return float(at[0]) / 1000

    async def _read(self) -> list[tuple[float, str | None]]:
        seen: list[tuple[float, str | None]] = await self._seen.json_value()
        return seen
