"""A look every few seconds at the topics of a hub, for ``streaming/fanout/quiet_lines.py``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from streaming.fanout.index import Groups
from streaming.fanout.quiet_lines import look

__all__ = ["LineWatch"]

LOOK_SECONDS = 5.0
_LOOKS_PER_TURN = 5_000


class LineWatch:
    """Looks at the topics of a hub; for its loop.

    Args:
        groups: the topics that somebody reads.
        clock: monotonic seconds, the hub's.
    """

    def __init__(self, *, groups: Groups[Any], clock: Callable[[], float]) -> None:
        self._groups = groups
        self._clock = clock
        self._looked_at = clock()  # the last look, by ``clock``

    @property
    def topics(self) -> int:
        """The number of topics that somebody reads."""
        return len(self._groups)

    async def run(self) -> None:
        """Look now and then, for ever; thousands of topics take more than one turn of the loop."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._look_in_turns()

    async def _look_in_turns(self) -> None:
        """Look once; by itself, so that no name keeps topics that nobody reads until the next."""
        before, self._looked_at = self._looked_at, self._clock()
        groups = list(self._groups.by_topic.values())
        for start in range(0, len(groups), _LOOKS_PER_TURN):
            look(groups[start : start + _LOOKS_PER_TURN], before)
            await asyncio.sleep(0)

    def look(self) -> None:
        """Look once."""
        before, self._looked_at = self._looked_at, self._clock()
        look(self._groups.by_topic.values(), before)
