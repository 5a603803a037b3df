"""The collector of cycles, as a process wants it that hands out ticks."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

__all__ = ["THRESHOLDS", "calm_collector", "collect_when_quiet"]

# Objects made between two looks at the youngest ones, how many of those looks there are between
# two at those that were left, and how many of these between two at everything. A look takes up to
# half a microsecond for each object, and everybody waits: five milliseconds for the second kind.
# The third takes a tenth of a second and more.
THRESHOLDS = (5_000, 2, 2_000)


def calm_collector() -> None:
    """Let the collector run rarely, and never walk what is loaded already. Once, before serving.

    What ends is freed by its last reference all the same; cycles wait longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


async def collect_when_quiet(count: Callable[[], int], *, seconds: float = 60.0) -> None:
    """Free the cycles that wait whenever nothing was counted for ``seconds``, for ever.

    Once in each quiet time: nobody waits then. May be cancelled.
    """
    before, has_collected = count(), False
    while True:
        await asyncio.sleep(seconds)
        now = count()
        if now != before:
            has_collected = False
        elif not has_collected:
            gc.collect()
            has_collected = True
        before = now
